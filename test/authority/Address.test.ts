import { describe, expect, it } from "@effect/vitest"
import { FastCheck as fc } from "effect"
import { BlockList, isIP } from "node:net"
import * as Address from "../../src/authority/Address.js"
import { runs } from "../support/properties.js"

/** The same ranges by Node's own implementation. */
const reference = new BlockList()
for (const range of [
  "0.0.0.0/8",
  "10.0.0.0/8",
  "100.64.0.0/10",
  "127.0.0.0/8",
  "168.63.129.16/32",
  "169.254.0.0/16",
  "172.16.0.0/12",
  "192.0.0.0/24",
  "192.0.2.0/24",
  "192.88.99.0/24",
  "192.168.0.0/16",
  "198.18.0.0/15",
  "198.51.100.0/24",
  "203.0.113.0/24",
  "224.0.0.0/4",
  "240.0.0.0/4"
]) {
  const [net, bits] = range.split("/")
  reference.addSubnet(net!, Number(bits), "ipv4")
}

const octets = fc.tuple(fc.nat(255), fc.nat(255), fc.nat(255), fc.nat(255))
const special = fc.constantFrom([127, 0, 0, 1], [10, 1, 2, 3], [169, 254, 169, 254], [192, 168, 0, 1], [100, 64, 0, 1])
const anyV4 = fc.oneof(octets, special).map((bytes) => bytes.join("."))
const hex = (v4: string) => {
  const [a, b, c, d] = v4.split(".").map(Number) as [number, number, number, number]
  return [`${((a << 8) | b).toString(16)}`, `${((c << 8) | d).toString(16)}`] as const
}

describe("Address.isPublic", () => {
  it("1.0 §14 the first and the last address of each special range are not public, their neighbours outside are", () => {
    for (const [inside, outside] of [
      [["0.0.0.0", "0.255.255.255"], ["1.0.0.0"]],
      [
        ["10.0.0.0", "10.255.255.255"],
        ["9.255.255.255", "11.0.0.0"]
      ],
      [
        ["100.64.0.0", "100.100.100.200", "100.127.255.255"],
        ["100.63.255.255", "100.128.0.0"]
      ],
      [
        ["127.0.0.0", "127.0.0.1", "127.255.255.255"],
        ["126.255.255.255", "128.0.0.0"]
      ],
      [["168.63.129.16"], ["168.63.129.15", "168.63.129.17"]],
      [
        ["169.254.0.0", "169.254.169.254", "169.254.255.255"],
        ["169.253.255.255", "169.255.0.0"]
      ],
      [
        ["172.16.0.0", "172.31.255.255"],
        ["172.15.255.255", "172.32.0.0"]
      ],
      [
        ["192.0.0.0", "192.0.0.192", "192.0.2.1"],
        ["191.255.255.255", "192.0.1.0", "192.0.3.0"]
      ],
      [
        ["192.168.0.0", "192.168.255.255"],
        ["192.167.255.255", "192.169.0.0"]
      ],
      [
        ["198.18.0.0", "198.19.255.255", "198.51.100.7", "203.0.113.7"],
        ["198.17.255.255", "198.20.0.0"]
      ],
      [["224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"], ["223.255.255.255"]],
      [["::", "::1", "[::1]", "::2"], []],
      [["fc00::", "fd00:ec2::254", "fd20:ce::254", "fdff:ffff::1"], []],
      [["fe80::1", "fe80::1%eth0", "febf::1", "fec0::1", "ff02::1", "ff0e::1"], []],
      [
        ["2001:db8::1", "3fff::1", "3fff:fff::1"],
        ["2001:db7::1", "2001:db9::1", "3fff:1000::1"]
      ],
      [
        ["2001::1", "2001:2::1", "2001:1ff::1", "100::1", "5f00::1", "4000::1"],
        ["2001:200::1", "2001:4860:4860::8888"]
      ],
      [["::ffff:127.0.0.1", "::ffff:7f00:1", "[::ffff:a9fe:a9fe]"], ["::ffff:8.8.8.8"]],
      [["64:ff9b::7f00:1", "64:ff9b::10.0.0.1", "64:ff9b:1::8.8.8.8"], ["64:ff9b::8.8.8.8"]],
      [["2002:7f00:1::", "2002:a00:1::1", "2002:a9fe:a9fe::1"], ["2002:808:808::1"]],
      [["::127.0.0.1", "::8.8.8.8", "::ffff:0:127.0.0.1", "2001:0:808:808::80ff:fffe"], []],
      [
        ["2a00::5efe:7f00:1", "2a00::200:5efe:10.0.0.1"],
        ["2a00::5efe:808:808", "2a00::1"]
      ]
    ] as const) {
      for (const address of inside) expect(Address.isPublic(address), address).toBe(false)
      for (const address of outside) expect(Address.isPublic(address), address).toBe(true)
    }
  })

  it("1.0 §14 agrees with another implementation on every IPv4 address, also inside an IPv6 one", () => {
    fc.assert(
      fc.property(anyV4, (v4) => {
        const expected = !reference.check(v4, "ipv4")
        const [high, low] = hex(v4)
        for (const spelled of [
          v4,
          `::ffff:${v4}`,
          `[::ffff:${high}:${low}]`,
          `0:0:0:0:0:FFFF:${v4}`,
          `64:ff9b::${high}:${low}`,
          `2002:${high}:${low}::1`,
          `2a00::5efe:${high}:${low}`
        ]) {
          expect(Address.isPublic(spelled), spelled).toBe(expected)
        }
        for (const never of [`::${v4}`, `fe80::${v4}`, `fd00::${v4}`, `2001:0:${high}:${low}::1`]) {
          expect(Address.isPublic(never), never).toBe(false)
        }
      }),
      { numRuns: runs(2000) }
    )
  })

  it("1.0 §14 what has no single meaning is not public", () => {
    for (const text of [
      "",
      "localhost",
      "8.8.8",
      "8.8.8.8.8",
      "8.8.8.256",
      "08.8.8.8",
      "0x8.8.8.8",
      "134744072",
      " 8.8.8.8",
      "8.8.8.8 ",
      "2001:4860::8888::1",
      "2001:4860",
      "g::1",
      "[2a00::1",
      "2a00::1/64",
      ":".repeat(200)
    ]) {
      expect(Address.isPublic(text), text).toBe(false)
      expect(Address.parse(text), text).toBeUndefined()
    }
  })
})

describe("Address.parse", () => {
  it("1.0 §14 reads the bytes of every address that a socket would, whatever its spelling", () => {
    fc.assert(
      fc.property(fc.ipV6(), (text) => {
        expect(isIP(text)).toBe(6)
        const bytes = Address.parse(text)!
        expect(bytes).toHaveLength(16)
        const groups = Array.from({ length: 8 }, (_, i) => ((bytes[2 * i]! << 8) | bytes[2 * i + 1]!).toString(16))
        expect(new URL(`http://[${groups.join(":")}]/`).hostname).toBe(new URL(`http://[${text}]/`).hostname)
      }),
      { numRuns: runs(1000) }
    )
    expect(Address.parse("192.0.2.7")).toEqual([192, 0, 2, 7])
  })
})

describe("Address, names that no public DNS resolves", () => {
  it("1.0 §14 knows localhost, single labels and the suffixes of local networks", () => {
    for (const name of ["localhost", "a.localhost"]) expect(Address.isLoopbackName(name), name).toBe(true)
    for (const name of ["localhost.example", "notlocalhost"]) expect(Address.isLoopbackName(name), name).toBe(false)
    for (const name of [
      "localhost",
      "intranet",
      "printer.local",
      "metadata.google.internal",
      "nas.home.arpa",
      "a.corp"
    ]) {
      expect(Address.isLocalName(name), name).toBe(true)
    }
    for (const name of ["example.com", "local.example", "internal.example.org"]) {
      expect(Address.isLocalName(name), name).toBe(false)
    }
  })
})
