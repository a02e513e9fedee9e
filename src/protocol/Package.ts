/** This package's name and version, as its programs report them: in `welcome.runtime`, in `hello.client`, in `arcp version`. */

/** The package's name. */
export const packageName = "effect-arcp"

/** The package's version: that of `package.json`, which a test compares. A constant, so that it is there in a browser too. */
export const packageVersion = "0.2.0"
