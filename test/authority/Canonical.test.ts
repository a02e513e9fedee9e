import { describe, expect, it } from "@effect/vitest"
import * as Either from "effect/Either"
import * as fc from "effect/FastCheck"
import * as Canonical from "../../src/authority/Canonical.js"
import { runs } from "../support/properties.js"

const refused = (result: Either.Either<Canonical.Canonical, Canonical.CanonicalError>) =>
  Either.isLeft(result) ? result.left.message : `let through as ${result.right}`

describe("Canonical paths", () => {
  it.each([
    ["/", "/"],
    ["//", "/"],
    ["/data", "/data"],
    ["/data/", "/data"],
    ["//data//a.txt", "/data/a.txt"],
    ["/data/./a/.", "/data/a"],
    ["/data/a/../b", "/data/b"],
    ["/data/../etc/passwd", "/etc/passwd"],
    ["/data/a/../../etc/passwd", "/etc/passwd"],
    ["/data/x/../../../../../etc/passwd", "/etc/passwd"],
    ["/..", "/"],
    ["/../../a", "/a"],
    ["/data/...", "/data/..."],
    ["/data/..a/.b", "/data/..a/.b"],
    ["/Data/A", "/Data/A"],
    ["/data/100%/a", "/data/100%/a"],
    ["/data/a%20b", "/data/a%20b"],
    ["/data/日本／大阪", "/data/日本／大阪"],
    ["/data/a\nb", "/data/a\nb"]
  ])("1.0 §14 %j is %j", (text, expected) => {
    expect(Canonical.path(text)).toEqual(Either.right(expected))
  })

  it.each([
    ["", "empty"],
    ["data/a", "not absolute"],
    ["../etc/passwd", "not absolute"],
    ["~/a", "not absolute"],
    ["file:///etc/passwd", "not absolute"],
    ["C:\\data", "not absolute"],
    ["/data/a\0.txt", "NUL"],
    ["/data\\..\\etc", "backslash"],
    ["/data/..\\etc", "backslash"],
    ["/data/%2e%2e/etc/passwd", "escaped"],
    ["/data/%2E./etc/passwd", "escaped"],
    ["/data/..%2fetc", "escaped"],
    ["/data/..%5cetc", "escaped"],
    ["/data/%252e%252e/etc", "escaped"],
    ["/data/..%25252fetc", "escaped"],
    ["/data/a%00.txt", "escaped"],
    ["/data/．．/etc/passwd", "look-alike"],
    ["/data/．/a", "look-alike"],
    ["/data/‥/etc", "look-alike"],
    ["/data/․․/etc", "look-alike"],
    ["/data/..;/etc", "look-alike"],
    ["/data/\ud800", "Unicode"],
    ["/" + "a".repeat(4096), "longer"]
  ])("1.0 §14 %j is refused", (text, why) => {
    expect(refused(Canonical.path(text))).toContain(why)
  })

  it("1.0 §14 a relative path is taken from a base, and still cannot climb around it unseen", () => {
    expect(Canonical.path("a/b", "/work")).toEqual(Either.right("/work/a/b"))
    expect(Canonical.path("../../etc/passwd", "/work")).toEqual(Either.right("/etc/passwd"))
    expect(Canonical.path("/a", "/work")).toEqual(Either.right("/a"))
    expect(refused(Canonical.path("a", "work"))).toContain("not absolute")
    expect(refused(Canonical.path("", "/work"))).toContain("empty")
    expect(refused(Canonical.path("a".repeat(4000), `/${"b".repeat(4000)}`))).toContain("longer")
  })

  it("1.0 §14 a canonical path holds no dot segments, is its own canonical form and stays put", () => {
    const piece = fc.constantFrom("a", ".", "..", "/", "//", "b", "...", " ")
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 20 }), (pieces) => {
        const result = Canonical.path(`/${pieces.join("")}`)
        const canonical = Either.getOrThrow(result)
        const segments = canonical.split("/").slice(1)
        expect(canonical === "/" || segments.every((s) => s !== "" && s !== "." && s !== "..")).toBe(true)
        expect(Canonical.path(canonical)).toEqual(result)
      })
    )
  })
})

describe("Canonical URLs", () => {
  it.each([
    ["https://example.com", "https://example.com/"],
    ["HTTPS://EXAMPLE.com/A", "https://example.com/A"],
    ["https://example.com:443/", "https://example.com/"],
    ["http://example.com:80/", "http://example.com/"],
    ["http://example.com:443/", "http://example.com:443/"],
    ["https://example.com:08443/", "https://example.com:8443/"],
    ["https://example.com./a", "https://example.com/a"],
    ["https://example.com/a#b", "https://example.com/a"],
    ["https://example.com/a?", "https://example.com/a"],
    ["https://example.com?x=1", "https://example.com/?x=1"],
    ["https://example.com/a/../b/./c", "https://example.com/b/c"],
    ["https://example.com/data/%2e%2e/secret", "https://example.com/secret"],
    ["https://example.com/data/.%2E/secret", "https://example.com/secret"],
    ["https://example.com/%7Euser/%61", "https://example.com/~user/a"],
    ["https://example.com/a%c3%a9", "https://example.com/a%C3%A9"],
    ["https://example.com/é", "https://example.com/%C3%A9"],
    ['https://example.com/a[1]|{2}^`"<>', "https://example.com/a%5B1%5D%7C%7B2%7D%5E%60%22%3C%3E"],
    ["https://example.com/?q=%7e&r=%2F&s=a/b?c", "https://example.com/?q=~&r=%2F&s=a/b?c"],
    ["https://example.com/?q=100%", "https://example.com/?q=100%25"],
    ["https://example.com/?q='[]'", "https://example.com/?q=%27%5B%5D%27"],
    ["https://münchen.example/", "https://xn--mnchen-3ya.example/"],
    ["https://ｅｘａｍｐｌｅ．ｃｏｍ/", "https://example.com/"],
    ["https://example。com/", "https://example.com/"],
    ["https://exa\u00admple.com/", "https://example.com/"],
    ["http://127.1/", "http://127.0.0.1/"],
    ["http://2130706433/", "http://127.0.0.1/"],
    ["http://0x7f000001/", "http://127.0.0.1/"],
    ["http://0177.0.0.1/", "http://127.0.0.1/"],
    ["http://0x7f.1/", "http://127.0.0.1/"],
    ["http://127.0.0.1./", "http://127.0.0.1/"],
    ["http://①②⑦.⓪.⓪.①/", "http://127.0.0.1/"],
    ["http://[0:0:0:0:0:0:0:1]/", "http://[::1]/"],
    ["http://[::FFFF:127.0.0.1]:80/", "http://[::ffff:7f00:1]/"],
    ["http://[2001:DB8:0::1]:8080/x", "http://[2001:db8::1]:8080/x"],
    ["https://example.com//a//b", "https://example.com//a//b"]
  ])("1.0 §14 %s is %s", (text, expected) => {
    expect(Canonical.url(text)).toEqual(Either.right(expected))
  })

  it("1.0 §14 a look-alike of a host is another host", () => {
    // its first letter is Cyrillic
    expect(Canonical.url("https://еxample.com/")).toEqual(Either.right("https://xn--xample-2of.com/"))
  })

  it.each([
    ["", "absolute"],
    ["/a", "absolute"],
    ["//example.com/a", "absolute"],
    ["example.com", "absolute"],
    ["https:example.com", "absolute"],
    ["https:/example.com", "absolute"],
    ["https:///example.com", "absolute"],
    ["ftp://example.com/", "absolute"],
    ["file:///etc/passwd", "absolute"],
    ["data:text/plain,x", "absolute"],
    ["javascript:alert(1)", "absolute"],
    ["s3://bucket/key", "absolute"],
    ["https://user@example.com/", "user information"],
    ["https://user:secret@example.com/", "user information"],
    ["https://@example.com/", "user information"],
    ["https://example.com:443@evil.com/", "user information"],
    ["https://example.com%40evil.com/", "escape"],
    ["https://example.com%2eevil.com/", "escape"],
    ["https://%65xample.com/", "escape"],
    ["https://[fe80::1%25eth0]/", "escape"],
    ["https://example.com\\@evil.com/", "backslash"],
    ["https://example.com/a\\..\\b", "backslash"],
    ["https:\\\\example.com/", "backslash"],
    [" https://example.com/", "white space"],
    ["https://exam\tple.com/", "white space"],
    ["https://example.com/a\nb", "white space"],
    ["https://example.com/a b", "white space"],
    ["https://example.com/a\u0000", "control"],
    ["https://example.com:99999/", "host or port"],
    ["https://example.com:80a/", "host or port"],
    ["https://exa mple.com/", "white space"],
    ["https://./", "host"],
    ["https://example..com/", "host"],
    ["https://example.com../", "host"],
    ["https://.example.com/", "host"],
    ["https://*.example.com/", "host"],
    ["https://exa℀mple.com/", "host"],
    ["https://1.2.3.4.5/", "host"],
    ["https://256.1.1.1/", "host"],
    ["https://[::1/", "host"],
    ["https://example.com/a%2fb", "separator"],
    ["https://example.com/a%5Cb", "separator"],
    ["https://example.com/..%2f..%2fetc", "separator"],
    ["https://example.com/a%00b", "control"],
    ["https://example.com/a%0d%0aX:y", "control"],
    ["https://example.com/%252e%252e/a", "twice"],
    ["https://example.com/..%252fa", "twice"],
    ["https://example.com/%25252e/a", "twice"],
    ["https://example.com/..;/admin", "dot segment"],
    ["https://example.com/..;x=1/admin", "dot segment"],
    ["https://example.com/..%3b/admin", "dot segment"],
    ["https://example.com/．．/admin", "dot segment"],
    ["https://example.com/%EF%BC%8E%EF%BC%8E/admin", "dot segment"],
    ["https://example.com/a／..／b", "look-alike"],
    ["https://example.com/a＼b", "look-alike"],
    ["https://example.com/%c0%ae%c0%ae/admin", "UTF-8"],
    ["https://example.com/a%c0%afb", "UTF-8"],
    ["https://example.com/%ff", "UTF-8"],
    ["https://example.com/100%", "no escape"],
    ["https://example.com/%u002e", "no escape"],
    ["https://example.com/\ud800", "Unicode"],
    ["https://example.com/" + "a".repeat(8192), "longer"],
    ["https://example.com/" + "é".repeat(3000), "longer"]
  ])("1.0 §14 %j is refused", (text, why) => {
    expect(refused(Canonical.url(text))).toContain(why)
  })

  it("an error never repeats the text, which may hold a secret", () => {
    const forms = [Canonical.url, Canonical.path, Canonical.name] as ReadonlyArray<
      (text: string) => Either.Either<Canonical.Canonical, Canonical.CanonicalError>
    >
    const errors = ["https://u:hunter2@h/", "https://h/hunter2%2f?key=hunter2", "/hunter2\0", "ftp://hunter2"].flatMap(
      (text) => forms.flatMap((form) => Either.match(form(text), { onLeft: (error) => [error], onRight: () => [] }))
    )
    expect(errors.length).toBeGreaterThan(4)
    expect(errors.map((error) => JSON.stringify(error) + String(error)).join()).not.toContain("hunter2")
  })

  it("1.0 §14 a canonical URL is its own canonical form, and means the same to a WHATWG parser", () => {
    const piece = fc.constantFrom(
      "a",
      "é",
      "/",
      "..",
      ".",
      "%2e",
      "%41",
      "%7e",
      "%C3%A9",
      "?",
      "=",
      "&",
      "'",
      "[",
      "|",
      "^",
      ";",
      "*",
      "~",
      "#",
      "!"
    )
    const start = fc.constantFrom("https://h/", "HTTP://H:80/", "https://A.b.:8443/", "http://[::1]/", "https://é.x")
    let canonicals = 0
    fc.assert(
      fc.property(start, fc.array(piece, { maxLength: 12 }), (head, pieces) => {
        const result = Canonical.url(head + pieces.join(""))
        if (Either.isLeft(result)) return
        canonicals++
        expect(Canonical.url(result.right)).toEqual(result)
        const parsed = new URL(result.right)
        expect(parsed.href).toBe(result.right)
        expect(parsed.username + parsed.password + parsed.hash).toBe("")
        expect(decodeURI(parsed.pathname)).toBe(decodeURI(new URL(head + pieces.join("")).pathname))
      }),
      { numRuns: runs(1000) }
    )
    expect(canonicals).toBeGreaterThan(300)
  })

  it("1.0 §14 a redirect is a new URL, whatever its Location looks like", () => {
    const from = Either.getOrThrow(Canonical.url("https://api.example.com/v1/items?x=1"))
    const to = (location: string) => Canonical.redirect(from, location)
    expect(to("/v2")).toEqual(Either.right("https://api.example.com/v2"))
    expect(to("../admin")).toEqual(Either.right("https://api.example.com/admin"))
    expect(to("?y=2")).toEqual(Either.right("https://api.example.com/v1/items?y=2"))
    expect(to("//evil.com/v1")).toEqual(Either.right("https://evil.com/v1"))
    expect(to("http://api.example.com/v1")).toEqual(Either.right("http://api.example.com/v1"))
    expect(to("HTTPS://EVIL.com:443/")).toEqual(Either.right("https://evil.com/"))
    expect(refused(to("https://api.example.com@evil.com/"))).toContain("user information")
    expect(refused(to("\\\\evil.com"))).toContain("backslash")
    expect(refused(to("/%2f%2fevil.com"))).toContain("separator")
    expect(refused(to("ftp://evil.com/"))).toContain("absolute")
    expect(refused(to("javascript:alert(1)"))).toContain("absolute")
    expect(refused(to("https://"))).toContain("redirect")
    expect(refused(to("/" + "a".repeat(9000)))).toContain("longer")
  })
})

describe("Canonical names", () => {
  it("a name is itself", () => {
    for (const text of ["search.web", "mcp:github/issues", "gpt-4o-2024-08-06", "Web Search", "é"]) {
      expect(Canonical.name(text)).toEqual(Either.right(text))
    }
  })

  it.each([
    ["", "empty"],
    ["a".repeat(257), "longer"],
    ["a\nb", "control"],
    ["a\0", "control"],
    ["a\\b", "backslash"],
    [" a", "white space"],
    ["a\u00a0", "white space"],
    ["e\u0301", "normal form"],
    ["\ud800", "Unicode"]
  ])("%j is refused", (text, why) => {
    expect(refused(Canonical.name(text))).toContain(why)
  })

  it("§7.5 an agent is a name, with or without a version", () => {
    expect(Canonical.agent("helper")).toEqual(Either.right("helper"))
    expect(Canonical.agent("helper@1.2.0")).toEqual(Either.right("helper@1.2.0"))
    for (const text of ["", "Helper", "a@b@c", "helper@", "a/b"]) {
      expect(Either.isLeft(Canonical.agent(text))).toBe(true)
    }
  })

  it("§9.2 every capability has its form", () => {
    expect(Canonical.target("fs.write", "/a/../b")).toEqual(Either.right("/b"))
    expect(Canonical.target("net.fetch", "http://H")).toEqual(Either.right("http://h/"))
    expect(Canonical.target("tool.call", "a.b")).toEqual(Either.right("a.b"))
    expect(Canonical.target("x-vendor.acme.db", "t:1")).toEqual(Either.right("t:1"))
    expect(Either.isLeft(Canonical.target("agent.delegate", "A"))).toBe(true)
    expect(refused(Canonical.target("cost.budget", "USD"))).toContain("no operation")
  })
})
