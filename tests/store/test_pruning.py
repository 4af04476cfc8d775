"""Which snapshots stay and which segments go: the rules against a model, and their carrying out."""

from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from agentcom.store import segments
from agentcom.store.manifests import DATA, Manifest, name_of, snapshots_in, write_manifest
from agentcom.store.pruning import ALWAYS, DAY_MS, HOUR_MS, REMOVING, Tip, kept, place, prune, sweep, unneeded
from agentcom.store.restore_plan import Way
from agentcom.store.segments import RAISE, Line, Segment

NOON_MS = 20_000 * DAY_MS + 12 * HOUR_MS


def manifest(epoch: int, seq: int, made_ms: int = NOON_MS, line: Line = ()) -> Manifest:
    return Manifest(
        schema=1, epoch=epoch, seq=seq, line=line, made_ms=made_ms, entry_ms=made_ms, rows={}, bytes=1, digest="",
        version="",
    )  # fmt: skip


def hours_ago(*hours: float) -> list[Manifest]:
    return [manifest(1, 1_000 - int(h * 10), int(NOON_MS - h * HOUR_MS)) for h in hours]


NOW = Tip(Way(1), 1_000)
"""Of a store that was never restored."""
MADE = st.integers(NOON_MS - 40 * DAY_MS, NOON_MS)
SNAPSHOTS = st.dictionaries(st.integers(0, 60), MADE, max_size=25).map(
    lambda found: [manifest(1, seq, made_ms) for seq, made_ms in found.items()]
)
COUNTS = st.integers(1, 5)


@settings(deadline=None)
@given(SNAPSHOTS, COUNTS, COUNTS)
def test_what_is_kept_is_the_last_of_each_hour_and_day_and_the_newest_two(
    found: list[Manifest], hourly: int, daily: int
) -> None:
    chosen = kept(NOW, found, hourly, daily)
    ordered = sorted(found, key=place)
    wanted = ordered[-ALWAYS:]
    for length, count in ((HOUR_MS, hourly), (DAY_MS, daily)):
        spans = sorted({each.made_ms // length for each in found}, reverse=True)[:count]
        wanted += [max((m for m in found if m.made_ms // length == span), key=place) for span in spans]
    assert chosen == sorted({place(each): each for each in wanted}.values(), key=place)
    assert kept(NOW, chosen, hourly, daily) == chosen
    for gone in set(map(place, found)) - set(map(place, chosen)):
        assert any(place(newer) > gone for newer in chosen)


def test_hours_thin_out_to_days() -> None:
    found = hours_ago(*range(100))
    ages = [(NOON_MS - each.made_ms) // HOUR_MS for each in kept(NOW, found, 24, 3)]
    assert ages == [37, *range(23, -1, -1)]  # midnight is 12 hours ago: the last of yesterday is hour 13


def test_two_are_kept_when_the_settings_would_keep_one() -> None:
    assert len(kept(NOW, hours_ago(0.1, 0.2, 0.3), 1, 1)) == 2


def test_what_a_restore_left_out_takes_nobodys_place_and_stays_for_its_hours_and_days() -> None:
    line = ((1, 100),)
    restored = Tip(Way(2, line), RAISE + 200)
    left_out = [manifest(1, 110), manifest(1, 120)]
    here = [manifest(1, 90), manifest(2, RAISE + 150, line=line)]
    assert kept(restored, [*left_out, *here], 1, 1) == [here[0], left_out[1], here[1]]
    later = manifest(2, RAISE + 160, NOON_MS + DAY_MS, line)
    assert kept(restored, [*left_out, *here, later], 1, 2) == [left_out[1], here[1], later]
    assert kept(restored, [*left_out, *here, later], 1, 1) == [here[1], later]


def test_the_epochs_before_one_that_continues_nothing_are_all_kept() -> None:
    line = ((0, 500), (1, 500 + RAISE), (2, 500 + 2 * RAISE))
    begun = 500 + 3 * RAISE
    anew = Tip(Way(3, line), begun + 100)
    old = [manifest(1, seq, NOON_MS - seq * DAY_MS) for seq in range(1, 9)]
    new = [manifest(3, begun + n, line=line) for n in range(1, 6)]
    assert kept(anew, [*old, *new], 1, 1) == [*old, *new[-ALWAYS:]]
    firsts = [(1, 1), (1, 9), (2, 20), (3, begun + 1), (3, begun + 3)]
    archive = [Segment(Path(segments.name_of(*at)), *at) for at in firsts]
    assert unneeded(anew, archive, [*old, *new[-ALWAYS:]]) == archive[3:4]


def test_a_newer_snapshot_than_the_store_is_not_the_one_to_fall_back_on() -> None:
    found = [manifest(1, seq, NOON_MS - seq * HOUR_MS) for seq in (10, 20, 30, 900)]
    assert [each.seq for each in kept(Tip(Way(1), 30), found, 1, 1)] == [10, 20, 30]


# --- segments -------------------------------------------------------------------------------------------

FIRSTS = st.sets(st.integers(1, 60), max_size=15)


@settings(deadline=None)
@given(FIRSTS, SNAPSHOTS)
def test_a_segment_goes_exactly_when_no_kept_snapshot_needs_an_entry_of_it(
    firsts: set[int], keeping: list[Manifest]
) -> None:
    archive = [Segment(Path(segments.name_of(1, first)), 1, first) for first in sorted(firsts)]
    gone = unneeded(NOW, archive, keeping)
    ends = [*(each.first - 1 for each in archive[1:]), NOW.seq]
    for here, end in zip(archive, ends, strict=False):
        needed = len(keeping) < ALWAYS or any(end > each.seq for each in keeping)
        assert (here in gone) == (not needed), here


@pytest.mark.parametrize("keeping", [[], [manifest(1, 20)]])
def test_a_hub_without_another_snapshot_to_fall_back_on_loses_no_segment(keeping: list[Manifest]) -> None:
    assert unneeded(NOW, [Segment(Path("a"), 1, 1), Segment(Path("b"), 1, 9)], keeping) == []


# --- on disk --------------------------------------------------------------------------------------------


def lay(folder: Path, of: Manifest) -> Path:
    path = folder / name_of(of.epoch, of.seq)
    path.mkdir(parents=True)
    (path / DATA).write_bytes(b"x")
    write_manifest(path, of)
    return path


def test_what_is_not_kept_is_removed_with_the_segments_that_only_it_needed(tmp_path: Path) -> None:
    snapshots, archive = tmp_path / "snapshots", tmp_path / "archive"
    for each in hours_ago(0, 1, 2, 30):
        lay(snapshots, each)
    archive.mkdir()
    for first in (1, 700, 701, 980, 991):
        (archive / segments.name_of(1, first)).write_bytes(b"")
    removed, gone = prune(NOW, snapshots, archive, 2, 1)
    assert removed == [name_of(1, 700), name_of(1, 980)]
    assert [each.manifest.seq for each in snapshots_in(snapshots)] == [990, 1000]
    assert (gone, [each.first for each in segments.listed(archive)]) == (4, [991])


@pytest.mark.parametrize("archive", [None, Path("/nowhere/at/all")])
def test_an_archive_that_is_not_there_is_no_trouble(tmp_path: Path, archive: Path | None) -> None:
    lay(tmp_path, manifest(1, 5))
    assert prune(NOW, tmp_path, archive, 1, 1) == ([], 0)


def test_what_is_half_removed_does_not_count_and_goes_at_the_next_sweep(tmp_path: Path) -> None:
    path = lay(tmp_path, manifest(1, 5))
    path.rename(path.with_name(REMOVING + path.name))
    assert snapshots_in(tmp_path) == []
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []
