"""The handle on a whole tree, for the program that hosts it.

Lives here: starting and stopping the root on a system base, noticing that it gave up, looking inside.
May import: asyncio, supervisors.*. Takes the base as an argument and imports none.
Everything here runs on the base's loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import msgspec
import structlog
from thespian.actors import ActorAddress

from supervisors.inspection import Details, Inspect, Inspected
from supervisors.messages import (
    AskStop,
    ChildInfo,
    Children,
    Configure,
    Count,
    Counts,
    Crashed,
    CrashNow,
    DeleteChild,
    Done,
    Down,
    Exiting,
    Ready,
    RegistryAt,
    Request,
    Restart,
    StartChild,
    TerminateChild,
    Up,
    Watch,
    Which,
)
from supervisors.specs import (
    DYNAMIC,
    ChildSpec,
    InvalidSpecError,
    SupervisorSpec,
    names_in,
    problems,
    with_registry,
)
from supervisors.supervisor import Supervisor

log = structlog.get_logger()

ANSWER_S = 5.0


class Port(Protocol):
    @property
    def address(self) -> ActorAddress: ...
    def send(self, target: ActorAddress, message: object, /) -> None: ...
    def close(self) -> None: ...


class Base(Protocol):
    """What a system base must offer to carry a tree."""

    def open_port(self, receive: Callable[[Any, ActorAddress], None], /) -> Port: ...
    def create(self, actor_class: Any, /) -> ActorAddress: ...


class GaveUp(msgspec.Struct, frozen=True):
    """The root ended without being asked to. `last_crash` is the traceback, if there was one."""

    reason: str
    last_crash: str = ""


class NodeInfo(msgspec.Struct, frozen=True):
    """One line of the tree. `parent` is empty for the root; a supervisor precedes its children."""

    name: str
    parent: str
    kind: str
    state: str
    start: int
    incarnation: int
    restarts: int
    last_crash: str
    uptime_s: float
    address: str


class RootGaveUpError(RuntimeError):
    """The tree ended before it was ready."""

    def __init__(self, gave_up: GaveUp) -> None:
        super().__init__(gave_up)
        self.gave_up = gave_up

    def __str__(self) -> str:
        return f"the root of the tree ended: {self.gave_up.reason}"


class UnknownNameError(LookupError):
    """No such name in the tree."""


class RefusedError(RuntimeError):
    """A supervisor refused what was asked of one of its children, and said why."""


class Root:
    """`failed` resolves if the tree ends by itself: nobody supervises the root, so its host must watch it."""

    def __init__(self, base: Base, spec: SupervisorSpec, name: str) -> None:
        self.name = name
        self._dynamic = frozenset(_dynamic_in(spec))
        self.failed: asyncio.Future[GaveUp] = asyncio.get_running_loop().create_future()
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asked_to_stop = False
        self._requests: dict[int, asyncio.Future[Any]] = {}
        self._last_request = 0
        self._registry: ActorAddress | None = None
        self._ups: dict[str, Up] = {}
        self._watchers: list[tuple[frozenset[str], Callable[[Up], None], Callable[[str], None]]] = []
        self._port = base.open_port(self._receive)
        self._address = base.create(Supervisor)
        self._port.send(self._address, Configure(name, 1, spec, self._port.address))

    @classmethod
    async def start(cls, base: Base, spec: SupervisorSpec, *, name: str = "root") -> Root:
        """Returns when every child got ready once. Raises InvalidSpecError, RootGaveUpError."""
        spec = with_registry(spec)
        if wrong := problems(spec):
            raise InvalidSpecError(wrong)
        root = cls(base, spec, name)
        try:
            await asyncio.wait((root._ready, root.failed), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await root.stop()
            raise
        if root.failed.done():
            raise RootGaveUpError(root.failed.result())
        return root

    async def stop(self) -> None:
        """In reverse start order; returns when the root has ended. Takes as long as the children need."""
        if not self._asked_to_stop and not self._ended.done():
            self._asked_to_stop = True
            self._port.send(self._address, AskStop())
        await asyncio.shield(self._ended)

    # ── looking ──────────────────────────────────────────────────────────────────────────────────

    async def tree(self) -> list[NodeInfo]:
        """Depth first, each supervisor before its children. One that does not answer in time shows none."""
        found = await self._below(self.name, self._address)
        state = "ended" if self._ended.done() else "up" if self._ready.done() else "starting"
        root = NodeInfo(self.name, "", "supervisor", state, 1, 1, 0, "", 0.0, str(self._address))
        return [root, *(_node(info, parent) for parent, info in found)]

    async def inspect(self, name: str) -> Details | None:
        """What `tree` does not tell of one child; None for the root. Raises UnknownNameError."""
        if name == self.name:
            return None
        parent, _ = await self._must_find(name)
        answer: Inspected = await self._ask(parent, lambda n: Inspect(name, self._port.address, n))
        if answer.details is None:  # forgotten between the two questions
            raise UnknownNameError(f"no actor named {name} in the tree")
        return answer.details

    async def children(self) -> dict[str, ChildInfo]:
        """Every child of the tree as its supervisor sees it, by name."""
        return {info.name: info for _, info in await self._below(self.name, self._address)}

    async def restarts(self) -> dict[str, int]:
        """Of each child, by name, but not of the many below dynamic supervisors: only listing them takes its time."""
        found = await self._below(self.name, self._address, closed=self._dynamic)
        return {info.name: info.restarts for _, info in found}

    async def where(self, name: str) -> ActorAddress | None:
        """The address of a living child, static or dynamic."""
        found = await self._find(name)
        return None if found is None else found[1].address

    def watch(
        self, names: Sequence[str], on_up: Callable[[Up], None], on_down: Callable[[str], None]
    ) -> None:
        """Calls back on the loop at every Up and Down of these names; what is Up now is told soon."""
        self._watchers.append((frozenset(names), on_up, on_down))
        if self._registry is not None:
            self._port.send(self._registry, Watch(tuple(names)))

    # ── acting ───────────────────────────────────────────────────────────────────────────────────

    async def restart(self, name: str) -> None:
        """Outside every budget, out of quarantine. Returns when it has begun, as the next three do.

        All of them raise UnknownNameError, and RefusedError where the supervisor says no.
        """
        await self._request(Restart, name)

    async def terminate(self, name: str) -> None:
        """Stops one child, whatever its restart type; it comes back by `restart` or with its siblings."""
        await self._request(TerminateChild, name)

    async def delete(self, name: str) -> None:
        """Stops one child if it runs, and forgets its spec."""
        await self._request(DeleteChild, name)

    async def start_child(self, parent: str, spec: ChildSpec) -> None:
        """Adds a child after the others of a supervisor of fixed children. Raises InvalidSpecError as well."""
        _, info = await self._must_find(parent)
        names = {node.name for node in await self.tree()}
        wrong = problems(spec, parent, up=names)
        if wrong := wrong or [f"the name {name} is used already" for name in names_in(spec) if name in names]:
            raise InvalidSpecError(wrong)
        if info.kind != "supervisor" or info.address is None:
            raise RefusedError(f"{parent} is no supervisor that runs")
        await self._say(info.address, lambda n: StartChild(spec.name, self._port.address, n, spec=spec))

    async def count(self, name: str) -> Counts:
        """How many children a supervisor has. Raises UnknownNameError, RefusedError if it is none that runs."""
        _, info = await self._must_find(name)
        if info.kind != "supervisor" or info.address is None:
            raise RefusedError(f"{name} is no supervisor that runs")
        counts: Counts = await self._ask(info.address, lambda n: Count(self._port.address, n))
        return counts

    async def _request(self, kind: type[Request], name: str) -> None:
        parent, _ = await self._must_find(name, below=True)
        await self._say(parent, lambda n: kind(name, self._port.address, n))

    async def _say(self, target: ActorAddress, message: Callable[[int], object]) -> None:
        done: Done = await self._ask(target, message)
        if not done.ok:
            raise RefusedError(done.text)

    async def crash(self, name: str) -> None:
        """Chaos and tests: the actor of this name crashes as if by a bug. Raises UnknownNameError."""
        _, info = await self._must_find(name)
        if info.address is not None:
            self._port.send(info.address, CrashNow())

    # ── inside ───────────────────────────────────────────────────────────────────────────────────

    async def _below(
        self, name: str, address: ActorAddress, closed: frozenset[str] = frozenset()
    ) -> list[tuple[str, ChildInfo]]:
        """Depth first, with the name of its supervisor. One too slow to answer shows none, nor do `closed`."""
        try:
            answer: Children = await self._ask(address, lambda n: Which(self._port.address, n))
        except TimeoutError:
            return []
        found: list[tuple[str, ChildInfo]] = []
        for child in answer.children:
            found.append((name, child))
            if child.kind == "supervisor" and child.address is not None and child.name not in closed:
                found += await self._below(child.name, child.address, closed)
        return found

    async def _find(self, name: str) -> tuple[ActorAddress, ChildInfo] | None:
        addresses = {self.name: self._address}
        for parent, info in await self._below(self.name, self._address):
            if info.name == name:
                return addresses[parent], info
            if info.address is not None:
                addresses[info.name] = info.address
        return None

    async def _must_find(self, name: str, *, below: bool = False) -> tuple[ActorAddress, ChildInfo]:
        """`below`: the root itself does not do."""
        if name == self.name and not below and not self._ended.done():
            info = ChildInfo(name, "supervisor", "up", 1, 1, 0, "", 0.0, self._address)
            return self._port.address, info
        found = await self._find(name)
        if found is None:
            raise UnknownNameError(f"no actor named {name} in the tree")
        return found

    async def _ask(self, target: ActorAddress, message: Callable[[int], object]) -> Any:
        if self._ended.done():
            raise TimeoutError("the tree has ended")
        self._last_request += 1
        request = self._last_request
        self._requests[request] = answer = asyncio.get_running_loop().create_future()
        try:
            self._port.send(target, message(request))
            async with asyncio.timeout(ANSWER_S):
                return await answer
        finally:
            del self._requests[request]

    def _receive(self, msg: Any, sender: ActorAddress) -> None:
        match msg:
            case Ready():
                _settle(self._ready, None)
            case Children(request) | Done(request) | Counts(request):
                if request in self._requests:
                    _settle(self._requests[request], msg)
            case Inspected(request):
                if request in self._requests:
                    _settle(self._requests[request], msg)
            case Crashed(_, _, reason, trace, _):
                log.error("root.crashed", root=self.name, reason=reason, traceback=trace)
                self._end(GaveUp(reason, trace))
            case Exiting(_, _, reason, last_crash):
                self._end(GaveUp(reason, last_crash))
            case RegistryAt(address):
                self._adopt_registry(address)
            case Up():
                self._up(msg)
            case Down(name):
                self._down(name)

    def _end(self, gave_up: GaveUp) -> None:
        if not self._asked_to_stop:
            log.error("root.gave_up", root=self.name, reason=gave_up.reason)
            _settle(self.failed, gave_up)
        _settle(self._ended, None)
        for waiting in self._requests.values():
            if not waiting.done():
                waiting.set_exception(TimeoutError("the tree has ended"))
        for name in list(self._ups):
            self._down(name)
        self._port.close()

    def _adopt_registry(self, address: ActorAddress) -> None:
        """A new registry: whatever was Up is announced again, if it still is."""
        self._registry = address
        for name in list(self._ups):
            self._down(name)
        if names := {name for names, _, _ in self._watchers for name in names}:
            self._port.send(address, Watch(tuple(sorted(names))))

    def _up(self, up: Up) -> None:
        self._ups[up.name] = up
        for names, on_up, _ in list(self._watchers):
            if up.name in names:
                on_up(up)

    def _down(self, name: str) -> None:
        if self._ups.pop(name, None) is None:
            return
        for names, _, on_down in list(self._watchers):
            if name in names:
                on_down(name)


def _dynamic_in(spec: SupervisorSpec) -> Iterator[str]:
    for child in spec.children:
        if child.actor == DYNAMIC:
            yield child.name
        elif isinstance(child.args, SupervisorSpec):
            yield from _dynamic_in(child.args)


def _settle(future: asyncio.Future[Any], value: object) -> None:
    if not future.done():
        future.set_result(value)


def _node(info: ChildInfo, parent: str) -> NodeInfo:
    return NodeInfo(
        name=info.name,
        parent=parent,
        kind=info.kind,
        state=info.state,
        start=info.start,
        incarnation=info.incarnation,
        restarts=info.restarts,
        last_crash=info.last_crash,
        uptime_s=info.uptime_s,
        address="" if info.address is None else str(info.address),
    )
