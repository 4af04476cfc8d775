"""The newest snapshot and the journal after it, applied in order, must equal the rows."""

import contextlib
from pathlib import Path

import lmdb
import pytest

from agentcom.protocol.rows import Mark, TaskBody
from agentcom.store import MemoryStore, folding
from agentcom.store.batches import Doubt, batches, decoded
from agentcom.store.child import Tool
from agentcom.store.facts import file_facts
from agentcom.store.findings import Findings
from agentcom.store.fold_sums import MOST
from agentcom.store.fold_sums import sum_of as total_of
from agentcom.store.folding import base_for, check_fold
from agentcom.store.foreign import Foreign
from agentcom.store.manifests import Manifest, SnapshotFile, name_of, write_manifest
from agentcom.store.quick_fold import QuickFold
from agentcom.store.segments import RAISE, Entry, Header, SegmentWriter
from agentcom.store.tables import TABLES
from agentcom.store.walking import Look
from tests.store.sound import NEEDED, Lane, fill, put_raw, put_row, raw_of, sound_store

ID = "task-{:020x}".format
JOURNAL = TABLES["journal"]


@pytest.fixture
def store(tmp_path):
    made = sound_store(tmp_path / "data")
    yield made
    made.close()


def snapshot(store, into: Path, *, epoch: int = 1) -> Path:
    """A copy as the snapshot part makes it, described."""
    seq = store.reader.last_seq()
    path = into / name_of(epoch, seq)
    path.mkdir(parents=True)
    store.env.raw.copy(str(path), compact=True)
    told = Manifest(
        schema=1, epoch=epoch, seq=seq, made_ms=1, entry_ms=1, rows={}, bytes=1, digest="", version="1"
    )
    write_manifest(path, told)
    return path


def entries(store, first: int, last: int) -> list[Entry]:
    return [Entry(n, raw_of(store, "journal", (n,))) for n in range(first, last + 1)]


def check(store, base=None, archive=None):
    """By the careful fold; the quick one, in one pass or in several, is in doubt whenever that finds something."""
    findings = Findings()
    told = check_fold(store.env, base, archive, findings)
    sound = not findings.problems and not told.startswith("not folded")
    for most in (MOST, 7):
        assert quickly(store.env, base, archive, most) == (told if sound else "")
    return told, [(p.table, p.key, p.seq) for p in findings.problems]


def quickly(source, base, archive, most):
    with contextlib.ExitStack() as stack:
        view = stack.enter_context(source.reading())
        onto = stack.enter_context(base.reading()) if base else None
        facts = file_facts(Look(view, Findings()))
        fold = QuickFold(view, onto, archive, facts, most=most)
        try:
            for keys, raws in batches(view, JOURNAL.number):
                fold.feed(keys, decoded(JOURNAL, raws))
            return fold.said(total_of(view))
        except (Doubt, lmdb.Error):
            return ""


def test_a_whole_journal_folds_onto_nothing(store):
    assert check(store) == ("15 journal entries up to 15 were folded onto nothing", [])


def test_later_entries_fold_onto_a_snapshot(store, tmp_path):
    path = snapshot(store, tmp_path / "snapshots")
    more(store)
    with Foreign(path, lock=False) as base:
        told, problems = check(store, base)
    assert (told, problems) == ("6 journal entries up to 21 were folded onto the snapshot at entry 15", [])


def more(store):
    """Changes of every kind behind a snapshot: new tasks, one that ends, one row deleted, one written twice."""
    lane = Lane(store)
    lane.submit(20)
    lane.finish(lane.submit(21))
    lane.submit(22, priority="low")


CHANGES = [
    ("task", (ID(21),), 20), ("counter", ("tasks", "normal", "queued"), 18), ("body", (ID(20),), 16),
    ("ready", ("low", "", "x", 1, "t"), 0), ("body", (ID(1),), 0), ("task", (ID(6),), 0),
    ("by_agent", ("bob", ID(21)), 20), ("head", ("mailbox", "bob"), 0),
]  # fmt: skip


@pytest.mark.parametrize(("table", "key", "seq"), CHANGES)
@pytest.mark.parametrize("most", [1_000_000, 7])
def test_a_row_changed_behind_the_journals_back_is_found(store, tmp_path, monkeypatch, table, key, seq, most):
    """Whether an entry behind the snapshot wrote it or not, and also when the fold takes several passes."""
    monkeypatch.setattr(folding, "MOST_KEYS", most)
    path = snapshot(store, tmp_path / "snapshots")
    more(store)
    put_row(store, table, key, Mark() if table in {"ready", "by_agent"} else 41)
    with Foreign(path, lock=False) as base:
        _, problems = check(store, base)
    assert problems == [(table, "/".join(map(str, key)), seq)]


@pytest.mark.parametrize(("key", "seq"), [(ID(1), 0), (ID(20), 16)])
def test_a_row_deleted_behind_the_journals_back_is_found(store, tmp_path, key, seq):
    path = snapshot(store, tmp_path / "snapshots")
    more(store)
    put_raw(store, "body", (key,), None)
    with Foreign(path, lock=False) as base:
        assert check(store, base)[1] == [("body", key, seq)]


def test_what_was_trimmed_comes_from_the_archive(store, tmp_path):
    path = snapshot(store, tmp_path / "snapshots")
    more(store)
    kept = entries(store, 16, 21)
    for n in range(1, 19):
        put_raw(store, "journal", (n,), None)
    with Foreign(path, lock=False) as base:
        told, problems = check(store, base, lambda after: [e for e in kept if e.seq > after])
        assert (told[:2], problems) == ("6 ", [])
        told, problems = check(store, base, lambda after: [])
        assert told == "not folded: the entries 16 to 18 are neither in the journal nor in the archive"
        assert problems == [("journal", "16", 16)]


def test_without_a_snapshot_a_trimmed_journal_is_not_folded_and_that_is_no_problem(store):
    put_raw(store, "journal", (1,), None)
    told, problems = check(store)
    assert (told[:38], problems) == ("not folded: there is no snapshot to be", [])


def test_a_journal_that_jumps_to_a_new_epoch_is_folded(store, tmp_path):
    path = snapshot(store, tmp_path / "snapshots")
    first = 15 + RAISE + 1
    store.engine.seq = first - 1
    put_row(store, "meta", ("line",), [[1, 15]])
    put_row(store, "meta", ("epoch",), 2)
    more(store)
    with Foreign(path, lock=False) as base:
        told, problems = check(store, base)
    assert problems == []
    assert told == f"6 journal entries up to {first + 5} were folded onto the snapshot at entry 15"


def test_a_damaged_entry_ends_the_fold_and_is_told(store):
    put_raw(store, "journal", (4,), b"\0\0\0\0rubbish")
    told, problems = check(store)
    assert told.startswith("not folded: damaged row in table 'journal' at (4,)")
    assert [p[0] for p in problems] == ["journal"]


def described(epoch: int, seq: int) -> SnapshotFile:
    told = Manifest(
        schema=1, epoch=epoch, seq=seq, made_ms=1, entry_ms=1, rows={}, bytes=1, digest="", version="1"
    )
    return SnapshotFile(Path(name_of(epoch, seq)), told)


@pytest.mark.parametrize(
    ("made", "chosen"),
    [
        ([], None),
        ([(1, 10), (1, 20)], (1, 20)),
        ([(1, 10), (1, 30)], (1, 10)),  # 21 to 30 were discarded
        ([(1, 30)], None),
        ([(1, 10), (3, 5_000_000)], (3, 5_000_000)),
        ([(1, 10), (3, 6_000_000)], (1, 10)),  # newer than the store
        ([(2, 10), (4, 10)], None),  # epochs of another line
    ],
)
def test_only_a_snapshot_that_the_journal_continues_is_a_base(made, chosen):
    base = base_for([described(*of) for of in made], 5_500_000, 3, ((1, 20),))
    assert (base and (base.manifest.epoch, base.manifest.seq)) == chosen


# --- the tool ----------------------------------------------------------------------------------------


def tool(folder: Path, **job):
    return Tool("verifying").run({"store": str(folder / "data" / "store"), **job})


def test_the_tool_checks_rows_and_fold_of_a_store_that_is_in_use(store, tmp_path):
    snapshot(store, tmp_path / "snapshots")
    more(store)
    archive = tmp_path / "archive"
    archive.mkdir()
    writer = SegmentWriter(archive, Header(1, 1, 1, 1))
    for entry in entries(store, 1, 19):
        writer.append(entry)
    writer.sync()
    writer.close()
    for n in range(1, 19):
        put_raw(store, "journal", (n,), None)
    dirs = {"snapshots": str(tmp_path / "snapshots"), "archive": str(archive)}
    report = tool(tmp_path, **dirs)
    assert report["problems"] == []
    assert report["fold"] == "6 journal entries up to 21 were folded onto the snapshot at entry 15"
    put_row(store, "body", (ID(2),), TaskBody("something else", NEEDED.capabilities))
    assert tool(tmp_path, **dirs, rows_only=True)["problems"] == []
    (problem,) = tool(tmp_path, **dirs)["problems"]
    assert (problem["table"], problem["key"]) == ("body", ID(2))
    assert problem["what"] == "the row is not what the snapshot has, and no entry since then wrote it"


def test_a_snapshot_that_cannot_be_opened_is_told(store, tmp_path):
    path = snapshot(store, tmp_path / "snapshots")
    (path / "data.mdb").write_bytes(b"no store")
    report = tool(tmp_path, snapshots=str(tmp_path / "snapshots"))
    assert report["fold"].startswith("not folded: the store in ")


def test_a_snapshot_with_damaged_pages_is_told_as_such(store, tmp_path, monkeypatch):
    path = snapshot(store, tmp_path / "snapshots")
    with Foreign(path, lock=False) as base:
        reading = base.reading
        monkeypatch.setattr(base, "reading", lambda: Torn(reading()))
        _, problems = check(store, base)
    assert problems == [("body", "", 0)]


class Torn:
    """A view whose table `body` cannot be read."""

    def __init__(self, view):
        self.view = view

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.view.__exit__()

    def last_key(self, number):
        return self.view.last_key(number)

    def get_many(self, number, keys):
        return self.view.get_many(number, keys)

    def forward(self, number, start, stop):
        if number == 2:
            raise lmdb.CorruptedError("mdb_cursor_get: located page was wrong type")
        return self.view.forward(number, start, stop)


def test_the_data_folder_is_not_changed_by_the_check(store, tmp_path):
    store.close()
    before = (tmp_path / "data" / "store" / "data.mdb").read_bytes()
    assert tool(tmp_path)["problems"] == []
    assert (tmp_path / "data" / "store" / "data.mdb").read_bytes() == before


def test_a_store_in_memory_folds_too():
    store = MemoryStore()
    fill(store)
    findings = Findings()
    assert check_fold(store, None, None, findings).startswith("15 journal entries")
    assert findings.problems == []
