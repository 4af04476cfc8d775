"""The parts of the simulation by themselves: what the network does to messages, and what the ledger lets pass."""

from collections import Counter
from random import Random

import pytest
from hubsim.agenda import Agenda
from hubsim.ledger import Ledger, Violation
from hubsim.many import Failure, Report, how_to_replay, table
from hubsim.network import Line, Network
from hubsim.oracle import Oracle

from agentcom.core import tasks
from agentcom.core.answers import Answer
from agentcom.core.policy import Policy
from agentcom.core.signature import needs
from agentcom.protocol.bodies import NewTask, Submitted
from agentcom.protocol.ops import Put
from agentcom.protocol.rows import Idempotent
from agentcom.protocol.rows import Report as Final
from agentcom.runtime import SimSystemBase
from agentcom.store.memory import MemoryStore
from agentcom.store.messages import Commit, Open


class Ends:
    """Both ends of a line: the edge, and a client."""

    token, codec, agent = "", "json", "ada"

    def __init__(self):
        self.base = SimSystemBase(1)
        self.agenda = Agenda(self.base)
        self.seen = Counter()
        self.heard = []
        self.net = Network(self.agenda, Random(1), self.seen, lambda: self)

    def accept(self, line):
        line.conn = "1.1"

    def ended(self, line, code):
        self.heard.append(code)

    def settle(self):
        self.base.run_until(lambda: False, 60.0)


def line_of(ends):
    ends.heard.clear()
    line = Line(ends.net, ends)
    line.dial()
    return line


def test_a_line_delivers_in_the_order_of_sending():
    ends = Ends()
    line = line_of(ends)
    for n in range(50):
        line.to_hub.send(ends.heard.append, n)
    ends.settle()
    assert ends.heard == list(range(50))


def test_a_cut_line_tells_both_ends_and_loses_what_was_under_way():
    ends = Ends()
    line = line_of(ends)
    ends.settle()
    line.to_client.send(ends.heard.append, "lost")
    line.to_hub.send(ends.heard.append, "lost")
    line.cut(lose=True)
    ends.settle()
    assert ends.heard == [1006, 1006]
    assert ends.net.lines == []


def test_a_half_open_line_tells_nobody():
    ends = Ends()
    line = line_of(ends)
    ends.settle()
    line.go_silent()
    line.to_client.send(ends.heard.append, "lost")
    line.to_hub.send(ends.heard.append, "lost")
    ends.settle()
    assert ends.heard == []
    assert ends.seen["lost on a line"] == 2


@pytest.mark.parametrize(
    ("mishap", "arrivals", "answers"),
    [
        ("", 1, 1),
        ("duplicate_request", 2, 2),
        ("drop_request", 0, 0),
        ("drop_answer", 1, 0),
        ("delay_request", 1, 1),
    ],
)
def test_a_mishap_befalls_one_request(mishap, arrivals, answers):
    ends = Ends()
    arrived, answered = [], []
    if mishap:
        ends.net.mishaps.append((mishap, 2.0))
    ends.net.request(lambda back: (arrived.append(1), back("ok")), answered.append)
    ends.net.request(lambda back: (arrived.append(2), back("ok")), answered.append)
    ends.settle()
    assert (arrived.count(1), arrived.count(2)) == (arrivals, 1)
    assert len(answered) == answers + 1


# --- the ledger ----------------------------------------------------------------------------------------


class Books:
    """A store in memory, a lane that writes to it, and the ledger that reads along."""

    def __init__(self, *, lane_age=lambda seq: 1e9):
        self.store = MemoryStore()
        [opened] = self.store.engine.apply([Open("lane.normal")])
        self.incarnation, self.ticket = opened.incarnation, 0
        self.ledger = Ledger(lane_age, 10.0, lambda: 50.0)
        state, ops = tasks.create(NewTask(description="x"), needs(()), "t", 1, "op", 1, Policy())
        self.task = state
        self.write(*ops)

    def write(self, *ops):
        self.ticket += 1
        commit = Commit("lane.normal", self.incarnation, self.ticket, "test", ops)
        assert self.store.commit(commit)[0].ticket == self.ticket
        self.ledger.absorb(self.store.reader)

    def step(self, step):
        self.task = step.state
        self.write(*step.ops)


def test_the_ledger_follows_a_task_to_its_end():
    books = Books()
    books.step(tasks.assign(books.task, "ada", 2))
    books.step(tasks.accept(books.task, 3))
    done = Final(1, "complete", "d", "completed", "ada")
    step = tasks.complete(books.task, done, 4)
    books.write(*step.ops, tasks.outcome(books.task, done, {}, 4))
    books.ledger.check_whole(books.store.reader)
    assert books.ledger.completed == {"t": (1, "ada")}


def test_a_task_assigned_anew_while_held_is_a_violation():
    books = Books()
    books.step(tasks.assign(books.task, "ada", 2))
    queued = tasks.create(NewTask(description="x"), needs(()), "t", 1, "op", 1, Policy()).state
    again = tasks.assign(queued, "bob", 3).state
    with pytest.raises(Violation, match="minted twice"):
        books.write(Put("task", ("t",), again))


def test_two_tasks_of_one_agent_are_a_violation():
    books = Books()
    books.step(tasks.assign(books.task, "ada", 2))
    other, ops = tasks.create(NewTask(description="y"), needs(()), "u", 2, "op", 1, Policy())
    books.write(*ops)
    with pytest.raises(Violation, match="holds"):
        books.write(*tasks.assign(other, "ada", 3).ops)


def test_an_outcome_by_another_than_the_holder_is_a_violation():
    books = Books()
    books.step(tasks.assign(books.task, "ada", 2))
    done = Final(1, "complete", "d", "completed", "bob")
    step = tasks.complete(books.task, done, 4)
    with pytest.raises(Violation, match="accepted"):
        books.write(*step.ops, tasks.outcome(books.task, done, {}, 4))


def test_a_key_that_makes_two_tasks_is_a_violation():
    books = Books()
    books.write(Put("idempotency", ("op", "k"), Idempotent("t", "d", 1)))
    with pytest.raises(Violation, match="key"):
        books.write(Put("idempotency", ("op", "k"), Idempotent("u", "d", 1)))


def test_a_loss_right_after_a_lanes_restart_is_a_violation():
    age = [100.0]
    books = Books(lane_age=lambda seq: age[0])
    books.step(tasks.assign(books.task, "ada", 2))
    books.step(tasks.accept(books.task, 3))
    books.ledger._assigned_at["t", 1] = 0.0
    age[0] = 1.0
    with pytest.raises(Violation, match="started again"):
        books.step(tasks.lose(books.task, "no news of it for too long", 9))


def test_a_task_that_moved_into_a_lane_is_not_owed_what_the_lane_owed_before():
    age = [8.0]
    books = Books(lane_age=lambda seq: age[0])
    books.step(tasks.assign(books.task, "ada", 2))
    books.step(tasks.accept(books.task, 3))
    books.ledger._assigned_at["t", 1] = -100.0
    books.step(tasks.move(books.task, "urgent", "op", 4))
    books.step(tasks.lose(books.task, "no news of it for too long", 9))


def test_a_row_that_the_journal_does_not_tell_of_is_a_violation():
    books = Books()
    with books.store.writing() as txn:
        txn.delete(1, next(iter(books.store.tables[1].rows)))
    with pytest.raises(Violation, match="journal"):
        books.ledger.check_whole(books.store.reader)


def test_a_word_that_is_not_on_disk_is_a_violation():
    oracle = Oracle(Books().ledger, lambda: None)

    def tell(task_id):
        said = Submitted(task_id=task_id, status="queued", priority=2, created_at=1)
        oracle.told_answer("task.submit", {}, Answer(201, said))

    tell("t")
    with pytest.raises(Violation, match="not on disk"):
        tell("u")


def test_a_report_counts_and_says_what_was_never_seen():
    report = Report()
    report.add(Failure(7, "Violation: x", ""))
    assert "1 failed" in table(report)
    assert "never seen: crash_before" in table(report)
    assert how_to_replay(7) == "make simulate SEED=7 RUNS=1"
