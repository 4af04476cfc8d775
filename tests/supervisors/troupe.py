"""Actors that tests put under supervision, and the stage they play on.

Each player tells the stage's port what happens to it; tests wait for those tales, never for time.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

import msgspec
from thespian.actors import ActorAddress

from agentcom.runtime import LoopSystemBase
from supervisors.base import Supervised
from supervisors.messages import Children, Note, Ping, To
from supervisors.root import NodeInfo, Root
from supervisors.specs import ChildSpec, SupervisorSpec

DEADLINE_S = 10.0


class Script(Note, frozen=True):
    """What a player does besides telling its tale."""

    tale: ActorAddress
    crash_on_start_until: int = 0  # starts up to this number crash
    silent_until: int = 0  # starts up to this number never get ready
    deaf_to_stop: bool = False
    may_refuse_sleep: bool = False


class Told(Note, frozen=True):
    name: str
    what: str
    detail: Any = None


class Leave(Note, frozen=True):
    reason: str


class Boom(Note, frozen=True):
    pass


class GoToSleep(Note, frozen=True):
    pass


class Say(Note, frozen=True):
    """Told to the stage as it arrives; whoever cannot deliver it answers `Unavailable`."""

    text: str
    reply_to: ActorAddress | None = None

    def unavailable(self) -> Unavailable:
        return Unavailable(self.text)


class Unavailable(Note, frozen=True):
    text: str


class Player(Supervised):
    def on_start(self, args: Script) -> None:
        self.tell_tale("started", self.start)
        if self.start <= args.crash_on_start_until:
            raise ValueError("stage fright")
        if self.start > args.silent_until:
            self.ready()

    def on_message(self, msg: Any, sender: ActorAddress) -> None:
        match msg:
            case Leave(reason):
                self.exit(reason)
            case Boom():
                raise ValueError("boom")
            case GoToSleep():
                self.may_sleep()
            case Say(text):
                self.tell_tale("said", text)

    def on_up(self, name: str, incarnation: int) -> None:
        self.tell_tale("up", (name, incarnation))

    def on_down(self, name: str) -> None:
        self.tell_tale("down", name)

    def on_stop(self) -> None:
        self.tell_tale("stopping", self.start)
        if not self.args.deaf_to_stop:
            self.stopped()

    def on_sleep(self) -> None:
        if self.args.may_refuse_sleep:
            self.stay_awake()
        else:
            super().on_sleep()

    def tell_tale(self, what: str, detail: Any = None) -> None:
        self.send(self.args.tale, Told(self.name, what, detail))


class Stuck(Player):
    """Stands for one that handles nothing any more: on a loop a real one would hold up the test as well."""

    def receiveMessage(self, msg: Any, sender: ActorAddress) -> None:
        if not isinstance(msg, Ping):
            super().receiveMessage(msg, sender)


class StuckOnce(Stuck):
    def receiveMessage(self, msg: Any, sender: ActorAddress) -> None:
        if self.start > 1:
            Player.receiveMessage(self, msg, sender)
        else:
            super().receiveMessage(msg, sender)


class Counts(Player):
    def receiveMessage(self, msg: Any, sender: ActorAddress) -> None:
        if isinstance(msg, Ping):
            self.tell_tale("pinged")
        super().receiveMessage(msg, sender)


class NeedsA(Player):
    needs = ("a",)


class WatchesA(Player):
    soft_needs = ("a",)


class CallsAgent(Player):
    needs = ("agents",)

    def on_start(self, args: Script) -> None:
        self.tell_child("agents", "agent.x", Say("called"))
        self.ready()


class BornDead(Supervised):
    def __init__(self) -> None:
        raise RuntimeError("no such life")


def _made() -> type[Supervised]:
    class Local(Supervised):
        pass

    return Local


Homeless = _made()  # another process could not find it by the name it has of itself


class NotAnActor:
    pass


class Plain(Supervised):
    pass


class Stage:
    """A strict loop base, a tree, and what was told so far."""

    def __init__(self, base: LoopSystemBase) -> None:
        self.base = base
        self.tale: list[Any] = []
        self._news = asyncio.Event()
        self.port = base.open_port(self._told)
        self.root: Root
        self.agents: Any = None

    def _told(self, msg: Any, _sender: ActorAddress) -> None:
        self.tale.append(msg)
        self._news.set()

    def told(self, what: str, name: str | None = None) -> list[Any]:
        """Details in order, or (name, detail) pairs if no name is given."""
        found = [t for t in self.tale if isinstance(t, Told) and t.what == what]
        if name is None:
            return [(t.name, t.detail) for t in found]
        return [t.detail for t in found if t.name == name]

    async def until(self, met: Callable[[], Any]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not met():
                self._news.clear()
                await self._news.wait()

    def answered(self, request: int) -> bool:
        return any(isinstance(t, Children) and t.request == request for t in self.tale)

    async def to(self, supervisor: str, name: str, *messages: object) -> None:
        """Mail for a dynamic child."""
        address = await self.root.where(supervisor)
        assert address is not None
        for message in messages:
            self.port.send(address, To(name, message))

    async def tree_until(self, met: Callable[[dict[str, NodeInfo]], Any]) -> dict[str, NodeInfo]:
        async with asyncio.timeout(DEADLINE_S):
            while not met(tree := await self.tree()):
                pass
        return tree

    async def tree(self) -> dict[str, NodeInfo]:
        return {node.name: node for node in await self.root.tree()}

    async def send(self, name: str, msg: object) -> None:
        address = await self.root.where(name)
        assert address is not None, f"{name} is not there"
        self.port.send(address, msg)

    def child(
        self, name: str, actor: str = "Player", *, script: dict[str, Any] | None = None, **spec: Any
    ) -> ChildSpec:
        args = Script(self.port.address, **(script or {}))
        return ChildSpec(name=name, actor=f"tests.supervisors.troupe:{actor}", args=args, **spec)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Work that the scene does not wait for yet."""
        return asyncio.ensure_future(work)

    async def raise_curtain(self, spec: SupervisorSpec) -> Root:
        self.root = await Root.start(self.base, spec)
        return self.root


@contextlib.asynccontextmanager
async def stage() -> AsyncIterator[Stage]:
    base = LoopSystemBase(strict=True, loop=asyncio.get_running_loop())
    try:
        yield Stage(base)
    finally:
        await base.aclose()


def play(scene: Callable[[Stage], Awaitable[None]]) -> None:
    """Runs one scene on a fresh stage."""

    async def main() -> None:
        async with stage() as s, asyncio.timeout(6 * DEADLINE_S):
            await scene(s)

    asyncio.run(main())


def with_fields(spec: ChildSpec, **fields: Any) -> ChildSpec:
    return msgspec.structs.replace(spec, **fields)
