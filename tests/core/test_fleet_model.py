"""The whole hub's decisions against its promises: real cores, simulated sidecars, any order of mail, any crash.

Hypothesis chooses what happens; after every step the promises are looked at, and at the end, when faults stop,
everything must come to rest with every task final or in a waiting state that somebody can explain.
"""

from typing import Any

import pytest
from fleet import LANE_NAMES, Fleet, SchedulerPart
from fleet_clients import Sidecar
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from world import new

from agentcom.core.messages import Operate, Submit
from agentcom.protocol.bodies import Submitted
from agentcom.protocol.ops import Append, Put
from agentcom.protocol.pauses import every_pause, paused_lanes
from agentcom.protocol.rows import FINAL, HELD, LANES, Event, TaskState

AGENTS = {"ada": ("python",), "bob": ("python", "rust"), "cy": ()}
NEEDS = [(), (), ("python",), ("rust",), ("cobol",)]
POLICY = {
    "window": 4, "max_signatures": 3, "max_losses": 2, "max_attempts": 2, "backoff_cap_s": 30.0, "exclude_cap_s": 90.0,
    "blocked_max_s": 200.0,
}  # fmt: skip
PAUSING = (
    "lane.pause", "lane.resume", "agent.pause", "agent.resume", "agent.drain", "hub.drain", "hub.resume", "hub.resume",
)  # fmt: skip
picks = st.integers(0, 1 << 16)
agents = st.sampled_from(sorted(AGENTS))
lanes = st.sampled_from(LANES)
few = st.integers(0, 3)


class FleetModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.fleet = Fleet(AGENTS, ("one", "two"), **POLICY)
        self.acknowledged: set[str] = set()
        self.holders: dict[tuple[str, int], str] = {}
        self.generation: dict[str, int] = {}
        self.started: dict[tuple[str, int], str] = {}
        self.paused: set[str] = set()  #: lanes and agents that have heard of it

    def pick(self, of: list[Any], pick: int) -> Any:
        return of[pick % len(of)] if of else None

    @property
    def firsts(self) -> list[Sidecar]:
        return [of for of in self.fleet.sidecars if of.instance == "one"]

    @initialize()
    def the_hub_starts(self):
        self.fleet.settle()

    # --- work comes in, operators ------------------------------------------------------------------

    @rule(
        lane=lanes, needed=st.sampled_from(NEEDS), aimed_at=st.sampled_from([None, None, None, "ada"]),
        delay=st.sampled_from([0, 0, 0, 20]), deadline=st.sampled_from([0, 0, 0, 100]), count=st.integers(1, 2),
    )  # fmt: skip
    def submit(self, lane, needed, aimed_at, delay, deadline, count):
        now = self.fleet.clock.ms
        item = new(
            priority=lane, needed_capabilities=list(needed), target=aimed_at,
            not_before=now + delay * 1000 if delay else 0,
            complete_by=now + deadline * 1000 if deadline else 0,
        )  # fmt: skip
        self.fleet.ask(lane, Submit(reply_to="edge", request=1, submitter="op", items=(item,) * count))

    @rule(
        verb=st.sampled_from(["cancel", "retry", "prioritise", "prioritise", "answer"]),
        lane=lanes,
        pick=picks,
    )
    def an_operator_intervenes(self, verb, lane, pick):
        if task_id := self.pick(sorted(self.acknowledged), pick):
            ask = Operate(
                reply_to="edge", request=2, task_id=task_id, verb=verb, lane=lane, by="op", text="x"
            )
            self.fleet.ask(self.row(task_id).lane, ask)

    @rule(verb=st.sampled_from(PAUSING), lane=lanes, agent=agents)
    def an_operator_pauses_or_resumes(self, verb, lane, agent):
        self.fleet.administer(verb, lane=lane, agent_id=agent)
        if verb.endswith("resume"):
            self.paused -= {lane, agent, *LANES}

    # --- mail, disk and time -----------------------------------------------------------------------

    @rule(order=st.lists(picks, min_size=1, max_size=8))
    def some_mail_arrives(self, order):
        for pick in order:
            if pair := self.pick(self.fleet.deliverable(), pick):
                self.fleet.deliver(pair)

    @rule(pick=picks, count=st.integers(1, 3))
    def the_disk_answers(self, pick, count):
        if part := self.pick([part for part in self.fleet.parts.values() if part.owes], pick):
            part.write(count)

    @rule()
    def everything_arrives(self):
        self.fleet.settle()
        self.the_promises_are_kept()
        reader = self.fleet.store.reader
        self.paused = {*paused_lanes(reader), *(of.name for of in every_pause(reader) if of.kind == "agent")}

    @rule(seconds=st.sampled_from([1.0, 16.0, 61.0]))
    def the_hub_works(self, seconds):
        self.fleet.run(seconds, flowing=True)

    @rule(seconds=st.sampled_from([1.0, 20.0, 61.0, 125.0]), beating=st.booleans())
    def mail_hangs(self, seconds, beating):
        self.fleet.run(seconds, flowing=False, beating=beating)

    @rule(seconds=st.sampled_from([5.0, 70.0, 130.0]))
    def the_process_stands_still(self, seconds):
        self.fleet.jump(seconds)

    # --- sidecars ----------------------------------------------------------------------------------

    @rule(agent=agents, instance=st.sampled_from(["one", "one", "one", "two"]), takeover=st.booleans())
    def a_sidecar_connects(self, agent, instance, takeover):
        self.sidecar(agent, instance).connect(takeover=takeover and instance == "two")

    @rule()
    def all_sidecars_connect(self):
        for sidecar in self.firsts:
            sidecar.connect()

    @rule(pick=picks, lose=st.booleans())
    def a_connection_drops(self, pick, lose):
        if sidecar := self.pick([of for of in self.fleet.sidecars if of.conn], pick):
            sidecar.drop(lose=lose)

    @rule(pick=picks)
    def a_sidecar_restarts(self, pick):
        if sidecar := self.pick([of for of in self.fleet.sidecars if not of.retired], pick):
            sidecar.restart()

    @rule(pick=picks)
    def a_heartbeat(self, pick):
        if sidecar := self.pick([of for of in self.fleet.sidecars if of.welcomed], pick):
            sidecar.beat()

    @rule(pick=picks, accept=st.sampled_from([True, True, False]))
    def a_sidecar_decides(self, pick, accept):
        if sidecar := self.pick([of for of in self.fleet.sidecars if of.undecided], pick):
            sidecar.decide(accept=accept)

    @rule()
    def all_sidecars_take_what_they_are_given(self):
        self.fleet.settle()
        for sidecar in self.fleet.sidecars:
            while sidecar.undecided:
                sidecar.decide()
        self.fleet.settle()

    @rule(pick=picks)
    def a_mind_is_stopped(self, pick):
        if sidecar := self.pick([of for of in self.fleet.sidecars if of.stops], pick):
            sidecar.obey()

    @rule(
        pick=picks,
        how=st.sampled_from(
            ["complete", "complete", "fail", "hopeless", "reject", "block", "unblock", "progress"]
        ),
    )
    def a_mind(self, pick, how):
        if sidecar := self.pick([of for of in self.fleet.sidecars if of.works], pick):
            sidecar.mind(how)

    def sidecar(self, agent: str, instance: str) -> Sidecar:
        return next(of for of in self.fleet.sidecars if (of.agent, of.instance) == (agent, instance))

    # --- crashes -----------------------------------------------------------------------------------

    @rule(name=st.sampled_from([*LANE_NAMES, "scheduler", "gateway"]), written=few, stays_down=st.booleans())
    def a_part_crashes(self, name, written, stays_down):
        part = self.fleet.parts[name]
        if part.running:
            part.crash(written)
        if not stays_down:
            part.start()

    @rule(agent=agents, written=few, lose=st.booleans(), stays_down=st.booleans())
    def an_agent_crashes(self, agent, written, lose, stays_down):
        part = self.fleet.agent(agent)
        if part.running:
            part.crash(written)
            if lose:
                self.fleet.net.drop(dst=part.name)
        if not stays_down:
            part.start()

    @rule(agent=agents)
    def an_agent_goes_to_sleep(self, agent):
        self.fleet.agent(agent).sleep()

    @rule()
    def all_parts_that_are_down_start(self):
        self.start_parts()

    @rule(written=few)
    def the_hub_is_killed(self, written):
        for part in self.fleet.parts.values():
            if part.running:
                part.crash(written)
        self.fleet.net.queues.clear()
        self.start_parts()

    def start_parts(self) -> None:
        for part in self.fleet.parts.values():
            if not part.running and not part.asleep:
                part.start()

    # --- what must always hold ---------------------------------------------------------------------

    @invariant()
    def the_promises_are_kept(self):
        self.what_was_acknowledged_exists()
        self.nothing_is_handed_out_that_is_paused()
        self.a_generation_never_falls_and_has_one_holder()
        self.an_agent_holds_one_task_at_most()
        self.a_task_has_one_outcome()
        self.nobody_starts_the_same_work_twice()
        self.windows_are_the_first_keys_of_rows_and_uncommitted_ops()

    def row(self, task_id: str) -> TaskState:
        found: TaskState = self.fleet.store.reader.get("task", (task_id,))
        return found

    def tasks(self) -> list[TaskState]:
        return [row for _, row in self.fleet.store.reader.scan("task", (), limit=10_000)]

    def what_was_acknowledged_exists(self):
        for reply in self.fleet.replies:
            for item in reply.body if isinstance(reply.body, list) else ():
                if isinstance(item, Submitted):
                    self.acknowledged.add(item.task_id)
        self.fleet.replies.clear()
        for task_id in self.acknowledged:
            assert self.row(task_id), "acknowledged and not there"

    def nothing_is_handed_out_that_is_paused(self):
        for commit in self.fleet.commits:
            written = [op.row for op in commit.ops if isinstance(op, Put | Append)]
            assigned = {row.agent_id for row in written if isinstance(row, Event) and row.event == "assigned"}
            if assigned:
                assert commit.actor.removeprefix("lane.") not in self.paused, "a paused lane hands out a task"
                assert not assigned & self.paused, "a paused agent gets a task"

    def a_generation_never_falls_and_has_one_holder(self):
        commits, self.fleet.commits = self.fleet.commits, []
        for task in (op.row for of in commits for op in of.ops if isinstance(op, Put) and op.table == "task"):
            assert task.generation >= self.generation.get(task.id, 0), f"{task.id} went back"
            self.generation[task.id] = task.generation
            if task.holder:
                holder = self.holders.setdefault((task.id, task.generation), task.holder)
                assert holder == task.holder, f"generation {task.generation} of {task.id} was minted twice"

    def an_agent_holds_one_task_at_most(self):
        held: dict[str, str] = {}
        for task in self.tasks():
            if task.phase in HELD:
                assert task.holder not in held, f"{task.holder} holds {held[task.holder]} and {task.id}"
                held[task.holder] = task.id

    def a_task_has_one_outcome(self):
        accepted: dict[str, int] = {}
        for key, row in self.fleet.store.reader.scan("result", (), limit=10_000):
            if row.accepted and row.kind == "complete":
                accepted[key[0]] = accepted.get(key[0], 0) + 1
        for task in self.tasks():
            assert accepted.get(task.id, 0) == (task.phase == "completed"), task

    def nobody_starts_the_same_work_twice(self):
        starts, self.fleet.starts = self.fleet.starts, []
        for task_id, generation, who in starts:
            first = self.started.setdefault((task_id, generation), who)
            assert first is who, (
                f"{who} starts generation {generation} of {task_id}, which {first} had started"
            )

    def windows_are_the_first_keys_of_rows_and_uncommitted_ops(self):
        for lane in LANES:
            part = self.fleet.parts[f"lane.{lane}"]
            if part.running:
                self.check_windows(lane, part.world)

    def check_windows(self, lane, world):
        """A task that was moved here and not taken in yet may be missing."""
        arriving = {key[1] for key, _ in world.rows.scan("moves", (lane,), limit=1_000)}
        for bucket, resident in world.lane.windows.resident.items():
            ready = world.rows.scan("ready", (lane, *bucket), limit=1_000)
            heads = [(key[3], key[4]) for key, _ in ready if key[4] not in arriving]
            kept = [(head.order, head.task_id) for head in resident.heads if head.task_id not in arriving]
            assert kept == heads[: len(kept)], lane
            assert resident.more or len(kept) == len(heads), lane

    # --- the end -----------------------------------------------------------------------------------

    def teardown(self):
        """Faults stop. Every Mind now finishes what it has, and the operators answer every question."""
        self.start_parts()
        self.resume_all()
        self.fleet.settle()
        for _ in range(60):
            for sidecar in self.firsts:
                if not any(of.conn for of in self.fleet.sidecars if of.agent == sidecar.agent):
                    sidecar.connect(takeover=True)
            self.fleet.settle()
            for sidecar in self.fleet.sidecars:
                self.do_its_work(sidecar)
            self.answer_questions()
            self.the_promises_are_kept()
            if not self.unexplained() and not self.stuck():
                break
            self.fleet.run(10.0, flowing=True)
        assert self.unexplained() == []
        assert self.stuck() == []

    def resume_all(self) -> None:
        self.fleet.settle()
        self.the_promises_are_kept()
        self.paused.clear()
        self.fleet.administer("hub.resume")
        for lane in LANES:
            self.fleet.administer("lane.resume", lane=lane)
        for agent in AGENTS:
            self.fleet.administer("agent.resume", agent_id=agent)

    def do_its_work(self, sidecar: Sidecar) -> None:
        while sidecar.undecided:
            sidecar.decide()
        sidecar.obey()
        self.fleet.settle()
        sidecar.mind("complete")
        self.fleet.settle()

    def answer_questions(self) -> None:
        for task in self.tasks():
            if task.phase == "blocked":
                ask = Operate(reply_to="edge", request=2, task_id=task.id, verb="answer", by="op", text="so")
                self.fleet.ask(task.lane, ask)
        self.fleet.settle()

    def unexplained(self) -> list[str]:
        return [f"{task.id} is {task.phase}" for task in self.tasks() if not self.explained(task)]

    def explained(self, task: TaskState) -> bool:
        needed = set(self.fleet.store.reader.get("body", (task.id,)).needed)
        fits = any(needed <= set(caps) for name, caps in AGENTS.items() if task.target in ("", name))
        return task.phase in FINAL or (task.phase == "queued" and not fits)

    def stuck(self) -> list[str]:
        scheduler: SchedulerPart = self.fleet.parts["scheduler"]
        found = [f"an offer hangs: {flight}" for flight in scheduler.core._flights.values()]
        states = {name: self.fleet.agent(name).core.state(self.fleet.clock.now()) for name in AGENTS}
        found += [f"{name} is {state}" for name, state in states.items() if state != "idle"]
        return found


FleetModel.TestCase.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)
TestFleetModel = FleetModel.TestCase


@pytest.mark.slow
def test_the_fleet_keeps_its_promises_over_many_more_runs():
    run_state_machine_as_test(
        FleetModel, settings=settings(max_examples=1_000, stateful_step_count=100, deadline=None)
    )
