"""Keys keep the order of what they stand for; rows come back or are refused."""

from contextlib import suppress
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from agentcom.core.submitting import KEY_BYTES
from agentcom.protocol.rows import LANES, PHASES, Mark
from agentcom.store.errors import CorruptRow, KeyRefused
from agentcom.store.tables import (
    BY_NUMBER,
    TABLES,
    Table,
    after_prefix,
    decode_key,
    decode_row,
    encode_key,
    encode_prefix,
    encode_row,
    prefix_length,
)
from tests.store.helpers import task

PART = {
    "str": st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=6),
    "int": st.integers(0, 2**64 - 1),
    "lane": st.sampled_from(LANES),
    "phase": st.sampled_from(PHASES),
}
RANK: dict[Any, int] = {
    **{lane: i for i, lane in enumerate(LANES)},
    **{phase: i for i, phase in enumerate(PHASES)},
}


def kinds(table: Table) -> list[str]:
    return [part.partition(":")[2] for part in table.key.split()]


def rank(table: Table, key: Any) -> Any:
    return tuple(
        RANK[p] if kind in ("lane", "phase") else p for kind, p in zip(kinds(table), key, strict=True)
    )


keyed = st.sampled_from(sorted(TABLES)).flatmap(
    lambda name: st.tuples(
        st.just(TABLES[name]), *[st.tuples(*[PART[k] for k in kinds(TABLES[name])]) for _ in range(2)]
    )
)


@given(keyed)
def test_keys_come_back_and_sort_as_their_parts(drawn):
    table, one, two = drawn
    raw_one, raw_two = encode_key(table, one), encode_key(table, two)
    assert decode_key(table, raw_one) == one
    assert (raw_one < raw_two) == (rank(table, one) < rank(table, two))


@given(keyed, st.integers(0, 5))
def test_a_prefix_of_parts_is_a_prefix_of_bytes(drawn, depth):
    table, key, other = drawn
    prefix = encode_prefix(table, key[:depth])
    raw = encode_key(table, key)
    assert raw.startswith(prefix)
    assert prefix_length(table, raw, depth) == len(prefix)
    assert encode_key(table, other).startswith(prefix) == (other[:depth] == key[:depth])
    end = after_prefix(prefix)
    assert end is None or raw < end


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ("task", ("",) * 2),
        ("task", (3,)),
        ("task", ("a\0b",)),
        ("task", ("é" * 256,)),
        ("task", ("\ud800",)),
        ("history", ("t", -1)),
        ("history", ("t", "1")),
        ("history", ("t", 2**64)),
        ("due", ("slow", 1, "t")),
        ("due", (["low"], 1, "t")),
    ],
)
def test_a_key_that_does_not_fit_is_refused(table, key):
    with pytest.raises(KeyRefused, match=table):
        encode_key(TABLES[table], key)
    with pytest.raises(KeyRefused):
        encode_prefix(TABLES[table], (*key, "", "", "", ""))


def test_the_longest_agent_id_fits_wherever_it_is_part_of_a_key():
    longest, task_id = max("a" * 128, "@" + "\U0001f600" * 60, key=lambda name: len(name.encode())), "t" * 40
    encode_key(TABLES["ready"], ("low", longest, "0" * 16, 2**63, task_id))
    encode_key(TABLES["by_agent"], (longest, task_id))
    encode_key(TABLES["mailbox"], (longest, 2**63))
    encode_key(TABLES["idempotency"], (longest, "k" * KEY_BYTES))


@given(st.binary(max_size=40))
def test_bytes_that_are_no_key_are_damage(raw):
    for table in TABLES.values():
        with suppress(CorruptRow):
            assert encode_key(table, decode_key(table, raw)) == raw


@given(st.integers(0), st.integers(0, 7))
def test_any_flipped_bit_of_a_row_is_found(where, bit):
    raw = bytearray(encode_row(task("t")))
    raw[where % len(raw)] ^= 1 << bit
    with pytest.raises(CorruptRow, match=r"table 'task' at \('t',\): checksum"):
        decode_row(TABLES["task"], bytes(raw), ("t",))


def test_a_row_of_another_shape_is_damage():
    with pytest.raises(CorruptRow, match="task"):
        decode_row(TABLES["task"], encode_row(Mark()), ("t",))
    with pytest.raises(CorruptRow):
        decode_row(TABLES["task"], b"", ("t",))


def test_numbers_and_names_are_each_their_own():
    assert len(BY_NUMBER) == len(TABLES)
    assert all(table.number < 256 for table in TABLES.values())


def test_writers_are_names_or_prefixes():
    ready, mailbox, meta = TABLES["ready"], TABLES["mailbox"], TABLES["meta"]
    assert ready.may_write("lane.low")
    assert not ready.may_write("lanes")
    assert mailbox.may_write("anyone")
    assert not any(meta.may_write(name) for name in ("", "store", "lane.low"))
