"""Which decisions share a ticket, and what leaves when it is on disk."""

import pytest

from agentcom.core.decision import Decision, Output
from agentcom.core.messages import Reply
from agentcom.core.output_commit import OutputCommit
from agentcom.protocol.ops import Add, Append, Delete, Must, Put


class View:
    """An overlay that only counts."""

    def __init__(self):
        self.laid, self.learnt, self.decided_since = [], [], set()

    def add(self, ticket, ops):
        self.laid.append(ticket)

    def drop(self, ticket):
        self.laid = [of for of in self.laid if of != ticket]

    def learn(self, ops):
        self.learnt += ops
        return tuple(op for op in ops if op.key not in self.decided_since)


class Writer:
    def __init__(self):
        self.view, self.said, self.adopted = View(), [], []
        self.tickets = OutputCommit(
            self.view, self.adopt, lambda outputs: self.said.extend(o.message for o in outputs)
        )

    def adopt(self, ops):
        self.adopted += ops
        return ()

    def decide(self, *ops, say="", must=(), event="e"):
        outputs = (Output("edge", say),) if say else ()
        return self.tickets.take(Decision(ops, outputs, event, must))


@pytest.fixture
def writer():
    return Writer()


def put(key, row=1):
    return Put("config", (key,), row)


def test_a_burst_of_decisions_is_one_commit_of_what_was_written_last(writer):
    assert writer.decide(put("a", 1), event="first") == ()
    assert writer.decide(put("a", 2), put("b"), event="second") == ()
    assert writer.decide(Delete("config", ("b",)), event="first") == ()
    [due] = writer.tickets.close()
    assert (due.ticket, due.event) == (1, "first,second")
    assert due.ops == (put("a", 2), Delete("config", ("b",)))
    assert writer.adopted == [put("a", 1), put("a", 2), put("b"), Delete("config", ("b",))]


def test_additions_to_one_counter_are_written_as_their_sum(writer):
    one, two = Add("counter", ("n", "", ""), 1), Add("counter", ("n", "", ""), 2)
    writer.decide(one)
    writer.decide(two)
    [due] = writer.tickets.close()
    assert due.ops == (Add("counter", ("n", "", ""), 3),)


def test_outputs_leave_in_the_order_of_their_decisions_once_the_ticket_is_on_disk(writer):
    writer.decide(put("a"), say="first")
    writer.decide(say="second, without ops")
    writer.decide(put("b"), say="third")
    [due] = writer.tickets.close()
    writer.decide(say="fourth, behind it")
    assert writer.said == []
    writer.tickets.committed(due.ticket)
    assert writer.said == ["first", "second, without ops", "third", "fourth, behind it"]
    assert writer.view.laid == []


def test_a_decision_without_ops_speaks_at_once_when_nothing_is_outstanding(writer):
    writer.decide(say="now")
    assert writer.said == ["now"]


def test_a_refusable_decision_closes_the_open_ticket_and_goes_alone(writer):
    must = Must("config", ("k",))
    writer.decide(put("a"))
    burst, refusable = writer.decide(put("k"), must=(must,))
    assert (burst.ticket, burst.must, refusable.ticket, refusable.must) == (1, (), 2, (must,))
    assert writer.adopted == [put("a")]
    writer.tickets.committed(1)
    writer.tickets.committed(2)
    assert writer.adopted == [put("a"), put("k")]


def test_a_refused_decision_leaves_no_trace_and_those_behind_it_speak(writer):
    [refusable] = writer.decide(put("k"), say="done", must=(Must("config", ("k",)),))
    writer.decide(say="behind it")
    writer.tickets.refused(refusable.ticket)
    assert (writer.said, writer.adopted) == (["behind it"], [])


def test_of_a_refusable_decision_only_what_still_shows_is_adopted_once_it_is_on_disk(writer):
    """Its rows can be read before its answer comes, and a later decision of the writer's may have changed them."""
    [refusable] = writer.decide(put("a"), put("b"), must=(Must("config", ("k",)),))
    writer.decide(put("b", row=2))
    writer.view.decided_since = {("b",)}
    writer.adopted.clear()
    writer.tickets.committed(refusable.ticket)
    assert writer.adopted == [put("a")]


def test_a_decision_that_appends_goes_alone_and_is_told_its_sequences(writer):
    writer.decide(put("a"), say="burst")
    append = Append("mailbox", ("ada",), 1)
    told = Output("edge", lambda appended: f"seq {appended[0]}")
    burst, alone = writer.tickets.take(Decision((append,), (told,), "e"))
    writer.tickets.committed(burst.ticket)
    writer.tickets.committed(alone.ticket, (7,))
    assert writer.said == ["burst", "seq 7"]


def test_a_failed_ticket_answers_everyone_who_waited_and_takes_the_open_one_along(writer):
    writer.decide(put("a"), say=Reply(1, "a"))
    writer.decide(put("b"), say=Reply(2, "b"))
    [due] = writer.tickets.close()
    writer.decide(put("c"), say=Reply(3, "c"))
    writer.tickets.failed(due.ticket, "storage_full", "no room")
    assert [(reply.request, reply.body.code) for reply in writer.said] == [
        (1, "storage_full"), (2, "storage_full"), (3, "unavailable"),
    ]  # fmt: skip
    assert (len(writer.tickets), writer.tickets.is_open) == (0, False)
