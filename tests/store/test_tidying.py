"""A gap in the journal's times is seen as long as it lies within the last day."""

import pytest

from agentcom.protocol.rows import Journal
from agentcom.store.errors import StoreClosed
from agentcom.store.tables import TABLES, encode_key, encode_row
from agentcom.store.tidying import leap_of
from tests.store.helpers import LmdbStore

HOUR = 3_600_000
DAY = 24 * HOUR
NOW = 20_000 * DAY


@pytest.mark.parametrize(
    ("ages", "leap"),
    [
        ([], 0),
        ([HOUR], 0),  # nobody knows what was before
        ([40 * DAY], 40 * DAY),  # off for weeks
        ([40 * DAY, 2 * HOUR, HOUR], 40 * DAY - 2 * HOUR),
        ([60 * DAY, 40 * DAY, 40 * DAY - 1, HOUR], 40 * DAY - 1 - HOUR),
        ([40 * DAY, 30 * HOUR, 20 * HOUR, 0], 10 * HOUR),  # a day has passed since
        ([40 * DAY, -3_650 * DAY, -3_649 * DAY], 40 * DAY),  # a clock that was wrong and is right again
    ],
)
def test_the_gap_before_the_last_day_is_found(tmp_path, ages, leap):
    store = LmdbStore(tmp_path)
    journal = TABLES["journal"]
    with store.env.writing() as txn:
        for seq, age in enumerate(ages, 7):
            row = encode_row(Journal(NOW - age, "lane.normal", "test", ()))
            txn.put(journal.number, [(encode_key(journal, (seq,)), row)])
    assert leap_of(str(tmp_path), NOW, DAY) == leap
    store.close()


def test_a_closed_store_is_told(tmp_path):
    with pytest.raises(StoreClosed):
        leap_of(str(tmp_path), NOW, DAY)
