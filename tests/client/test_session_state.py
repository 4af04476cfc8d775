"""What a client owes the hub, against a model hub, for any order of events (no sockets, no clock)."""

from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agentcom.protocol import frames
from agentcom.session_state import (
    FINAL_REPORTS,
    Accepted,
    Again,
    Assigned,
    Renumbered,
    SessionState,
    Settled,
    Stop,
)

TASKS = st.sampled_from(["t1", "t2", "t3"])


def assignment(task_id: str, generation: int) -> frames.TaskAssign:
    return frames.TaskAssign(
        task_id=task_id, generation=generation, description="d", priority="normal", metadata={},
        needed_capabilities=[], success_criteria=[], attempt=1, max_attempts=3, lease_ms=1, previous=[],
    )  # fmt: skip


def welcome(*verdicts: frames.Verdict) -> frames.Welcome:
    return frames.Welcome(
        session="s",
        agent_id="a",
        epoch=1,
        heartbeat_ms=1,
        lease_ms=1,
        grace_ms=1,
        time_ms=0,
        tasks=list(verdicts),
    )


def online(*tasks: str) -> SessionState:
    state = SessionState()
    state.receive(welcome())
    for task_id in tasks:
        state.receive(assignment(task_id, 1))
    state.take()
    return state


def ack(state: SessionState, report: Any, status: str = "accepted") -> None:
    state.receive(
        frames.TaskAck(task_id=report.task_id, generation=report.generation, status=status, re=report.id)
    )


class ClientAgainstHub(RuleBasedStateMachine):
    """The model hub knows the current generation of each task and the first final report of each."""

    def __init__(self) -> None:
        super().__init__()
        self.state = SessionState()
        self.wire: list[Any] = []
        self.generation: dict[str, int] = {}
        self.finals: dict[tuple[str, int], str] = {}
        self.said: set[tuple[str, int]] = set()
        self.told: list[Any] = []

    def carry(self) -> None:
        todo = self.state.take()
        if todo.saved is not None:
            self.kept = todo.saved
        for frame in todo.sends:
            assert self.state.online, "nothing is sent before welcome"
            self.wire.append(frame)
        for event in todo.events:
            self.tell(event)

    def tell(self, event: Any) -> None:
        self.told.append(event)
        if isinstance(event, Renumbered) and (event.task_id, event.was) in self.said:
            self.said.remove((event.task_id, event.was))
            self.said.add((event.task_id, event.generation))

    # --- the world ---------------------------------------------------------------------------------

    @precondition(lambda self: not self.state.online)
    @rule(renumber=st.booleans())
    def connect(self, renumber: bool) -> None:
        verdicts = []
        for held in self.state.listed(lambda _: True):
            now = self.generation.get(held.task_id, 0)
            if held.generation < now or (held.task_id, now) in self.finals:
                verdicts.append(frames.Verdict(held.task_id, now, "abort", "newer"))
            else:
                self.generation[held.task_id] = now + 10 * renumber
                verdicts.append(frames.Verdict(held.task_id, now + 10 * renumber, "continue"))
        self.state.receive(welcome(*verdicts))
        self.carry()

    @precondition(lambda self: self.state.online)
    @rule()
    def disconnect(self) -> None:
        self.state.lost("gone")
        self.wire.clear()
        self.carry()

    @rule()
    def restart(self) -> None:
        self.state = SessionState(self.kept if hasattr(self, "kept") else None)
        self.wire.clear()

    @precondition(lambda self: self.state.online)
    @rule(task_id=TASKS)
    def assign(self, task_id: str) -> None:
        self.generation[task_id] = self.generation.get(task_id, 0) + 1
        self.state.receive(assignment(task_id, self.generation[task_id]))
        self.carry()

    @precondition(lambda self: self.wire)
    @rule(later=st.booleans())
    def hub_answers_the_oldest(self, later: bool) -> None:
        frame = self.wire.pop(0)
        if isinstance(frame, frames.TaskStopped):
            return
        about = {"task_id": frame.task_id, "generation": frame.generation, "re": frame.id}
        if later:
            self.state.receive(frames.ErrorFrame(code="unavailable", message="", **about))
        elif frame.generation != self.generation[frame.task_id]:
            self.state.receive(frames.ErrorFrame(code="stale_generation", message="", **about))
        else:
            if isinstance(frame, FINAL_REPORTS):
                self.finals.setdefault((frame.task_id, frame.generation), type(frame).__name__)
            self.state.receive(frames.TaskAck(status="accepted", **about))
        todo_again = self.state.take()
        for again in todo_again.again:
            assert isinstance(again, Again)
            self.state.resend(again.id)
        for event in todo_again.events:
            self.tell(event)
        if todo_again.saved is not None:
            self.kept = todo_again.saved
        self.carry()

    # --- the user ----------------------------------------------------------------------------------

    @rule(task_id=TASKS, final=st.booleans())
    def report(self, task_id: str, final: bool) -> None:
        entry = self.state.tasks.get(task_id)
        if entry is None:
            return
        if not final:
            self.state.accept(task_id, entry.generation)
        elif self.state.finish(frames.TaskComplete(task_id=task_id, generation=entry.generation)):
            self.said.add((task_id, entry.generation))
        self.carry()

    @rule(task_id=TASKS)
    def obey_a_stop(self, task_id: str) -> None:
        entry = self.state.tasks.get(task_id)
        if entry is not None and entry.stop:
            self.state.stopped(task_id, entry.generation)
            self.carry()

    @rule()
    def heartbeat(self) -> None:
        self.state.tick()
        self.carry()

    # --- what must hold ----------------------------------------------------------------------------

    @invariant()
    def a_final_report_without_an_answer_is_still_listed(self) -> None:
        for report in self.state.saved().reports:
            assert report.task_id in self.state.tasks

    @invariant()
    def a_report_carries_the_generation_its_task_is_listed_with(self) -> None:
        for report in self.state.saved().reports:
            assert report.generation == self.state.tasks[report.task_id].generation

    @invariant()
    def what_is_kept_is_what_a_next_life_would_know(self) -> None:
        if hasattr(self, "kept"):
            assert SessionState(self.kept).saved() == self.state.saved()

    def teardown(self) -> None:
        """Once the network behaves, every final report that is still owed arrives, and nothing stays pending."""
        if not self.state.online:
            self.connect(renumber=False)
        for _ in range(200):
            self.state.tick()
            self.carry()
            if not self.wire and not self.state.saved().reports:
                break
            while self.wire:
                self.hub_answers_the_oldest(later=False)
        assert self.state.saved().reports == ()
        for task_id, generation in self.said:
            if self.generation[task_id] == generation:  # else a newer holder made it worthless
                assert (task_id, generation) in self.finals, "a final report was lost"
                assert task_id not in self.state.tasks, "an answered task is still listed"


TestClientAgainstHub = ClientAgainstHub.TestCase
TestClientAgainstHub.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


# --- single rules ----------------------------------------------------------------------------------


def test_unsent_reports_go_before_an_abort_is_obeyed() -> None:
    state = online("t1", "t2")
    state.lost("gone")
    state.accept("t1", 1)
    state.take()
    state.receive(welcome(frames.Verdict("t1", 2, "abort", "newer"), frames.Verdict("t2", 1, "continue")))
    todo = state.take()
    assert [type(frame) for frame in todo.sends] == [frames.TaskAccept]
    assert [event for event in todo.events if isinstance(event, Stop)] == [Stop("t1", 1, "abort", "newer")]


def test_an_abort_waits_for_the_answer_to_a_final_report() -> None:
    state = online("t1")
    state.finish(frames.TaskComplete(task_id="t1", generation=1))
    state.take()
    state.receive(frames.HeartbeatAck(abort=[frames.Abort("t1", 1, "newer")]))
    assert state.take().events == []
    assert [held.task_id for held in state.listed(lambda _: True)] == ["t1"]


def test_the_same_assignment_again_is_told_once() -> None:
    state = online("t1")
    state.receive(assignment("t1", 1))
    assert state.take().events == []


def test_a_newer_generation_of_a_held_task_stops_the_older() -> None:
    state = online("t1")
    state.receive(assignment("t1", 2))
    kinds = [type(event) for event in state.take().events]
    assert kinds == [Stop, Assigned]


def test_a_cancel_of_an_unknown_task_is_answered_at_once() -> None:
    state = online()
    state.receive(frames.TaskCancel(task_id="t9", generation=3, reason=""))
    assert state.take().sends == [frames.TaskStopped(task_id="t9", generation=3)]


def test_only_the_first_final_report_counts() -> None:
    state = online("t1")
    assert state.finish(frames.TaskComplete(task_id="t1", generation=1))
    assert not state.finish(frames.TaskFail(task_id="t1", generation=1))
    assert len(state.take().sends) == 1


def test_a_final_report_refused_for_good_lets_the_task_go() -> None:
    state = online("t1")
    state.finish(frames.TaskComplete(task_id="t1", generation=1))
    report = state.take().sends[0]
    error = frames.ErrorFrame(code="not_owner", message="no", re=report.id, task_id="t1", generation=1)
    state.receive(error)
    assert state.take().events == [Settled("t1", 1, "", False, "not_owner", "no")]
    assert state.tasks == {}


def test_an_accept_refused_for_good_stops_the_task() -> None:
    state = online("t1")
    state.accept("t1", 1)
    report = state.take().sends[0]
    state.receive(
        frames.ErrorFrame(code="stale_generation", message="no", re=report.id, task_id="t1", generation=1)
    )
    assert [type(event) for event in state.take().events] == [Stop]


def test_a_repeated_accept_is_one_report() -> None:
    state = online("t1")
    assert state.accept("t1", 1)
    assert state.accept("t1", 1)
    todo = state.take()
    assert len(todo.sends) == 1
    ack(state, todo.sends[0])
    assert state.take().events == [Accepted("t1", 1)]


def test_progress_is_neither_kept_nor_sent_later() -> None:
    state = online("t1")
    state.lost("gone")
    state.take()
    assert state.progress(frames.TaskProgress(task_id="t1", generation=1, note="half"))
    todo = state.take()
    assert (todo.saved, todo.sends) == (None, [])
