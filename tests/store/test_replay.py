"""One line of epochs is read from an archive; where it ends is said, and why."""

from pathlib import Path

import pytest

from agentcom.store.replay import entries_along
from agentcom.store.segments import RAISE, Entry, Header, Line, SegmentWriter


def write(folder: Path, epoch: int, first: int, last: int, line: Line = (), row: bytes = b"row") -> Path:
    writer = SegmentWriter(folder, Header(1, 1, epoch, first, line))
    for seq in range(first, last + 1):
        writer.append(Entry(seq, row))
    writer.sync()
    writer.close()
    return writer.path


def read(folder: Path, line: Line = (), epoch: int = 1, after: int = 0) -> tuple[list[int], int, str]:
    along = entries_along(folder, line, epoch, after)
    seqs = [entry.seq for entry in along]
    assert along.stopped is not None
    return seqs, along.stopped.seq, along.stopped.kind


def cut(path: Path, by: int) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - by)


def test_an_absent_archive_ends_at_once(tmp_path):
    assert read(tmp_path / "none") == ([], 1, "end")


def test_segments_are_read_in_order_from_the_entry_asked_for(tmp_path):
    write(tmp_path, 1, 1, 3)
    write(tmp_path, 1, 4, 6)
    assert read(tmp_path) == ([1, 2, 3, 4, 5, 6], 7, "end")
    assert read(tmp_path, after=4) == ([5, 6], 7, "end")
    assert read(tmp_path, after=6) == ([], 7, "end")


def test_a_torn_tail_ends_an_archive_and_is_no_gap(tmp_path):
    cut(write(tmp_path, 1, 1, 3), 1)
    assert read(tmp_path) == ([1, 2], 3, "torn")


def test_a_segment_that_begins_at_the_torn_entry_continues(tmp_path):
    cut(write(tmp_path, 1, 1, 3), 1)
    write(tmp_path, 1, 3, 5)
    assert read(tmp_path) == ([1, 2, 3, 4, 5], 6, "end")


def test_of_two_segments_with_the_same_entries_the_later_one_is_read(tmp_path):
    write(tmp_path, 1, 1, 6, row=b"old")
    write(tmp_path, 1, 4, 5, row=b"new")
    rows = [(entry.seq, entry.row) for entry in entries_along(tmp_path, (), 1)]
    assert rows == [(1, b"old"), (2, b"old"), (3, b"old"), (4, b"new"), (5, b"new")]


def test_a_missing_segment_is_a_gap(tmp_path):
    write(tmp_path, 1, 1, 3)
    write(tmp_path, 1, 5, 6)
    assert read(tmp_path) == ([1, 2, 3], 4, "gap")
    assert read(tmp_path, after=4) == ([5, 6], 7, "end")


def test_a_flipped_bit_in_the_middle_is_a_gap_and_not_the_end(tmp_path):
    path = write(tmp_path, 1, 1, 3)
    write(tmp_path, 1, 4, 6)
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    assert read(tmp_path) == ([1, 2], 3, "gap")


def test_a_segment_without_a_header_is_damage(tmp_path):
    write(tmp_path, 1, 1, 3)
    path = write(tmp_path, 1, 4, 6)
    path.write_bytes(b"x" + path.read_bytes()[1:])
    along = entries_along(tmp_path, (), 1)
    assert [entry.seq for entry in along] == [1, 2, 3]
    assert along.stopped is not None
    assert (along.stopped.seq, along.stopped.kind) == (4, "damaged")
    assert str(path) in along.stopped.reason


def test_a_segment_that_was_just_created_is_the_end(tmp_path):
    write(tmp_path, 1, 1, 3)
    (tmp_path / "000001-00000000000000000004.journal").touch()
    assert read(tmp_path) == ([1, 2, 3], 4, "torn")


def test_a_discarded_tail_is_not_followed(tmp_path):
    write(tmp_path, 1, 1, 9)
    begin = 6 + RAISE + 1
    write(tmp_path, 2, begin, begin + 1, ((1, 6),))
    assert read(tmp_path, ((1, 6),), 2) == ([1, 2, 3, 4, 5, 6, begin, begin + 1], begin + 2, "end")
    assert read(tmp_path, (), 1)[0] == list(range(1, 10))


def test_an_epoch_that_lacks_what_the_line_needs_is_a_gap(tmp_path):
    write(tmp_path, 1, 1, 4)
    begin = 6 + RAISE + 1
    write(tmp_path, 2, begin, begin, ((1, 6),))
    assert read(tmp_path, ((1, 6),), 2) == ([1, 2, 3, 4], 5, "gap")


@pytest.mark.parametrize("after", [6, 6 + 5, 6 + RAISE])
def test_a_snapshot_between_two_epochs_continues_with_the_newer_one(tmp_path, after):
    write(tmp_path, 1, 1, 9)
    begin = 6 + RAISE + 1
    write(tmp_path, 2, begin, begin, ((1, 6),))
    assert read(tmp_path, ((1, 6),), 2, after) == ([begin], begin + 1, "end")


def test_a_segment_of_another_line_is_not_read(tmp_path):
    write(tmp_path, 1, 1, 6)
    begin = 6 + RAISE + 1
    write(tmp_path, 2, begin, begin, ((1, 5),))
    assert read(tmp_path, ((1, 6),), 2) == ([1, 2, 3, 4, 5, 6], begin, "damaged")


def test_a_renamed_segment_is_not_read(tmp_path):
    path = write(tmp_path, 1, 1, 3)
    path.rename(path.with_name("000001-00000000000000000004.journal"))
    assert read(tmp_path, after=3) == ([], 4, "damaged")
