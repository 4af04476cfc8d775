"""Of each key the newest word counts, whoever has it: a file that can be read there, or an entry of the journal."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from agentcom.protocol.rows import Journal
from agentcom.store.drafts import Draft
from agentcom.store.evidence import Evidence, counts
from agentcom.store.segments import Entry
from agentcom.store.tables import TABLES, encode_key, encode_row

CONFIG = TABLES["config"]
NAMES = ["a", "b", "c"]
Change = tuple[str, int | None]


def key_of(name: str) -> bytes:
    return encode_key(CONFIG, (name,))


class File:
    """A tree of one table, silent on some keys."""

    def __init__(self, rows, silent):
        self._rows, self._silent = rows, silent

    def rows(self, name, holes):
        if name != CONFIG.name:
            return
        for each in self._silent:
            holes.add_key(key_of(each))
        yield from ((key_of(n), encode_row(v)) for n, v in self._rows.items() if n not in self._silent)


def state_at(history: list[Change], seq: int) -> dict[str, int]:
    return {name: value for name, value in dict(history[:seq]).items() if value is not None}


def newest_word(history, files, known, name):
    """What is to come of a key: the value after the newest entry that anything tells of it."""
    told = [seq for seq, silent in files if name not in silent]
    told += [seq for seq in known if history[seq - 1][0] == name]
    return state_at(history, max(told, default=0)).get(name)


CHANGES = st.lists(st.tuples(st.sampled_from(NAMES), st.none() | st.integers(0, 99)), min_size=1, max_size=12)
SILENT = st.sets(st.sampled_from(NAMES))


@given(st.data(), CHANGES)
@settings(max_examples=150, deadline=None)
def test_the_newest_word_on_each_key_is_what_comes_out(data, history):
    seqs = st.integers(1, len(history))
    files = data.draw(st.lists(st.tuples(seqs, SILENT), max_size=3, unique_by=lambda file: file[0]))
    known = sorted(data.draw(st.sets(seqs)))
    with tempfile.TemporaryDirectory() as folder, Draft(Path(folder)) as draft:
        evidence = Evidence(draft)
        for seq, silent in sorted(files, key=lambda file: -file[0]):
            if evidence.wants_more:
                evidence.read(File(state_at(history, seq), silent), "it", seq)
        evidence.lay(entry(seq, *history[seq - 1]) for seq in known)
        found = dict(evidence.rows(CONFIG))
    expected = {name: newest_word(history, files, known, name) for name in NAMES}
    assert found == {key_of(n): encode_row(v) for n, v in expected.items() if v is not None}


def entry(seq: int, name: str, value: int | None) -> Entry:
    row = None if value is None else encode_row(value)
    return Entry(seq, encode_row(Journal(1, "test", "test", ((CONFIG.number, key_of(name), row),))))


class Silent:
    def __init__(self, seq, *keys):
        self.seq, self._keys = seq, keys

    def is_silent(self, number, key):
        return key in self._keys


def test_an_entry_counts_where_every_state_that_contains_it_is_silent():
    states = [Silent(9, b"a", b"b"), Silent(5, b"a")]
    assert counts(states, 10, 1, b"c")
    assert counts(states, 9, 1, b"b")
    assert not counts(states, 9, 1, b"c")
    assert not counts(states, 5, 1, b"b")
    assert counts(states, 5, 1, b"a")
    assert counts([], 1, 1, b"a")


def test_an_entry_that_is_damaged_says_nothing(tmp_path):
    with Draft(tmp_path) as draft:
        evidence = Evidence(draft)
        evidence.lay([entry(1, "a", 1), Entry(2, b"noise"), entry(3, "b", 2)])
        assert [key for key, _ in evidence.rows(CONFIG)] == [key_of("a"), key_of("b")]
        assert (evidence.first, evidence.last, evidence.changes, evidence.newest) == (1, 3, 2, 3)
