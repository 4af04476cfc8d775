"""One life of the hub's process: its real tree on a simulated base, its edge, and where it ends.

Everything the hub takes from the machine it runs on is replaced here and nowhere else: clocks, randomness, ids,
secrets, the disk's weather, the log. What is replaced is put back when the run ends.
"""

import logging
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any
from unittest import mock

import msgspec
import structlog

import actors.lane
import actors.store
import actors.verifier
import supervisors.dynamic
import supervisors.supervisor
from agentcom.config import Config
from agentcom.entropy import SystemEntropy
from agentcom.protocol.ops import Put
from agentcom.protocol.rows import Agent, Token
from agentcom.protocol.tokens import token_hash
from agentcom.runtime import SystemClock
from agentcom.store import disk as store_disk
from agentcom.store import env as store_env
from agentcom.store import redo as store_redo
from agentcom.store import switching as store_switching
from agentcom.store import verify as store_verify
from agentcom.store.commits import Engine
from agentcom.store.env import open_environment
from agentcom.store.errors import StoreClosed
from agentcom.store.findings import Findings
from agentcom.store.folding import check_fold
from agentcom.store.messages import Commit, Open
from agentcom.store.verify import examine
from hubsim.disk import Weather, WeatheredDisk
from hubsim.edge import SimEdge
from supervisors.base import Supervised
from supervisors.messages import AskStop, Configure, Crashed, Down, Exiting, Ready, RegistryAt, Up, Watch
from supervisors.specs import ChildSpec, DynamicSpec, SupervisorSpec, with_registry
from supervisors.supervisor import Supervisor
from supervisors.tree import hub_tree

LOG_LINES = 60
CRASHES = {"child.crashed", "root.crashed", "crash.last_words_failed", "runtime.failed", "gateway.unreadable",
           "verify.failed", "verify.ended"}  # fmt: skip


class SeededEntropy(SystemEntropy):
    def __init__(self, draw: Random) -> None:
        super().__init__()
        self._random = Random(draw.random())


class Surroundings:
    """What outlives a process: the clock, the dice, the folder and its disk, and the newest lines of the log."""

    def __init__(self, clock: Any, draw: Random, folder: Path) -> None:
        self.clock, self.draw, self.folder = clock, draw, folder
        self.weather = Weather()
        self.bugs: list[str] = []
        self.touched_lanes: list[Any] = []
        self.log: deque[str] = deque(maxlen=LOG_LINES)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        draw = self.draw
        dice = SimpleNamespace(random=draw.random)
        virtual = self.clock.monotonic
        time = SimpleNamespace(time=self.clock.now, monotonic=virtual, perf_counter=virtual)
        with ExitStack() as stack:
            for name in ("now", "monotonic"):
                stack.enter_context(
                    mock.patch.object(SystemClock, name, staticmethod(getattr(self.clock, name)))
                )
            for module in (store_disk, store_redo, store_switching, store_verify):
                stack.enter_context(mock.patch.object(module, "time", time))
            for module in (supervisors.supervisor, supervisors.dynamic):
                stack.enter_context(mock.patch.object(module, "random", dice))
            stack.enter_context(mock.patch.object(actors.lane, "SystemEntropy", partial(SeededEntropy, draw)))
            stack.enter_context(mock.patch.object(actors.store, "Disk", self._disk))
            stack.enter_context(mock.patch.object(actors.verifier, "Tool", InProcess))
            stack.enter_context(mock.patch.object(actors.lane.LaneActor, "receiveMessage", self._noted()))
            stack.enter_context(quiet(self._note))
            yield

    def _noted(self) -> Any:
        """A lane that handles a message may have changed its windows."""
        touched = self.touched_lanes

        def receive(actor: Any, message: Any, sender: Any) -> None:
            touched.append(actor)
            Supervised.receiveMessage(actor, message, sender)

        return receive

    def _disk(self, settings: Any, thread: Any) -> WeatheredDisk:
        return WeatheredDisk(settings, thread, self.weather, self.clock)

    def _note(self, event: str, fields: dict[str, Any]) -> None:
        """A crash that nobody injected is a bug, and so is an exception that was only logged."""
        if event in CRASHES and "InjectedCrash" not in str(fields):
            self.bugs.append(f"{event}: {fields.get('reason') or fields.get('error') or fields.get('first')}")
        told = " ".join(f"{name}={str(value)[-600:]}" for name, value in fields.items())
        self.log.append(f"{self.clock.monotonic():10.3f}  {event} {told}")


class InProcess:
    """The verifier's tool, on the store that this process has open: a child could not be reproduced."""

    def __init__(self, _name: str) -> None:
        pass

    def run(self, job: dict[str, Any]) -> Any:
        source = store_env.opened(Path(job["store"]).parent)
        if source is None:
            raise StoreClosed(job["store"])
        findings = Findings()
        report = examine(source, findings)
        report.fold = check_fold(source, None, None, findings)
        return msgspec.to_builtins(report)

    def stop(self) -> None:
        pass


@contextmanager
def quiet(note: Any) -> Iterator[None]:
    """Log events go to `note` and nowhere else."""

    def keep(_: Any, level: str, event: dict[str, Any]) -> Any:
        if level in ("warning", "error", "critical", "exception"):
            note(event.pop("event", ""), event)
        raise structlog.DropEvent

    before, handler = structlog.get_config(), RuntimeLog(note)
    runtime = logging.getLogger("agentcom.runtime")
    structlog.configure(processors=[keep], cache_logger_on_first_use=False)
    runtime.addHandler(handler)
    runtime.propagate, propagates = False, runtime.propagate
    try:
        yield
    finally:
        runtime.removeHandler(handler)
        runtime.propagate = propagates
        structlog.configure(**before)


class RuntimeLog(logging.Handler):
    """What the runtime says: an exception that reached it left an actor's own shell."""

    def __init__(self, note: Any) -> None:
        super().__init__(logging.WARNING)
        self._note = note

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        self._note(
            "runtime.failed" if error else "runtime.warned",
            {"text": record.getMessage(), "error": repr(error)},
        )


# --- the folder -------------------------------------------------------------------------------------


def prepare(folder: Path, agents: dict[str, tuple[str, ...]], now: Any) -> None:
    """A hub's folder with its agents registered and tokens for all, as if it had been used before."""
    env = open_environment(folder, sync=False)
    engine = Engine(env, now=now)
    [opened] = engine.commit(Open("directory"))
    tokens = [("secret-of-op", Token("op", "op", "operator", 1))]
    tokens += [(f"secret-of-{name}", Token(name, name, "agent", 1)) for name in agents]
    ops: list[Any] = [Put("token", (token_hash(secret),), row) for secret, row in tokens]
    ops += [Put("agent", (name,), Agent(name, of, 1, 1)) for name, of in agents.items()]
    engine.commit(Commit("directory", opened.incarnation, 1, "prepared", tuple(ops)))
    env.mark_clean()
    env.close()


def abandon(folder: Path) -> None:
    """What the kernel does when the process that has the folder open is gone."""
    env = store_env.opened(folder)
    if env is not None:
        env.close()


# --- the tree ---------------------------------------------------------------------------------------


def with_surroundings(spec: Any, on_panic: Any) -> Any:
    """The same tree; a panic of the store ends the simulated process, not this one."""
    if isinstance(spec, SupervisorSpec):
        children = tuple(with_surroundings(child, on_panic) for child in spec.children)
        return msgspec.structs.replace(spec, children=children)
    if isinstance(spec, ChildSpec) and isinstance(spec.args, SupervisorSpec | DynamicSpec):
        return msgspec.structs.replace(spec, args=with_surroundings(spec.args, on_panic))
    if isinstance(spec, ChildSpec) and spec.name == "store":
        return msgspec.structs.replace(spec, args=msgspec.structs.replace(spec.args, on_panic=on_panic))
    return spec


class Panic:
    """Where the store says that the disk failed. Pickles as itself, so that a strict base can carry it."""

    def __init__(self) -> None:
        self.reason = ""

    def __call__(self, reason: str) -> None:
        self.reason = reason

    def __reduce__(self) -> Any:
        return _the_panic, ()


PANIC = Panic()


def _the_panic() -> Panic:
    return PANIC


class Root:
    """`supervisors.root` without asyncio: watches the tree from outside it."""

    def __init__(self, base: Any, spec: SupervisorSpec, edge: SimEdge) -> None:
        self.ready = self.ended = self.stopping = False
        self.reason = ""
        self.up: dict[str, Up] = {}
        self._edge = edge
        self._port = base.open_port(self._receive)
        self.address = base.create(Supervisor)
        self._port.send(self.address, Configure("hub", 1, with_registry(spec), self._port.address))

    def stop(self) -> None:
        self.stopping = True
        self._port.send(self.address, AskStop())

    def tell(self, address: Any, message: Any) -> None:
        self._port.send(address, message)

    def _receive(self, msg: Any, _sender: Any) -> None:
        match msg:
            case Ready():
                self.ready = True
            case Crashed(_, _, reason) | Exiting(_, _, reason):
                self.ended, self.reason = True, reason
            case RegistryAt(address):
                self._down("gateway")
                self._port.send(address, Watch(("gateway",)))
            case Up():
                self.up[msg.name] = msg
                self._edge.gateway_up(msg.address, msg.incarnation)
            case Down(name):
                self._down(name)

    def _down(self, name: str) -> None:
        if self.up.pop(name, None) is not None:
            self._edge.gateway_down()


class Process:
    """From start to loss, or to an orderly end."""

    def __init__(self, around: Surroundings, base: Any, config: Config, edge: SimEdge) -> None:
        self.base, self.edge = base, edge
        self._around = around
        PANIC.reason = ""
        env = open_environment(around.folder, sync=False)
        self.found_clean = env.was_clean
        edge.open(base)
        spec = with_surroundings(hub_tree(config, str(around.folder)), PANIC)
        self.root = Root(base, spec, edge)

    @property
    def must_end(self) -> str:
        """Why the real process would have ended by itself by now, "" while it lives."""
        if PANIC.reason:
            return f"the store panicked: {PANIC.reason}"
        if self.root.ended and not self.root.stopping:
            return f"the root gave up: {self.root.reason}"
        return ""

    def lose(self) -> None:
        """Nobody is asked: the kernel takes everything back."""
        self.edge.lost()
        abandon(self._around.folder)
