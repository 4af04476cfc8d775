"""What the fleet model found, each as the shortest story that shows it."""

from typing import Any

import msgspec
import pytest
from fleet import Fleet
from world import SeededEntropy, new

from agentcom.core.messages import (
    Claim,
    ClaimRefused,
    EndSession,
    Operate,
    PauseChanged,
    SessionFrame,
    Submit,
    WhatDoIHold,
)
from agentcom.protocol.bodies import Operated
from agentcom.protocol.frames import Draining, Heartbeat, Welcome
from agentcom.protocol.rows import TaskState

ADA = {"ada": ("python",)}


def fleet_with(*tasks, agents=ADA, **options) -> Fleet:
    fleet = Fleet(agents, ("one",), **options)
    fleet.settle()
    for task in tasks:
        submit(fleet, task)
    return fleet


def submit(fleet: Fleet, task) -> None:
    fleet.ask(task.priority, Submit(reply_to="edge", request=1, submitter="op", items=(task,)))
    fleet.settle()


def connect(fleet: Fleet) -> None:
    for sidecar in fleet.sidecars:
        sidecar.connect()
    fleet.settle()


def row(fleet: Fleet, task_id: str = "task-000001") -> TaskState:
    found: TaskState = fleet.store.reader.get("task", (task_id,))
    return found


def operate(fleet: Fleet, verb, lane="high") -> None:
    ask = Operate(reply_to="edge", request=2, task_id="task-000001", verb=verb, lane=lane, by="op")
    fleet.ask(row(fleet).lane, ask)


def move_without_word(fleet: Fleet) -> None:
    """The move is on disk; the lane it goes to is not told."""
    operate(fleet, "prioritise")
    fleet.deliver(("edge", "lane.normal"))
    fleet.parts["lane.normal"].write(1)
    fleet.net.drop(src="lane.normal", dst="lane.high")


@pytest.mark.parametrize(
    ("verb", "lane", "shown"),
    [
        ("prioritise", "high", ("queued", "queued", "high")),
        ("prioritise", "normal", ("queued", "queued", "normal")),
        ("cancel", "normal", ("cancelled", "queued", "normal")),
    ],
)
def test_an_operator_is_told_the_same_of_what_was_done_and_of_what_had_to_be_done_no_more(verb, lane, shown):
    fleet = fleet_with(new())
    status, before, priority = shown
    told = [answer_of(fleet, verb, lane), answer_of(fleet, verb, lane)]
    first = Operated(task_id="task-000001", status=status, previous_status=before, priority=priority)
    assert told == [first, msgspec.structs.replace(first, previous_status=status)]


def answer_of(fleet: Fleet, verb, lane) -> Any:
    operate(fleet, verb, lane)
    fleet.settle()
    return fleet.replies[-1].body


def phases(fleet: Fleet) -> list[str]:
    return [task.phase for _, task in fleet.store.reader.scan("task", (), limit=100)]


def administer(fleet: Fleet, verb: str, **args: str) -> list[Any]:
    """What the operator is answered, and then everything that follows from it."""
    fleet.administer(verb, **args)
    fleet.settle()
    return [of.body for of in fleet.replies if of.request == 3]


@pytest.mark.parametrize(
    ("stop", "go_on", "args"),
    [
        ("lane.pause", "lane.resume", {"lane": "normal"}),
        ("agent.pause", "agent.resume", {"agent_id": "ada"}),
        ("agent.drain", "agent.resume", {"agent_id": "ada"}),
        ("hub.drain", "hub.resume", {}),
    ],
)
def test_what_is_paused_gets_nothing_and_when_resumed_gets_it_at_once(stop, go_on, args):
    fleet = fleet_with()
    connect(fleet)
    administer(fleet, stop, **args)
    submit(fleet, new())
    assert phases(fleet) == ["queued"]
    administer(fleet, go_on, **args)
    assert phases(fleet) == ["assigned"]


@pytest.mark.parametrize("stop", ["lane.pause", "agent.pause", "agent.drain", "hub.drain"])
def test_what_is_in_work_goes_on_and_ends_though_no_more_is_handed_out(stop):
    fleet = fleet_with(new(), new())
    connect(fleet)
    administer(fleet, stop, lane="normal", agent_id="ada")
    [sidecar] = fleet.sidecars
    sidecar.decide()
    fleet.settle()
    sidecar.mind("complete")
    fleet.settle()
    assert phases(fleet) == ["completed", "queued"]


@pytest.mark.parametrize("stop", ["lane.pause", "agent.pause", "hub.drain"])
@pytest.mark.parametrize("crash", ["lane.normal", "scheduler", "agent.ada", "all"])
def test_a_pause_outlives_every_part_that_keeps_it(stop, crash):
    fleet = fleet_with()
    administer(fleet, stop, lane="normal", agent_id="ada")
    parts = list(fleet.parts.values()) if crash == "all" else [fleet.parts[crash]]
    for part in parts:
        part.crash()
    for part in parts:
        part.start()
    fleet.settle()
    connect(fleet)
    submit(fleet, new())
    assert phases(fleet) == ["queued"]
    administer(
        fleet, stop.replace("pause", "resume").replace("drain", "resume"), lane="normal", agent_id="ada"
    )
    assert phases(fleet) == ["assigned"]


def test_a_lane_that_started_while_its_pause_was_written_hears_of_it_all_the_same():
    fleet = fleet_with(new())
    fleet.parts["lane.normal"].crash()
    fleet.administer("lane.pause", lane="normal")
    fleet.deliver(("edge", "directory"))
    fleet.parts["lane.normal"].start()  # it reads its row before that is on disk
    fleet.parts["directory"].known.pop("lane.normal", None)
    fleet.parts["directory"].write(1)  # and its name is not known yet to who would tell it
    fleet.settle()
    connect(fleet)
    assert phases(fleet) == ["queued"]


def test_a_paused_lane_refuses_a_claim_of_what_was_offered_before():
    fleet = fleet_with()
    connect(fleet)
    fleet.ask("normal", Submit(reply_to="edge", request=1, submitter="op", items=(new(),)))
    for pair in (("edge", "lane.normal"), ("lane.normal", "scheduler"), ("scheduler", "agent.ada")):
        fleet.parts["lane.normal"].write(9)
        while pair in fleet.net.queues:
            fleet.deliver(pair)
    assert ("agent.ada", "lane.normal") in fleet.net.queues
    fleet.administer("lane.pause", lane="normal")
    for part in ("directory", "lane.normal"):
        fleet.deliver(("edge" if part == "directory" else "directory", part))
        fleet.parts[part].write(9)
    fleet.settle()
    assert phases(fleet) == ["queued"]
    administer(fleet, "lane.resume", lane="normal")
    assert phases(fleet) == ["assigned"]


def test_a_drained_agent_is_told_and_a_new_session_ends_it():
    fleet = fleet_with()
    connect(fleet)
    [sidecar] = fleet.sidecars
    heard: list[Any] = []
    sidecar.receive = lambda frame, receive=sidecar.receive: (heard.append(frame), receive(frame))
    for _ in range(2):
        administer(fleet, "agent.drain", agent_id="ada")
    assert heard == [Draining()]
    assert fleet.agent("ada").core.state(fleet.clock.now()) == "draining"
    submit(fleet, new())
    sidecar.drop(lose=False)
    connect(fleet)
    assert phases(fleet) == ["assigned"]


def test_an_agent_drained_before_its_welcome_is_welcomed_first():
    fleet = fleet_with()
    [sidecar] = fleet.sidecars
    agent = fleet.agent("ada").core
    sidecar.connect()
    fleet.deliver((sidecar.conn, "gateway"))
    said = [
        output.message.frame
        for message in (fleet.net.take(("gateway", "agent.ada")).message, PauseChanged(drained=True))
        for decision in agent._HANDLERS[type(message)](agent, message, fleet.clock.now())
        for output in decision.outputs
    ]
    said += [output.message.frame for output in agent._welcome(fleet.clock.now())]
    assert [type(frame) for frame in said] == [Welcome, Draining]


def test_a_task_moved_into_a_lane_that_never_saw_its_signature_is_offered():
    fleet = fleet_with(new(needed_capabilities=["python"]))
    operate(fleet, "prioritise")
    fleet.settle()
    connect(fleet)
    assert (row(fleet).lane, row(fleet).phase) == ("high", "assigned")


def test_a_moved_task_whose_adopt_is_lost_is_taken_in_all_the_same():
    fleet = fleet_with(new())
    move_without_word(fleet)
    fleet.run(10.0, flowing=True)
    connect(fleet)
    assert row(fleet).phase == "assigned"
    assert fleet.store.reader.scan("moves", (), limit=10) == []


def test_a_moved_task_that_changed_before_its_adopt_came_is_not_set_back():
    fleet = fleet_with(new())
    operate(fleet, "prioritise")
    fleet.deliver(("edge", "lane.normal"))
    fleet.parts["lane.normal"].write(1)
    operate(fleet, "cancel")
    fleet.deliver(("edge", "lane.high"))
    fleet.settle()
    assert row(fleet).phase == "cancelled"


def test_a_bucket_left_out_of_full_windows_gets_its_turn_when_another_runs_empty():
    fleet = fleet_with(new("a"), new("b", needed_capabilities=["python"]), max_signatures=1)
    connect(fleet)
    for _ in range(2):
        fleet.sidecars[0].decide()
        fleet.settle()
        fleet.sidecars[0].mind("complete")
        fleet.run(15.0, flowing=True)
    assert row(fleet, "task-000002").phase == "assigned" or row(fleet, "task-000002").phase == "completed"


def test_an_agent_keeps_what_moved_when_the_old_lane_starts_again():
    fleet = fleet_with(new())
    connect(fleet)
    move_without_word(fleet)
    fleet.parts["lane.normal"].crash()
    fleet.parts["lane.normal"].start()
    fleet.settle()
    submit(fleet, new())
    hold = fleet.agent("ada").core.hold
    assert (hold.task_id, hold.lane) == ("task-000001", "high")
    assert row(fleet, "task-000002").phase == "queued"


def test_an_agent_that_started_again_sends_its_client_to_resume_at_its_first_frame():
    fleet = fleet_with(new())
    connect(fleet)
    [sidecar] = fleet.sidecars
    fleet.agent("ada").crash()
    fleet.agent("ada").start()
    fleet.settle()
    sidecar.beat()
    fleet.settle()
    assert sidecar.conn == ""
    connect(fleet)
    assert fleet.agent("ada").core.hold.task_id == "task-000001"


def test_a_frame_of_an_ended_session_harms_nobody():
    fleet = fleet_with()
    connect(fleet)
    [strange] = fleet.agent("ada").core.handle(SessionFrame("old", Heartbeat()), fleet.clock.now())
    assert strange.outputs[0].message == EndSession("old", 1012, "a part of the hub started again")
    assert fleet.agent("ada").core.state(fleet.clock.now()) == "idle"


def test_an_agent_is_not_woken_for_a_time_that_has_passed():
    fleet = fleet_with()
    core = fleet.agent("ada").core
    core.rests_until = fleet.clock.mono + 5.0
    assert core.next_wake(fleet.clock.mono) == core.rests_until
    assert core.next_wake(core.rests_until) == float("inf")


@pytest.mark.parametrize(("seconds", "phase"), [(64.0, "working"), (71.0, "queued")])
def test_a_lane_that_starts_gives_holders_time_to_come_back(seconds, phase):
    fleet = fleet_with(new())
    connect(fleet)
    fleet.sidecars[0].decide()
    fleet.settle()
    fleet.sidecars[0].drop()
    fleet.agent("ada").crash()
    fleet.parts["lane.normal"].crash()
    fleet.parts["lane.normal"].start()
    fleet.run(seconds, flowing=True)
    assert row(fleet).phase == phase


@pytest.mark.parametrize("lane_starts_meanwhile", [False, True])
@pytest.mark.parametrize(("seconds", "phase"), [(64.0, "working"), (71.0, "queued")])
def test_no_lease_runs_out_before_the_gateway_is_up_long_enough_to_come_back(
    lane_starts_meanwhile, seconds, phase
):
    fleet = fleet_with(new())
    connect(fleet)
    fleet.sidecars[0].decide()
    fleet.settle()
    fleet.parts["gateway"].crash()
    fleet.settle()
    if lane_starts_meanwhile:
        fleet.parts["lane.normal"].crash()
        fleet.parts["lane.normal"].start()
    fleet.run(1_000.0, flowing=True)
    assert row(fleet).phase == "working"
    fleet.parts["gateway"].start()
    fleet.run(seconds, flowing=True)
    assert row(fleet).phase == phase


def test_a_lane_is_not_woken_for_a_lease_that_cannot_run_out_now():
    fleet = fleet_with(new())
    connect(fleet)
    fleet.sidecars[0].decide()
    fleet.settle()
    fleet.parts["gateway"].crash()
    fleet.settle()
    lane = fleet.parts["lane.normal"].world.lane
    fleet.run(lane.leases.get("task-000001").deadline - fleet.clock.mono, flowing=True)
    assert lane.wake_at > fleet.clock.mono
    fleet.parts["gateway"].start()
    fleet.settle()
    assert lane.wake_at == lane.leases.next_deadline() < float("inf")


def test_a_claim_from_an_older_life_of_the_agent_is_refused():
    fleet = fleet_with(new())
    lane = fleet.parts["lane.normal"]
    lane.world.tell(WhatDoIHold("bob", 7))
    lane.world.tell(Claim("bob", 6, "task-000001", ()))
    [*_, told] = fleet.net.queues["lane.normal", "agent.bob"]
    assert isinstance(told.message, ClaimRefused)
    assert "older life" in told.message.reason


def test_a_claim_that_meets_a_moved_task_is_answered_even_if_the_new_lane_is_down():
    fleet = fleet_with(new())
    for sidecar in fleet.sidecars:
        sidecar.connect()
    operate(fleet, "prioritise")
    fleet.deliver(("edge", "lane.normal"))
    fleet.parts["lane.high"].crash()
    fleet.settle()
    fleet.parts["lane.normal"].world.tell(Claim("ada", fleet.agent("ada").incarnation, "task-000001", ()))
    assert isinstance(fleet.net.queues["lane.normal", "agent.ada"][-1].message, ClaimRefused)
    fleet.parts["lane.high"].start()
    fleet.run(10.0, flowing=True)
    assert row(fleet).phase == "assigned"


def finishing(*tasks) -> Fleet:
    """Ada's client says that it completed the first task; the lane has not heard of it."""
    fleet = fleet_with(*tasks)
    connect(fleet)
    [sidecar] = fleet.sidecars
    sidecar.decide()
    fleet.settle()
    sidecar.mind("complete")
    for pair in ((sidecar.conn, "gateway"), ("gateway", "agent.ada")):
        fleet.deliver(pair)
    fleet.commits.clear()
    return fleet


def offer_is_claimed(fleet: Fleet) -> None:
    fleet.deliver(("agent.ada", "scheduler"))
    fleet.deliver(("scheduler", "agent.ada"))


class Patient(SeededEntropy):
    """A lane with its dice always waits for more to say before it closes a ticket, as in a burst of mail."""

    def uniform(self, low: float, high: float) -> float:
        return high


def test_the_commit_that_ends_a_task_gives_its_holder_the_next_one():
    fleet = finishing(new(), new())
    fleet.parts["lane.normal"].world.entropy = Patient()
    fleet.deliver(("agent.ada", "lane.normal"))
    offer_is_claimed(fleet)
    fleet.deliver(("agent.ada", "lane.normal"))
    fleet.settle()
    written = [{op.key[0]: op.row.phase for op in of.ops if op.table == "task"} for of in fleet.commits]
    assert {"task-000001": "completed", "task-000002": "assigned"} in written
    assert fleet.sidecars[0].undecided == [("task-000002", 1)]


def test_a_claim_behind_a_report_that_does_not_count_is_refused():
    fleet = finishing(new(), new())
    del fleet.net.queues["agent.ada", "lane.normal"]  # the report is lost
    offer_is_claimed(fleet)
    fleet.deliver(("agent.ada", "lane.normal"))
    assert isinstance(fleet.net.queues["lane.normal", "agent.ada"][-1].message, ClaimRefused)
    fleet.settle()
    assert (row(fleet).holder, row(fleet, "task-000002").phase) == ("ada", "queued")


def test_a_claim_of_another_lane_waits_until_the_report_was_answered():
    fleet = finishing(new(), new(priority="low"))
    offer_is_claimed(fleet)
    assert not fleet.net.queues.get(("agent.ada", "lane.low"))
    fleet.settle()
    assert (row(fleet).phase, row(fleet, "task-000002").phase) == ("completed", "assigned")


def test_who_waits_with_a_claim_gives_it_back_when_its_session_ends_first():
    fleet = finishing(new(), new(priority="low"))
    offer_is_claimed(fleet)
    fleet.sidecars[0].drop(lose=False)
    fleet.settle()
    assert (row(fleet).phase, row(fleet, "task-000002").phase) == ("completed", "queued")
    connect(fleet)
    fleet.run(40.0, flowing=True)
    assert row(fleet, "task-000002").phase == "assigned"
