/** The laws bite: a broken implementation breaks the law that is about it, with a message that says what is wrong. */
import { describe, expect, it } from "@effect/vitest"
import { Chunk, Context, Effect, Layer, Option, Redacted, Scope, Stream } from "effect"
import { Authenticator, type AuthenticatorService, bearer, firstOf } from "../../src/auth/index.js"
import { PrincipalId, Unauthenticated } from "../../src/protocol/index.js"
import { ArtifactStore, CredentialLedger, emptyBatch, MemoryStore, Store, unrevoked } from "../../src/store/index.js"
import {
  artifactLaws,
  authenticatorLaws,
  type Law,
  LawBroken,
  ledgerLaws,
  storeLaws,
  transportLaws
} from "../../src/testing/index.js"
import { type Connection, Connector, MemoryTransport, Server, TransportError } from "../../src/transport/index.js"

const timeout = "2 seconds"

/** That exactly this law of the list is there, and what it says is broken. */
const breaks = (list: ReadonlyArray<Law>, name: string, message: RegExp) =>
  Effect.gen(function* () {
    const found = list.filter((law) => law.name === name)
    expect(found.map((law) => law.name)).toEqual([name])
    const error = yield* Effect.flip(Effect.scoped(found[0]!.check))
    expect(error).toBeInstanceOf(LawBroken)
    expect(error.law).toBe(name)
    expect(error.message).toMatch(message)
    expect(error.message.startsWith(`${name}: expected `)).toBe(true)
  })

/** The memory transport with other ends. */
const ends = (client: (_: Connection) => Connection, server: (_: Connection) => Connection = (_) => _) =>
  Layer.scopedContext(
    Effect.map(MemoryTransport.make({ encoded: true, capacity: 64 }), (context) =>
      Context.make(Server, {
        ...Context.get(context, Server),
        connections: Stream.map(Context.get(context, Server).connections, server)
      }).pipe(
        Context.add(Connector, {
          address: "broken:",
          connect: Effect.map(Context.get(context, Connector).connect, client)
        })
      )
    )
  )

/** What a class instance does not spread: its accessors are fields here, so a copy keeps all of a connection. */
const copy = (connection: Connection, more: Partial<Connection>): Connection => ({
  transport: connection.transport,
  secure: connection.secure,
  remoteAddress: connection.remoteAddress,
  inbound: connection.inbound,
  send: connection.send,
  close: connection.close,
  closed: connection.closed,
  ...more
})

const inOrder = "§4 carries frames in order, both ways at once, whatever the batches"

const transports: ReadonlyArray<readonly [string, string, RegExp, Layer.Layer<Server | Connector, TransportError>]> = [
  [
    "drops a frame",
    inOrder,
    /frame 5 of 1000 at the server to be .*"up":5.*; actual: .*6/,
    ends((_) => copy(_, { send: (frames) => _.send(frames.filter((frame) => !String(frame).includes('"up":5,'))) }))
  ],
  [
    "sends a frame twice",
    inOrder,
    /frame 8 of 1000 at the client to be .*"down":8.*; actual: .*7/,
    ends(
      (_) => _,
      (_) =>
        copy(_, { send: (frames) => _.send(frames.flatMap((f) => (String(f).includes('"down":7,') ? [f, f] : [f]))) })
    )
  ],
  [
    "reverses what arrives together",
    inOrder,
    /frame \d+ of 1000 at the server to be/,
    ends(
      (_) => _,
      (_) => copy(_, { inbound: Stream.mapChunks(_.inbound, Chunk.reverse) })
    )
  ],
  [
    "tears the frames of one send apart",
    "§4 carries frames in the order of the calls when several fibers send",
    /the frames of one send side by side/,
    ends((_) =>
      copy(_, {
        send: (frames) =>
          Effect.forEach(frames, (frame) => Effect.zipLeft(_.send([frame]), Effect.yieldNow()), { discard: true })
      })
    )
  ],
  [
    "never holds a sender back",
    "§4 suspends a client whose server does not read, then loses nothing",
    /expected the sender to wait while the peer does not read; actual: it has sent all 400 frames/,
    MemoryTransport.layerWith({ encoded: true, capacity: 100_000 })
  ],
  [
    "sends what was interrupted",
    "§4 sends nothing of a send that was interrupted while it waited",
    /it has not ended by then|the next send right behind/,
    ends((_) =>
      copy(_, {
        send: (frames) => Effect.flatMap(Effect.forkDaemon(_.send(frames)), (fiber) => Effect.flatten(fiber.await))
      })
    )
  ],
  [
    "hides close codes",
    "§4 ends with the server's code and reason",
    /closed of the client to be \{"code":1013,"reason":"come back later"\}; actual: \{"code":1000/,
    ends((_) => copy(_, { closed: Effect.as(_.closed, { code: 1000, reason: "" }) }))
  ],
  [
    "tells the last close",
    "§4 ends once: the first close counts, later ones are harmless",
    /closed of the client to be \{"code":1000,"reason":"first"\}; actual: \{"code":1008,"reason":"third"\}/,
    ends((_) => {
      let last = { code: 1000, reason: "" }
      return copy(_, {
        close: (code, reason) =>
          Effect.zipRight(
            Effect.sync(() => (last = { code, reason })),
            _.close(code, reason)
          ),
        closed: Effect.map(_.closed, () => last)
      })
    })
  ],
  [
    "takes frames after its end",
    "§4 ends, and then sending fails on both sides, at once",
    /a send of the client after its close to fail; actual: it succeeded/,
    ends((_) => copy(_, { send: (frames) => Effect.ignore(_.send(frames)) }))
  ],
  [
    "never ends its inbound",
    "§4 ends after the frames that were sent before",
    /an end within .*; actual: it has not ended by then/,
    ends((_) => copy(_, { inbound: Stream.concat(_.inbound, Stream.never) }))
  ],
  [
    "closes without an end, and cannot be interrupted",
    "§4 ends in bounded time though nobody reads",
    /an end within .*; actual: it has not ended by then/,
    ends((_) => copy(_, { close: () => Effect.uninterruptible(Effect.never) }))
  ],
  [
    "accepts after the stop",
    "§4 the server stops accepting: what is open stays, what is new is refused",
    /a connect after the stop to fail/,
    Layer.scopedContext(
      Effect.gen(function* () {
        const context = yield* MemoryTransport.make({ encoded: true })
        const [other] = yield* MemoryTransport.makePair()
        const { connect } = Context.get(context, Connector)
        return Context.add(context, Connector, {
          address: "broken:",
          connect: Effect.catchAll(connect, () => Effect.succeed(other))
        })
      })
    )
  ],
  [
    "leaves connections open when it closes",
    "§4 the server closes what is open with 1001 when its scope closes, and its connections end",
    /an end within .*; actual: it has not ended by then/,
    Layer.effectContext(
      Effect.gen(function* () {
        const scope = yield* Scope.make()
        return yield* Scope.extend(MemoryTransport.make({}), scope)
      })
    )
  ],
  [
    "cannot be built",
    inOrder,
    /expected no failure; actual: .*port 7777 is taken/,
    Layer.fail(new TransportError({ operation: "listen", message: "port 7777 is taken" }))
  ],
  [
    "dies",
    inOrder,
    /expected no failure; actual: .*a bug/,
    ends((_) => copy(_, { send: () => Effect.dieMessage("a bug") }))
  ]
]

describe("laws of transports", () => {
  for (const [what, law, message, layer] of transports) {
    it.live(`a transport that ${what}`, () => breaks(transportLaws(layer, { timeout }), law, message))
  }
})

type StoreService = typeof Store.Service

/** The store in memory with other operations. */
const stored = (change: (store: StoreService) => Partial<StoreService>): Layer.Layer<Store> =>
  Layer.map(MemoryStore.layer, (context) => {
    const store = Context.get(context, Store)
    return Context.make(Store, { ...store, ...change(store) })
  })

const listings = "§6.6 listings filter and page by id"
const owners =
  "§7.2 the owners of a job come back in the order in which they came, and go with their session and their job"
const rows = "§7.2 jobs, states and keys come back as they were written, and keys go when they expire"

const stores: ReadonlyArray<readonly [string, string, RegExp, Layer.Layer<Store>]> = [
  [
    "commits the half of a batch",
    "§6 a batch that breaks an invariant leaves nothing, and the next one works",
    /nothing of a failed batch; actual: its job was found/,
    stored((store) => ({
      commit: (batch) =>
        Effect.zipRight(
          store.commit({ ...batch, segments: [], deliveries: [], sessions: [] }),
          store.commit({ ...batch, jobs: [], jobStates: [] })
        )
    }))
  ],
  [
    "forgets numbers with their events",
    "§8.3 a number that was assigned stays assigned when its event is trimmed or its job removed",
    /the sessions' highest numbers after a trim to be \{"s1":11,"s2":5,"s3":40\}; actual: \{"s1":0/,
    stored((store) => ({
      recover: Effect.map(store.recover, (all) => ({
        ...all,
        sessions: all.sessions.map((session) => ({ ...session, lastSeq: 0 }))
      }))
    }))
  ],
  [
    "reads without the bound in bytes",
    "§8.3 segments that overlap a range come back in order, bounded by bytes but never none",
    /segments of 1 to 9 in one byte to be \[\[1,3\]\]; actual: \[\[1,3\],\[4,4\],\[5,9\]\]/,
    stored((store) => ({ segments: (jobId, from, to) => store.segments(jobId, from, to, 1e9) }))
  ],
  [
    "lists every principal's jobs where none may be seen",
    listings,
    /jobs of \{"principalIds":\[\]\} to be \[\]; actual: \["job_0"/,
    stored((store) => ({
      jobs: (query) => store.jobs(query.principalIds?.length === 0 ? { ...query, principalIds: undefined } : query)
    }))
  ],
  [
    "finds another principal's key",
    rows,
    /no key of another principal; actual: one was found/,
    stored((store) => ({ key: (_, key) => store.key("alice", key) }))
  ],
  [
    "keeps keys for a millisecond too long",
    rows,
    /keys removed when they expire to be 1; actual: 0/,
    stored((store) => ({ removeExpiredKeys: (now) => store.removeExpiredKeys(now - 1) }))
  ],
  [
    "orders owners by their ids",
    owners,
    /the owners in the order of one batch to be .*"a":\["s1","s3","s2"\].*; actual: .*"a":\["s1","s2","s3"\]/,
    stored((store) => ({
      commit: (batch) =>
        store.commit({ ...batch, owners: batch.owners.toSorted((a, b) => (a.sessionId < b.sessionId ? -1 : 1)) })
    }))
  ],
  [
    "gives an owner that comes again the last place",
    owners,
    /the owners after one came, and one came again to be .*\["s1","s3","s2","s4"\].*; actual: .*\["s1","s2","s4","s3"\]/,
    stored((store) => ({
      commit: (batch) =>
        Effect.zipRight(store.commit({ ...emptyBatch, ownersRemoved: batch.owners }), store.commit(batch))
    }))
  ],
  [
    "keeps owners that have left",
    owners,
    /the owners after the next one became the first to be .*"a":\["s3","s2","s4"\].*; actual: .*"a":\["s3","s3","s2","s4"\]/,
    stored((store) => ({ commit: (batch) => store.commit({ ...batch, ownersRemoved: [] }) }))
  ],
  [
    "forgets the owners of ended jobs",
    "§6.6 the owners of a job stay when it ends",
    /the other owners of the ended job to be \["s3","s2"\]; actual: \[\]/,
    stored((store) => ({
      job: (jobId) =>
        Effect.map(
          store.job(jobId),
          Option.map((job) => (job.state.endedAt === undefined ? job : { ...job, otherOwners: [] }))
        )
    }))
  ],
  [
    "lets the newest ends go",
    "§6.5 retention names the oldest ends by age, count and bytes, and removal takes everything of a job",
    /jobs that ended before 12 to be \["a","b"\]; actual: \["b","a"\]/,
    stored((store) => ({
      expiredJobs: (keep, limit) => Effect.map(store.expiredJobs(keep, limit), (_) => _.toReversed())
    }))
  ],
  [
    "treats jobs of anonymous principals as any other",
    "§14 retention takes jobs of anonymous principals first where they have more than their part, however many there are",
    /the first anonymous jobs over a part of 4 to be \["c","d"\]; actual: \["a","b"\]/,
    stored((store) => ({
      expiredJobs: ({ anonymous: _, ...keep }, limit) => store.expiredJobs(keep, limit)
    }))
  ],
  [
    "differs from the model after some history only",
    "§6 agrees with the store in memory on every read after random batches",
    /the segments after \[\{"job".*; actual: /,
    stored((store) => ({
      commit: (batch) =>
        store.commit({ ...batch, trims: batch.trims.map((trim) => ({ ...trim, upTo: trim.upTo + 3 })) })
    }))
  ],
  [
    "interrupts itself",
    listings,
    /expected no failure; actual: .*interrupted/,
    stored(() => ({ jobs: () => Effect.interrupt }))
  ],
  [
    "hangs",
    listings,
    /an end within .*; actual: it has not ended by then/,
    stored(() => ({ jobs: () => Effect.uninterruptible(Effect.never) }))
  ]
]

/** The artifacts in memory with other operations. */
const artifacts = (change: (store: typeof ArtifactStore.Service) => Partial<typeof ArtifactStore.Service>) =>
  Layer.map(ArtifactStore.layerMemory, (context) => {
    const store = Context.get(context, ArtifactStore)
    return Context.make(ArtifactStore, { ...store, ...change(store) })
  })

const ledger = (change: (of: typeof CredentialLedger.Service) => Partial<typeof CredentialLedger.Service>) =>
  Layer.map(MemoryStore.layer, (context) => {
    const of = Context.get(context, CredentialLedger)
    return Context.make(CredentialLedger, { ...of, ...change(of) })
  })

describe("laws of stores", () => {
  for (const [what, law, message, layer] of stores) {
    it.live(`a store that ${what}`, () => breaks(storeLaws(layer, { timeout }), law, message))
  }

  it.live("a store that says it is durable and forgets", () =>
    breaks(
      storeLaws(MemoryStore.layer, { timeout, place: Effect.succeed(stored(() => ({ durable: true }))) }),
      "§6.3 what was committed is there when the store is opened again, and what was removed is not",
      /the job to be \{"jobId":"stays"/
    )
  )

  it.live("artifacts: a store that hands out its own bytes, one that counts twice, one that takes any id", () =>
    Effect.gen(function* () {
      yield* breaks(
        artifactLaws(
          artifacts((store) => {
            const kept = new Map<string, Uint8Array>()
            return {
              put: (record, data) =>
                Effect.zipRight(
                  Effect.sync(() => kept.set(record.artifactId, data)),
                  store.put(record, data)
                ),
              get: (id) =>
                Effect.map(
                  store.get(id),
                  Option.map((found) => ({ ...found, data: kept.get(id)! }))
                )
            }
          }),
          { timeout }
        ),
        "§8.2 what is read or put is the caller's own, a view into a larger buffer too",
        /the bytes after the caller has changed its own to be item 0 of 10: .*; actual: 0/
      )
      yield* breaks(
        artifactLaws(
          artifacts((store) => ({ release: (id) => Effect.as(store.release(id), true) })),
          { timeout }
        ),
        "§8.2 exactly one of many releases takes an artifact, and nothing of it stays",
        /releases that took it to be 1; actual: 8/
      )
      yield* breaks(
        artifactLaws(
          artifacts(() => ({ put: () => Effect.void })),
          { timeout }
        ),
        "§8.2 an id that exists, an id that is none and a wrong size are refused and harm nothing",
        /a put under an id that exists to fail; actual: it succeeded/
      )
    })
  )

  it.live("ledgers: one that brings a revoked row back, one that sweeps too much, one that lies about durability", () =>
    Effect.gen(function* () {
      yield* breaks(
        ledgerLaws(
          ledger((of) => ({
            list: (query) =>
              Effect.map(of.list({ ...query, states: [...unrevoked, "revoked"] }), (all) =>
                all.map((row) => (row.state === "revoked" ? { ...row, state: "live" as const } : row))
              )
          })),
          { timeout }
        ),
        "§14 a revoked row stays revoked, whatever is written later",
        /the rows to be \[\["a","revoked",0\],\["b","live",0\]\]; actual: \[\["a","live",0\]/
      )
      yield* breaks(
        ledgerLaws(
          ledger((of) => ({ sweep: (before) => of.sweep(before + 1) })),
          { timeout }
        ),
        "§14 a sweep takes the rows that were revoked before the time, and no others",
        /rows swept before 5 to be 0; actual: 1/
      )
      yield* breaks(
        ledgerLaws(MemoryStore.layer, { timeout, durable: true }),
        "§14 the ledger says whether it is durable, and rows come back as they were written",
        /durable to be true; actual: false/
      )
    })
  )
})

const accepted = [{ token: "token-of-alice", principal: "alice" }] as const
const alice = { id: PrincipalId("alice"), anonymous: false, claims: {} }
const refusing = (text: string) => Effect.fail(new Unauthenticated({ message: text }))
const tokenOf = (request: Parameters<AuthenticatorService["authenticate"]>[0]) =>
  request.token === undefined ? "" : Redacted.value(request.token)

const others = "§6.1 any other credential is UNAUTHENTICATED, is not anonymous, and no refusal has a part of it"

const authenticators: ReadonlyArray<readonly [string, string, RegExp, AuthenticatorService]> = [
  [
    "accepts whatever begins like a token",
    others,
    /token "token-of-ali"… to fail; actual: it succeeded with \{"id":"alice"/,
    {
      authenticate: (request) =>
        tokenOf(request).startsWith("token-of-alice") ? Effect.succeed(alice) : refusing("no")
    }
  ],
  [
    "lets a wrong token in as an anonymous client",
    others,
    /to fail; actual: it succeeded with \{"id":"anonymous"/,
    {
      authenticate: (request) =>
        Effect.succeed(
          tokenOf(request) === "token-of-alice" ? alice : { id: PrincipalId("anonymous"), anonymous: true, claims: {} }
        )
    }
  ],
  [
    "repeats the token in its refusal",
    others,
    /a refusal without the credential/,
    {
      authenticate: (request) =>
        tokenOf(request) === "token-of-alice" ? Effect.succeed(alice) : refusing(`unknown token ${tokenOf(request)}`)
    }
  ],
  [
    "dies of a token that it cannot read",
    others,
    /expected no failure; actual: .*URI malformed|expected no failure; actual: .*not valid JSON/,
    {
      authenticate: (request) =>
        Effect.sync(() =>
          tokenOf(request) === "token-of-alice" ? alice : (JSON.parse(tokenOf(request)) as typeof alice)
        )
    }
  ],
  [
    "shows its table",
    "§14 the service shows no token, however it is printed",
    /a service that does not show token "token-of-ali"…; actual: printed, it has it/,
    Object.assign(bearer({ "token-of-alice": "alice" }), { table: { "token-of-alice": "alice" } })
  ],
  [
    "takes any scheme",
    "§6.1 a valid token under another scheme is refused, and so is a hello without a token where one is required",
    /with the scheme "basic" to fail/,
    { authenticate: (request) => (tokenOf(request) === "token-of-alice" ? Effect.succeed(alice) : refusing("no")) }
  ],
  [
    "says another thing among several",
    "§6.1 what a way says among several is what it says alone",
    /to be accepted; actual: it failed with .*Unauthenticated/,
    { ...bearer({ "token-of-alice": "alice" }), judge: () => Effect.succeed({ _tag: "NotMine" }) }
  ],
  [
    "mixes up hellos that come together",
    "§6.1 many hellos at once get each its own answer",
    /the answer to token .*, among \d+ at once/,
    (() => {
      const way = firstOf([bearer({ "token-of-alice": "alice" })])
      let last: Parameters<AuthenticatorService["authenticate"]>[0] | undefined
      return {
        authenticate: (request) =>
          Effect.suspend(() => {
            last = request
            return Effect.zipRight(
              Effect.sleep(5),
              Effect.suspend(() => way.authenticate(last ?? request))
            )
          })
      }
    })()
  ]
]

describe("laws of authenticators", () => {
  for (const [what, law, message, way] of authenticators) {
    it.live(`one that ${what}`, () =>
      breaks(authenticatorLaws(Layer.succeed(Authenticator, way), { timeout, accepted }), law, message)
    )
  }
})

describe("a list of laws", () => {
  it("names each law once, with its section, and needs no implementation to be listed", () => {
    for (const list of [
      transportLaws(MemoryTransport.layer),
      storeLaws(MemoryStore.layer),
      artifactLaws(MemoryStore.layer),
      ledgerLaws(MemoryStore.layer),
      authenticatorLaws(Authenticator.layerAnonymous, { accepted: [{}] })
    ]) {
      const names = list.map(({ name }) => name)
      expect(new Set(names).size).toBe(names.length)
      for (const name of names) expect(name).toMatch(/^§\d+/)
    }
  })

  it.scoped("keeps its time limit in real time under the TestClock too", () =>
    breaks(
      storeLaws(
        stored(() => ({ jobs: () => Effect.sleep("1 day").pipe(Effect.as([])) })),
        { timeout: 50 }
      ),
      listings,
      /an end within 50ms; actual: it has not ended by then/
    )
  )
})
