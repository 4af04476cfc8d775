"""Two lanes against a model, step by step: submits, claims, every report, operators, time, crashes, a slow disk.

The model knows only what was said to whom; the lanes must never contradict it.
"""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from world import Clock, LaneWorld

from agentcom.core.messages import (
    Absent,
    Claim,
    Claimed,
    Class,
    Expire,
    Expired,
    HolderAway,
    Keep,
    Operate,
    Reclaim,
    Renew,
    Reply,
    ReportDone,
    Reported,
    Submit,
    Workers,
)  # fmt: skip
from agentcom.protocol.bodies import NewTask, Submitted
from agentcom.protocol.frames import (
    HeldTask,
    TaskAccept,
    TaskAck,
    TaskBlock,
    TaskComplete,
    TaskFail,
    TaskProgress,
    TaskReject,
    TaskResult,
    TaskUnblock,
)  # fmt: skip
from agentcom.protocol.index import entries
from agentcom.protocol.rows import FINAL, TaskState, counted
from agentcom.store.memory import MemoryStore
from agentcom.store.verify import check_rows

AGENTS = {"ada": ("python",), "bob": ("python", "rust")}
INDEX_TABLES = ("ready", "waiting", "due", "deadline", "by_phase", "by_agent")
LANES = ("normal", "high")
OF_A_TASK = ("body", "history", "result")
KEEP = Keep(
    finished_ms=100_000,
    dead_letter_ms=150_000,
    idempotency_ms=1_000_000,
    audit_ms=1,
    messages_ms=1,
    mailbox_ms=1,
)
lanes = st.sampled_from(LANES)
agents = st.sampled_from(sorted(AGENTS))


class LanesAgainstModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.store, self.clock, self.out = MemoryStore(), Clock(), []
        options = {"window": 4, "max_signatures": 3, "max_losses": 2, "max_attempts": 2}
        self.lanes = {name: LaneWorld(name, self.store, self.clock, self.out, **options) for name in LANES}
        self.acknowledged: set[str] = set()
        self.minted: set[tuple[str, int]] = set()
        self.generation: dict[str, int] = {}
        self.completed: dict[str, tuple[int, str]] = {}
        self.version = 0
        self.told: list[tuple[str, str, int]] = []  # (agent, task, generation) as the agents were told
        self.is_slow = False
        self.requests: list[list[str]] = []
        self.task_of_key: dict[str, str] = {}
        self.key_ms: dict[str, int] = {}
        self.may_go: set[str] = set()  #: tasks that were old enough to be removed when that was asked for
        self.expired: list[Expired] = []

    # --- plumbing ----------------------------------------------------------------------------------

    def drain(self) -> None:
        """Handle what was released."""
        while self.out:
            to, message = self.out.pop(0)
            if isinstance(to, str) and to.startswith("lane."):
                self.lanes[to.removeprefix("lane.")].tell(message)
            elif isinstance(message, Reply):
                self.note_reply(message)
            elif isinstance(message, Claimed):
                agent = to.removeprefix("agents/agent.")
                self.note_claimed(message)
                if (holding := (agent, message.task_id, message.generation)) not in self.told:
                    self.told.append(holding)
            elif isinstance(message, ReportDone):
                self.note_report(message)
            elif isinstance(message, Expired):
                self.expired.append(message)

    def note_reply(self, reply: Reply) -> None:
        for item in reply.body if isinstance(reply.body, list) else ():
            if isinstance(item, Submitted):
                self.acknowledged.add(item.task_id)
                there = self.store.reader.get("task", (item.task_id,))
                assert there or item.task_id in self.may_go, "acknowledged before it was on disk"
        if reply.request > 100:
            for key, item in zip(self.requests[reply.request - 101], reply.body, strict=True):
                if isinstance(item, Submitted):
                    self.note_key(key, item.task_id)

    def note_key(self, key: str, task_id: str) -> None:
        known = self.task_of_key.get(key)
        if known not in (None, task_id):
            assert self.row(known) is None, "one key, two tasks"
            assert self.key_ms[key] + KEEP.idempotency_ms <= self.clock.ms, "a key was forgotten too early"
        if known != task_id:
            self.task_of_key[key], self.key_ms[key] = task_id, self.clock.ms

    def note_claimed(self, claimed: Claimed) -> None:
        row = self.store.reader.get("task", (claimed.task_id,))
        if row is None and claimed.task_id in self.may_go:
            return
        assert row.generation >= claimed.generation, "told before it was on disk"
        if claimed.reclaimed:
            return
        assert (claimed.task_id, claimed.generation) not in self.minted, "a generation minted twice"
        assert claimed.generation > self.generation.get(claimed.task_id, 0)
        self.minted.add((claimed.task_id, claimed.generation))
        self.generation[claimed.task_id] = claimed.generation

    def note_report(self, done: ReportDone) -> None:
        frame = done.frame
        if isinstance(frame, TaskAck) and frame.status in (
            "completed",
            "dead_letter",
            "retrying",
            "requeued",
        ):
            kept = self.row(done.task_id)
            if kept is None and done.task_id in self.may_go:
                return
            known = {(of.generation, of.status) for of in kept.reports} | {(kept.generation, kept.phase)}
            assert (done.generation, frame.status) in known, "answered before it was on disk"
        if isinstance(frame, TaskAck) and frame.status == "completed" and not frame.superseded:
            if done.task_id not in self.completed:
                assert done.generation == self.generation[done.task_id], "a stale holder's word was taken"
                assert (done.agent_id, done.task_id, done.generation) in self.told, (
                    "a stranger's word was taken"
                )
            first = self.completed.setdefault(done.task_id, (done.generation, done.agent_id))
            assert first == (done.generation, done.agent_id), "two outcomes of one task"

    def row(self, task_id: str) -> TaskState | None:
        return self.store.reader.get("task", (task_id,))

    def keys(self) -> list[Any]:
        return self.store.reader.scan("idempotency", (), limit=1_000)

    def owner(self, task_id: str) -> LaneWorld | None:
        row = self.row(task_id)
        return self.lanes[row.lane] if row else None

    def report(self, holding: tuple[str, str, int], report: Any) -> None:
        agent, task_id, _ = holding
        if world := self.owner(task_id):
            world.tell(Reported(agent, 1, "c1", report))

    def settle(self) -> None:
        while any(world.owes for world in self.lanes.values()) or self.out:
            for world in self.lanes.values():
                world.write()
            self.drain()

    def step(self) -> None:
        """After each rule: a quick disk answers at once, a slow one when told to."""
        self.drain()
        if not self.is_slow:
            self.settle()

    def holding(self, pick: int) -> tuple[str, str, int]:
        """Mostly the newest assignments: what is long over is refused alike."""
        return self.told[-1 - pick % len(self.told)]

    # --- what may happen ---------------------------------------------------------------------------

    @initialize()
    def some_work(self):
        for lane in LANES:
            for needed in ((), ("python",), ()):
                item = NewTask(description="x", priority=lane, needed_capabilities=list(needed))
                self.lanes[lane].tell(Submit(reply_to="edge", request=1, submitter="op", items=(item,)))
        self.step()

    @rule(
        lane=lanes, needed=st.sampled_from([(), ("python",), ("rust",), ("cobol",), ("python", "rust")]),
        aimed_at=st.sampled_from([None, None, "ada"]), delay=st.sampled_from([0, 0, 30]),
        deadline=st.sampled_from([0, 0, 90]), count=st.integers(1, 3),
    )  # fmt: skip
    def submit(self, lane, needed, aimed_at, delay, deadline, count):
        now = self.clock.ms
        item = NewTask(
            description="x", priority=lane, needed_capabilities=list(needed), target=aimed_at,
            not_before=now + delay * 1000 if delay else 0, complete_by=now + deadline * 1000 if deadline else 0,
        )  # fmt: skip
        self.lanes[lane].tell(Submit(reply_to="edge", request=1, submitter="op", items=(item,) * count))
        self.step()

    @rule(keys=st.lists(st.sampled_from("abc"), min_size=1, max_size=3), body=st.sampled_from("xy"))
    def submit_keyed(self, keys, body):
        """Twice at once on both lanes: only one of them can be first."""
        self.requests.append(keys)
        for lane in LANES:
            items = tuple(NewTask(description=body, priority=lane, idempotency_key=key) for key in keys)
            ask = Submit(reply_to="edge", request=100 + len(self.requests), submitter="op", items=items)
            self.lanes[lane].tell(ask)
        self.step()

    @rule(agent=agents, lane=lanes, pick=st.integers(0, 5), twice=st.booleans())
    def claim(self, agent, lane, pick, twice):
        world = self.lanes[lane]
        ready = sorted(world.rows.scan("ready", (lane,), limit=50), key=lambda found: found[0][4])
        for other in [agent, *(["bob"] if twice else [])] if ready else []:
            world.tell(Claim(other, 1, ready[pick % len(ready)][0][4], AGENTS[other]))
        self.step()

    @rule(lane=lanes, count=st.integers(1, 4))
    @precondition(lambda self: self.is_slow)
    def disk_answers(self, lane, count):
        self.lanes[lane].write(count)
        self.drain()

    @rule()
    def disk_gets_slow_or_quick(self):
        self.is_slow = not self.is_slow
        self.step()

    @rule(
        pick=st.integers(0, 3), kind=st.sampled_from([TaskAccept, TaskAccept, TaskProgress, TaskBlock, TaskUnblock]),
        tokens=st.integers(0, 5), question=st.sampled_from(["why?", "how?"]),
    )  # fmt: skip
    @precondition(lambda self: self.told)
    def report_news(self, pick, kind, tokens, question):
        more = {TaskProgress: {"tokens_used": tokens}, TaskBlock: {"question": question}}.get(kind, {})
        holding = self.holding(pick)
        self.report(holding, kind(task_id=holding[1], generation=holding[2], **more))
        self.step()

    @rule(
        pick=st.integers(0, 3), kind=st.sampled_from([TaskComplete, TaskComplete, TaskFail, TaskReject]),
        text=st.sampled_from(["one", "two"]), retryable=st.booleans(), other=st.sampled_from([None, None, None, "bob"]),
    )  # fmt: skip
    @precondition(lambda self: self.told)
    def report_end(self, pick, kind, text, retryable, other):
        agent, task_id, generation = self.holding(pick)
        more = {"result": TaskResult(summary=text)} if kind is TaskComplete else {"reason": text}
        if kind is TaskFail:
            more["retryable"] = retryable
        self.report(
            (other or agent, task_id, generation), kind(task_id=task_id, generation=generation, **more)
        )
        self.step()

    @rule(pick=st.integers(0, 3), what=st.sampled_from(["reclaim", "anew", "absent", "listed", "away"]))
    @precondition(lambda self: self.told)
    def session_news(self, pick, what):
        agent, task_id, generation = self.holding(pick)
        message = {
            "reclaim": Reclaim(agent, 1, task_id, generation),
            "anew": Reclaim(agent, 1, task_id, generation, anew=True),
            "absent": Absent(agent, 1, task_id, generation),
            "listed": Renew(agent, (HeldTask(task_id, generation),)),
            "away": HolderAway(agent, task_id, generation),
        }[what]
        if world := self.owner(task_id):
            world.tell(message)
        self.step()

    @rule(
        verb=st.sampled_from(["cancel", "retry", "prioritise", "answer"]), lane=lanes, pick=st.integers(0, 9)
    )
    def operate(self, verb, lane, pick):
        known = sorted(self.acknowledged)
        if known:
            ask = Operate(
                reply_to="edge", request=2, task_id=known[pick % len(known)], verb=verb, lane=lane, by="op"
            )
            self.lanes[lane].tell(ask)
        self.step()

    @rule(seconds=st.sampled_from([0.5, 20.0, 61.0, 125.0]))
    def time_passes(self, seconds):
        self.clock.advance(seconds)
        for world in self.lanes.values():
            world.tick()
        self.step()

    @rule(lane=lanes, limit=st.sampled_from([1, 3, 100]), days=st.sampled_from([False, False, True]))
    def what_is_old_goes(self, lane, limit, days):
        """A slice at a time. On a quick disk exactly what is finished and old is gone then; on a slow one it may be,
        when that answers.
        """
        if days:
            self.time_passes(7_200.0)
        world, now = self.lanes[lane], self.clock.ms
        world.lane.retention.keeps_keys = lane == "normal"
        before = {key[0]: row for key, row in world.rows.scan("task", (), limit=10_000)}
        old = {
            row.id for row in before.values()
            if row.lane == lane and row.phase in FINAL and row.updated_ms + KEEP.of(row.phase) <= now
        }  # fmt: skip
        self.may_go |= old
        young = {key for key, row in self.keys() if row.ms + KEEP.idempotency_ms > now}
        for turn in range(200):
            world.tell(Expire("compaction", turn, KEEP, limit))
            self.step()
            if self.is_slow or not self.expired or not self.expired[-1].more:
                break
        if not self.is_slow:
            assert not self.expired[-1].more
            after = {key[0] for key, _ in self.store.reader.scan("task", (), limit=10_000)}
            assert after == set(before) - old
            self.may_go -= after
            assert young <= {key for key, _ in self.keys()}
            if days and lane == "normal":
                self.old_keys_are_gone(now)

    def old_keys_are_gone(self, now):
        for _, row in self.keys():
            assert self.row(row.task_id) or row.ms + KEEP.idempotency_ms > now

    @rule(online=st.sets(agents))
    def agents_come_and_go(self, online):
        self.version += 1
        classes = tuple(Class(frozenset(AGENTS[name]), frozenset({name})) for name in sorted(online))
        for world in self.lanes.values():
            world.tell(Workers(self.version, classes))
            world.survey()
        self.step()

    @rule(lane=lanes)
    def a_lane_crashes(self, lane):
        """Its uncommitted tickets never reach the disk."""
        self.lanes[lane].crash()
        self.step()

    # --- what must always hold ---------------------------------------------------------------------

    @invariant()
    def what_was_acknowledged_exists(self):
        for task_id in self.acknowledged - self.may_go:
            assert self.row(task_id) is not None

    @invariant()
    def no_row_is_left_of_a_task_that_is_gone(self):
        there = {key[0] for key, _ in self.store.reader.scan("task", (), limit=10_000)}
        for table in OF_A_TASK:
            assert {key[0] for key, _ in self.store.reader.scan(table, (), limit=10_000)} <= there
        assert {key[1] for key, _ in self.store.reader.scan("by_submitter", (), limit=10_000)} == there
        kept = {row.task_id for _, row in self.keys()}
        assert {task.id for task in map(self.row, there) if task.idempotency_key} <= kept

    @invariant()
    def index_rows_and_counters_say_what_the_tasks_say(self):
        tasks = [row for _, row in self.store.reader.scan("task", (), limit=10_000)]
        expected = {entry for task in tasks for entry, _ in entries(task)}
        found = {
            (table, key)
            for table in INDEX_TABLES
            for key, _ in self.store.reader.scan(table, (), limit=10_000)
        }
        assert found == expected
        counts: dict[Any, int] = {}
        for task in tasks:
            counts["tasks", task.lane, counted(task.phase)] = (
                counts.get(("tasks", task.lane, counted(task.phase)), 0) + 1
            )
        stored = {key: n for key, n in self.store.reader.scan("counter", ("tasks",), limit=1_000) if n}
        assert stored == counts

    @invariant()
    def windows_are_the_first_keys_of_rows_and_uncommitted_ops(self):
        for name, world in self.lanes.items():
            if any(commit.must for commit in world.unwritten):
                continue  # refusable ops are adopted when they are committed
            # A task that another lane just moved here is on disk, and not yet taken in.
            arriving = {key[1] for key, _ in self.store.reader.scan("moves", (name,), limit=1_000)}
            for bucket, resident in world.lane.windows.resident.items():
                ready = world.rows.scan("ready", (name, *bucket), limit=1_000)
                heads = [(key[3], key[4]) for key, _ in ready if key[4] not in arriving]
                kept = [(head.order, head.task_id) for head in resident.heads if head.task_id not in arriving]
                assert kept == heads[: len(kept)]
                assert resident.more or len(kept) == len(heads)

    @invariant()
    def every_held_task_has_a_lease_and_no_other_has(self):
        for name, world in self.lanes.items():
            held = {key[1] for key, of in world.rows.scan("by_agent", (), limit=1_000) if of.lane == name}
            arriving = {key[1] for key, _ in self.store.reader.scan("moves", (name,), limit=1_000)}
            assert held - arriving <= set(world.lane.leases.tasks()) <= held

    @invariant()
    def an_accepted_outcome_is_written_once(self):
        accepted: dict[str, int] = {}
        for key, row in self.store.reader.scan("result", (), limit=10_000):
            if row.accepted and row.kind == "complete":
                accepted[key[0]] = accepted.get(key[0], 0) + 1
        assert all(count == 1 for count in accepted.values())

    def teardown(self):
        """At rest nothing waits: every task is final, queued, scheduled or held by somebody with a lease."""
        self.settle()
        for _, row in self.store.reader.scan("moves", (), limit=100):
            raise AssertionError(f"a moved task was never taken in: {row}")
        assert [str(problem) for problem in check_rows(self.store).problems] == []


LanesAgainstModel.TestCase.settings = settings(max_examples=150, stateful_step_count=50, deadline=None)
TestLanesAgainstModel = LanesAgainstModel.TestCase
