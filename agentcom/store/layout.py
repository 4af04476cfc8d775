"""Where everything of a data folder is, and how one store takes another's place.

    FOLDER/hub.lock        held by the hub for life; contains its pid
    FOLDER/store/          LMDB's data.mdb and lock.mdb, until the first rewrite or restore
    FOLDER/store.current   the name of the store's folder, when it is not `store`; replaced in one step
    FOLDER/store-N/        such a store
    FOLDER/ballast         room that is given up when the disk is full
    FOLDER/aside/WHEN/     stores and archives that a restore replaced, and what it did; never deleted by us
    FOLDER/snapshots.begun the folder of `snapshots.dir`, once snapshots were begun there
    FOLDER/snapshots/, FOLDER/archive/    unless `snapshots.dir` and `archive.dir` say otherwise
    FOLDER/archive.begun   the folder of `archive.dir`, once an archive was begun there

May import: operating system.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

STORE, POINTER = "store", "store.current"
DATA, ADMIN = "data.mdb", "admin.token"
CONDEMNED = "set-aside"
"""In a store's folder: once it is not in force any more it is kept aside, under what this file says, not swept."""


class Layout:
    """The names in one data folder. Only who holds its lock may change what `store` is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ballast = folder / "ballast"
        self.aside = folder / "aside"

    @property
    def store(self) -> Path:
        """The folder of the store in force."""
        return self.folder / (_text_of(self.folder / POINTER) or STORE)

    @property
    def is_new(self) -> bool:
        """No hub has ever served from this folder."""
        return not any(path.exists() for path in (self.folder / ADMIN, self.aside, self.store / DATA))

    def fresh(self) -> Path:
        """A new, empty folder for a store that is not in force yet."""
        taken = [int(path.name.removeprefix("store-")) for path in self._numbered()]
        path = self.folder / f"store-{max(taken, default=0) + 1}"
        path.mkdir(mode=0o700)
        return path

    def switch_to(self, store: Path) -> None:
        """From now on `store` is the store in force; if interrupted, the old one or the new one is."""
        new = self.folder / f"{POINTER}.new"
        with new.open("w", encoding="utf-8") as file:
            file.write(store.name + "\n")
            file.flush()
            os.fsync(file.fileno())
        sync_folder(store)
        new.replace(self.folder / POINTER)
        sync_folder(self.folder)

    def leftovers(self) -> list[Path]:
        """Stores that are not in force: an interrupted rewrite's new one, or a finished one's old one."""
        current = self.store
        old = [self.folder / STORE] if (self.folder / STORE).is_dir() else []
        return [path for path in (*old, *self._numbered()) if path != current]

    def condemn(self, store: Path, when: str) -> None:
        """Once another store is in force, `store` is one to set aside: also by `sweep`, if we do not live to do it."""
        write_whole(store / CONDEMNED, when.encode())

    def pardon(self) -> None:
        """The store in force is not to be set aside after all: what was to replace it did not come."""
        (self.store / CONDEMNED).unlink(missing_ok=True)

    def sweep(self) -> list[Path]:
        """Remove the leftovers, but keep aside the condemned. Not while a reader of this process may still use one."""
        gone = self.leftovers()
        for path in gone:
            when = _text_of(path / CONDEMNED)
            if when:
                self.set_aside(path, when)
            else:
                shutil.rmtree(path, ignore_errors=True)
        return gone

    def set_aside(self, path: Path, when: str) -> Path:
        """Keep a damaged store or archive for people to look at; returns where it is now."""
        place = self.aside / when
        place.mkdir(parents=True, exist_ok=True)
        target = place / path.name
        n = 1
        while target.exists():
            n += 1
            target = place / f"{path.name}.{n}"
        path.rename(target)
        for folder in (place, self.aside, path.parent):
            sync_folder(folder)
        return target

    def _numbered(self) -> Iterator[Path]:
        for path in self.folder.glob("store-*"):
            if path.is_dir() and path.name.removeprefix("store-").isdigit():
                yield path


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""


def sync_folder(path: Path) -> None:
    """A new or renamed file survives a power cut only when its folder's entry does."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_whole(path: Path, content: bytes) -> None:
    """The file has the old content or the new, whatever happens; the new one is on disk on return."""
    new = path.with_name(path.name + ".new")
    try:
        with new.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            new.unlink()
        raise
    sync_folder(path.parent)
