"""Behind a damaged page everything is read, and of what is not read it is known where it was."""

import random
import shutil
import struct
from itertools import pairwise
from pathlib import Path

import lmdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentcom.store.drafts import JOURNAL, Draft
from agentcom.store.evidence import TABLES_READ, Evidence
from agentcom.store.pages import Holes, PagedFile, rising
from agentcom.store.tables import TABLES
from tests.store.damage import hurt, leaves, replace, zero
from tests.store.helpers import LmdbStore
from tests.store.sound import fill

TABLES_TRIED = (JOURNAL, *TABLES_READ)
TASKS = 150


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    """A store's file whose larger tables have several levels, and rows on pages of their own."""
    store = LmdbStore(tmp_path_factory.mktemp("sound"), sync=False)
    lane = fill(store)
    for n in range(TASKS):
        lane.submit(100 + n, key=f"key-{n}", metadata={"note": "x" * (5_000 if n % 25 == 0 else 50)})
    store.close()
    return store.folder / "store"


@pytest.fixture(scope="module")
def truth(sound) -> dict[tuple[int, bytes], bytes]:
    return rows_by_lmdb(sound)


def rows_by_lmdb(store: Path) -> dict[tuple[int, bytes], bytes]:
    with lmdb.open(str(store), readonly=True, lock=False, max_dbs=64) as env:
        found = {}
        for table in TABLES_TRIED:
            db = env.open_db(table.name.encode(), create=False)
            with env.begin() as txn:
                found |= {(table.number, key): row for key, row in txn.cursor(db)}
        return found


@pytest.fixture
def data(sound, tmp_path) -> Path:
    shutil.copytree(sound, tmp_path / "store")
    return tmp_path / "store" / "data.mdb"


def read(data: Path, scratch: Path):
    """(rows that are whole, the state they are of) by the newest tree; (rows, None) when nothing leads to it."""
    scratch.mkdir(exist_ok=True)
    with PagedFile(data) as file, Draft(scratch) as draft:
        evidence = Evidence(draft)
        for tree in file.trees()[:1]:
            evidence.read(tree, "it")
        rows = {(table.number, key): row for table in TABLES_TRIED for key, row in evidence.rows(table)}
    return rows, evidence.states[0] if evidence.states else None


def test_a_whole_file_is_read_as_lmdb_reads_it(data, truth, tmp_path):
    rows, state = read(data, tmp_path / "draft")
    assert rows == truth
    assert state.is_whole
    assert (state.seq, list(state.unread())) == (
        max(int.from_bytes(k, "big") for n, k in truth if n == 31),
        [],
    )


def test_the_state_before_the_last_commit_can_be_read_too(data, truth, tmp_path):
    """When what the newest one begins with is lost."""
    with PagedFile(data) as file:
        newest, before = (tree.transaction for tree in file.trees())
    zero(data, newest % 2)
    assert newest == before + 1
    rows, state = read(data, tmp_path / "draft")
    assert state.is_whole
    assert 0 < len(truth.keys() - rows.keys()) < 20
    assert rows.keys() <= truth.keys()


@pytest.mark.parametrize("table", ["body", "history", "idempotency", "journal"])
def test_one_damaged_page_costs_its_own_rows_and_no_others(table, data, truth, tmp_path):
    pages = leaves(data, table)
    assert len(pages) > 2
    for n, page in enumerate([pages[0], pages[len(pages) // 2], pages[-1]]):
        copy = tmp_path / f"{n}" / "data.mdb"
        copy.parent.mkdir()
        shutil.copy(data, copy)
        zero(copy, page)
        rows, state = read(copy, tmp_path / f"draft-{n}")
        lost = {key for key in truth if key not in rows}
        assert all(state.is_silent(*key) for key in lost)
        assert {number for number, _ in lost} == {TABLES[table].number}
        assert 0 < len(lost) < TASKS / 2
        assert any(f"table {table} of it cannot be read whole: 1 page" in told for told in state.unread())


def test_a_table_whose_root_is_lost_is_told_and_silent_on_every_key(data, truth, tmp_path):
    with PagedFile(data) as file:
        root = file.trees()[0]._roots[b"body"]
    zero(data, root)
    rows, state = read(data, tmp_path / "draft")
    body = TABLES["body"].number
    assert {key for key in truth if key not in rows} == {key for key in truth if key[0] == body}
    assert state.is_silent(body, b"whatever")
    assert any("table body of it cannot be read whole" in told for told in state.unread())


def test_a_table_whose_name_is_lost_is_silent_on_every_key(data, truth, tmp_path):
    with PagedFile(data) as file:
        _, names = file._metas[0]
    assert replace(data, [names], b"body", b"bodx") == 1
    _, state = read(data, tmp_path / "draft")
    assert state.is_silent(TABLES["body"].number, b"whatever")


@pytest.mark.parametrize("end", [0, -1])
def test_a_key_at_the_end_of_a_page_that_belongs_elsewhere_is_another_one(end, data, truth, tmp_path):
    page = leaves(data, "body")[2]
    with PagedFile(data) as file:
        nodes = file.page(page)
    key = nodes.node(range(len(nodes.pointers))[end])[2]
    wrong = (b"sask" if end == 0 else b"uask") + key[4:]
    replace(data, [page], key, wrong)
    rows, state = read(data, tmp_path / "draft")
    body = TABLES["body"].number
    assert (body, wrong) not in rows
    assert {key for key in truth if key not in rows} == {(body, key)}
    assert state.is_silent(body, key)


def test_a_page_that_leads_to_itself_is_read_once(data, truth, tmp_path):
    with PagedFile(data) as file:
        root = file.trees()[0]._roots[b"body"]
        page = file.page(root)
    assert not page.is_leaf
    raw = bytearray(data.read_bytes())
    for pointer in page.pointers:
        struct.pack_into("=HHH", raw, root * 4096 + pointer, root & 0xFFFF, root >> 16, 0)
    data.write_bytes(raw)
    rows, state = read(data, tmp_path / "draft")
    body = TABLES["body"].number
    assert {number for number, _ in truth.keys() - rows.keys()} == {body}
    assert all(state.is_silent(*key) for key in truth.keys() - rows.keys())


def test_a_number_of_the_journal_that_nothing_confirms_is_not_believed(data, truth, tmp_path):
    """Its last key with a bit flipped would date everything."""
    last = max(key for number, key in truth if number == JOURNAL.number)
    wrong = bytes([last[0] | 0x10, *last[1:]])
    data.write_bytes(data.read_bytes().replace(last, wrong))
    rows, state = read(data, tmp_path / "draft")
    assert (JOURNAL.number, wrong) not in rows
    assert state.last == int.from_bytes(last, "big") - 1
    assert not state.knows_end
    assert state.is_silent(JOURNAL.number, last)


def check(seed: int, sound: Path, truth: dict[tuple[int, bytes], bytes], folder: Path) -> None:
    store = folder / f"store-{seed}"
    shutil.copytree(sound, store)
    hurt(store / "data.mdb", random.Random(seed))
    with PagedFile(sound / "data.mdb") as whole, PagedFile(store / "data.mdb") as torn:
        is_newest = whole.trees()[0].transaction in [tree.transaction for tree in torn.trees()[:1]]
    rows, state = read(store / "data.mdb", folder / f"draft-{seed}")
    assert rows.items() <= truth.items()
    if is_newest:
        assert all(state.is_silent(*key) for key in truth.keys() - rows.keys())


@pytest.mark.parametrize("seed", range(8))
def test_whatever_is_damaged_nothing_false_is_read_and_what_is_not_read_is_known(
    seed, sound, truth, tmp_path
):
    check(seed, sound, truth, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 200))
def test_nothing_false_is_read_whatever_is_damaged(seed, sound, truth, tmp_path):
    check(seed, sound, truth, tmp_path)


@pytest.mark.parametrize("seed", range(12))
def test_flipped_bits_anywhere_are_never_an_error(seed, data):
    """A row under a key that was another one can be read; its checksum does not cover that."""
    dice, raw = random.Random(seed), bytearray(data.read_bytes())
    for _ in range(30 * (seed + 1)):
        raw[dice.randrange(len(raw))] ^= 1 << dice.randrange(8)
    data.write_bytes(raw)
    with PagedFile(data) as file:
        for tree in file.trees():
            for table in TABLES_TRIED:
                assert all(key for key, _ in tree.rows(table.name, Holes()))


KEYS = st.binary(min_size=1, max_size=3)
RANGES = st.lists(st.tuples(KEYS, st.none() | KEYS), max_size=6)


@given(RANGES, st.lists(KEYS, max_size=5), st.lists(KEYS, max_size=5), KEYS)
def test_a_key_is_in_a_hole_when_a_range_or_its_own_has_it_and_it_was_not_found(ranges, single, found, key):
    holes = Holes()
    for low, high in ranges:
        holes.add(low, high)
    for each in single:
        holes.add_key(each)
    holes.found(found)
    within = any(low <= key and (high is None or key < high) for low, high in ranges)
    assert (key in holes) == (key in single or (within and key not in found))
    assert bool(holes) == bool(ranges or single)


@given(st.lists(KEYS, min_size=1, max_size=30))
def test_of_keys_out_of_order_the_longest_run_that_rises_is_kept(keys):
    kept = rising(keys)
    chosen = [keys[n] for n in kept]
    assert kept == sorted(set(kept))
    assert all(a < b for a, b in pairwise(chosen))
    best = [1] * len(keys)
    for n in range(len(keys)):
        best[n] = 1 + max((best[m] for m in range(n) if keys[m] < keys[n]), default=0)
    assert len(kept) == max(best)
