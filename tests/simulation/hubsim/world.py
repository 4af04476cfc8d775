"""One run: the hub, its clients and its faults in one virtual time, step by step, with the rules looked at in between.

A step is one message handled by one actor. `run(plan)` returns what happened or raises `Violation`.
"""

import gc
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec

from agentcom.config import Blocked, Config, Lease, Scheduler, Snapshots, Store, Tasks
from agentcom.core.decision import Now
from agentcom.protocol.rows import FINAL, TaskState
from agentcom.runtime import Faults, SimSystemBase
from agentcom.store.env import open_environment, opened, reader_of
from agentcom.store.reader import Reader
from hubsim import faults
from hubsim.agenda import NEVER, Agenda
from hubsim.boot import Process, Surroundings, prepare
from hubsim.edge import SimEdge
from hubsim.faults import disarm
from hubsim.inspection import Windows, check_supervision
from hubsim.ledger import Ledger, holds
from hubsim.network import Network
from hubsim.oracle import Oracle
from hubsim.people import People
from hubsim.plan import Plan, chooser_of
from hubsim.sidecars import Outside, Sidecar
from supervisors.messages import Restart

AGENTS: dict[str, tuple[str, ...]] = {"ada": ("python",), "bob": ("python", "rust"), "cy": ()}
CONFIG = Config(
    lease=Lease(accept_s=8, work_s=20, grace_s=10, heartbeat_s=4, reconnect_jitter_s=2, stop_s=12),
    tasks=Tasks(backoff_base_s=1, backoff_cap_s=4, exclude_base_s=2, exclude_cap_s=8),
    scheduler=Scheduler(window=4, max_signatures=16, breaker_rest_s=5, ageing_share=3),
    blocked=Blocked(max_s=60),
    store=Store(sync="interval"),
    snapshots=Snapshots(first_s=31_536_000, every_s=31_536_000),
)
"""Times short, so that a run passes few quiet seconds; windows small, so that they are refilled. No snapshots: they are
made by a real process, which virtual time does not wait for."""
STORM_S, CALM_S, STOP_S = 400.0, 400.0, 60.0
STEP_S = 0.00005
"""What a step takes, so that the outside may come in between two of them."""
MAX_DELIVERIES = 200_000
RESTLESS = Faults(
    job_slow=0.6,
    timer_late=0.01,
    notice_late=0.05,
    notice_twice=0.05,
    delays_s=(0.0005, 0.003, 0.02, 0.3, 3.0),
)
"""What is never quite as it should be: disks, timers, exit notices."""


class Outcome(msgspec.Struct, frozen=True):
    steps: int
    seconds: float  #: virtual
    trace: str  #: equal traces: the same run
    seen: dict[str, int]
    phases: dict[str, int]


class World:
    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan = plan
        self.base = SimSystemBase(chooser_of(plan), faults=RESTLESS, strict=plan.strict)
        self.clock = self.base.clock
        self.agenda = Agenda(self.base)
        self.seen: Counter[str] = Counter()
        self.around = Surroundings(self.clock, plan.random("hub"), folder)
        self._still_s = self._still_until = 0.0  #: for how long in all some part stands still, and until when
        self.ledger = Ledger(self._lane_age, CONFIG.lease.grace_s, self.clock.monotonic, self._awake_s)
        self.oracle = Oracle(self.ledger, self._fresh)
        self.net = Network(self.agenda, plan.random("network"), self.seen, lambda: self.edge)
        self.outside = Outside(self.agenda, self.net, self.oracle, plan.random("minds"))
        self.outside.heartbeat_s = CONFIG.lease.heartbeat_s
        self.people = People(self.agenda, self.net, self.oracle, plan.random("people"))
        self.sidecars = [
            Sidecar(self.outside, name, "first", caps, "json" if name == "ada" else "msgpack")
            for name, caps in AGENTS.items()
        ]
        self.windows = Windows()
        self.edge = SimEdge(self.agenda, self.oracle)
        self.edge.lost()  # until a process is there
        self.process: Process | None = None
        self.ambushes: list[Any] = []
        self._faults = list(reversed(plan.faults))
        self._strike_at = plan.faults[0].after if plan.faults else 0
        self._resting_for = self._lulls = 0
        self._births = (0, 0)

    # --- the process -------------------------------------------------------------------------------

    def start_process(self) -> None:
        self.around.weather.broken = False
        self.edge = SimEdge(self.agenda, self.oracle)
        self.process = Process(self.around, self.base, CONFIG, self.edge)

    def lose_process(self, why: str) -> None:
        """It is gone between two steps; what restarts it does so soon."""
        if self.process is None:
            return
        self.process.lose()
        self.process = None
        self.base.lose()
        self.around.log.append(f"{self.clock.monotonic():10.3f}  the process is lost: {why}")
        self.agenda.after(self.around.draw.uniform(0.05, 1.0), self.start_process)

    def stall(self, cells: list[Any], seconds: float) -> None:
        """These handle nothing for so long."""
        self.stands_still(seconds)
        for cell in cells:
            self.base.stall(cell, seconds)

    def stands_still(self, seconds: float) -> None:
        """Some part, or the whole machine, from now on for so long."""
        until = max(self._still_until, self.clock.monotonic() + seconds)
        self._still_s += until - max(self._still_until, self.clock.monotonic())
        self._still_until = until

    def _awake_s(self) -> float:
        """Of the time so far, what no part stood still for."""
        now: float = self.clock.monotonic()
        return now - self._still_s + max(0.0, self._still_until - now)

    def cells(self) -> list[Any]:
        return list(self.base.dispatcher)

    def cell_of(self, name: str) -> Any:
        """Where the newest living actor of this name lives, or None."""
        return next(
            (cell for cell in reversed(self.cells()) if getattr(cell.instance, "name", "") == name), None
        )

    def actor(self, name: str) -> Any:
        return getattr(self.cell_of(name), "instance", None)

    def _lane_age(self, seq: int) -> float:
        """How long the lane that wrote this journal entry has lived; for ever, if it is gone."""
        wrote = self.around.weather.writers.get(seq)
        for cell in self.cells():
            if getattr(cell.instance, "store_incarnation", 0) == wrote:
                return self.clock.monotonic() - cell.started
        return NEVER

    # --- steps -------------------------------------------------------------------------------------

    def once(self) -> None:
        """One step of the hub or of the outside; or time passes, when nothing is left to do at this one."""
        if self.process is not None and (why := self.process.must_end):
            self.seen["process ended itself"] += 1
            self.lose_process(why)
        elif self.base.step():
            self._look()
            self.clock.advance(STEP_S)
            if self.ambushes:
                faults.spring(self)
            holds(self.base.deliveries < MAX_DELIVERIES, "it is busy for ever")
            while self._faults and self.base.deliveries >= self._strike_at:
                faults.strike(self, self._faults.pop())
                self._strike_at = self.base.deliveries + (self._faults[-1].after if self._faults else 0)
        else:
            self._look_at_the_tree()
            holds(self.base.move_on(), "nothing will ever happen again")

    def _look(self) -> None:
        """The rules, after every step."""
        if self.oracle.broken:
            raise self.oracle.broken[0]
        holds(not self.around.bugs, "a crash that nobody injected:", *self.around.bugs)
        if self.around.weather.wrote:
            self._absorb()
        if touched := self.around.touched_lanes:
            for lane in touched:
                self.windows.look(lane)
            touched.clear()

    def _look_at_the_tree(self) -> None:
        """When nothing is under way; at length only if somebody was born or died, or not for a while."""
        births = self.base.dispatcher.space._next, len(self.base.dispatcher)
        self._lulls += 1
        if (births != self._births or self._lulls % 50 == 0) and not self.base._stalled:
            self._births = births
            check_supervision(self.cells())

    def _absorb(self) -> None:
        env = opened(self.around.folder)
        if env is not None:
            self.around.weather.wrote = False
            self.ledger.absorb(Reader(env))

    def _fresh(self) -> None:
        if self.around.weather.wrote:
            self._absorb()

    def run_until(self, done: Any, limit_s: float) -> bool:
        end = self.clock.monotonic() + limit_s
        while not done():
            if self.clock.monotonic() > end:
                return False
            self.once()
        return True

    # --- a run -------------------------------------------------------------------------------------

    def run(self) -> Outcome:
        self.start_process()
        for sidecar in self.sidecars:
            self.agenda.after(self.outside.draw.uniform(0.0, 1.0), sidecar.dial)
        self.people.begin(self.plan.work, self.plan.meddling, self.plan.pausing)
        self._storm()
        self._calm()
        self._end()
        seen = self.seen + self.base.fault_counts + Counter(self.around.weather.seen)
        phases = Counter(task.phase for task in self.ledger.tasks.values())
        return Outcome(
            self.base.deliveries, self.clock.monotonic(), self.base.trace.hash(), dict(seen), dict(phases)
        )

    def _storm(self) -> None:
        work_s = sum(of.after for of in self.plan.work) + 5.0
        calm_at = self.clock.monotonic() + max(work_s, sum(of.after for of in self.plan.meddling) + 5.0)
        self.run_until(lambda: not self._faults and self.clock.monotonic() >= calm_at, STORM_S)

    def _calm(self) -> None:
        """Faults stop; every Mind does its work, operators answer every question: now all must come to rest."""
        self._faults.clear()
        self.ambushes.clear()
        self.around.weather.clear()
        self.net.mishaps.clear()
        self.base.faults = Faults()
        disarm(self.cells())
        self.outside.calm = True
        for sidecar in self.sidecars:
            sidecar.nudge()
        self._care()
        self.agenda.after(1.0, self._rest_look)
        self.run_until(lambda: self._resting_for > 1, CALM_S)
        unrest = self.unrest()
        holds(not unrest, "it does not come to rest:", *unrest[:6])

    def _rest_look(self) -> None:
        if self._resting_for > 1:
            return
        self._resting_for = 0 if self.unrest() else self._resting_for + 1
        self.agenda.after(1.0, self._rest_look)

    def _care(self) -> None:
        """What people do while they wait."""
        if self._resting_for > 1:
            return
        for name in AGENTS:
            of = [sidecar for sidecar in self.sidecars if sidecar.agent == name]
            if not any(sidecar.line for sidecar in of) and all(sidecar.retired for sidecar in of):
                of[0].dial(takeover=True)
        for task in self.ledger.tasks.values():
            if task.phase == "blocked":
                self.people.act("answer", task.id)
        self.people.resume(self.plan.pausing)
        agents = self.actor("agents")
        for name, member in getattr(agents, "_members", {}).items():
            if member.life.phase == "quarantined":
                self.seen["operator restarts an agent"] += 1
                self.process.root.tell(agents.myAddress, Restart(name))
        self.agenda.after(4.0, self._care)

    def unrest(self) -> list[str]:
        """What is not as it should be when everybody is well."""
        if self.process is None or not self.process.root.ready:
            return ["the hub is not up"]
        found = [f"nobody answered {key}" for key in sorted(self.people.pending)]
        found += [
            f"{task.id} is {task.phase}" for task in self.ledger.tasks.values() if not self._explained(task)
        ]
        found += [f"moved and not taken in: {left}" for left in self.ledger.moves()]
        scheduler = self.actor("scheduler")
        if scheduler is None or scheduler._sv_phase != "ready":
            return [*found, "the scheduler is not up"]
        found += [f"an offer hangs: {flight}" for flight in scheduler.core._flights.values()]
        for name in AGENTS:
            agent = self.actor(f"agent.{name}")
            state = agent.agent.state(self._now()) if hasattr(agent, "agent") else "not up"
            found += [] if state == "idle" else [f"{name} is {state}"]
        return found

    def _now(self) -> Now:
        return Now(int(self.clock.now() * 1000), self.clock.monotonic())

    def _explained(self, task: TaskState) -> bool:
        needed = self.ledger.needs[task.id]
        fits = any(needed <= set(caps) and task.target in ("", name) for name, caps in AGENTS.items())
        return task.phase in FINAL or (task.phase == "queued" and not fits)

    def _end(self) -> None:
        assert self.process is not None
        reader = reader_of(str(self.around.folder))
        self.ledger.check_whole(reader)
        self.oracle.check_words()
        root = self.process.root
        self.edge.stopping()
        root.stop()
        holds(self.run_until(lambda: root.ended, STOP_S), "the tree does not stop")
        holds(opened(self.around.folder) is None, "the tree has stopped and left the store open")
        env = open_environment(self.around.folder, sync=False)
        holds(env.was_clean, "an orderly end left no clean mark")
        env.close()


def run(plan: Plan) -> Outcome:
    """Carry it out. A `Violation`, or whatever else was raised, carries the log's newest lines as a note."""
    folder = Path(tempfile.mkdtemp(prefix="hubsim-", dir=_memory()))
    world = World(plan, folder)
    collecting = gc.isenabled()
    gc.disable()
    try:
        with world.around.in_place():
            prepare(folder, AGENTS, world.clock.now)
            return world.run()
    except BaseException as error:
        error.add_note(f"the end of its {world.base.deliveries} deliveries:\n{world.base.trace.tail(30)}")
        error.add_note("the end of its log:\n" + "\n".join(world.around.log))
        raise
    finally:
        if world.process is not None:
            world.process.lose()
        shutil.rmtree(folder, ignore_errors=True)
        if collecting:
            gc.enable()


def _memory() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None
