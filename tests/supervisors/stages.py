"""One small set of verbs to play a supervised tree on any system base; the contract modules know nothing else.

A stage's actors move only while a verb waits. `until` looks at the whole scene and has a deadline.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from thespian.actors import ActorAddress, ActorSystem

from agentcom.runtime import Faults, LoopSystemBase, SimSystemBase
from supervisors.messages import ChildInfo, CrashNow, To
from supervisors.root import GaveUp, Root
from supervisors.specs import ChildSpec, SupervisorSpec, with_registry
from tests.supervisors import host
from tests.supervisors.troupe import DEADLINE_S, Leave, Script, Told


class Scene(msgspec.Struct):
    """What a stage shows: the children by name, what the players told, and how the root ended, if it did."""

    children: dict[str, ChildInfo]
    tale: list[Any]
    gave_up: GaveUp | None = None

    def up(self, name: str, start: int = 1) -> bool:
        child = self.children.get(name)
        return child is not None and child.state == "up" and child.start == start

    def told(self, what: str) -> list[str]:
        """The names of who told it, in the order in which it came."""
        return [t.name for t in self.tale if isinstance(t, Told) and t.what == what]


class Stage(ABC):
    """`ordered`: what different players tell comes in the order in which it happened."""

    ordered = True
    hang_s: float | None = None  # of every child
    deadline_s = DEADLINE_S
    audience: ActorAddress  # hears what the players tell

    @abstractmethod
    def start(self, spec: SupervisorSpec) -> None:
        """Starts the tree; it need not be up when this returns."""

    @abstractmethod
    def look(self) -> Scene: ...

    @abstractmethod
    def send(self, name: str, message: object) -> None: ...

    @abstractmethod
    def kill(self, name: str) -> None:
        """Ends a child without asking it."""

    @abstractmethod
    def stop(self) -> None:
        """Asks the root to stop."""

    @abstractmethod
    def close(self) -> None: ...

    def child(self, name: str, *, script: dict[str, Any] | None = None, **spec: Any) -> ChildSpec:
        args = Script(self.audience, **(script or {}))
        fields = {"hang_s": self.hang_s, **spec}
        return ChildSpec(name=name, actor="tests.supervisors.troupe:Player", args=args, **fields)

    def until(self, met: Callable[[Scene], Any], what: str = "the scene") -> Scene:
        end = self.now() + self.deadline_s
        while not met(scene := self.look()):
            assert self.now() < end, f"{what} did not come in {self.deadline_s} s: {scene}"
        return scene

    def now(self) -> float:
        return time.monotonic()

    def end(self, name: str, how: str) -> None:
        if how == "kill":
            self.kill(name)
        else:
            self.send(name, CrashNow() if how == "crash" else Leave(how))

    def mail(self, supervisor: str, name: str, message: object) -> None:
        self.send(supervisor, To(name, message))


class LoopStage(Stage):
    """LoopSystemBase on a loop that runs while a verb waits."""

    def __init__(self, *, strict: bool) -> None:
        self._runner = asyncio.Runner()
        self._base = self._runner.run(self._open(strict))
        self._tale: list[Any] = []
        self._port = self._base.open_port(lambda msg, _sender: self._tale.append(msg))
        self.audience = self._port.address
        self._root: Root | None = None
        self._opening: asyncio.Task[Root] | None = None

    async def _open(self, strict: bool) -> LoopSystemBase:
        return LoopSystemBase(strict=strict, loop=asyncio.get_running_loop())

    def start(self, spec: SupervisorSpec) -> None:
        self._root = self._runner.run(Root.start(self._base, spec))

    def look(self) -> Scene:
        return self._runner.run(self._look())

    async def _look(self) -> Scene:
        assert self._root is not None
        await asyncio.sleep(0)
        children = await self._root.children()
        gave_up = self._root.failed.result() if self._root.failed.done() else None
        return Scene(children, list(self._tale), gave_up)

    def send(self, name: str, message: object) -> None:
        self._runner.run(self._send(self._address(name), message))

    async def _send(self, address: ActorAddress, message: object) -> None:
        self._port.send(address, message)

    def _address(self, name: str) -> ActorAddress:
        address = self.look().children[name].address
        assert address is not None, f"{name} does not run"
        return address

    def kill(self, name: str) -> None:
        self._base.dispatcher.kill(self._address(name).sink)

    def stop(self) -> None:
        assert self._root is not None
        self._runner.run(self._root.stop())

    def close(self) -> None:
        self._runner.run(self._base.aclose())
        self._runner.close()


class SimStage(Stage):
    """SimSystemBase: the seed decides whose turn it is, and what becomes of exit notices. Its seconds cost nothing."""

    deadline_s = 60.0

    def __init__(self, seed: int, faults: Faults | None = None, hang_s: float | None = None) -> None:
        self.hang_s = hang_s
        self._sim = SimSystemBase(seed, faults=faults)
        self._tale: list[Any] = []
        self._port = self._sim.open_port(lambda msg, _sender: self._tale.append(msg))
        self.audience = self._port.address
        self._root: Root | None = None

    def start(self, spec: SupervisorSpec) -> None:
        self._root = self._sim.run(Root.start(self._sim, spec))

    def now(self) -> float:
        return self._sim.monotonic()

    def look(self) -> Scene:
        """A little time passes, in which timers may fire."""
        assert self._root is not None
        self._sim.advance(0.5)
        children = self._sim.run(self._root.children())
        gave_up = self._root.failed.result() if self._root.failed.done() else None
        return Scene(children, list(self._tale), gave_up)

    def send(self, name: str, message: object) -> None:
        self._port.send(self._sim.find(name).address, message)

    def kill(self, name: str) -> None:
        self._sim.kill(name)

    def stop(self) -> None:
        assert self._root is not None
        self._sim.run(self._root.stop())

    def close(self) -> None:
        self._sim.faults = Faults()
        self._sim.shutdown()


class ProcessStage(Stage):
    """Thespian's stock multiprocTCPBase: each actor a process, killed by signal; a host actor holds the root."""

    ordered = False
    deadline_s = 60.0  # for a machine that has little time for a dozen processes

    def __init__(self, log: Path) -> None:
        os.environ["THESPLOG_FILE"] = str(log)
        capabilities = {"Admin Port": free_port(), "Convention Address.IPv4": None}
        self._asys = ActorSystem("multiprocTCPBase", capabilities, logDefs=host.QUIET, transientUnique=True)
        self.audience = self._asys.createActor(host.Host)
        self._asked = 0
        self._session = os.getsid(self._ask(host.Who()).pid)
        assert self._session != os.getsid(0), "it would end the tests with the actors"

    def _ask(self, question: Any) -> Any:
        """A late answer to an earlier question is no answer to this one."""
        self._asked += 1
        answer = self._asys.ask(self.audience, (self._asked, question), 2.0)
        end = time.monotonic() + self.deadline_s
        while not (isinstance(answer, tuple) and answer[0] == self._asked):
            assert time.monotonic() < end, f"the host does not answer {question}"
            answer = self._asys.listen(1.0) or self._asys.ask(self.audience, (self._asked, question), 1.0)
        return answer[1]

    def start(self, spec: SupervisorSpec) -> None:
        self._ask(host.Begin(with_registry(spec)))

    def look(self) -> Scene:
        seen = self._ask(host.Look())
        return Scene({child.name: child for child in seen.children}, seen.tale, seen.gave_up)

    def send(self, name: str, message: object) -> None:
        self._ask(host.Pass(name, message))

    def kill(self, name: str) -> None:
        os.kill(self.look().children[name].pid, signal.SIGKILL)

    def stop(self) -> None:
        self._ask(host.Close())

    def processes(self) -> list[int]:
        return [pid for pid in pids() if session_of(pid) == self._session]

    def close(self) -> None:
        """What outlives the shutdown is ended by pid, as the session tells whose it is."""
        self._asys.shutdown()
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):  # it was ending by itself
                os.kill(pid, signal.SIGKILL)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def session_of(pid: int) -> int:
    """-1 for one that has ended meanwhile, or has only its parent to wait for."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return -1
    return -1 if fields[0] == "Z" else int(fields[3])
