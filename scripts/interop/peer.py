"""The other side of `npm run interop:python`: the published package's client in flows, and its runtime with a few agents.

peer.py client URL           its client, over WebSocket
peer.py client COMMAND...    its client, over the stdio of a process
peer.py serve ws|stdio       its runtime; `ws` prints its URL
"""

import asyncio
import json
import sys
import time

import structlog

from arcp import ARCPError, ClientInfo, RuntimeInfo, SessionResume, StdioTransport, WebSocketTransport, serve_websocket
from arcp.client import ARCPClient
from arcp.runtime import ARCPRuntime, StaticBearerVerifier

# Its logger writes to stdout, which has frames or results.
structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))

TOKEN = "interop-token"
LIMIT = 30  # seconds for a flow


class Failed(Exception):
    pass


def check(condition, what):
    if not condition:
        raise Failed(what)


def equal(actual, expected):
    check(actual == expected, f"{str(actual)[:80]} instead of {str(expected)[:80]}")


class World:
    """Connections to one runtime, all closed at the end of a flow."""

    def __init__(self, target):
        self.target = target
        self.clients = []
        self.processes = []

    @property
    def is_socket(self):
        return self.target[0].startswith("ws")

    async def transport(self):
        if self.is_socket:
            return await WebSocketTransport.connect(self.target[0])
        process = await asyncio.create_subprocess_exec(
            *self.target, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=2**21
        )
        self.processes.append(process)
        return await StdioTransport.from_process_pipes(process)

    def client(self, token=TOKEN):
        made = ARCPClient(client=ClientInfo(name="interop", version="1"), token=token, handshake_timeout_sec=20.0)
        self.clients.append(made)
        return made

    async def connect(self, token=TOKEN):
        client = self.client(token)
        await client.connect(await self.transport())
        return client

    async def end(self):
        for client in self.clients:
            try:
                await asyncio.wait_for(client.close(), 3)
            except Exception:
                pass
        for process in self.processes:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def code_of(awaitable):
    try:
        await awaitable
    except ARCPError as error:
        return error.code
    return "no error"


async def welcome(world):
    client = await world.connect()
    check(client.session_id, "no session id")
    check("result_chunk" in client.negotiated_features, "features")
    check(any(agent.name == "echo" for agent in client.welcome.capabilities.agents), "agents")


async def submit(world):
    client = await world.connect()
    handle = await client.submit(agent="echo", input={"text": "hi"})
    equal((await handle.done).result, {"text": "hi"})


async def events(world):
    client = await world.connect()
    handle = await client.submit(agent="counter", input={"count": 300})
    seen = [event async for event in handle.events()]
    equal([e["body"]["message"] for e in seen if e["kind"] == "log"], [f"event {n}" for n in range(1, 301)])
    equal([e["body"]["current"] for e in seen if e["kind"] == "progress"], [300])


async def refusal(world):
    client = await world.connect()
    equal(await code_of(client.submit(agent="nobody")), "AGENT_NOT_AVAILABLE")
    handle = await client.submit(agent="echo", input=1)
    equal((await handle.done).result, 1)


async def failure(world):
    client = await world.connect()
    handle = await client.submit(agent="fail")
    equal(await code_of(handle.done), "INTERNAL_ERROR")
    check(client._read_task and not client._read_task.done(), "its reader died")


async def streamed(world):
    client = await world.connect()
    handle = await client.submit(agent="stream", input={"chunks": 40, "size": 100_000})
    equal(len(await handle.collect_chunks()), 4_000_000)
    equal((await handle.done).result_size, 4_000_000)


async def large(world):
    client = await world.connect()
    text = "é" * 350_000
    handle = await client.submit(agent="echo", input=text)
    equal((await handle.done).result, text)


async def listing(world):
    client = await world.connect()
    handle = await client.submit(agent="gate", input="listing")
    rows = (await client.list_jobs()).jobs
    check(any(row.job_id == handle.job_id and row.submitted_at for row in rows), "the job is not listed")


async def eight(world):
    client = await world.connect()
    handles = await asyncio.gather(
        *(client.submit(agent="counter", input={"count": 200 + n}) for n in range(8))
    )
    equal([(await handle.done).result for handle in handles], [{"count": 200 + n} for n in range(8)])


async def repeat(world):
    first, second = await world.connect(), await world.connect()
    handle = await first.submit(agent="gate", input="repeat", idempotency_key="repeat")
    again = await second.submit(agent="gate", input="repeat", idempotency_key="repeat")
    equal(again.job_id, handle.job_id)
    await (await first.submit(agent="open", input="repeat")).done
    equal((await again.done).result, "repeat")
    third = await world.connect()
    late = await third.submit(agent="gate", input="repeat", idempotency_key="repeat")
    equal((await late.done).result, "repeat")


async def observe(world):
    owner, observer = await world.connect(), await world.connect()
    handle = await owner.submit(agent="gate", input="observe")
    subscription = await observer.subscribe(handle.job_id)
    await (await owner.submit(agent="open", input="observe")).done
    equal((await subscription.handle.done).result, "observe")
    equal((await handle.done).result, "observe")


async def refused_observer(world):
    client = await world.connect()
    equal(await code_of(client.subscribe("job_none")), "JOB_NOT_FOUND")


async def resume(world):
    first = await world.connect()
    handle = await first.submit(agent="gate", input="resume")
    facts = SessionResume(
        session_id=first.session_id, resume_token=first.welcome.resume_token, last_event_seq=first.latest_event_seq
    )
    await first._transport.close()
    second = world.client()
    resumed = await second.resume(await world.transport(), resume=facts)
    equal(resumed.session_id, facts.session_id)
    await (await second.submit(agent="open", input="resume")).done
    rows = (await second.list_jobs()).jobs
    check(any(row.job_id == handle.job_id for row in rows), "the job is gone")


async def gone(world):
    facts = SessionResume(session_id="sess_gone", resume_token="rt_gone", last_event_seq=0)
    equal(await code_of(world.client().resume(await world.transport(), resume=facts)), "RESUME_WINDOW_EXPIRED")


async def wrong_token(world):
    equal(await code_of(world.connect("wrong")), "UNAUTHENTICATED")


async def acknowledge(world):
    client = await world.connect()
    handle = await client.submit(agent="counter", input={"count": 50})
    await handle.done
    await client.ack(client.latest_event_seq)
    equal((await (await client.submit(agent="echo", input=1)).done).result, 1)


async def close(world):
    client = await world.connect()
    await client.submit(agent="gate", input="close")
    await client.close()
    check(client._transport.is_closed, "it is open")


async def dead_reader(client, handle):
    """What its reader does not take leaves the handle open: the flow ends with the reader."""
    done = asyncio.ensure_future(_await(handle.done))
    await asyncio.wait({done, client._read_task}, return_when=asyncio.FIRST_COMPLETED)
    if not done.done():
        done.cancel()
        raise Failed("its reader died")
    return done.result()


async def _await(awaitable):
    return await awaitable


async def cancel(world):
    client = await world.connect()
    handle = await client.submit(agent="gate", input="cancel")
    await client.cancel_job(handle.job_id)
    equal(await code_of(dead_reader(client, handle)), "CANCELLED")


async def time_out(world):
    client = await world.connect()
    handle = await client.submit(agent="gate", input="time out", max_runtime_sec=1)
    equal(await code_of(dead_reader(client, handle)), "TIMEOUT")


async def budget(world):
    client = await world.connect()
    handle = await client.submit(agent="echo", input=1, lease_request={"cost.budget": ["USD:1.00"]})
    equal((await handle.done).result, 1)


ANY = [
    ("welcome", welcome),
    ("submit", submit),
    ("events and progress", events),
    ("refused submit, then another", refusal),
    ("the agent's own failure", failure),
    ("streamed result of 4 MB", streamed),
    ("inline result of 700 KB", large),
    ("listing", listing),
    ("eight jobs at once", eight),
    ("refused subscription", refused_observer),
    ("wrong token", wrong_token),
    ("resume of a session that is gone", gone),
    ("acknowledge", acknowledge),
    ("close", close),
    ("cancel", cancel),
    ("time out", time_out),
    ("budget", budget),
]
# These need two connections to one runtime.
SOCKETS = [("repeat of a key", repeat), ("observer", observe), ("resume", resume)]


async def run_client(target):
    for name, flow in ANY + (SOCKETS if World(target).is_socket else []):
        world = World(target)
        started = time.monotonic()
        problem = None
        try:
            async with asyncio.timeout(LIMIT) as bound:
                await flow(world)
        except Exception as error:
            problem = f"nothing after {LIMIT} s" if bound.expired() else f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        await world.end()
        print(json.dumps({"flow": name, "problem": problem, "millis": round((time.monotonic() - started) * 1000)}), flush=True)


def make_runtime():
    runtime = ARCPRuntime(
        runtime=RuntimeInfo(name="interop", version="1"),
        bearer=StaticBearerVerifier({TOKEN: "alice"}),
    )
    gates = {}

    async def echo(value, ctx):
        return value

    async def counter(value, ctx):
        for n in range(1, value["count"] + 1):
            await ctx.log("info", f"event {n}")
        await ctx.progress(value["count"], total=value["count"])
        return {"count": value["count"]}

    async def gate(value, ctx):
        await ctx.log("info", "waiting")
        await gates.setdefault(value, asyncio.Event()).wait()
        return value

    async def opened(value, ctx):
        gates.setdefault(value, asyncio.Event()).set()
        return value

    async def fail(value, ctx):
        raise RuntimeError("no luck")

    async def stream(value, ctx):
        async with ctx.stream_result() as writer:
            for _ in range(value["chunks"]):
                await writer.write("x" * value["size"])

    agents = {"echo": echo, "counter": counter, "gate": gate, "open": opened, "fail": fail, "stream": stream}
    for name, agent in agents.items():
        runtime.register_agent_version(name, "1.0.0", agent)
    return runtime


async def run_runtime(how):
    runtime = make_runtime()
    if how == "stdio":
        await runtime.accept(await StdioTransport.from_std_streams())
        return
    server = await serve_websocket(runtime.accept, host="127.0.0.1", port=0, path="/arcp")
    port = server.sockets[0].getsockname()[1]
    print(f"ws://127.0.0.1:{port}/arcp", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    mode, *rest = sys.argv[1:]
    asyncio.run(run_client(rest) if mode == "client" else run_runtime(rest[0]))
