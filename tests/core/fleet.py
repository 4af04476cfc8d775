"""A whole hub without actors or sockets: the real cores of lanes, scheduler and agents, and a network between them.

Each part here mirrors its actor in `actors/`: what it tells its core and when. Mail is FIFO for each pair of
parts and otherwise arrives in the order the test chooses; a part that crashes loses its mail, its memory and
what it had not on disk. What is not realistic: the gateway has no tokens and no limits, the disk never fails.
"""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from fleet_clients import Close, Said, Sidecar
from world import Clock, LaneWorld

from agentcom.core.agent import Agent
from agentcom.core.decision import Decision, Output
from agentcom.core.directory import decide
from agentcom.core.messages import (
    Administer,
    EndSession,
    PauseChanged,
    SessionClosed,
    SessionFrame,
    SessionOpened,
    ToSession,
)
from agentcom.core.output_commit import OutputCommit
from agentcom.core.policy import Policy
from agentcom.core.scheduler import Rules, Scheduler
from agentcom.protocol.frames import Hello, Welcome
from agentcom.protocol.ops import Put
from agentcom.protocol.rows import LANES
from agentcom.protocol.rows import Agent as AgentRow
from agentcom.store.memory import MemoryStore
from agentcom.store.messages import Commit, Committed, Open
from agentcom.store.overlay import Overlay

LANE_NAMES = tuple(f"lane.{lane}" for lane in LANES)
SILENCE_S, WELCOME_S, SWEEP_S = 42.5, 30.0, 30.0
NEVER = float("inf")
NO_SECRETS: Any = None
MAX_SLEEP_S = 5.0
"""As in `actors.lane`, but longer: a run of the model should not spend its time on ticks."""


class Mail(NamedTuple):
    life: (
        int  #: of the addressee, as the sender knew it; 0 goes by way of a supervisor, which knows the newest
    )
    message: Any


class Up(NamedTuple):
    name: str
    life: int


class Down(NamedTuple):
    name: str


class Net:
    """Mail under way."""

    def __init__(self) -> None:
        self.queues: dict[tuple[str, str], deque[Mail]] = {}

    def post(self, src: str, dst: str, life: int, message: Any) -> None:
        self.queues.setdefault((src, dst), deque()).append(Mail(life, message))

    def take(self, pair: tuple[str, str]) -> Mail:
        queue = self.queues[pair]
        mail = queue.popleft()
        if not queue:
            del self.queues[pair]
        return mail

    def drop(self, *, src: str = "", dst: str = "") -> None:
        for pair in [of for of in self.queues if of[0] == src or of[1] == dst]:
            del self.queues[pair]


class Part:
    """What an actor is to the others: a name, a life, and the names it knows to be up."""

    watches: tuple[str, ...] = ()
    takes_mail = True  #: also when it is down: then the mail is lost
    asleep = False

    def __init__(self, name: str, fleet: "Fleet") -> None:
        self.name, self.fleet = name, fleet
        self.life, self.running = 0, False
        self.known: dict[str, int] = {}
        self.unwritten: deque[Commit] = deque()

    def start(self) -> None:
        self.life += 1
        self.running, self.asleep = True, False
        self.known = {name: self.fleet.up[name] for name in self.watches if name in self.fleet.up}
        self.boot()
        self.fleet.announce_up(self)

    def crash(self, written: int = 0) -> None:
        """The store may still take `written` of its commits; nobody hears of them."""
        while self.unwritten and written > 0:
            written -= 1
            self.fleet.commit(self.unwritten.popleft())
        self.unwritten.clear()
        self.running = False
        self.fleet.announce_down(self)

    @property
    def owes(self) -> bool:
        """Something that it decided is not on disk."""
        return bool(self.unwritten)

    def receive(self, message: Any) -> None:
        if isinstance(message, Up):
            self.known[message.name] = message.life
            self.on_up(message.name)
        elif isinstance(message, Down):
            if self.known.pop(message.name, None):
                self.on_down(message.name)
        else:
            self.handle(message)

    def release(self, outputs: Iterable[Output]) -> None:
        for to, message in outputs:
            self.fleet.send(self, to, message)

    def boot(self) -> None: ...
    def handle(self, message: Any) -> None: ...
    def on_up(self, name: str) -> None: ...
    def on_down(self, name: str) -> None: ...
    def write(self, count: int) -> None: ...
    def wake(self) -> None: ...

    def next_wake(self) -> float:
        return NEVER


class Outbox(list[Output]):
    """Where a `LaneWorld` puts what it releases."""

    def __init__(self, release: Callable[[Iterable[Output]], None]) -> None:
        super().__init__()
        self.extend = release  # type: ignore[method-assign]


class LanePart(Part):
    watches = ("scheduler", "gateway", *LANE_NAMES)

    def boot(self) -> None:
        self.surveying, self.ticked = False, self.fleet.clock.mono
        lane = self.name.partition(".")[2]
        fleet = self.fleet
        out, gateway_up = Outbox(self.release), "gateway" in self.known
        self.world = LaneWorld(lane, fleet.store, fleet.clock, out, gateway_up=gateway_up, **fleet.options)
        self.unwritten = self.world.unwritten
        for name in self.known:
            self.on_up(name)
        self._go_on()

    def handle(self, message: Any) -> None:
        if message == "survey":
            self.surveying = False
            self.world.carry_out([self.world.lane.survey_step()])
        else:
            self.world.tell(message)
        self._go_on()

    def _go_on(self) -> None:
        if self.world.lane.windows.is_surveying and not self.surveying:
            self.surveying = True
            self.fleet.net.post(self.name, self.name, self.life, "survey")

    def on_up(self, name: str) -> None:
        self.world.lane.up(name, self.fleet.clock.now())

    def on_down(self, name: str) -> None:
        self.world.lane.down(name)

    def write(self, count: int) -> None:
        while self.owes and count > 0:
            count -= 1
            if not self.unwritten:
                self.world.close()
            self.fleet.commits.append(self.unwritten[0])
            self.world.write(1)

    @property
    def owes(self) -> bool:
        return self.running and self.world.owes

    def wake(self) -> None:
        if self.next_wake() <= self.fleet.clock.mono:
            self.ticked = self.fleet.clock.mono
            self.world.tick()
            self._go_on()

    def next_wake(self) -> float:
        return min(self.world.lane.wake_at, self.ticked + MAX_SLEEP_S)


class AgentPart(Part):
    watches = ("scheduler", "gateway", *LANE_NAMES)

    def boot(self) -> None:
        fleet = self.fleet
        self.rows = Overlay(fleet.store.reader)
        self.tickets = OutputCommit(self.rows, lambda ops: (), self.release)
        [opened] = fleet.store.engine.apply([Open(self.name)])
        self.incarnation = opened.incarnation
        self.core = Agent(self.name.partition(".")[2], self.incarnation, fleet.policy, self.rows, 1)
        for name in self.known:
            self.on_up(name)

    def carry_out(self, decisions: Iterable[Decision]) -> None:
        for of in decisions:
            for due in (*self.tickets.take(of), *self.tickets.close()):
                self.unwritten.append(Commit(self.name, self.incarnation, *due))

    def handle(self, message: Any) -> None:
        self.carry_out(self.core.handle(message, self.fleet.clock.now()))

    def on_up(self, name: str) -> None:
        self.carry_out(self.core.up(name, self.fleet.clock.now()))

    def on_down(self, name: str) -> None:
        self.carry_out(self.core.down(name, self.fleet.clock.now()))

    def write(self, count: int) -> None:
        while self.unwritten and count > 0:
            count -= 1
            answer = self.fleet.commit(self.unwritten.popleft())
            self.tickets.committed(answer.ticket, answer.appended)

    def wake(self) -> None:
        self.carry_out(self.core.tick(self.fleet.clock.now()))

    def next_wake(self) -> float:
        return self.core.next_wake(self.fleet.clock.mono)

    @property
    def takes_mail(self) -> bool:
        return self.running or self.asleep

    def sleep(self) -> None:
        """The next mail starts it again."""
        if self.running and self.core.may_sleep and not self.tickets:
            self.running, self.asleep = False, True


class DirectoryPart(Part):
    """It never crashes alone: whatever starts after it would start again with it."""

    watches = ("gateway", *LANE_NAMES)

    def boot(self) -> None:
        self.rows = Overlay(self.fleet.store.reader)
        self.tickets = OutputCommit(self.rows, lambda ops: (), self.release)
        [opened] = self.fleet.store.engine.apply([Open(self.name)])
        self.incarnation = opened.incarnation

    def handle(self, message: Any) -> None:
        self.carry_out(decide(message, self.fleet.clock.ms, self.rows, NO_SECRETS, "invite"))

    def on_up(self, name: str) -> None:
        if name in LANE_NAMES:
            self.carry_out(Decision(outputs=(Output(name, PauseChanged()),)))

    def carry_out(self, decision: Decision) -> None:
        for due in (*self.tickets.take(decision), *self.tickets.close()):
            self.unwritten.append(Commit(self.name, self.incarnation, *due))

    def write(self, count: int) -> None:
        while self.unwritten and count > 0:
            count -= 1
            answer = self.fleet.commit(self.unwritten.popleft())
            self.tickets.committed(answer.ticket, answer.appended)


class SchedulerPart(Part):
    watches = LANE_NAMES

    def boot(self) -> None:
        self.core = Scheduler(self.fleet.rules)
        self.flushing = False
        self.sweep_at = self.fleet.clock.mono + SWEEP_S
        for name in self.known:
            self.on_up(name)

    def handle(self, message: Any) -> None:
        if message == "flush":
            self.flushing = False
            self._carry(self.core.flush())
        else:
            self._carry(self.core.on(message, self.fleet.clock.ms * 1000))

    def on_up(self, name: str) -> None:
        self._carry(self.core.lane_up(name.partition(".")[2]))  # type: ignore[arg-type]

    def on_down(self, name: str) -> None:
        self._carry(self.core.lane_down(name.partition(".")[2]))  # type: ignore[arg-type]

    def _carry(self, outputs: Iterable[Output]) -> None:
        self.release(outputs)
        if self.core.needs_flush and not self.flushing:
            self.flushing = True
            self.fleet.net.post(self.name, self.name, self.life, "flush")

    def wake(self) -> None:
        if self.sweep_at <= self.fleet.clock.mono:
            self.sweep_at = self.fleet.clock.mono + SWEEP_S
            self._carry(self.core.sweep())

    def next_wake(self) -> float:
        return self.sweep_at


class GatewayPart(Part):
    """What `core.gateway_sessions` does for a session, and no more."""

    def boot(self) -> None:
        self.agents: dict[str, str] = {}  #: conn to agent
        self.heard: dict[str, float] = {}
        self.welcomed: set[str] = set()

    def handle(self, message: Any) -> None:
        match message:
            case Said(conn, None):
                self._closed(conn)
            case Said(conn, Hello() as hello):
                self.agents[conn] = hello.agent_id
                self.heard[conn] = self.fleet.clock.mono
                self._tell(conn, SessionOpened(conn, hello))
            case Said(conn, frame) if conn in self.agents:
                self.heard[conn] = self.fleet.clock.mono
                self._tell(conn, SessionFrame(conn, frame))
            case ToSession(conn, frame) if conn in self.agents:
                if isinstance(frame, Welcome):
                    self.welcomed.add(conn)
                self.fleet.net.post(self.name, conn, 0, frame)
            case EndSession(conn, code) if self.agents.pop(conn, None):
                self.fleet.net.post(self.name, conn, 0, Close(code))

    def _tell(self, conn: str, message: Any) -> None:
        self.fleet.send(self, f"agents/agent.{self.agents[conn]}", message)

    def _closed(self, conn: str) -> None:
        if conn in self.agents:
            self._tell(conn, SessionClosed(conn, 1006))
            del self.agents[conn]

    def wake(self) -> None:
        for conn in list(self.agents):
            if self._limit(conn) <= self.fleet.clock.mono:
                self._closed(conn)
                self.fleet.net.post(self.name, conn, 0, Close(4408))

    def _limit(self, conn: str) -> float:
        return self.heard[conn] + (SILENCE_S if conn in self.welcomed else WELCOME_S)

    def next_wake(self) -> float:
        return min(map(self._limit, self.agents), default=NEVER)


class Fleet:
    """Everything, and time."""

    def __init__(
        self, agents: dict[str, tuple[str, ...]], instances: tuple[str, ...], **options: Any
    ) -> None:
        self.store, self.clock, self.net = MemoryStore(), Clock(), Net()
        self.options, self.policy = options, Policy(**options)
        self.rules = Rules(share=3, limits_us=(5_000_000, 20_000_000, 40_000_000, 60_000_000))
        self.up: dict[str, int] = {}
        self.replies: list[Any] = []
        self.commits: list[Commit] = []  #: since the test looked last
        self.starts: list[tuple[str, int, str]] = []  #: (task, generation, who), since the test looked last
        parts: list[Part] = [DirectoryPart("directory", self)]
        parts += [*(LanePart(name, self) for name in LANE_NAMES), SchedulerPart("scheduler", self)]
        parts += [AgentPart(f"agent.{name}", self) for name in agents]
        parts += [GatewayPart("gateway", self)]
        self.parts = {part.name: part for part in parts}
        self.sidecars = [Sidecar(self, name, of, caps) for name, caps in agents.items() for of in instances]
        for part in parts:
            part.start()
        rows = tuple(Put("agent", (name,), AgentRow(name, caps)) for name, caps in agents.items())
        self.parts["directory"].carry_out(Decision(rows))  # type: ignore[attr-defined]

    def agent(self, name: str) -> AgentPart:
        return self.parts[f"agent.{name}"]  # type: ignore[return-value]

    # --- names -------------------------------------------------------------------------------------

    def announce_up(self, part: Part) -> None:
        if not isinstance(part, AgentPart):
            self.up[part.name] = part.life
            self._announce(part, Up(part.name, part.life))

    def announce_down(self, part: Part) -> None:
        if self.up.pop(part.name, None):
            self._announce(part, Down(part.name))
        if isinstance(part, GatewayPart):
            for sidecar in self.sidecars:
                sidecar.cut()

    def _announce(self, about: Part, news: Any) -> None:
        for part in self.parts.values():
            if part.running and part is not about and about.name in part.watches:
                self.net.post("registry", part.name, part.life, news)

    # --- mail --------------------------------------------------------------------------------------

    def send(self, part: Part, to: Any, message: Any) -> None:
        _, _, child = str(to).partition("/")
        if child:
            self.net.post(part.name, child, 0, message)
        elif to == "edge":
            self.replies.append(message)
        elif to in part.known:
            self.net.post(part.name, to, part.known[to], message)

    def ask(self, lane: str, message: Any) -> None:
        """From the edge, by way of the gateway."""
        if life := self.up.get(f"lane.{lane}"):
            self.net.post("edge", f"lane.{lane}", life, message)

    def administer(self, verb: str, **args: str) -> None:
        ask = Administer(reply_to="edge", request=3, verb=verb, by="op", role="operator", args=args)
        self.net.post("edge", "directory", self.up["directory"], ask)

    def deliverable(self) -> list[tuple[str, str]]:
        """Mail for an agent that is down is kept for it."""
        return [
            pair for pair in self.net.queues if pair[1] not in self.parts or self.parts[pair[1]].takes_mail
        ]

    def deliver(self, pair: tuple[str, str]) -> None:
        mail = self.net.take(pair)
        part = self.parts.get(pair[1])
        if part is None:
            sidecar = next((of for of in self.sidecars if of.conn == pair[1]), None)
            if sidecar:
                sidecar.receive(mail.message)
            return
        if isinstance(part, AgentPart) and part.asleep:
            part.start()
        if part.running and mail.life in (0, part.life):
            part.receive(mail.message)

    # --- the disk ----------------------------------------------------------------------------------

    def commit(self, commit: Commit) -> Committed:
        self.commits.append(commit)
        [answer] = self.store.commit(commit)
        assert isinstance(answer, Committed) or commit.must, answer
        return answer  # type: ignore[no-any-return]

    # --- all at once -------------------------------------------------------------------------------

    def settle(self) -> None:
        """All mail arrives and the disk answers, until nothing moves."""
        for _ in range(5_000):
            for part in self.parts.values():
                part.write(1 << 30)
                if part.running and part.next_wake() <= self.clock.mono:
                    part.wake()
            pairs = self.deliverable()
            if not pairs and not any(part.owes for part in self.parts.values()):
                return
            for pair in pairs:
                if pair in self.net.queues:
                    self.deliver(pair)
        raise AssertionError(f"it never comes to rest: {self.net.queues}")

    def run(self, seconds: float, *, flowing: bool, beating: bool = True) -> None:
        """Time passes and timers fire when they are due; mail arrives only if `flowing`."""
        end = self.clock.mono + seconds
        for _ in range(5_000):
            if flowing:
                self.settle()
            parts = [part for part in self.parts.values() if part.running]
            wakes = [part.next_wake() for part in parts]
            if beating:
                wakes += [of.next_wake() for of in self.sidecars]
            at = min(end, max(self.clock.mono, min(wakes)))
            self.clock.advance(at - self.clock.mono + 0.001)
            for part in parts:
                part.wake()
            for sidecar in self.sidecars if beating else ():
                sidecar.wake()
            if self.clock.mono >= end:
                return
        raise AssertionError("a timer fires again and again")

    def jump(self, seconds: float) -> None:
        """The process stood still; then every timer fires."""
        self.clock.advance(seconds)
        for part in self.parts.values():
            if part.running:
                part.wake()
