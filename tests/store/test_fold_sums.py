"""The sum of what a journal comes to is that of the rows, in however many passes and parts it is made."""

from hypothesis import given, settings
from hypothesis import strategies as st

from agentcom.store import MemoryStore
from agentcom.store.fold_sums import SHARES, Sums, sum_of
from agentcom.store.memory import Rows

KEYS = st.sampled_from([bytes((n,)) for n in range(1, 40)])
OPS = st.tuples(st.integers(1, 3), KEYS, st.none() | st.sampled_from([b"a", b"b"]))


def view(rows: dict[tuple[int, bytes], bytes]):
    store = MemoryStore()
    for number in store.tables:
        of = {key: raw for (at, key), raw in rows.items() if at == number}
        store.tables[number] = Rows(of, sorted(of))
    return store.reading()


def in_passes(base, ops, **limits) -> int:
    total = first = 0
    while first < SHARES:
        sums = Sums(base, first=first, **limits)
        for op in range(0, len(ops), 5):
            sums.feed(ops[op : op + 5])
        total, first = total + sums.total(), sums.end
    return total


@settings(max_examples=150, deadline=None)
@given(
    before=st.dictionaries(st.tuples(st.integers(1, 3), KEYS), st.sampled_from([b"a", b"c"])),
    ops=st.lists(OPS, max_size=120), most=st.sampled_from([3, 20, 10_000]), at_once=st.sampled_from([1, 7, 10_000]),
)  # fmt: skip
def test_the_sum_is_that_of_the_rows_it_comes_to(before, ops, most, at_once):
    after = dict(before)
    for number, key, value in ops:
        if value is None:
            after.pop((number, key), None)
        else:
            after[number, key] = value
    base = view(before)
    assert sum_of(base) + in_passes(base, ops, most=most, at_once=at_once) == sum_of(view(after))
    if not before:
        assert in_passes(None, ops, most=most, at_once=at_once) == sum_of(view(after))
