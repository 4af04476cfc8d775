"""A hub's edge under test: real uvicorn, gateway, supervisors and registry; fake lanes, agents and presence.

Unrealistic: lanes keep nothing, agents welcome everyone, and the store is plain dicts (with the real contract).
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec

from actors.gateway import GatewayArgs
from agentcom.config import Config
from agentcom.core.directory import digest
from agentcom.core.messages import (
    AskPresence,
    Fault,
    Operate,
    Reply,
    SessionClosed,
    SessionFrame,
    SessionOpened,
    Submit,
    ToSession,
)
from agentcom.protocol.bodies import Submitted
from agentcom.protocol.frames import Heartbeat, HeartbeatAck, TaskAck, TaskReport, Welcome
from agentcom.protocol.ops import Put
from agentcom.protocol.rows import LANES, Repo, TaskBody, TaskState, Token
from agentcom.runtime import LoopSystemBase
from agentcom.store import MemoryStore
from agentcom.store.messages import Commit, Open
from agentcom.store.reader import Reader
from agentcom.web.edge import Edge
from agentcom.web.server import listen
from supervisors.base import Supervised
from supervisors.root import Root
from supervisors.specs import ChildSpec, DynamicSpec, SupervisorSpec, dynamic

DEADLINE_S = 10.0
_stores: dict[int, MemoryStore] = {}


class SharedReader(Reader):
    """Crosses strict mode's pickling as a name, as a real one would cross by its folder."""

    def __init__(self, number: int) -> None:
        super().__init__(_stores[number])
        self.number = number

    def __reduce__(self) -> Any:
        return SharedReader, (self.number,)


class FakeStore(Supervised):
    """Only a name to need."""


class FakePresence(Supervised):
    def on_message(self, msg: Any, sender: Any) -> None:
        if isinstance(msg, AskPresence):
            known = [{"agent_id": "ada", "state": "idle"}]
            body = {"agents": known} if msg.agent_id in ("", "ada") else Fault("not_found", "no such agent")
            self.send(msg.reply_to, Reply(msg.request, body))


class FakeLane(Supervised):
    """Answers submits at once, and repeats by key; description "crash" crashes it, "silence" gets no answer."""

    def on_start(self, args: Any) -> None:
        self.count = 0
        self.keys: dict[tuple[str, str], Submitted] = {}
        self.ready()

    def on_message(self, msg: Any, sender: Any) -> None:
        if isinstance(msg, Submit):
            self._submit(msg)
        elif isinstance(msg, Operate):
            self.send(msg.reply_to, Reply(msg.request, {"task_id": msg.task_id, "verb": msg.verb, "by": msg.by}))

    def _submit(self, msg: Submit) -> None:
        if any(item.description == "crash" for item in msg.items):
            raise RuntimeError("asked to crash")
        if not any(item.description == "silence" for item in msg.items):
            self.send(msg.reply_to, Reply(msg.request, [self._one(msg.submitter, item) for item in msg.items]))

    def _one(self, submitter: str, item: Any) -> Any:
        known = self.keys.get((submitter, item.idempotency_key)) if item.idempotency_key else None
        if known is not None:
            return msgspec.structs.replace(known, repeated=True)
        if item.description == "full":
            return Fault("overloaded", "the lane is full", retry_after_ms=500)
        self.count += 1
        done = Submitted(
            task_id=f"{self.name}-{self.count}", status="queued", priority=LANES.index(item.priority), created_at=1
        )
        self.keys[submitter, item.idempotency_key] = done
        return done


class FakeAgent(Supervised):
    """Welcomes any session and answers heartbeats and reports."""

    def on_start(self, args: Any) -> None:
        self.closed: list[SessionClosed] = []
        self.ready()

    def on_message(self, msg: Any, sender: Any) -> None:
        if isinstance(msg, SessionOpened):
            self.to_session(msg.conn, welcome(msg))
        elif isinstance(msg, SessionFrame):
            self._frame(msg.conn, msg.frame)

    soft_needs = ("gateway",)

    def to_session(self, conn: str, frame: Any) -> None:
        self.tell("gateway", ToSession(conn, frame))

    def _frame(self, conn: str, frame: Any) -> None:
        if isinstance(frame, Heartbeat):
            if frame.id == "flood":
                for _ in range(64):
                    self.to_session(conn, HeartbeatAck(re="x" * 60_000))
            self.to_session(conn, HeartbeatAck(re=frame.id))
        elif isinstance(frame, TaskReport):
            ack = TaskAck(task_id=frame.task_id, generation=frame.generation, status="accepted", re=frame.id)
            self.to_session(conn, ack)


def welcome(opened: SessionOpened) -> Welcome:
    return Welcome(
        session=opened.conn,
        agent_id=opened.hello.agent_id,
        epoch=0,
        heartbeat_ms=1,
        lease_ms=1,
        grace_ms=1,
        time_ms=1,
        re=opened.hello.id,
    )


TOKENS = {"agent-token": ("ada", "agent"), "operator-token": ("olga", "operator"), "admin-token": ("ann", "admin")}


class Hub:
    """What a test holds: the edge's URL, the rows, the tree."""

    def __init__(self, number: int, base: LoopSystemBase, edge: Edge, root: Root, port: int) -> None:
        self.store, self.base, self.edge, self.root, self.port = _stores[number], base, edge, root, port
        self.http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=DEADLINE_S)
        self.ws_url = f"ws://127.0.0.1:{port}/ws"

    async def request(self, method: str, path: str, *, token: str = "operator-token", **kw: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        headers |= kw.pop("headers", {})
        return await self.http.request(method, path, headers=headers, **kw)

    def put(self, *puts: Put) -> None:
        commit(self.store, *puts)


def commit(store: MemoryStore, *puts: Put) -> None:
    for put in puts:
        writer = {"task": "lane.normal", "body": "lane.normal", "by_phase": "lane.normal"}.get(put.table, "directory")
        [opened] = store.commit(Open(writer))
        store.commit(Commit(writer, opened.incarnation, 1, "test", (put,)))


def task_puts(task_id: str, **fields: Any) -> tuple[Put, ...]:
    given: dict[str, Any] = {
        "lane": "normal",
        "phase": "queued",
        "order": 1,
        "signature": "0" * 16,
        "created_ms": 1,
        "updated_ms": 2,
        "submitter": "olga",
    }
    state = TaskState(id=task_id, **(given | fields))
    return Put("task", (task_id,), state), Put("body", (task_id,), TaskBody(description=f"do {task_id}"))


def fill(store: MemoryStore) -> None:
    for n, (secret, (subject, role)) in enumerate(TOKENS.items()):
        commit(store, Put("token", (digest(secret),), Token(f"t{n}", subject, role, 1)))  # type: ignore[arg-type]
    commit(store, Put("repo", ("demo",), Repo("demo", "https://example.org/demo.git")))
    commit(store, *task_puts("t-1"))


def tree(args: GatewayArgs) -> SupervisorSpec:
    here = "tests.web.troupe"
    agent = ChildSpec(name="agent.", actor=f"{here}:FakeAgent")
    return SupervisorSpec(
        strategy="one_for_one",
        intensity=100,
        children=(
            ChildSpec(name="store", actor=f"{here}:FakeStore"),
            ChildSpec(name="directory", actor=f"{here}:FakeStore"),
            *(ChildSpec(name=f"lane.{lane}", actor=f"{here}:FakeLane") for lane in LANES),
            dynamic("agents", DynamicSpec(template=agent)),
            ChildSpec(name="gateway", actor="actors.gateway:GatewayActor", args=args),
            ChildSpec(name="presence", actor=f"{here}:FakePresence"),
        ),
    )


async def delegate(route: str, args: dict[str, str]) -> Any:
    if args.get("name") == "broken":
        raise RuntimeError("a bug in the composition root")
    return {"route": route, "name": args.get("name", "")}


@contextlib.asynccontextmanager
async def running(config: Config, *, strict: bool = True, spec: Any = tree) -> AsyncIterator[Hub]:
    number = len(_stores)
    _stores[number] = MemoryStore()
    fill(_stores[number])
    base = LoopSystemBase(strict=strict, loop=asyncio.get_running_loop())
    listener = listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    edge = Edge(base, config, delegate)
    root = await Root.start(base, spec(GatewayArgs(config, SharedReader(number))))
    root.watch(["gateway"], lambda up: edge.gateway_up(up.address, up.incarnation), lambda _: edge.gateway_down())
    await edge.start(listener)
    hub = Hub(number, base, edge, root, port)
    try:
        await until_ready(hub)
        yield hub
    finally:
        await hub.http.aclose()
        await edge.drain(4.0)
        await root.stop()
        await base.aclose()


async def until_ready(hub: Hub) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while (await hub.http.get("/ready")).status_code != 200:  # noqa: ASYNC110 - asked again over the wire
            await asyncio.sleep(0.01)
