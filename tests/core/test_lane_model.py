"""Two lanes against a model, step by step: submits, claims, every report, operators, time, crashes, a slow disk.

The model knows only what was said to whom; the lanes must never contradict it.
"""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule
from world import Clock, LaneWorld

from agentcom.core.index import entries
from agentcom.core.messages import (
    Absent, Adopt, Claim, Claimed, Class, HolderAway, Operate, Reclaim, Renew, Reply, ReportDone, Reported, Submit,
    Workers,
)  # fmt: skip
from agentcom.protocol.bodies import NewTask, Submitted
from agentcom.protocol.frames import (
    HeldTask, TaskAccept, TaskAck, TaskBlock, TaskComplete, TaskFail, TaskProgress, TaskReject, TaskResult, TaskUnblock,
)  # fmt: skip
from agentcom.protocol.rows import HELD, TaskState
from agentcom.store.memory import MemoryStore

AGENTS = {"ada": ("python",), "bob": ("python", "rust"), "cy": ()}
INDEX_TABLES = ("ready", "waiting", "due", "deadline", "by_phase", "by_agent")
LANES = ("normal", "high")
lanes = st.sampled_from(LANES)
agents = st.sampled_from(sorted(AGENTS))


class LanesAgainstModel(RuleBasedStateMachine):
    assignments = Bundle("assignments")  # (agent, task_id, generation) as the agent was told

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
        self.keys: dict[str, str] = {}

    # --- plumbing ----------------------------------------------------------------------------------

    def drain(self) -> list[Any]:
        """Handle what was released; returns new assignments."""
        found = []
        while self.out:
            to, message = self.out.pop(0)
            if isinstance(to, str) and to.startswith("lane."):
                self.lanes[to.removeprefix("lane.")].tell(message)
            elif isinstance(message, Reply):
                self.note_reply(message)
            elif isinstance(message, Claimed):
                agent = to.removeprefix("agents/agent.")
                self.note_claimed(message)
                found.append((agent, message.task_id, message.generation))
            elif isinstance(message, ReportDone):
                self.note_report(message)
        return found

    def note_reply(self, reply: Reply) -> None:
        for item in reply.body if isinstance(reply.body, list) else ():
            if isinstance(item, Submitted):
                self.acknowledged.add(item.task_id)
                assert self.store.reader.get("task", (item.task_id,)), "acknowledged before it was on disk"

    def note_claimed(self, claimed: Claimed) -> None:
        row = self.store.reader.get("task", (claimed.task_id,))
        assert row.generation >= claimed.generation, "told before it was on disk"
        if claimed.reclaimed:
            return
        assert (claimed.task_id, claimed.generation) not in self.minted, "a generation minted twice"
        assert claimed.generation > self.generation.get(claimed.task_id, 0)
        self.minted.add((claimed.task_id, claimed.generation))
        self.generation[claimed.task_id] = claimed.generation

    def note_report(self, done: ReportDone) -> None:
        frame = done.frame
        if isinstance(frame, TaskAck) and frame.status == "completed" and not frame.superseded:
            first = self.completed.setdefault(done.task_id, (done.generation, done.agent_id))
            assert first == (done.generation, done.agent_id), "two outcomes of one task"

    def row(self, task_id: str) -> TaskState | None:
        return self.store.reader.get("task", (task_id,))

    def owner(self, task_id: str) -> LaneWorld | None:
        row = self.row(task_id)
        return self.lanes[row.lane] if row else None

    def report(self, holding: tuple[str, str, int], report: Any) -> None:
        agent, task_id, _ = holding
        if world := self.owner(task_id):
            world.tell(Reported(agent, 1, "c1", report))

    # --- what may happen ---------------------------------------------------------------------------

    @rule(
        lane=lanes, needed=st.sampled_from([(), ("python",), ("rust",), ("cobol",), ("python", "rust")]),
        aimed_at=st.sampled_from([None, None, "ada"]), delay=st.sampled_from([0, 0, 30]),
        deadline=st.sampled_from([0, 0, 90]), key=st.sampled_from(["", "", "k1", "k2"]), count=st.integers(1, 3),
    )  # fmt: skip
    def submit(self, lane, needed, aimed_at, delay, deadline, key, count):
        now = self.clock.ms
        item = NewTask(
            description="x", priority=lane, needed_capabilities=list(needed), target=aimed_at, idempotency_key=key,
            not_before=now + delay * 1000 if delay else 0, complete_by=now + deadline * 1000 if deadline else 0,
        )  # fmt: skip
        self.lanes[lane].tell(Submit(reply_to="edge", request=1, submitter="op", items=(item,) * count))

    @rule(target=assignments, agent=agents, lane=lanes, pick=st.integers(0, 20))
    def claim(self, agent, lane, pick):
        world = self.lanes[lane]
        ready = world.rows.scan("ready", (lane,), limit=50)
        if ready:
            task_id = ready[pick % len(ready)][0][4]
            world.tell(Claim(agent, 1, task_id, AGENTS[agent]))
        return multiple(*self.drain())

    @rule(target=assignments, lane=lanes, count=st.integers(1, 4))
    def disk_answers(self, lane, count):
        self.lanes[lane].write(count)
        return multiple(*self.drain())

    @rule(target=assignments)
    def disk_answers_all(self):
        return multiple(*self.settle())

    def settle(self) -> list[Any]:
        found = []
        while any(world.unwritten for world in self.lanes.values()) or self.out:
            for world in self.lanes.values():
                world.write()
            found += self.drain()
        return found

    @rule(holding=assignments)
    def accept(self, holding):
        self.report(holding, TaskAccept(task_id=holding[1], generation=holding[2]))

    @rule(holding=assignments, tokens=st.integers(0, 5))
    def progress(self, holding, tokens):
        self.report(holding, TaskProgress(task_id=holding[1], generation=holding[2], tokens_used=tokens))

    @rule(holding=assignments, question=st.sampled_from(["why?", "how?"]))
    def block(self, holding, question):
        self.report(holding, TaskBlock(task_id=holding[1], generation=holding[2], question=question))

    @rule(holding=assignments)
    def unblock(self, holding):
        self.report(holding, TaskUnblock(task_id=holding[1], generation=holding[2]))

    @rule(holding=assignments, summary=st.sampled_from(["one", "two"]))
    def complete(self, holding, summary):
        result = TaskResult(summary=summary)
        self.report(holding, TaskComplete(task_id=holding[1], generation=holding[2], result=result))

    @rule(holding=assignments, retryable=st.booleans())
    def fail(self, holding, retryable):
        self.report(holding, TaskFail(task_id=holding[1], generation=holding[2], retryable=retryable))

    @rule(holding=assignments)
    def reject(self, holding):
        self.report(holding, TaskReject(task_id=holding[1], generation=holding[2]))

    @rule(holding=assignments, other=agents, summary=st.sampled_from(["one", "two"]))
    def a_stranger_reports(self, holding, other, summary):
        self.report((other, *holding[1:]), TaskComplete(
            task_id=holding[1], generation=holding[2], result=TaskResult(summary=summary)
        ))  # fmt: skip

    @rule(target=assignments, holding=consumes(assignments))
    def reclaim(self, holding):
        agent, task_id, generation = holding
        if world := self.owner(task_id):
            world.tell(Reclaim(agent, 1, task_id, generation))
        return multiple(holding, *self.drain())

    @rule(holding=assignments)
    def heartbeat_without_it(self, holding):
        agent, task_id, generation = holding
        if world := self.owner(task_id):
            world.tell(Absent(agent, 1, task_id, generation))

    @rule(holding=assignments)
    def heartbeat_with_it(self, holding):
        agent, task_id, generation = holding
        if world := self.owner(task_id):
            world.tell(Renew(agent, (HeldTask(task_id, generation),)))

    @rule(holding=assignments)
    def disconnect(self, holding):
        agent, task_id, generation = holding
        if world := self.owner(task_id):
            world.tell(HolderAway(agent, task_id, generation))

    @rule(verb=st.sampled_from(["cancel", "retry", "prioritise", "answer"]), lane=lanes, pick=st.integers(0, 50))
    def operate(self, verb, lane, pick):
        known = sorted(self.acknowledged)
        if known:
            ask = Operate(reply_to="edge", request=2, task_id=known[pick % len(known)], verb=verb, lane=lane, by="op")
            self.lanes[lane].tell(ask)

    @rule(seconds=st.sampled_from([0.5, 20.0, 61.0, 125.0]))
    def time_passes(self, seconds):
        self.clock.advance(seconds)
        for world in self.lanes.values():
            world.tick()

    @rule(online=st.sets(agents))
    def agents_come_and_go(self, online):
        self.version += 1
        classes = tuple(Class(frozenset(AGENTS[name]), frozenset({name})) for name in sorted(online))
        for world in self.lanes.values():
            world.tell(Workers(self.version, classes))
            world.survey()

    @rule(lane=lanes)
    def a_lane_crashes(self, lane):
        """Its uncommitted tickets never reach the disk."""
        self.lanes[lane].crash()

    # --- what must always hold ---------------------------------------------------------------------

    @invariant()
    def what_was_acknowledged_exists(self):
        for task_id in self.acknowledged:
            assert self.row(task_id) is not None

    @invariant()
    def index_rows_and_counters_say_what_the_tasks_say(self):
        tasks = [row for _, row in self.store.reader.scan("task", (), limit=10_000)]
        expected = {entry for task in tasks for entry, _ in entries(task)}
        found = {(table, key) for table in INDEX_TABLES for key, _ in self.store.reader.scan(table, (), limit=10_000)}
        assert found == expected
        counts: dict[Any, int] = {}
        for task in tasks:
            counts["tasks", task.lane, task.phase] = counts.get(("tasks", task.lane, task.phase), 0) + 1
        stored = {key: n for key, n in self.store.reader.scan("counter", (), limit=1_000) if n}
        assert stored == counts

    @invariant()
    def windows_are_the_first_keys_of_rows_and_uncommitted_ops(self):
        for name, world in self.lanes.items():
            if any(commit.must for commit in world.unwritten):
                continue  # refusable ops are adopted when they are committed
            for bucket, resident in world.lane.windows.resident.items():
                ready = world.rows.scan("ready", (name, *bucket), limit=1_000)
                heads = [(key[3], key[4]) for key, _ in ready]
                kept = [(head.order, head.task_id) for head in resident.heads]
                assert kept == heads[: len(kept)]
                assert resident.more or len(kept) == len(heads)

    @invariant()
    def every_held_task_has_a_lease_and_no_other_has(self):
        for name, world in self.lanes.items():
            held = {
                key[2] for phase in HELD for key, _ in world.rows.scan("by_phase", (phase, name), limit=1_000)
            }
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


LanesAgainstModel.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestLanesAgainstModel = LanesAgainstModel.TestCase
assert Adopt
