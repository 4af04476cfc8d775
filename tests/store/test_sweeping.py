"""The quick check is in doubt about every store in which the careful one finds a problem, and about no sound one."""

from zlib import crc32

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentcom.protocol.rows import Idempotent
from agentcom.store import MemoryStore
from agentcom.store.batches import LARGE, STEP, Doubt, batches
from agentcom.store.findings import Findings
from agentcom.store.memory import Rows
from agentcom.store.sweeping import sweep
from agentcom.store.tables import TABLES, encode_key, encode_row
from agentcom.store.verify import examine
from tests.store.sound import NEEDED, fill, sound_store

ID = "task-{:020x}".format


def in_doubt(source) -> bool:
    try:
        with source.reading() as view:
            sweep(view)
    except Doubt:
        return True
    return False


def counted(source):
    with source.reading() as view:
        swept = sweep(view)
    return {name: n for name, n in swept.rows.items() if n}, swept.seq, swept.facts.epoch


def test_a_sound_store_needs_no_careful_look_and_both_count_the_same(tmp_path):
    store = sound_store(tmp_path)
    report = examine(store.env, Findings())
    assert counted(store.env) == ({name: n for name, n in report.rows.items() if n}, report.seq, report.epoch)
    store.close()


def full() -> MemoryStore:
    store = MemoryStore()
    fill(store)
    return store


SOUND = full()
PLACES = sorted((number, key) for number, table in SOUND.tables.items() for key in table.keys)


def changed(number: int, edit) -> MemoryStore:
    """The sound store with one table changed behind everybody's back."""
    store = MemoryStore()
    store.tables = dict(SOUND.tables)
    rows = dict(SOUND.tables[number].rows)
    edit(rows)
    store.tables[number] = Rows(rows, sorted(rows))
    return store


def flip(raw: bytes, bit: int) -> bytes:
    at = bit % (8 * len(raw))
    return raw[: at // 8] + bytes((raw[at // 8] ^ (1 << at % 8),)) + raw[at // 8 + 1 :]


@settings(max_examples=300, deadline=None)
@given(place=st.sampled_from(PLACES), other=st.sampled_from(PLACES), bit=st.integers(0, 4_000), how=st.data())
def test_no_change_of_one_row_that_the_careful_check_finds_goes_unseen(place, other, bit, how):
    number, key = place

    def edit(rows):
        if kind == "delete":
            del rows[key]
        elif kind == "flip":
            rows[key] = flip(rows[key], bit)
        elif kind == "flip, with a good checksum":
            body = flip(rows[key][4:], bit)
            rows[key] = crc32(body).to_bytes(4, "big") + body
        elif kind == "another's row":
            rows[key] = SOUND.tables[other[0]].rows[other[1]]
        elif kind == "another key":
            rows[flip(key, bit)] = rows.pop(key)
        else:
            rows[other[1]] = rows[key]

    kinds = ["delete", "flip", "flip, with a good checksum", "another's row", "another key", "once more"]
    kind = how.draw(st.sampled_from(kinds))
    store = changed(number, edit)
    if not in_doubt(store):
        assert [str(problem) for problem in examine(store, Findings()).problems] == []


def test_a_key_of_a_submit_may_outlive_its_task():
    table = TABLES["idempotency"]
    row = encode_row(Idempotent(ID(99), "d", 1))
    late = changed(
        table.number, lambda rows: rows.update({encode_key(table, ("me", "of a task that is gone")): row})
    )
    assert not in_doubt(late)


@pytest.mark.parametrize("size", [LARGE // 4, LARGE, 10 * LARGE])
def test_a_batch_of_large_rows_ends_early(size):
    raw, most = bytes(size), 3 * STEP

    class View:
        def forward(self, *_):
            return ((n.to_bytes(8, "big"), raw) for n in range(1, most + 1))

    sizes = [len(keys) for keys, _ in batches(View(), 1)]
    assert sizes == [STEP] * 3


def test_a_walk_that_comes_back_to_where_it_was_ends():
    class View:
        def forward(self, *_):
            while True:
                yield b"a", b""
                yield b"b", b""

    with pytest.raises(Doubt):
        list(batches(View(), 1))


@pytest.mark.parametrize(
    ("table", "key", "change"),
    [
        ("task", (ID(1),), {"holder": "bob"}),
        ("task", (ID(5),), {"holder": ""}),
        ("task", (ID(1),), {"id": ID(2)}),
        ("history", (ID(6), 3), {"phase": "queued"}),
        ("result", (ID(6), 1, 0), {"generation": 2}),
        ("signature", ("normal", "python", NEEDED.signature), {"capabilities": ("go",)}),
        ("idempotency", ("me", "k"), {"task_id": ID(1)}),
        ("pull", ("pr-1",), {"pr_id": "pr-2"}),
        ("pull", ("pr-1",), {"task_id": ID(1)}),
        ("ready", ("normal", "", NEEDED.signature, 1, ID(1)), {"excluded": ("bob",)}),
    ],
)  # fmt: skip
def test_a_row_that_contradicts_another_is_in_doubt_and_found(table, key, change):
    spec, row = TABLES[table], SOUND.reader.get(table, key)
    raw = encode_row(msgspec.structs.replace(row, **change))
    store = changed(spec.number, lambda rows: rows.update({encode_key(spec, key): raw}))
    assert in_doubt(store)
    assert examine(store, Findings()).problems
