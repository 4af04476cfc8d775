"""A sound store has no problem; each kind of damage is found, and named by table, key and journal entry."""

from typing import Any

import msgspec
import pytest

from agentcom.protocol.rows import Held, Idempotent, Mark, Move, Ready
from agentcom.store import MemoryStore
from agentcom.store.verify import check_rows
from tests.store.helpers import LmdbStore
from tests.store.sound import NEEDED, fill, put_raw, put_row, raw_of, sound_store

ID = "task-{:020x}".format


@pytest.fixture
def store(tmp_path):
    made = sound_store(tmp_path)
    yield made
    made.close()


def found(store) -> list[tuple[str, str, int]]:
    return [(p.table, p.key, p.seq) for p in check_rows(store.env).problems]


def of_task(store, n: int) -> Any:
    return store.reader.get("task", (ID(n),))


def test_a_sound_store_has_no_problem_and_its_rows_are_counted(store):
    report = check_rows(store.env)
    assert [str(p) for p in report.problems] == []
    assert (report.rows["task"], report.rows["body"], report.rows["mailbox"], report.rows["result"]) == (
        7,
        7,
        3,
        1,
    )
    assert report.rows["ready"] == 2
    assert report.rows["journal"] == report.seq == store.reader.last_seq()
    assert report.bytes == report.pages * 4096 > 0
    assert report.epoch == 1


def test_a_store_in_memory_can_be_checked_too():
    store = MemoryStore()
    fill(store)
    assert check_rows(store).problems == []


def test_an_empty_store_is_sound(tmp_path):
    store = LmdbStore(tmp_path)
    report = check_rows(store.env)
    assert (report.problems, report.seq) == ([], 0)
    store.close()


@pytest.mark.parametrize(
    ("table", "key", "seq"),
    [
        ("task", (ID(1),), 1), ("body", (ID(1),), 1), ("history", (ID(1), 0), 1), ("result", (ID(6), 1, 0), 11),
        ("ready", ("normal", "", NEEDED.signature, 1, ID(1)), 1), ("by_submitter", ("me", ID(1)), 1),
        ("by_agent", ("bob", ID(5)), 7), ("waiting", ("normal", ID(4)), 5), ("due", ("normal", 9_000, ID(3)), 3),
        ("deadline", ("normal", 9_000, ID(2)), 2), ("by_phase", ("completed", "normal", ID(6)), 11),
        ("counter", ("tasks", "normal", "queued"), 13), ("idempotency", ("me", "k"), 2), ("mailbox", ("bob", 2), 14),
        ("head", ("mailbox", "bob"), 14), ("pull", ("pr-1",), 15), ("pull_by_task", (ID(7), "pr-1"), 15),
        ("signature", ("normal", "python", NEEDED.signature), 12), ("journal", (3,), 3), ("meta", ("life",), 0),
    ],
)  # fmt: skip
def test_a_flipped_bit_is_found_in_any_table(store, table, key, seq):
    raw = bytearray(raw_of(store, table, key))
    raw[-1] ^= 4
    put_raw(store, table, key, bytes(raw))
    assert (table, "/".join(map(str, key)), seq) in found(store)


@pytest.mark.parametrize(
    ("table", "key", "seq"),
    [
        ("body", (ID(1),), 1), ("history", (ID(6), 1), 9), ("history", (ID(6), 3), 11),
        ("ready", ("normal", "", NEEDED.signature, 1, ID(1)), 1), ("by_submitter", ("me", ID(1)), 1),
        ("by_agent", ("bob", ID(5)), 7), ("waiting", ("normal", ID(4)), 5), ("due", ("normal", 8_000, ID(4)), 5),
        ("deadline", ("normal", 9_000, ID(2)), 2), ("by_phase", ("cancelled", "normal", ID(7)), 13),
        ("idempotency", ("me", "k"), 2), ("head", ("mailbox", "bob"), 14), ("pull_by_task", (ID(7), "pr-1"), 15),
        ("counter", ("tasks", "normal", "completed"), 11),
    ],
)  # fmt: skip
def test_a_row_that_is_gone_is_missed(store, table, key, seq):
    put_raw(store, table, key, None)
    assert found(store) == [(table, "/".join(map(str, key)), seq)]


@pytest.mark.parametrize(
    ("table", "key", "row"),
    [
        ("ready", ("low", "", NEEDED.signature, 1, ID(1)), Ready()),
        ("ready", ("low", "", NEEDED.signature, 1, ID(99)), Ready()),
        ("by_agent", ("eve", ID(5)), Held("normal")),
        ("due", ("normal", 1, ID(1)), Mark()),
        ("by_submitter", ("eve", ID(1)), Mark()),
        ("by_phase", ("completed", "normal", ID(1)), Mark()),
        ("pull_by_task", (ID(1), "pr-1"), Mark()),
        ("pull_by_task", (ID(1), "pr-2"), Mark()),
        ("idempotency", ("me", "other"), Idempotent(ID(1), "d", 1)),
    ],
)
def test_a_row_that_is_too_many_is_found(store, table, key, row):
    put_row(store, table, key, row)
    assert found(store) == [(table, "/".join(map(str, key)), 0)]


@pytest.mark.parametrize("table", ["body", "history", "result"])
def test_rows_of_a_task_that_does_not_exist_are_found(store, table):
    for n in (0, 99):
        rest = {"body": (), "history": (0,), "result": (1, 0)}[table]
        source = {"body": (ID(1),), "history": (ID(1), 0), "result": (ID(6), 1, 0)}[table]
        put_raw(store, table, (ID(n), *rest), raw_of(store, table, source))
    assert [(t, k[:25]) for t, k, _ in found(store)] == [(table, ID(0)), (table, ID(99))]


def test_a_task_that_is_gone_leaves_its_rows_behind(store):
    put_raw(store, "task", (ID(1),), None)
    assert {table for table, _, _ in found(store)} == {"body", "history", "ready", "by_submitter", "counter"}


def test_a_wrong_counter_is_told_with_both_numbers(store):
    put_row(store, "counter", ("tasks", "normal", "queued"), 41)
    (problem,) = check_rows(store.env).problems
    assert problem.key == "tasks/normal/queued"
    assert problem.what == "it says 41, there are 3 such tasks"


def test_a_counter_of_a_lane_without_tasks_must_be_zero(store):
    put_row(store, "counter", ("tasks", "low", "queued"), 0)
    assert found(store) == []
    put_row(store, "counter", ("tasks", "low", "queued"), 1)
    assert found(store) == [("counter", "tasks/low/queued", 0)]


def test_an_index_row_with_other_content_is_found(store):
    put_row(store, "by_agent", ("bob", ID(5)), Held("low"))
    assert found(store) == [("by_agent", f"bob/{ID(5)}", 7)]


def test_a_task_of_another_phase_than_its_rows_say_is_found(store):
    put_row(store, "task", (ID(5),), msgspec.structs.replace(of_task(store, 5), phase="queued", holder=""))
    assert {table for table, _, _ in found(store)} == {"history", "ready", "by_agent", "counter"}


def test_a_held_task_without_a_holder_is_found(store):
    put_row(store, "task", (ID(5),), msgspec.structs.replace(of_task(store, 5), holder=""))
    assert ("task", ID(5), 7) in found(store)


def test_a_row_under_the_key_of_another_is_found(store):
    put_raw(store, "task", (ID(1),), raw_of(store, "task", (ID(2),)))
    assert ("task", ID(1), 1) in found(store)


def test_lines_of_history_beyond_what_the_task_says_are_found(store):
    put_raw(store, "history", (ID(1), 1), raw_of(store, "history", (ID(1), 0)))
    assert found(store) == [("history", f"{ID(1)}/1", 0)]


def test_a_head_below_its_sequence_is_found(store):
    put_row(store, "head", ("mailbox", "bob"), 2)
    assert found(store) == [("head", "mailbox/bob", 14)]


def test_a_trimmed_mailbox_is_sound(store):
    for n in (1, 2, 3):
        put_raw(store, "mailbox", ("bob", n), None)
    assert found(store) == []


def test_a_ready_task_whose_signature_has_no_row_would_never_be_found_by_an_agent(store):
    put_raw(store, "signature", ("normal", "python", NEEDED.signature), None)
    assert [table for table, _, _ in found(store)] == ["signature"]


def test_a_move_that_says_something_else_than_its_key_is_found(store):
    put_row(store, "moves", ("low", ID(1)), Move(ID(1), "high"))
    assert found(store) == [("moves", f"low/{ID(1)}", 0)]


def test_a_key_may_outlive_its_task(store):
    put_row(store, "idempotency", ("me", "old"), Idempotent(ID(0), "d", 1))
    assert found(store) == []


def test_a_missing_journal_entry_is_told_at_the_one_after_it(store):
    put_raw(store, "journal", (4,), None)
    (problem,) = check_rows(store.env).problems
    assert (problem.table, problem.key, problem.seq) == ("journal", "5", 5)
    assert problem.what == "the entries 4 to 4 before it are missing"


def test_a_trimmed_journal_is_sound(store):
    for n in (1, 2, 3):
        put_raw(store, "journal", (n,), None)
    assert found(store) == []


def test_the_journal_may_jump_where_an_epoch_begins_and_nowhere_else(store):
    last = store.reader.last_seq()
    first = last + (1 << 20) + 1
    put_raw(store, "journal", (first,), raw_of(store, "journal", (last,)))
    assert [p.table for p in check_rows(store.env).problems] == ["journal"]
    put_row(store, "meta", ("line",), [[1, last]])
    assert found(store) == []


def test_rows_after_a_damaged_one_are_checked_all_the_same(store):
    for n in (1, 3):
        put_raw(store, "task", (ID(n),), b"\0\0\0\0rubbish")
    put_raw(store, "body", (ID(5),), None)
    assert [k for _, k, _ in found(store)] == [ID(1), ID(3), ID(5)]


def test_a_row_of_another_kind_is_found(store):
    put_row(store, "task", (ID(1),), Mark())
    (problem,) = check_rows(store.env).problems
    assert problem.what.startswith("the row is not one of this table: ")


def test_only_the_first_thousand_problems_are_listed_and_the_others_counted(store):
    for n in range(1, 1_201):
        put_row(store, "by_submitter", (f"eve{n}", ID(1)), Mark())
    report = check_rows(store.env)
    assert (len(report.problems), report.more) == (1_000, 200)
