"""Which snapshots are kept, and what nobody needs any more once they are.

A snapshot has one of three **standings**, as the store's own line of epochs says (see agentcom.store.segments):

- ``here``: the store comes from it. Of these the newest `ALWAYS`, and of the newest hours and days the last one each.
  The archive is kept from the oldest of them on.
- ``left_out``: a restore discarded what is in it. It is no help when the store is damaged, so it takes nothing's place;
  but whoever wants to undo the restore finds it for as long as if there had been none. The archive is not kept for it.
- ``before``: it is of before the store was salvaged or began empty, and with the archive of that time the only remains
  of what was lost. Neither is ever removed here: operators do that.

Lives here: the rules, as pure functions, and their carrying out.
May import: agentcom.store.{layout,manifests,restore_plan,segments}, operating system.
"""

import shutil
from collections.abc import Iterable, Sequence
from itertools import groupby, pairwise
from pathlib import Path
from typing import Literal, NamedTuple

from agentcom.store.layout import sync_folder
from agentcom.store.manifests import Manifest, SnapshotFile, snapshots_in
from agentcom.store.restore_plan import Way, straight
from agentcom.store.segments import Segment, listed

MAKING, REMOVING = ".making-", ".removing-"
ALWAYS = 2
"""The newest ones are kept whatever the settings say: when one turns out to be bad there is another."""
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
Standing = Literal["here", "left_out", "before"]


def place(of: Manifest) -> tuple[int, int]:
    """Where a snapshot is in the history of its store. A later epoch is a later place."""
    return of.epoch, of.seq


class Tip(NamedTuple):
    """The newest entry of a store, and the way that ends with it."""

    way: Way
    seq: int = 1 << 64  #: which is above all, when it is not known

    def standing(self, of: Manifest) -> Standing:
        """What a snapshot is to this store. One that is newer is of a store that somebody put back by hand."""
        if of.epoch < self.way.oldest:
            return "before"
        is_on_way = self.way.continues(of.epoch, of.line) and self.way.cut(of.epoch, of.seq) == of.seq
        return "here" if is_on_way and of.seq <= self.seq else "left_out"


def tip_of(newest: Manifest) -> Tip:
    return Tip(Way(newest.epoch, straight(newest.line)), newest.seq)


def kept(tip: Tip, snapshots: Iterable[Manifest], hourly: int, daily: int) -> list[Manifest]:
    """Those of `snapshots` that stay. Oldest first.

    Of those that are here the newest two, and of each of the newest `hourly` hours and `daily` days (UTC) that have any
    of them, the last one. Of those left out the last one of each epoch, in each of the newest hours and days that
    have one, left out or here. All of before.
    """
    ordered = sorted(snapshots, key=place)
    by: dict[Standing, list[Manifest]] = {"here": [], "left_out": [], "before": []}
    for each in ordered:
        by[tip.standing(each)].append(each)
    here, left_out = by["here"], by["left_out"]
    chosen = {place(each) for each in (*by["before"], *here[-ALWAYS:])}
    for length, count in ((HOUR_MS, hourly), (DAY_MS, daily)):
        chosen |= _last_of_each(here, here, length, count)
        for _, line in groupby(left_out, key=lambda each: each.epoch):
            chosen |= _last_of_each(line, here + left_out, length, count)
    return [each for each in ordered if place(each) in chosen]


def _last_of_each(
    of: Iterable[Manifest], among: Iterable[Manifest], length: int, count: int
) -> set[tuple[int, int]]:
    """Where the last one is in each of the newest `count` spans of time that have any of `among`."""
    last = {each.made_ms // length: place(each) for each in of}
    spans = sorted({each.made_ms // length for each in among}, reverse=True)[:count]
    return {last[span] for span in spans if span in last}


def unneeded(tip: Tip, segments: Sequence[Segment], keeping: Iterable[Manifest]) -> list[Segment]:
    """Those of an archive (in its order) of which the oldest kept snapshot that is here has every entry already.

    A snapshot needs what follows it in its own epoch, and later epochs; nothing of an earlier one, whether its line
    took it up or not. Where an epoch's last segment ends is not in its name, so that one stays with its epoch.
    None of before; and none at all while fewer than `ALWAYS` are here, as an archive from the first entry on is as good
    as another snapshot.
    """
    here = [place(each) for each in keeping if tip.standing(each) == "here"]
    if len(here) < ALWAYS:
        return []
    epoch, seq = min(here)
    done = [each for each in segments if tip.way.oldest <= each.epoch < epoch]
    own = [each for each in segments if each.epoch == epoch]
    return done + [each for each, following in pairwise(own) if following.first <= seq + 1]


def prune(tip: Tip, snapshots: Path, archive: Path | None, hourly: int, daily: int) -> tuple[list[str], int]:
    """Remove what is not kept: the names of snapshots, and how many segments. Raises `OSError`."""
    found = snapshots_in(snapshots)
    keeping = kept(tip, [each.manifest for each in found], hourly, daily)
    stay = {place(each) for each in keeping}
    gone = [each for each in found if place(each.manifest) not in stay]
    for each in gone:
        remove(each.path)
    segments = 0 if archive is None else _prune_archive(tip, archive, keeping)
    return [each.path.name for each in gone], segments


def remains(way: Way, snapshots: Iterable[SnapshotFile], archive: Path | None) -> list[str]:
    """What there is of before, as patterns of paths. Raises `OSError`."""
    if way.oldest == 1:  # nothing can be, and the archive's disk may be slow
        return []
    found = {(each.path.parent, each.manifest.epoch) for each in snapshots}
    found |= {(each.path.parent, each.epoch) for each in (listed(archive) if archive is not None else ())}
    return [f"{folder}/{epoch:06d}-*" for folder, epoch in sorted(found) if epoch < way.oldest]


def remove(path: Path) -> None:
    """A snapshot that is being removed does not count from the first moment on."""
    doomed = path.with_name(REMOVING + path.name)
    path.rename(doomed)
    sync_folder(path.parent)
    shutil.rmtree(doomed)


def sweep(snapshots: Path) -> None:
    """What an interrupted run left behind, of a snapshot that was being made or removed."""
    for name in (MAKING, REMOVING):
        for path in snapshots.glob(f"{name}*"):
            shutil.rmtree(path)


def _prune_archive(tip: Tip, archive: Path, keeping: list[Manifest]) -> int:
    gone = unneeded(tip, listed(archive), keeping)
    for segment in gone:
        segment.path.unlink(missing_ok=True)
    if gone:
        sync_folder(archive)
    return len(gone)
