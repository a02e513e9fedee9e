/** How the id of a principal shows that it is anonymous (ARCP 1.1 §6.1), also to code that has only the id. */

/** What the ids of anonymous clients begin with. */
export const anonymousPrefix = "anonymous:"

/** Whether an id is an anonymous client's: no other can have it. */
export const isAnonymous = (id: string): boolean => id.startsWith(anonymousPrefix)
