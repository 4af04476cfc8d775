"""Opening the store at the hub's start: looked at before, and recovered without being asked when it is damaged.

The order keeps what there is: the folder's lock first, then which store is in force, then a child process looks at its
file (a torn one kills that child, not the hub), then, if it is damaged, the newest snapshot and the archive make
another one, else what can still be read of it does; the damaged one is kept aside. Left-over stores go only after the
one in force was opened.
May import: agentcom.{config, store}, structlog.
"""

import os
import time
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import structlog

from agentcom.config import Config, folder_of
from agentcom.core.messages import Condition
from agentcom.store import pointing, redo_format, restore
from agentcom.store.child import Tool, ToolFailed
from agentcom.store.env import Environment, lock_folder
from agentcom.store.errors import StorageFull, StoreError
from agentcom.store.findings import Problem
from agentcom.store.layout import DATA, Layout
from agentcom.store.manifests import snapshots_in
from agentcom.store.migrations import Underway
from agentcom.store.opening import Told, open_store, patiently, see_room
from agentcom.store.pointing import Astray
from agentcom.store.restore import Folders, Record
from agentcom.store.restore_plan import Lost, Target
from agentcom.store.restoring import NothingToRestore
from agentcom.store.salvage import salvage
from agentcom.store.segments import listed
from agentcom.store.settings import Settings
from agentcom.store.transactions import is_full

log = structlog.get_logger()

TOLD_MS = 24 * 3_600_000
"""So long after a recovery `/health` says so."""


class Started(NamedTuple):
    env: Environment
    epoch: int
    recovery: Record | None  #: the newest one, when it is not long ago

    def condition(self) -> Condition | None:
        """What `/health` shows of it."""
        record = self.recovery
        if record is None:
            return None
        facts = msgspec.to_builtins(record)
        return Condition(
            "restore", facts, (_alert(record),) if record.by_itself else (), until_ms=record.ms + TOLD_MS
        )


def _alert(record: Record) -> str:
    if record.how == "found":
        kept = f"; what else there was is in {record.aside}" if record.aside else ""
        return f"the store was found by what is in it ({record.why}): {record.summary[0]}{kept}"
    lost = str(Lost(*record.lost)) if record.how == "restored" else record.summary[0]
    return (
        f"the store was {record.how} ({record.why}): {lost}; the old one is in {record.aside or 'no place'}"
    )


class UnclaimedHistory(StoreError):
    """A new data folder, but snapshots or an archive of a hub."""

    def __init__(self, folder: str, where: str) -> None:
        super().__init__(folder, where)
        self.folder, self.where = folder, where

    def __str__(self) -> str:
        return (
            f"the data folder {self.folder} is new, but {self.where} holds the history of a hub: "
            f"`agentcom-admin restore --data {self.folder}` continues that hub; "
            "for another hub set other folders in `snapshots.dir` and `archive.dir`"
        )


class HistoryAway(StoreError):
    """The store is damaged, and a folder that would mend it is not there."""

    def __init__(self, why: str, setting: str, folder: Path) -> None:
        super().__init__(why, setting, str(folder))
        self.why, self.setting, self.folder = why, setting, folder

    def __str__(self) -> str:
        return (
            f"the store is damaged ({self.why}), and `{self.setting}` is {self.folder}, which is not there: "
            "make it available, as it has what was lost; or start with "
            f"--set {self.setting}= to go on with what can still be read"
        )


def folders_of(config: Config, folder: Path) -> Folders:
    """Where a data folder's snapshots and archive are."""
    return Folders(
        folder_of(config.snapshots.dir, folder, "snapshots"),
        folder_of(config.archive.dir, folder, "archive"),
    )


def store_settings(config: Config, folder: str) -> Settings:
    store = config.store
    return Settings(
        folder, sync=store.sync == "always", max_bytes=store.max_bytes, ballast=store.ballast_bytes
    )


def start_patiently(config: Config, folder: Path, told: Told) -> Started:
    """Like `start`; a store on a full disk waits for room."""
    return patiently(folder, lambda: start(config, folder), told)


def start(config: Config, folder: Path) -> Started:
    """The folder's store, locked, whole and open.

    Raises `DataFolderLocked`, `NewerSchema`, `UnclaimedHistory`, `HistoryAway`, `StorageFull`, `OSError`; then the data
    is as it was.
    """
    folder = folder.resolve()
    if not Layout(folder).stores:
        see_room(folder)
    lock = lock_folder(folder)
    try:
        layout = Layout(folder)
        make_whole(layout, config)
    except BaseException:
        os.close(lock)
        raise
    env = open_store(store_settings(config, str(folder)), lock, _tell_of_migration)
    restore.clear_scratch(layout)
    layout.pardon()
    for path in layout.sweep():
        log.info("store.swept", folder=str(path))
    return Started(env, env.meta("epoch") or 1, recent(layout))


def _tell_of_migration(at: Underway) -> None:
    log.info("store.migrating", before=at.before, after=at.after, step=at.step, changes=at.changes, of=at.of)


def recent(layout: Layout) -> Record | None:
    """The newest recovery, if it is not long ago."""
    found = restore.records(layout)
    return found[-1] if found and found[-1].ms > time.time() * 1000 - TOLD_MS else None


def make_whole(layout: Layout, config: Config) -> None:
    """Look for the store in force, and at it; recover it when it is damaged. Raises as `start` does."""
    try:
        _make_whole(layout, config)
    except OSError as error:
        if is_full(error):
            raise StorageFull(
                f"there is no room to put a store in force in {layout.folder}: {error}"
            ) from error
        raise


def _make_whole(layout: Layout, config: Config) -> None:
    folders = folders_of(config, layout.folder)
    if layout.is_new:
        return _claim(layout, folders)
    astray = pointing.look(layout, mend=True)
    why = damage(layout) if astray is None else _found(layout, folders, astray)
    if not why:
        return None
    log.error("store.damaged", reason=why, data=str(layout.store))
    for setting, given, path in (
        ("snapshots.dir", config.snapshots.dir, folders.snapshots),
        ("archive.dir", config.archive.dir, folders.archive),
    ):
        if given and not path.is_dir():
            raise HistoryAway(why, setting, path)
    return recover(layout, folders, why, astray)


def _found(layout: Layout, folders: Folders, astray: Astray) -> str:
    """Go on with the store that was found; or say why it, like a damaged one, is a source to recover from."""
    log.error("store.pointer_lost", reason=astray.why, found=str(astray.found), store=str(layout.store),
              others=[str(each) for each in astray.others])  # fmt: skip
    ms = restore.now_ms()
    pointing.keep(layout, astray.others, ms)
    doubt = astray.doubt or damage(layout) or pointing.behind(layout, folders, astray.found)
    if doubt:
        return f"{astray}; {doubt}"
    pointing.take(layout, astray, ms)
    return ""


def _claim(layout: Layout, folders: Folders) -> None:
    """A new hub must not take over, and then tidy up, what another one left."""
    if snapshots_in(folders.snapshots):
        raise UnclaimedHistory(str(layout.folder), str(folders.snapshots))
    if listed(folders.archive):
        raise UnclaimedHistory(str(layout.folder), str(folders.archive))


def damage(layout: Layout) -> str:
    """What is wrong with the store in force, as a sentence; "" when it is whole, or cannot be judged here."""
    file = layout.store / DATA
    if not file.is_file():
        return f"{file} is missing"
    file.open("r+b").close()  # a file that we may not open is no damage: raises `OSError`
    # what a power cut left is no damage either: it is looked at as opening it will see it
    redo_format.recover(layout.store)
    try:
        found: dict[str, Any] = Tool("checking").run({"store": str(layout.store)})
    except ToolFailed as error:
        return _judged(error)
    problems = msgspec.convert(found["problems"], list[Problem])
    return f"{len(problems)} problems were found, the first: {problems[0]}" if problems else ""


def _judged(error: ToolFailed) -> str:
    if error.kind == "StoreUnreadable" or error.damage:
        return error.why
    if error.kind != "NewerSchema":  # that is for opening it to say
        log.warning("store.unchecked", reason=error.why)
    return ""


def recover(layout: Layout, folders: Folders, why: str, astray: Astray | None = None) -> None:
    """Put another store in force. Raises what kept it from that, with nothing changed.

    `astray`: of a store that was looked for. What else was found there is read out when it has no file itself.
    """
    try:
        _, record = restore.restore(layout, folders, Target(), why, by_itself=True)
    except NothingToRestore as error:
        if astray is not None and not astray.found.has_file:
            pointing.next_best(layout, astray)
        record = salvage(layout, folders, why, str(error))
    log.error(
        "store.restored",
        how=record.how,
        reason=record.why,
        summary=record.summary,
        aside=record.aside,
        epoch=record.epoch,
    )
