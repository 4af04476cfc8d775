"""What every store promises, over plain dicts and over LMDB."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import lmdb
import pytest

from agentcom.protocol.ops import Add, Append, Delete, Must, Put
from agentcom.protocol.rows import Held, Idempotent, Mail, Mark, TaskBody
from agentcom.store import env
from agentcom.store.messages import Commit, Committed, Failed, Open
from tests.store.helpers import Store, Writer, all_rows, folded, task

MAIL = Mail("m1", 1)


def test_a_commit_is_read_back_whole(store, lane):
    answer = lane.commit(
        Put("task", ("t1",), task("t1")),
        Put("body", ("t1",), TaskBody("do it", metadata={"a": [1, None]})),
        Put("by_phase", ("queued", "normal", "t1"), Mark()),
    )
    assert answer == Committed(1, 1)
    assert store.reader.get("task", ("t1",)) == task("t1")
    assert store.reader.get("body", ("t1",)).metadata == {"a": [1, None]}
    assert store.reader.scan("by_phase", ("queued",)) == [(("queued", "normal", "t1"), Mark())]


def test_the_last_op_on_a_key_wins(store, lane):
    lane.commit(Put("task", ("t",), task("t")), Delete("task", ("t",)))
    assert store.reader.get("task", ("t",)) is None
    lane.commit(Delete("task", ("t",)), Put("task", ("t",), task("t", order=2)))
    assert store.reader.get("task", ("t",)).order == 2


def test_deleting_what_is_not_there_is_fine(store, lane):
    assert isinstance(lane.commit(Delete("task", ("never",))), Committed)


def test_a_later_commit_of_a_batch_sees_the_earlier_ones(store, lane):
    claim = Must("idempotency", ("me", "k"))
    row = Idempotent("t1", "digest", 1)
    first, second = store.commit(
        lane.asks(Put("idempotency", ("me", "k"), row), must=(claim,)),
        lane.asks(Put("idempotency", ("me", "k"), Idempotent("t2", "digest", 1)), must=(claim,)),
    )
    assert isinstance(first, Committed)
    assert (second.code, second.found) == ("refused", row)
    assert store.reader.get("idempotency", ("me", "k")) == row


def test_a_counter_stays_at_the_end_of_what_a_row_can_hold(store, lane):
    for _ in range(3):
        assert isinstance(lane.commit(Add("counter", ("n", "", ""), 2**62)), Committed)
        assert isinstance(lane.commit(Add("counter", ("m", "", ""), -(2**62))), Committed)
    assert store.reader.get("counter", ("n", "", "")) == 2**63 - 1
    assert store.reader.get("counter", ("m", "", "")) == -(2**63 - 1)
    assert isinstance(lane.commit(Add("counter", ("n", "", ""), -1)), Committed)
    assert store.reader.get("counter", ("n", "", "")) == 2**63 - 2


def test_a_refused_commit_takes_nobody_along_and_leaves_nothing(store, lane):
    row = Idempotent("t1", "digest", 1)
    lane.commit(Put("idempotency", ("me", "k"), row))
    before = all_rows(store)
    refused = lane.commit(
        Put("task", ("t",), task("t")),
        Add("counter", ("n", "", ""), 1),
        must=(Must("idempotency", ("me", "k")),),
    )
    assert (refused.code, refused.found) == ("refused", row)
    assert all_rows(store) == before
    assert isinstance(lane.commit(Put("task", ("t",), task("t"))), Committed)


def test_what_a_batch_refuses_or_deletes_is_absent_to_its_later_commits(store, lane):
    row, claim = Idempotent("t1", "digest", 1), Must("idempotency", ("me", "k"))
    other = Must("idempotency", ("me", "other"))
    lane.commit(Put("idempotency", ("me", "k"), row))
    refused, free, gone, again = store.commit(
        lane.asks(Put("idempotency", ("me", "other"), row), must=(claim,)),
        lane.asks(must=(other,)),
        lane.asks(Delete("idempotency", ("me", "k"))),
        lane.asks(Put("idempotency", ("me", "k"), row), must=(claim,)),
    )
    assert refused.code == "refused"
    assert [type(answer) for answer in (free, gone, again)] == [Committed] * 3


def test_all_preconditions_of_a_commit_must_hold(store, lane):
    row = Idempotent("t1", "digest", 1)
    lane.commit(Put("idempotency", ("me", "k"), row))
    free, taken = Must("idempotency", ("me", "free")), Must("idempotency", ("me", "k"))
    assert lane.commit(must=(free, taken)).code == "refused"
    assert isinstance(lane.commit(must=(free, Must("idempotency", ("me", "k"), "equals", row))), Committed)


def test_what_is_not_written_takes_no_number(store, lane):
    """A hole in the journal or in a mailbox would look like a loss."""
    mail = Append("mailbox", ("ada",), MAIL)
    claim = Must("idempotency", ("me", "k"), "equals", Idempotent("t", "d", 1))
    first, refused, failed = store.commit(
        lane.asks(mail), lane.asks(mail, must=(claim,)), lane.asks(mail, Put("tusk", ("t",), task("t")))
    )
    assert (first.seq, first.appended) == (1, (1,))
    assert (refused.code, failed.code) == ("refused", "failed")
    lane.open()
    next_ = lane.commit(mail)
    assert (next_.seq, next_.appended) == (2, (2,))


def test_must_equal_compares_rows(store, lane):
    lane.commit(Put("task", ("t",), task("t")))
    stale = lane.commit(Delete("task", ("t",)), must=(Must("task", ("t",), "equals", task("t", order=9)),))
    assert (stale.code, stale.found) == ("refused", task("t"))
    assert isinstance(lane.commit(must=(Must("task", ("t",), "equals", task("t")),)), Committed)


def test_counters_add_up_within_and_across_batches(store, lane):
    add = Add("counter", ("tasks", "normal", "queued"), 2)
    store.commit(lane.asks(add, add), lane.asks(add))
    lane.commit(Add("counter", ("tasks", "normal", "queued"), -1))
    assert store.reader.count("tasks", "normal", "queued") == 5
    store.reopen()
    Writer(store).commit(add)
    assert store.reader.count("tasks", "normal", "queued") == 7


def test_appends_are_numbered_from_one_and_never_go_back(store, lane):
    agent = Writer(store, "agent.ada")
    first = agent.commit(Append("mailbox", ("ada",), MAIL), Append("mailbox", ("bob",), MAIL))
    second = lane.commit(Append("mailbox", ("ada",), MAIL), Append("mailbox", ("ada",), MAIL))
    assert (first.appended, second.appended) == ((1, 1), (2, 3))
    agent.commit(Delete("mailbox", ("ada", 3)))
    store.reopen()
    assert Writer(store).commit(Append("mailbox", ("ada",), MAIL)).appended == (4,)
    assert store.reader.head("mailbox", "ada") == 4
    assert [key[1] for key, _ in store.reader.scan("mailbox", ("ada",))] == [1, 2, 4]


def test_each_commit_is_one_journal_entry_and_they_fold_to_the_rows(store, lane):
    store.commit(
        lane.asks(Put("task", ("a",), task("a")), Add("counter", ("n", "", ""), 1), event="task.submitted"),
        lane.asks(Put("task", ("a",), task("a", order=2)), Append("mailbox", ("ada",), MAIL)),
        lane.asks(Delete("task", ("a",)), Add("counter", ("n", "", ""), 1)),
    )
    assert store.reader.last_seq() == 3
    entry = store.reader.get("journal", (1,))
    assert (entry.stream, entry.event, len(entry.ops)) == ("lane.normal", "task.submitted", 2)
    assert folded(store) == all_rows(store)


def test_incarnations_rise_across_lives(store):
    first, second = Writer(store), Writer(store)
    assert second.incarnation > first.incarnation
    store.reopen()
    assert Writer(store).incarnation > second.incarnation
    assert Writer(store).incarnation >> 32 == 2


def test_an_older_incarnation_never_writes_again(store):
    zombie, heir = Writer(store), Writer(store)
    answer = zombie.commit(Put("task", ("t",), task("t")))
    assert answer.code == "failed"
    assert "stale incarnation" in answer.message
    assert isinstance(heir.commit(Put("task", ("t",), task("t"))), Committed)


def test_opening_one_name_outdates_no_other(store, lane):
    low = Writer(store, "lane.low")
    Writer(store, "lane.normal.of_another_name")
    assert isinstance(lane.commit(Put("task", ("t",), task("t"))), Committed)
    assert isinstance(low.commit(Put("task", ("u",), task("u"))), Committed)


def test_a_zombies_failure_takes_nothing_of_its_heir_along(store):
    zombie, heir = Writer(store), Writer(store)
    good = Put("task", ("t",), task("t"))
    before, failed, after = store.commit(heir.asks(good), zombie.asks(good), heir.asks(good))
    assert failed.code == "failed"
    assert isinstance(before, Committed)
    assert isinstance(after, Committed)


def test_an_open_cuts_off_what_comes_after_it_in_the_same_batch(store, lane):
    before, opened, after = store.commit(
        lane.asks(Put("task", ("a",), task("a"))), Open(lane.name), lane.asks(Put("task", ("b",), task("b")))
    )
    assert isinstance(before, Committed)
    assert opened.incarnation == lane.incarnation + 1
    assert after.code == "failed"


def test_a_name_that_was_never_opened_writes_nothing(store):
    answer = store.commit(Commit("lane.low", 1, 1, "e", (Put("task", ("t",), task("t")),)))[0]
    assert answer.code == "failed"


BAD_OPS = {
    "unknown table": Put("tusk", ("t",), task("t")),
    "may not write": Put("token", ("ada",), task("t")),
    "its parts are": Put("task", ("t", "u"), task("t")),
    "at most 511": Put("task", ("t" * 600,), task("t")),
    "zero byte": Put("task", ("t\0u",), task("t")),
    "takes Add only": Put("counter", ("n", "", ""), 3),
    "does not count": Add("task", ("t",), 1),
    "does not append": Append("task", ("t",), task("t")),
    "whole numbers": Add("counter", ("n", "", ""), 1.5),
    "does not encode": Put("body", ("t",), object()),
}


@pytest.mark.parametrize("why", BAD_OPS)
def test_a_failed_ticket_says_why_and_takes_its_successors_along(store, lane, why):
    others = Writer(store, "lane.low")
    good = Put("task", ("t",), task("t"))
    first, failed, after, other = store.commit(
        lane.asks(good), lane.asks(good, BAD_OPS[why]), lane.asks(good), others.asks(good)
    )
    assert (failed.code, after.code) == ("failed", "aborted")
    assert why in failed.message
    assert isinstance(first, Committed)
    assert isinstance(other, Committed)
    assert lane.commit(good).code == "aborted"
    lane.open()
    assert isinstance(lane.commit(good), Committed)
    assert folded(store) == all_rows(store)


def test_scans_keep_order_bounds_and_pages(store, lane):
    ids = ["a", "aa", "ab", "b", "ba"]
    held = Held("normal")
    lane.commit(*[Put("by_agent", ("ada", i), held) for i in ids], Put("by_agent", ("adam", "x"), held))
    scan = store.reader.scan
    keys = [key[1] for key, _ in scan("by_agent", ("ada",))]
    assert keys == ids
    assert [k[1] for k, _ in scan("by_agent", ("ada",), after=("ada", "aa"), limit=2)] == ["ab", "b"]
    assert [k[1] for k, _ in scan("by_agent", ("ada",), reverse=True, limit=2)] == ["ba", "b"]
    assert [k[1] for k, _ in scan("by_agent", ("ada",), after=("ada", "ab"), reverse=True)] == ["aa", "a"]
    assert [k[1] for k, _ in scan("by_agent", ("adam",), reverse=True)] == ["x"]
    assert len(scan("by_agent")) == 6
    assert scan("by_agent", ("nobody",)) == []
    assert scan("by_agent", limit=0) == []


def test_heads_skip_from_group_to_group(store, lane):
    lane.commit(
        *[Put("by_agent", (agent, f"t{n}"), Held("normal")) for agent in ("a", "ab", "b") for n in (3, 1, 2)]
    )
    heads = store.reader.heads
    assert [key for key, _ in heads("by_agent", (), 1)] == [("a", "t1"), ("ab", "t1"), ("b", "t1")]
    assert [key for key, _ in heads("by_agent", (), 1, after=("a", "t9"), limit=1)] == [("ab", "t1")]
    assert [key for key, _ in heads("by_agent", ("ab",), 2)] == [("ab", "t1"), ("ab", "t2"), ("ab", "t3")]
    assert heads("by_agent", ("z",), 2) == []


def test_a_snapshot_stays_as_it_was_and_knows_its_seq(store, lane):
    lane.commit(Put("task", ("t",), task("t")))
    with store.reader.snapshot() as snap:
        lane.commit(Put("task", ("t",), task("t", order=2)))
        assert snap.seq == 1
        assert snap.get("task", ("t",)).order == 1
        assert snap.scan("task")[0][1].order == 1
    assert store.reader.last_seq() == 2
    assert store.reader.get("task", ("t",)).order == 2


def test_a_batch_that_finds_no_room_is_undone_whole(store, lane):
    """The fault is raised where LMDB would raise it: as the transaction ends."""
    add = Add("counter", ("n", "", ""), 1)
    lane.commit(add, Append("mailbox", ("ada",), MAIL))
    other = Writer(store, "lane.low")
    before = all_rows(store)
    with no_room(store):
        answers = store.commit(lane.asks(add), lane.asks(add), other.asks(Append("mailbox", ("ada",), MAIL)))
    assert [a.code for a in answers if isinstance(a, Failed)] == ["storage_full", "aborted", "storage_full"]
    assert all_rows(store) == before
    lane.open()
    assert lane.commit(add, Append("mailbox", ("ada",), MAIL)) == Committed(lane.ticket, 2, (2,))
    assert store.reader.count("n") == 2
    assert folded(store) == all_rows(store)


def test_a_batch_that_finds_room_the_second_time_is_committed_as_if_nothing_had_been(store, lane):
    add = Add("counter", ("n", "", ""), 1)
    asked = [lane.asks(add), lane.asks(Append("mailbox", ("ada",), MAIL)), Open("lane.low")]
    with ExitStack() as full:
        full.enter_context(no_room(store))
        tries = []

        def make_room() -> bool:
            tries.append(1)
            full.close()
            return True

        store.engine._make_room = make_room
        first, second, opened = store.commit(*asked)
    assert tries == [1]
    assert (first, second) == (Committed(1, 1), Committed(2, 2, (1,)))
    low = Writer(store, "lane.low")
    assert low.incarnation > opened.incarnation
    assert folded(store) == all_rows(store)


def test_a_batch_that_finds_no_room_twice_is_turned_away_once(store, lane):
    tries = []
    store.engine._make_room = lambda: not tries.append(1)
    with no_room(store):
        answers = store.commit(lane.asks(Add("counter", ("n", "", ""), 1)))
    assert [answer.code for answer in answers] == ["storage_full"]
    assert tries == [1]
    lane.open()
    assert isinstance(lane.commit(Add("counter", ("n", "", ""), 1)), Committed)
    assert store.reader.count("n") == 1


def test_with_little_room_left_only_deletes_are_written_and_they_count(store, lane):
    lane.commit(Put("task", ("t",), task("t")), Add("counter", ("n", "", ""), 1))
    store.engine.reserve = 1 << 60
    assert lane.commit(Put("task", ("u",), task("u"))).code == "storage_full"
    lane.open()
    assert lane.commit(Append("mailbox", ("ada",), MAIL)).code == "storage_full"
    lane.open()
    gone = lane.commit(Delete("task", ("t",)), Add("counter", ("n", "", ""), -1))
    assert isinstance(gone, Committed)
    assert (store.reader.get("task", ("t",)), store.reader.count("n")) == (None, 0)
    store.engine.reserve = 0
    assert isinstance(lane.commit(Put("task", ("u",), task("u"))), Committed)


@contextmanager
def no_room(store: Store) -> Iterator[None]:
    class Full(env.WriteTransaction):
        def __exit__(self, kind, error, trace):
            super().__exit__(lmdb.MapFullError, lmdb.MapFullError("full"), None)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(env.Environment, "writing", lambda opened: Full(opened))
        patch.setattr(store, "full", True, raising=False)
        yield
