"""Which snapshots are kept, and what nobody needs any more once they are.

Lives here: the rules, as pure functions, and their carrying out.
May import: agentcom.store.{layout,manifests,segments}, operating system.
"""

import shutil
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

from agentcom.store.layout import sync_folder
from agentcom.store.manifests import Manifest, snapshots_in
from agentcom.store.segments import Segment, listed

MAKING, REMOVING = ".making-", ".removing-"
ALWAYS = 2
"""The newest ones are kept whatever the settings say: when one turns out to be bad there is another."""
HOUR_MS, DAY_MS = 3_600_000, 86_400_000


def kept(snapshots: Iterable[Manifest], hourly: int, daily: int) -> list[Manifest]:
    """Of each of the newest `hourly` hours and `daily` days (UTC) that have any, the last one; and the newest two.

    All of them are verified, so that whatever is not kept has a newer one that is. Oldest first.
    """
    ordered = sorted(snapshots, key=place)
    chosen = {place(each) for each in ordered[-ALWAYS:]}
    for length, count in ((HOUR_MS, hourly), (DAY_MS, daily)):
        last = {each.made_ms // length: place(each) for each in ordered}
        chosen.update(last[span] for span in sorted(last, reverse=True)[:count])
    return [each for each in ordered if place(each) in chosen]


def place(of: Manifest) -> tuple[int, int]:
    """Where a snapshot is in the history of its store. A later epoch is a later place."""
    return of.epoch, of.seq


def unneeded(segments: Sequence[Segment], keeping: Iterable[Manifest]) -> list[Segment]:
    """Those of an archive (in its order) of which the oldest kept snapshot has every entry already.

    A snapshot needs what follows it in its own epoch, and later epochs; nothing of an earlier one, whether its line
    took it up or not. Where an epoch's last segment ends is not in its name, so that one stays with its epoch.
    """
    oldest = min(map(place, keeping), default=None)
    if oldest is None:
        return []
    epoch, seq = oldest
    done = [each for each in segments if each.epoch < epoch]
    own = [each for each in segments if each.epoch == epoch]
    return done + [each for each, following in pairwise(own) if following.first <= seq + 1]


def prune(snapshots: Path, archive: Path | None, hourly: int, daily: int) -> tuple[list[str], int]:
    """Remove what is not kept: the names of snapshots, and how many segments. Raises `OSError`."""
    found = snapshots_in(snapshots)
    keeping = kept([each.manifest for each in found], hourly, daily)
    stay = {place(each) for each in keeping}
    gone = [each for each in found if place(each.manifest) not in stay]
    for each in gone:
        remove(each.path)
    segments = 0 if archive is None else _prune_archive(archive, keeping)
    return [each.path.name for each in gone], segments


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


def _prune_archive(archive: Path, keeping: list[Manifest]) -> int:
    gone = unneeded(listed(archive), keeping)
    for segment in gone:
        segment.path.unlink(missing_ok=True)
    if gone:
        sync_folder(archive)
    return len(gone)
