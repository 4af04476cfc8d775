"""One lane: what happens to its tasks, message by message.

`Lane` holds what lanes keep in memory (leases, windows, the last place given out); all else it reads through
`Rows`. Handlers yield decisions; each is adopted before the next is asked for. `adopt` folds a decision's ops
into the memory, so that memory is always a projection of rows.
May import: agentcom.core, agentcom.protocol.
"""

from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple

from agentcom.core import operations, reports, submits, tasks
from agentcom.core.assignments import assign_frame, repo_problem
from agentcom.core.decision import Decision, Entropy, Output, Rows
from agentcom.core.index import entries
from agentcom.core.leases import Leases
from agentcom.core.messages import (
    Absent,
    Adopt,
    Claim,
    Claimed,
    ClaimRefused,
    HolderAway,
    HolderBack,
    Holding,
    MoreHeads,
    Operate,
    Park,
    Reclaim,
    Released,
    Renew,
    RepoChanged,
    ReportDone,
    Reported,
    Submit,
    WhatDoIHold,
    Workers,
)  # fmt: skip
from agentcom.core.policy import Policy
from agentcom.core.tasks import Step
from agentcom.core.windows import Windows
from agentcom.protocol.frames import TaskAck
from agentcom.protocol.ops import Add, Delete, Op, Put
from agentcom.protocol.rows import FINAL, HELD, TaskState
from agentcom.protocol.rows import Lane as LaneName

LATE_S = 1.0
"""A timer this late tells that the process stood still; leases are not to blame."""
SURVEY_S = 10.0
"""Buckets that found no place in the windows wait this long at most for one that others left."""
SLICE = 200
"""Due rows handled in one go."""


class Now(NamedTuple):
    ms: int  #: wall clock
    mono: float  #: monotonic seconds


def to_agent(agent: str, message: Any) -> Output:
    return Output(f"agents/agent.{agent}", message)


class Lane:
    """The memory and the decisions of one lane."""

    def __init__(self, name: LaneName, policy: Policy, rows: Rows, entropy: Entropy) -> None:
        self.name = name
        self.policy = policy
        self.rows = rows
        self.entropy = entropy
        self.leases = Leases(name, policy)
        self.windows = Windows(name, policy.window, policy.max_signatures)
        self.wake_at = float("inf")
        self.queued = 0  #: how many tasks are, within what other lanes just moved here
        self.signed: set[str] = set()  #: signatures whose row is written
        self._order = 0
        self._counter = ("tasks", name, "queued")
        self._incarnations: dict[str, int] = {}
        self._workers_version = -1
        self._survey_at = 0.0

    # --- memory ------------------------------------------------------------------------------------

    def start(self, now: Now) -> Iterator[Decision]:
        """From rows: held tasks get a lease that allows their agents to come back; moved tasks are taken in."""
        self.queued = self.rows.get("counter", self._counter) or 0
        for phase in sorted(HELD):
            for key, _ in self._all("by_phase", (phase, self.name)):
                self.leases.adopt(self.rows.get("task", (key[2],)), now.mono, self.policy.renewal_s)
        yield from self._arrivals(now)
        self.wake_at = now.mono

    def _all(self, table: str, prefix: tuple[str, ...]) -> Iterator[tuple[Any, Any]]:
        after = None
        while found := self.rows.scan(table, prefix, after=after, limit=500):
            yield from found
            after = found[-1][0]

    def adopt(self, ops: tuple[Op, ...], now: Now) -> tuple[Output, ...]:
        """Fold a decision's ops into leases and windows. Returns what the scheduler must hear."""
        needed: dict[str, tuple[str, ...]] = {}
        touches_windows = False
        for op in ops:
            if isinstance(op, Put) and op.table == "task":
                self.leases.settle(op.row, now.mono)
                self._wake_for(op.row, now)
            elif isinstance(op, Put) and op.table == "body":
                needed[str(op.key[0])] = op.row.needed
            elif op.table == "ready":
                touches_windows = True
            elif op.table == "signature":
                self.signed.add(str(op.key[2]))
            elif isinstance(op, Add) and op.key == self._counter:
                self.queued += op.delta
        if not touches_windows:
            return ()
        return tuple(self.windows.adopt(ops, self.rows, lambda task_id: self._needed(task_id, needed)))

    def _needed(self, task_id: str, at_hand: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
        if task_id in at_hand:
            return at_hand[task_id]
        found: tuple[str, ...] = self.rows.get("body", (task_id,)).needed
        return found

    def _wake_for(self, task: TaskState, now: Now) -> None:
        lease = self.leases.get(task.id)
        if lease:
            self.wake_at = min(self.wake_at, lease.deadline)
        for ms in (task.not_before_ms, task.waiting_until_ms, task.deadline_ms):
            if ms and task.phase not in FINAL:
                self.wake_at = min(self.wake_at, now.mono + max(0, ms - now.ms) / 1000)

    def mint_order(self, now: Now, count: int = 1) -> int:
        """The next `count` places at the tail: microseconds, never twice."""
        first = max(now.ms * 1000, self._order + 1)
        self._order = first + count - 1
        return first

    def _mine(self, task_id: str) -> TaskState | None:
        task: TaskState | None = self.rows.get("task", (task_id,))
        return task if task and task.lane == self.name else None

    def _elsewhere(self, task_id: str, message: Any) -> Decision | None:
        """Another lane owns it: pass the message on."""
        task: TaskState | None = self.rows.get("task", (task_id,))
        if task is None or task.lane == self.name:
            return None
        return Decision(outputs=(Output(f"lane.{task.lane}", message),))

    # --- messages ----------------------------------------------------------------------------------

    def handle(self, message: Any, now: Now) -> Iterator[Decision]:
        """Every message a lane understands. Raises `TypeError` for any other."""
        handler: Any = self._HANDLERS.get(type(message))
        if handler is None:
            raise TypeError(f"a lane does not understand {type(message).__name__}")
        yield from handler(self, message, now)

    def _submit(self, ask: Submit, now: Now) -> Iterator[Decision]:
        if self.queued + len(ask.items) > self.policy.max_queued:
            yield submits.overloaded(ask, self.name, self.queued)
        else:
            yield submits.submit(ask, self._submitting(ask, now))

    def again(self, ask: Submit, now: Now) -> Decision:
        """A key of `ask` was used meanwhile: the row that won is on disk now."""
        return submits.submit(ask, self._submitting(ask, now), check=True)

    def _submitting(self, ask: Submit, now: Now) -> submits.Context:
        order = self.mint_order(now, len(ask.items))
        return submits.Context(self.name, self.rows, order, now.ms, self.policy, self.entropy, self.signed)

    def _claim(self, claim: Claim, now: Now) -> Iterator[Decision]:
        task, why = self._claimable(claim, now)
        if task is None or why:
            yield Decision(outputs=(to_agent(claim.agent_id, ClaimRefused(claim.task_id, self.name, why)),))
            if task and task.phase == "queued" and (problem := repo_problem(task, self.rows)):
                yield self._write(tasks.park(task, problem, 0, now.ms), "waiting")
            return
        after, ops = tasks.assign(task, claim.agent_id, now.ms)
        claimed = to_agent(claim.agent_id, self._claimed(after))
        yield Decision(ops, (claimed,), "assigned")

    def _claimable(self, claim: Claim, now: Now) -> tuple[TaskState | None, str]:
        task = self._mine(claim.task_id)
        if task is None:
            return None, "it is not in this lane"
        if not self._is_current(claim.agent_id, claim.incarnation):
            return task, "the claim comes from an older life of its agent"
        if why := tasks.why_not(task, claim.agent_id, now.ms):
            return task, why
        missing = set(self.rows.get("body", (task.id,)).needed) - set(claim.capabilities)
        if missing:
            return task, f"it needs {', '.join(sorted(missing))}"
        return task, repo_problem(task, self.rows)

    def _is_current(self, agent: str, incarnation: int) -> bool:
        newest = self._incarnations.get(agent, 0)
        self._incarnations[agent] = max(newest, incarnation)
        return incarnation >= newest

    def _claimed(self, task: TaskState, *, reclaimed: bool = False) -> Claimed:
        frame = assign_frame(task, self.rows, self.policy)
        return Claimed(task.id, self.name, task.generation, task.phase, frame, reclaimed)

    def _reclaim(self, ask: Reclaim, now: Now) -> Iterator[Decision]:
        if self._elsewhere(ask.task_id, ask):
            # Not passed on: the agent waits for our answer, and would wait for ever if the other lane is down.
            moved = ClaimRefused(
                ask.task_id, self.name, "it moved to another lane", generation=ask.generation
            )
            yield Decision(outputs=(to_agent(ask.agent_id, moved),))
            return
        task = self._mine(ask.task_id)
        if task is None or not self._is_current(ask.agent_id, ask.incarnation):
            yield self._reclaim_refused(ask, "there is no such task")
        elif task.holder == ask.agent_id and task.generation == ask.generation:
            self.leases.back(ask.agent_id, task.id, task.generation, now.mono)
            yield Decision(outputs=(to_agent(ask.agent_id, self._claimed(task, reclaimed=True)),))
        elif tasks.may_return(task, ask.agent_id, ask.generation):
            after, ops = tasks.reclaim(task, ask.agent_id, now.ms)
            yield Decision(ops, (to_agent(ask.agent_id, self._claimed(after, reclaimed=True)),), "reclaimed")
        else:
            newer = (
                f"generation {task.generation} exists"
                if task.generation > ask.generation
                else f"it is {task.phase}"
            )
            yield self._reclaim_refused(ask, newer)

    def _reclaim_refused(self, ask: Reclaim, why: str) -> Decision:
        refused = ClaimRefused(ask.task_id, self.name, why, abort=True, generation=ask.generation)
        return Decision(outputs=(to_agent(ask.agent_id, refused),))

    def _what_do_i_hold(self, ask: WhatDoIHold, now: Now) -> Iterator[Decision]:
        """Answered after the newest ticket, as every decision without ops: the agent sees what is on disk."""
        self._is_current(ask.agent_id, ask.incarnation)
        held = []
        for key, _ in self._all("by_agent", (ask.agent_id,)):
            task = self._mine(str(key[1]))
            if task and task.holder == ask.agent_id:
                self.leases.adopt(task, now.mono, self.policy.renewal_s)
                held.append(self._claimed(task, reclaimed=True))
        self.wake_at = min(self.wake_at, self.leases.next_deadline())
        yield Decision(outputs=(to_agent(ask.agent_id, Holding(self.name, ask.agent_id, tuple(held))),))

    def _reported(self, said: Reported, now: Now) -> Iterator[Decision]:
        if elsewhere := self._elsewhere(said.report.task_id, said):
            yield elsewhere
            return
        task = self._mine(said.report.task_id)
        ctx = reports.Context(said.agent_id, now.ms, self.mint_order(now), self.policy, self.entropy)
        judged = reports.judge(task, said.report, ctx)
        if task and not judged.ops and not judged.released and isinstance(judged.frame, TaskAck):
            self.leases.renew(said.agent_id, task.id, said.report.generation, now.mono)
        report = said.report
        done = ReportDone(
            said.agent_id,
            said.conn,
            report.task_id,
            report.generation,
            judged.frame,
            judged.released,
            judged.rejected,
        )
        outputs = [to_agent(said.agent_id, done)]
        if judged.spent:
            stop = Released(said.agent_id, report.task_id, report.generation, "budget", stop=True)
            outputs.append(to_agent(said.agent_id, stop))
        yield Decision(judged.ops, tuple(outputs), judged.event)

    def _absent(self, said: Absent, now: Now) -> Iterator[Decision]:
        task = self._mine(said.task_id)
        held = task and (task.holder, task.generation) == (said.agent_id, said.generation)
        if task and held and task.phase != "assigned":
            yield self._take_back(task, tasks.lose(task, "its agent no longer has it", now.ms), "lost")

    def _take_back(self, task: TaskState, step: Step, reason: str, *, stop: bool = False) -> Decision:
        """The hub ends a generation: its holder is told."""
        timeout = reason == "accept_timeout"
        told = Released(task.holder, task.id, task.generation, reason, stop, timeout)
        return Decision(step.ops, (to_agent(task.holder, told),) if task.holder else (), reason)

    def _write(self, step: Step, event: str) -> Decision:
        return Decision(step.ops, (), event)

    # --- leases, by news ---------------------------------------------------------------------------

    def _renew(self, said: Renew, now: Now) -> Iterator[Decision]:
        for held in said.tasks:
            self.leases.renew(said.agent_id, held.task_id, held.generation, now.mono)
        yield from ()

    def _away(self, said: HolderAway, now: Now) -> Iterator[Decision]:
        self.leases.cut(said.agent_id, said.task_id, said.generation, now.mono)
        lease = self.leases.get(said.task_id)
        if lease:
            self.wake_at = min(self.wake_at, lease.deadline)
        yield from ()

    def _back(self, said: HolderBack, now: Now) -> Iterator[Decision]:
        self.leases.back(said.agent_id, said.task_id, said.generation, now.mono)
        yield from ()

    # --- scheduler ---------------------------------------------------------------------------------

    def _workers(self, news: Workers, now: Now) -> Iterator[Decision]:
        outputs = self.windows.workers(news)
        if news.version <= self._workers_version:  # a scheduler that started again
            outputs = [*outputs, *self.windows.resend()]
        self._workers_version = news.version
        yield Decision(outputs=tuple(outputs))
        yield from self._unpark_fitting(now)

    def scheduler_up(self) -> None:
        """It has forgotten every window; its next `Workers` is answered with all of them."""
        self._workers_version = 1 << 62

    def survey_step(self) -> Decision:
        return Decision(outputs=tuple(self.windows.survey_step(self.rows)))

    def _more_heads(self, ask: MoreHeads, now: Now) -> Iterator[Decision]:
        yield Decision(outputs=tuple(self.windows.extend(ask.bucket, self.rows)))

    def _park(self, ask: Park, now: Now) -> Iterator[Decision]:
        task = self._mine(ask.task_id)
        if task and task.phase == "queued" and not task.waiting:
            until = min((until for _, until in task.excluded if until > now.ms), default=now.ms + 1_000)
            yield self._write(tasks.park(task, ask.reason, until, now.ms), "waiting")

    def _unpark_fitting(self, now: Now) -> Iterator[Decision]:
        """Somebody came online: a waiting task that they may take is ready again."""
        for key, _ in self.rows.scan("waiting", (self.name,), limit=SLICE):
            task = self._mine(str(key[1]))
            if task and task.waiting and self._somebody_may(task, now):
                yield self._write(tasks.unpark(task, now.ms), "ready")

    def _somebody_may(self, task: TaskState, now: Now) -> bool:
        if repo_problem(task, self.rows):
            return False
        needed = self.rows.get("body", (task.id,)).needed
        return any(
            not tasks.is_excluded(task, agent, now.ms)
            for agent in self.windows.fitting_agents(task.target, needed)
        )

    def _repo_changed(self, said: RepoChanged, now: Now) -> Iterator[Decision]:
        for key, _ in self._all("waiting", (self.name,)):
            task = self._mine(str(key[1]))
            if task and task.repo == said.name and not repo_problem(task, self.rows):
                yield self._write(tasks.unpark(task, now.ms), "ready")

    # --- operators and other lanes -----------------------------------------------------------------

    def _operate(self, ask: Operate, now: Now) -> Iterator[Decision]:
        lease = self.leases.get(ask.task_id)
        left = lease.deadline - now.mono if lease else 0.0
        yield operations.operate(ask, self.name, self.rows, now.ms, self.mint_order(now), left)

    def _adopt_task(self, said: Adopt, now: Now) -> Iterator[Decision]:
        if self.rows.get("moves", (self.name, said.task_id)) is not None:
            yield from self._take_in(said.task_id, now, said.lease_left_s)

    def _arrivals(self, now: Now) -> Iterator[Decision]:
        """Moved here, and nobody was there to say so, or to hear it."""
        for key, _ in self._all("moves", (self.name,)):
            yield from self._take_in(str(key[1]), now, self.policy.renewal_s)

    def _take_in(self, task_id: str, now: Now, lease_left_s: float) -> Iterator[Decision]:
        """A moved task: its rows are there already; writing them again brings them into windows and cache. As it is
        now: it is ours since the move's commit, and may have changed here, or gone on to another lane, since then."""
        here = Delete("moves", (self.name, task_id))
        task = self._mine(task_id)
        if task is None:
            yield Decision((here,), (), "moved on")
            return
        ops: list[Op] = [here, Put("task", (task.id,), task)]
        ops += (Put(table, key, row) for (table, key), row in entries(task))
        if task.phase in HELD:
            self.leases.adopt(task, now.mono, lease_left_s)
        told = (to_agent(task.holder, self._claimed(task, reclaimed=True)),) if task.holder else ()
        yield Decision(tuple(ops), told, "adopted")

    # --- time --------------------------------------------------------------------------------------

    def tick(self, now: Now) -> Iterator[Decision]:
        """Whatever is due at `now`; `wake_at` then tells when to come again."""
        if now.mono > self.wake_at + LATE_S:
            self.leases.renew_all(now.mono)
        self.wake_at = float("inf")
        yield from self._arrivals(now)
        self._look_for_more(now)
        yield from self._expire(now)
        yield from self._due(now)
        yield from self._past_deadline(now)
        self.wake_at = min(self.wake_at, self.leases.next_deadline())

    def _look_for_more(self, now: Now) -> None:
        if self.windows.emptied and now.mono >= self._survey_at and not self.windows.is_surveying:
            self._survey_at = now.mono + SURVEY_S
            self.windows.survey()

    def _expire(self, now: Now) -> Iterator[Decision]:
        for task_id in self.leases.run_out(now.mono):
            task = self._mine(task_id)
            if task and task.phase == "assigned":
                yield self._take_back(task, tasks.accept_timeout(task, now.ms), "accept_timeout")
            elif task and task.holder:
                yield self._take_back(task, tasks.lose(task, "no news of it for too long", now.ms), "lease")
        for task_id in self.leases.unanswered(now.mono):
            if task := self._mine(task_id):
                step = tasks.give_up(task, "unanswered", "its question was not answered in time", now.ms)
                yield self._take_back(task, step, "unanswered", stop=True)

    def _reached(self, table: str, now: Now) -> Iterator[TaskState]:
        """Tasks whose time in `table` has come; notes when the next one does."""
        found = self.rows.scan(table, (self.name,), limit=SLICE)
        for key, _ in found:
            if int(key[1]) > now.ms:
                self.wake_at = min(self.wake_at, now.mono + (int(key[1]) - now.ms) / 1000)
                return
            if task := self._mine(str(key[2])):
                yield task
        if len(found) == SLICE:
            self.wake_at = now.mono

    def _due(self, now: Now) -> Iterator[Decision]:
        for task in self._reached("due", now):
            if task.phase == "scheduled":
                yield self._write(tasks.due(task, self.mint_order(now), now.ms), "due")
            elif task.waiting:
                yield self._write(tasks.unpark(task, now.ms), "ready")

    def _past_deadline(self, now: Now) -> Iterator[Decision]:
        for task in self._reached("deadline", now):
            step = tasks.give_up(task, "deadline", "its deadline has passed", now.ms)
            yield self._take_back(task, step, "deadline", stop=True)

    _HANDLERS: ClassVar[dict[type, Any]] = {
        Submit: _submit, Claim: _claim, Reclaim: _reclaim, WhatDoIHold: _what_do_i_hold, Reported: _reported,
        Absent: _absent, Renew: _renew, HolderAway: _away, HolderBack: _back, Workers: _workers, MoreHeads: _more_heads,
        Park: _park, RepoChanged: _repo_changed, Operate: _operate, Adopt: _adopt_task,
    }  # fmt: skip
