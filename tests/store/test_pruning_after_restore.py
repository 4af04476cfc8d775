"""On real files: what retention leaves of a store that was restored, salvaged or emptied."""

import contextlib
from glob import glob
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agentcom.store import child, restore, restore_sources, salvage, snapshot_schedule
from agentcom.store.layout import DATA, Layout
from agentcom.store.manifests import snapshots_in, write_manifest
from agentcom.store.pruning import ALWAYS, DAY_MS
from agentcom.store.restore_plan import Lost, Target
from agentcom.store.segments import listed
from agentcom.store.snapshot_schedule import Known, Rules, Seen, look
from agentcom.store.snapshotting import Made, Order, make
from tests.store.helpers import LmdbStore, all_rows
from tests.store.history import InProcess, archive, folders_in
from tests.store.sound import Lane, fill


@pytest.fixture(autouse=True)
def _in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for place in (child, restore, restore_sources):
        monkeypatch.setattr(place, "Tool", InProcess)
    monkeypatch.setattr("agentcom.store.proving.resting", contextlib.nullcontext)


class Hub:
    """Its data folder between two of a hub's lives, snapshots and archive in it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.layout = folder, Layout(folder)
        self.snapshots, self.archive = folders_in(folder)
        self.archived = self.tasks = 0

    def works(self, tasks: int) -> int:
        """Commits some, and archives them; the newest seq."""
        store = LmdbStore(self.folder)
        if self.tasks == 0:
            fill(store)
        lane = Lane(store)
        for _ in range(tasks):
            self.tasks += 1
            lane.submit(1_000 + self.tasks)
        last = store.reader.last_seq()
        begin = max(self.archived + 1, (store.env.meta("line") or [(0, 0)])[-1][1] + 1)
        first = next(key[0] for key, _ in store.reader.scan("journal", limit=100_000) if key[0] >= begin)
        archive(store, first, last)
        self.archived = last
        store.close()
        return last

    def snapshot(self, **fields: Any) -> Made:
        order = Order(
            store=str(self.layout.store), into=str(self.snapshots), version="test", hourly=1, daily=1,
            archive=str(self.archive), **fields,
        )  # fmt: skip
        return make(order)

    def a_day_passes(self) -> None:
        for each in snapshots_in(self.snapshots):
            older = msgspec.structs.replace(each.manifest, made_ms=each.manifest.made_ms - DAY_MS)
            write_manifest(each.path, older)

    def restore(self, to: int | None = None) -> Any:
        return restore.restore(self.layout, folders_in(self.folder), Target(seq=to), "test")[0]

    def places(self) -> list[tuple[int, int]]:
        return [(each.manifest.epoch, each.manifest.seq) for each in snapshots_in(self.snapshots)]

    def sees(self) -> Seen:
        store = LmdbStore(self.folder)
        found = look(store.reader, self.snapshots, self.archive)
        store.close()
        return found

    def rows(self) -> dict[tuple[int, bytes], bytes]:
        store = LmdbStore(self.folder)
        found = all_rows(store)
        store.close()
        return found


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    return Hub(tmp_path / "hub")


def hurt(file: Path) -> None:
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 1
    file.write_bytes(raw)


def test_after_a_restore_to_an_earlier_entry_there_is_another_good_snapshot_and_its_archive(hub: Hub) -> None:
    hub.works(3)
    before = hub.snapshot().manifest.seq
    target = hub.works(3)
    hub.works(3)
    discarded = hub.snapshot().manifest.seq
    hub.restore(to=target)
    last = hub.works(2)
    rows = hub.rows()
    newest = hub.snapshot()
    assert hub.places() == [(1, before), (1, discarded), (2, last)]
    hurt(Path(newest.path) / DATA)
    (hub.layout.store / DATA).write_bytes(b"")
    made = hub.restore()
    assert (made.base, made.reached) == (before, last)
    assert made.lost == Lost(last + 1)  # nobody can tell whether anything came after it
    assert hub.rows().keys() >= rows.keys()


def test_what_a_restore_left_out_goes_once_its_hour_and_day_are_over_and_then_the_archive_of_its_time(
    hub: Hub,
) -> None:
    hub.works(3)
    hub.snapshot()
    target = hub.works(3)
    hub.works(3)
    hub.snapshot()
    hub.restore(to=target)
    for _ in range(ALWAYS):
        hub.a_day_passes()
        last = hub.works(1)
        hub.snapshot()
    assert hub.places() == [(2, last - 1), (2, last)]
    assert [segment.epoch for segment in listed(hub.archive)] == [2]


@pytest.mark.parametrize("found", ["some rows", "nothing"])
def test_what_there_was_before_a_store_was_salvaged_or_emptied_stays(hub: Hub, found: str) -> None:
    hub.works(3)
    old = [hub.snapshot()]
    hub.works(3)
    old.append(hub.snapshot())
    there = [segment.path for segment in listed(hub.archive)]
    for each in old:
        hurt(Path(each.path) / DATA)
    if found == "nothing":
        (hub.layout.store / DATA).write_bytes(b"")
    salvage.salvage(hub.layout, folders_in(hub.folder), "test", "test")
    for _ in range(4):
        hub.works(2)
        hub.snapshot()
    assert {Path(each.path) for each in old} <= {each.path for each in snapshots_in(hub.snapshots)}
    assert set(there) <= {segment.path for segment in listed(hub.archive)}
    assert len(hub.places()) == len(old) + ALWAYS


def test_what_is_left_of_before_is_told_and_how_to_name_it_to_rm(hub: Hub) -> None:
    hub.works(3)
    old = Path(hub.snapshot().path)
    segments = {segment.path for segment in listed(hub.archive)}
    assert hub.sees().remains == ()
    (hub.layout.store / DATA).write_bytes(b"")
    salvage.salvage(hub.layout, folders_in(hub.folder), "test", "test")
    hub.works(1)
    hub.snapshot()
    seen = hub.sees()
    known = msgspec.structs.replace(Known(folder="", started_ms=0), **seen._asdict())
    told = snapshot_schedule.listed(known, Rules(every_s=1, first_s=1), 0)
    assert [each.standing for each in told.snapshots] == ["here", "before"]
    assert [set(map(Path, glob(each))) for each in told.remains] == [segments, {old}]
