"""Where everything of a data folder is, and how one store takes another's place.

    FOLDER/hub.lock        held by the hub for life; contains its pid
    FOLDER/store/          LMDB's data.mdb and lock.mdb, until the first rewrite or restore
    FOLDER/store.current   the name of the store's folder, when it is not `store`; replaced in one step;
                           when it is lost, agentcom.store.pointing finds the store
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
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

STORE, POINTER = "store", "store.current"
DATA, ADMIN = "data.mdb", "admin.token"
CONDEMNED = "set-aside"
"""In a store's folder: once it is not in force any more it is kept aside, under what this file says, not swept."""
WHOLE = "whole"
"""In a store's folder: it was complete and on disk before it was put in force. No unfinished copy has it."""

_NAME = re.compile(r"store(-[0-9]{1,18})?")
_WHEN = re.compile(r"[\w.-]*\w")


class Layout:
    """The names in one data folder. Only who holds its lock may change what `store` is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ballast = folder / "ballast"
        self.aside = folder / "aside"
        self.instead: Path | None = None  #: the store in force, when the pointer is not to be followed

    @property
    def store(self) -> Path:
        """The folder of the store in force."""
        return self.instead or self.folder / (self.named or STORE)

    @property
    def named(self) -> str:
        """What the pointer says; "" when it says nothing, or nothing that is a store's name."""
        said = _text_of(self.folder / POINTER)
        return said if _NAME.fullmatch(said) else ""

    @property
    def stores(self) -> list[Path]:
        """Every store's folder that is there, in force or not."""
        first = self.folder / STORE
        return [*([first] if first.is_dir() else []), *self._numbered()]

    @property
    def is_new(self) -> bool:
        """No hub has ever served from this folder."""
        traces = (self.folder / ADMIN, self.aside, self.folder / POINTER)
        return not any(path.exists() for path in (*traces, *(store / DATA for store in self.stores)))

    def fresh(self) -> Path:
        """A new, empty folder for a store that is not in force yet."""
        taken = [int(path.name.removeprefix("store-")) for path in self._numbered()]
        path = self.folder / f"store-{max(taken, default=0) + 1}"
        path.mkdir(mode=0o700)
        return path

    def switch_to(self, store: Path) -> None:
        """From now on `store` is the store in force; if interrupted, the old one or the new one is."""
        new, mark = self.folder / f"{POINTER}.new", store / WHOLE
        was_marked = mark.exists()
        try:
            with new.open("w", encoding="utf-8") as file:
                file.write(store.name + "\n")
                file.flush()
                os.fsync(file.fileno())
            mark.touch(mode=0o600)
            sync_folder(store)
            new.replace(self.folder / POINTER)
        except BaseException:
            if not was_marked:  # without a pointer it would count for the one that was wanted
                with contextlib.suppress(OSError):
                    mark.unlink()
            raise
        self.instead = None
        sync_folder(self.folder)

    def leftovers(self) -> list[Path]:
        """Stores that are not in force: an interrupted rewrite's new one, or a finished one's old one."""
        current = self.store
        return [path for path in self.stores if path != current]

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
            if (path / CONDEMNED).exists():
                when = _text_of(path / CONDEMNED)
                self.set_aside(path, when if _WHEN.fullmatch(when) else "unknown")
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
            if path.is_dir() and _NAME.fullmatch(path.name):
                yield path


def _text_of(file: Path) -> str:
    """What is no text is none that anybody wrote."""
    try:
        return file.read_bytes().decode(errors="replace").strip()
    except (FileNotFoundError, IsADirectoryError):
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
