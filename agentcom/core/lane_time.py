"""What happens to a lane's tasks without a message: when it starts, as names come up and go down, as time passes.

Leases run out, retries and scheduled tasks fall due, deadlines pass, and tasks moved here while nobody
listened are taken in. `wake_at` tells when to come again.
May import: agentcom.core, agentcom.protocol.
"""

from collections.abc import Iterator

from agentcom.core import tasks
from agentcom.core.decision import Decision, Now
from agentcom.core.lane_state import SLICE, LaneState, to_agent
from agentcom.protocol.index import entries
from agentcom.protocol.ops import Delete, Op, Put
from agentcom.protocol.pauses import why_not
from agentcom.protocol.rows import HELD, TaskState

LATE_S = 1.0
"""A timer this late tells that the process stood still; leases are not to blame."""


class LaneTime(LaneState):
    """What a lane decides by itself."""

    def start(self, now: Now, *, gateway_up: bool) -> Iterator[Decision]:
        """From rows: held tasks get a lease that allows their agents to come back; moved tasks are taken in.

        Without the gateway no news come, and no lease runs out until it is `up`.
        """
        self.leases.frozen = not gateway_up
        self.queued = self.rows.get("counter", self._counter) or 0
        self.paused = why_not(self.rows, self.name)
        for key, held in self._all("by_agent", ()):
            if held.lane == self.name:
                self.leases.adopt(self.rows.get("task", (key[1],)), now.mono, self.policy.renewal_s, now.ms)
        yield from self._arrivals(now)
        self.wake_at = now.mono

    def up(self, name: str, now: Now) -> None:
        """A name is (again) up. A scheduler has forgotten every window: its next `Workers` is answered with all of
        them. Through a gateway that was down, news were missed by no fault of an agent.
        """
        if name == "scheduler":
            self._workers_version = 1 << 62
        elif name == "gateway":
            self.leases.frozen = False
            self.leases.renew_all(now.mono)
            self.wake_at = min(self.wake_at, self.leases.next_deadline())

    def down(self, name: str) -> None:
        """A name is gone; of the gateway's `start` tells what follows."""
        if name == "gateway":
            self.leases.frozen = True

    def tick(self, now: Now) -> Iterator[Decision]:
        """Whatever is due at `now`; `wake_at` then tells when to come again."""
        if now.mono > self.wake_at + LATE_S:
            self.leases.renew_all(now.mono)
        self.wake_at = float("inf")
        yield from self._arrivals(now)
        self.look_for_more(now)
        yield from self._expire(now)
        yield from self._due(now)
        yield from self._past_deadline(now)
        self.wake_at = min(self.wake_at, self.leases.next_deadline())

    # --- what is due -------------------------------------------------------------------------------

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

    # --- moved here --------------------------------------------------------------------------------

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
            self.leases.adopt(task, now.mono, lease_left_s, now.ms)
        told = (to_agent(task.holder, self._claimed(task, reclaimed=True)),) if task.holder else ()
        yield Decision(tuple(ops), told, "adopted")
