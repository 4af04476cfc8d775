"""Opening the data folder when its disk may be full.

Lives here: the ballast is given up for the first write of a life; who starts a hub may wait for room.
May import: agentcom.store.{ballast,env,errors,layout,migrations,settings}, operating system.
"""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from agentcom.store.ballast import Ballast
from agentcom.store.env import RESERVE, Environment, open_environment, opened
from agentcom.store.errors import StorageFull
from agentcom.store.layout import Layout
from agentcom.store.migrations import Tell, untold
from agentcom.store.settings import Settings

LEAST = 2 * RESERVE
"""Bytes of room for a new store: under it the hub would be full before it had made its first token."""
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 30.0

T = TypeVar("T")
Told = Callable[[str, float], None]


def open_store(settings: Settings, lock: int = -1, tell: Tell = untold) -> Environment:
    """The folder's store with a new life: opened, or taken over from a store actor of this process that crashed.

    `lock` is the folder's, when it is held already; `tell` hears how far a migration is. On a full disk the ballast is
    given up for it. Raises `StorageFull` when there is no room even so, or too little for a new store; then nothing was
    changed.
    """
    layout = Layout(Path(settings.folder))
    is_new = not layout.store.exists()
    if is_new:
        see_room(layout.folder)
    try:
        return _open(settings, lock, tell)
    except StorageFull:
        if is_new:
            shutil.rmtree(layout.store, ignore_errors=True)
        if not Ballast(layout.ballast, settings.ballast).give_up():
            raise
    return _open(settings, -1, tell)


def patiently(
    folder: Path, start: Callable[[], T], told: Told, sleep: Callable[[float], object] = time.sleep
) -> T:
    """What `start` returns. A store that is there waits for room, and says so each time by `told(sentence, seconds
    until the next try)`.

    A new one does not: who starts it is there to read the error.
    """
    wait_s = FIRST_WAIT_S
    while True:
        is_new = not Layout(folder).stores
        try:
            return start()
        except StorageFull as error:
            if is_new:
                raise
            told(str(error), wait_s)
        sleep(wait_s)
        wait_s = min(2 * wait_s, LONGEST_WAIT_S)


def _open(settings: Settings, lock: int, tell: Tell) -> Environment:
    env = opened(Path(settings.folder))
    if env is None:
        return open_environment(
            Path(settings.folder), max_bytes=settings.max_bytes, sync=settings.sync, lock=lock, tell=tell
        )
    env.max_bytes = settings.max_bytes
    env.begin_life()
    return env


def see_room(folder: Path) -> None:
    """Raises `StorageFull` when a new store would be full before it had begun."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    disk = os.statvfs(there)
    room = disk.f_bavail * disk.f_frsize
    if room < LEAST:
        raise StorageFull(
            f"a new store in {folder} needs {LEAST >> 20} MiB of room, its disk has {room >> 20} MiB; "
            "make room, or choose another folder with --data"
        )
