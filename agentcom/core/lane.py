"""One lane: what happens to its tasks, message by message.

`Lane` reads its memory (`lane_state`) and rows, and yields decisions; each is adopted before the next is asked
for. What happens without a message is in `lane_time`.
May import: agentcom.core, agentcom.protocol.
"""

from collections.abc import Iterator
from typing import Any, ClassVar

from agentcom.core import operations, reports, retention, submits, tasks
from agentcom.core.assignments import lacking, repo_problem
from agentcom.core.decision import Decision, Now, Output
from agentcom.core.lane_state import SLICE, to_agent
from agentcom.core.lane_time import LaneTime
from agentcom.core.messages import (
    Absent,
    Adopt,
    Answered,
    Claim,
    ClaimRefused,
    Expire,
    HolderAway,
    HolderBack,
    Holding,
    LanePaused,
    MoreHeads,
    Operate,
    Park,
    PauseChanged,
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
from agentcom.protocol.frames import TaskAck
from agentcom.protocol.pauses import why_not
from agentcom.protocol.rows import HELD, TaskBody, TaskState

__all__ = ["Lane", "Now"]


class Lane(LaneTime):
    """The decisions of one lane."""

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

    def again(self, ask: Submit | Expire, now: Now) -> Decision:
        """A key of `ask` was used meanwhile: the row that won is on disk now."""
        if isinstance(ask, Expire):
            return retention.again(ask)
        return submits.submit(ask, self._submitting(ask, now), check=True)

    def _submitting(self, ask: Submit, now: Now) -> submits.Context:
        order = self.mint_order(now, len(ask.items))
        return submits.Context(self.name, self.rows, order, now.ms, self.policy, self.entropy, self.signed)

    def _claim(self, claim: Claim, now: Now) -> Iterator[Decision]:
        task, why = self._claimable(claim, now)
        body: TaskBody | None = self.rows.get("body", (task.id,)) if task and not why else None
        why = lacking(body, claim.capabilities) if body else why
        if task is None or body is None or why:
            yield Decision(outputs=(to_agent(claim.agent_id, ClaimRefused(claim.task_id, self.name, why)),))
            if task and task.phase == "queued" and (problem := repo_problem(task, self.rows)):
                yield self._write(tasks.park(task, problem, 0, now.ms), "waiting")
            return
        after, ops = tasks.assign(task, claim.agent_id, now.ms)
        claimed = to_agent(claim.agent_id, self._claimed(after, body))
        yield Decision(ops, (claimed,), "assigned")

    def _claimable(self, claim: Claim, now: Now) -> tuple[TaskState | None, str]:
        task = self._mine(claim.task_id)
        if task is None:
            return None, "it is not in this lane"
        if self.paused:
            return task, self.paused
        if not self._is_current(claim.agent_id, claim.incarnation):
            return task, "the claim comes from an older life of its agent"
        if claim.after and self._still_holds(claim.agent_id, claim.after):
            return task, "its report on the task before does not count"
        if why := tasks.why_not(task, claim.agent_id, now.ms):
            return task, why
        return task, repo_problem(task, self.rows)

    def _still_holds(self, agent: str, key: tuple[str, int]) -> bool:
        held: TaskState | None = self.rows.get("task", (key[0],))
        return held is not None and (held.holder, held.generation) == (agent, key[1])

    def _is_current(self, agent: str, incarnation: int) -> bool:
        newest = self._incarnations.get(agent, 0)
        self._incarnations[agent] = max(newest, incarnation)
        return incarnation >= newest

    def _reclaim(self, ask: Reclaim, now: Now) -> Iterator[Decision]:
        task: TaskState | None = self.rows.get("task", (ask.task_id,))
        if self._is_elsewhere(task):
            # Not passed on: the agent waits for our answer, and would wait for ever if the other lane is down.
            moved = ClaimRefused(
                ask.task_id, self.name, "it moved to another lane", generation=ask.generation
            )
            yield Decision(outputs=(to_agent(ask.agent_id, moved),))
            return
        if task is None or not self._is_current(ask.agent_id, ask.incarnation):
            yield self._reclaim_refused(ask, "there is no such task")
        elif task.holder == ask.agent_id and task.generation == ask.generation:
            self.leases.back(ask.agent_id, task.id, task.generation, now.mono)
            yield Decision(outputs=(to_agent(ask.agent_id, self._claimed(task, reclaimed=True)),))
        elif tasks.may_return(task, ask.agent_id, ask.generation):
            after, ops = tasks.reclaim(task, ask.agent_id, now.ms)
            yield Decision(ops, (to_agent(ask.agent_id, self._claimed(after, reclaimed=True)),), "reclaimed")
        elif ask.anew and not tasks.why_not(task, ask.agent_id, now.ms) and not repo_problem(task, self.rows):
            after, ops = tasks.assign_anew(task, ask.agent_id, now.ms)
            yield Decision(ops, (to_agent(ask.agent_id, self._claimed(after, reclaimed=True)),), "assigned")
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
                self.leases.adopt(task, now.mono, self.policy.renewal_s, now.ms)
                held.append(self._claimed(task, reclaimed=True))
        self.wake_at = min(self.wake_at, self.leases.next_deadline())
        yield Decision(outputs=(to_agent(ask.agent_id, Holding(self.name, ask.agent_id, tuple(held))),))

    def _reported(self, said: Reported, now: Now) -> Iterator[Decision]:
        task: TaskState | None = self.rows.get("task", (said.report.task_id,))
        if self._is_elsewhere(task):
            yield Decision(outputs=(Output(f"lane.{task.lane}", said),))
            return
        task = self._up_to_date(task) if task else None
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
        if judged.answer:
            told = Answered(said.agent_id, report.task_id, report.generation, judged.answer)
            outputs.append(to_agent(said.agent_id, told))
        yield Decision(judged.ops, tuple(outputs), judged.event)

    def _absent(self, said: Absent, now: Now) -> Iterator[Decision]:
        task = self._mine(said.task_id)
        held = task and (task.holder, task.generation) == (said.agent_id, said.generation)
        if task and held and task.phase != "assigned":
            yield self._take_back(task, tasks.lose(task, "its agent no longer has it", now.ms), "lost")

    # --- leases, by news ---------------------------------------------------------------------------

    def _renew(self, said: Renew, now: Now) -> Iterator[Decision]:
        for held in said.tasks:
            self.leases.renew(said.agent_id, held.task_id, held.generation, now.mono, said.tokens_used)
            if said.tokens_used:
                yield from self._overspent(held.task_id, now)

    def _overspent(self, task_id: str, now: Now) -> Iterator[Decision]:
        """A heartbeat told that the budget is used up."""
        task = self._mine(task_id)
        if task and task.phase in HELD and tasks.is_spent(task, 0):
            yield self._take_back(task, tasks.overspend(task, 0, now.ms), "budget", stop=True)

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
        yield Decision(outputs=(self._paused_news(), *outputs))
        yield from self._unpark_fitting(now)

    def _paused_news(self) -> Output:
        return Output("scheduler", LanePaused(self.name, bool(self.paused)))

    def _pause_changed(self, said: PauseChanged, now: Now) -> Iterator[Decision]:
        before, self.paused = self.paused, why_not(self.rows, self.name)
        if bool(before) != bool(self.paused):
            yield Decision(outputs=(self._paused_news(),))

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

    def _expire_old(self, ask: Expire, now: Now) -> Iterator[Decision]:
        yield from self.retention.expire(ask, self.rows, now.ms)

    _HANDLERS: ClassVar[dict[type, Any]] = {
        Submit: _submit, Claim: _claim, Reclaim: _reclaim, WhatDoIHold: _what_do_i_hold, Reported: _reported,
        Absent: _absent, Renew: _renew, HolderAway: _away, HolderBack: _back, Workers: _workers, MoreHeads: _more_heads,
        Park: _park, RepoChanged: _repo_changed, Operate: _operate, Adopt: _adopt_task,
        Expire: _expire_old, PauseChanged: _pause_changed,
    }  # fmt: skip
