"""A hub's edge under test: real uvicorn, gateway, directory, store and supervisors; fake lanes, agents, presence.

Unrealistic: lanes keep nothing on disk, agents welcome everyone, and the store does not fsync.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec

from actors.directory import DirectoryArgs
from actors.gateway import GatewayArgs
from actors.store import StoreArgs
from agentcom.config import Config
from agentcom.core.messages import (
    AgentStatus,
    AskPresence,
    Fault,
    Operate,
    Reply,
    SessionClosed,
    SessionFrame,
    SessionOpened,
    Several,
    Submit,
    ToSession,
)
from agentcom.core.presence import Presence
from agentcom.protocol.bodies import Operated, Submitted
from agentcom.protocol.frames import Heartbeat, HeartbeatAck, TaskAck, TaskReport, Welcome
from agentcom.protocol.live_views import ActorTold
from agentcom.protocol.ops import Put
from agentcom.protocol.rows import LANES, Repo, TaskBody, TaskState, Token
from agentcom.protocol.tokens import token_hash
from agentcom.rules import gateway_rules_of, mail_rules_of
from agentcom.runtime import LoopSystemBase
from agentcom.store import Engine, open_environment
from agentcom.store.messages import Answers, Commit, Committed, Open, Opened
from agentcom.store.settings import Settings
from agentcom.web.edge import Edge
from agentcom.web.server import listen
from supervisors.base import Supervised
from supervisors.root import Root
from supervisors.specs import ChildSpec, DynamicSpec, SupervisorSpec, dynamic

DEADLINE_S = 10.0


class FakePresence(Supervised):
    def on_message(self, msg: Any, sender: Any) -> None:
        if isinstance(msg, AskPresence):
            presence = Presence()
            presence.note(AgentStatus(agent_id="ada", state="idle"))
            self.send(msg.reply_to, presence.answer(msg))


class FakeLane(Supervised):
    """Answers submits at once, and repeats by key; descriptions tell it to do otherwise."""

    def on_start(self, args: Any) -> None:
        self.count = 0
        self.keys: dict[tuple[str, str], Submitted] = {}
        self.ready()

    def on_message(self, msg: Any, sender: Any) -> None:
        if isinstance(msg, Submit):
            self._submit(msg)
        elif isinstance(msg, Operate):
            said = f"{msg.verb} {msg.task_id} by {msg.by}"
            done = Operated(task_id=said, status="queued", previous_status="queued", priority="normal")
            self.send(msg.reply_to, Reply(msg.request, done))

    def _submit(self, msg: Submit) -> None:
        if any(item.description == "crash" for item in msg.items):
            raise RuntimeError("asked to crash")
        if not any(item.description == "silence" for item in msg.items):
            self.send(
                msg.reply_to, Reply(msg.request, [self._one(msg.submitter, item) for item in msg.items])
            )

    def _one(self, submitter: str, item: Any) -> Any:
        known = self.keys.get((submitter, item.idempotency_key)) if item.idempotency_key else None
        if known is not None:
            return msgspec.structs.replace(known, repeated=True)
        if item.description == "full":
            return Fault("overloaded", "the lane is full", retry_after_ms=500)
        self.count += 1
        done = Submitted(
            task_id=f"{self.name}-{self.count}" if item.description != "which repo?" else f"repo-{item.repo}",
            status="queued",
            priority=LANES.index(item.priority),
            created_at=1,
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
        elif isinstance(msg, Several):
            for one in msg.messages:
                self.on_message(one, sender)

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


TOKENS = {
    "agent-token": ("ada", "agent"),
    "operator-token": ("olga", "operator"),
    "admin-token": ("ann", "admin"),
}


class Hub:
    """What a test holds: the edge's URL, the tree, and a way to write rows."""

    def __init__(self, base: LoopSystemBase, edge: Edge, root: Root, port: int) -> None:
        self.base, self.edge, self.root, self.port = base, edge, root, port
        tls = edge.config.tls.cert
        self.http = httpx.AsyncClient(
            base_url=f"http{'s' if tls else ''}://127.0.0.1:{port}",
            timeout=DEADLINE_S,
            verify=ssl.create_default_context(cafile=tls)
            if tls
            else False,  # reading all the CAs takes its time
        )
        self.ws_url = f"ws://127.0.0.1:{port}/ws"
        self._answers: asyncio.Queue[Any] = asyncio.Queue()
        self.actor = base.open_port(lambda message, _: self._answers.put_nowait(message))

    async def request(
        self, method: str, path: str, *, token: str = "operator-token", **kw: Any
    ) -> httpx.Response:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        headers |= kw.pop("headers", {})
        return await self.http.request(method, path, headers=headers, **kw)

    async def put(self, *puts: Put) -> None:
        """As the lane that owns these rows would."""
        store = await self.root.where("store")
        self.actor.send(store, Open("lane.normal"))
        opened = await self._next(Opened)
        self.actor.send(store, Commit("lane.normal", opened.incarnation, 1, "test", puts))
        [done] = (await self._next(Answers)).items
        assert isinstance(done, Committed), done

    async def _next(self, kind: Any) -> Any:
        while True:
            message = await self._answers.get()
            if isinstance(message, kind):
                return message


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


def fill(folder: Path) -> None:
    """What every test finds: three tokens, a repo, a task."""
    env = open_environment(folder)
    engine = Engine(env)
    tokens = [
        Put("token", (token_hash(secret),), Token(token_hash(secret)[:16], subject, role, 1))  # type: ignore[arg-type]
        for secret, (subject, role) in TOKENS.items()
    ]
    repo = Put("repo", ("demo",), Repo("demo", "https://example.org/demo.git"))
    for writer, puts in (("directory", (*tokens, repo)), ("lane.normal", task_puts("t-1"))):
        [opened] = engine.commit(Open(writer))
        engine.commit(Commit(writer, opened.incarnation, 1, "test", puts))
    env.close()


def tree(config: Config, folder: str) -> SupervisorSpec:
    here = "tests.web.troupe"
    agent = ChildSpec(name="agent.", actor=f"{here}:FakeAgent")
    return SupervisorSpec(
        strategy="one_for_one",
        intensity=100,
        children=(
            ChildSpec(
                name="store", actor="actors.store:StoreActor", args=StoreArgs(Settings(folder, sync=False))
            ),
            ChildSpec(
                name="directory",
                actor="actors.directory:DirectoryActor",
                args=DirectoryArgs(folder, config.registration, mail_rules_of(config)),
            ),
            *(ChildSpec(name=f"lane.{lane}", actor=f"{here}:FakeLane") for lane in LANES),
            dynamic("agents", DynamicSpec(template=agent)),
            ChildSpec(
                name="gateway",
                actor="actors.gateway:GatewayActor",
                args=GatewayArgs(gateway_rules_of(config), folder),
            ),
            ChildSpec(name="presence", actor=f"{here}:FakePresence"),
        ),
    )


async def delegate(route: str, args: dict[str, str]) -> Any:
    if route == "metrics.text":
        return []
    if args.get("name") == "broken":
        raise RuntimeError("a bug in the composition root")
    return ActorTold(status=route, name=args.get("name", ""))


@contextlib.asynccontextmanager
async def running(config: Config, folder: Path, *, strict: bool = True) -> AsyncIterator[Hub]:
    fill(folder)
    base = LoopSystemBase(strict=strict, loop=asyncio.get_running_loop())
    listener = listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    edge = Edge(base, config, delegate)
    root = await Root.start(base, tree(config, str(folder)))
    root.watch(
        ["gateway"], lambda up: edge.gateway_up(up.address, up.incarnation), lambda _: edge.gateway_down()
    )
    await edge.start(listener)
    hub = Hub(base, edge, root, port)
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
        while (await hub.http.get("/ready")).status_code != 200:
            await asyncio.sleep(0.01)
