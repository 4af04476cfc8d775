"""Snapshots and archives made by hand, of a store that is open or of none at all."""

import hashlib
import importlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from agentcom.protocol.rows import Journal
from agentcom.store import child, manifests, segments
from agentcom.store.env import SCHEMA
from agentcom.store.errors import StoreError
from agentcom.store.layout import DATA
from agentcom.store.restore import Folders
from agentcom.store.restore_plan import straight
from agentcom.store.segments import Entry, Header, SegmentWriter
from agentcom.store.tables import TABLES, encode_key, encode_row
from tests.store.helpers import LmdbStore
from tests.store.sound import fill

JOURNAL = TABLES["journal"]


class InProcess:
    """A tool without its process, for what does not damage the file it reads."""

    def __init__(self, name: str, on_line: Any = None) -> None:
        self._work = importlib.import_module(f"agentcom.store.{name}").work
        self._on_line = on_line

    def run(self, argument: Any) -> Any:
        """What went over a pipe is JSON, and so is what comes back here; errors as a tool has them."""
        said = child.say
        child.say = self._on_line or (lambda _: None)
        try:
            found = self._work(msgspec.to_builtins(argument))
        except StoreError as error:
            raise child.ToolFailed("tool", type(error).__name__, str(error)) from error
        finally:
            child.say = said
        return msgspec.to_builtins(found)


def folders_in(folder: Path) -> Folders:
    return Folders(folder / "snapshots", folder / "archive")


def digest(file: Path) -> str:
    return f"blake2b:{hashlib.blake2b(file.read_bytes(), digest_size=32).hexdigest()}"


def describe(path: Path, epoch: int, line: Any, seq: int, ms: int) -> Path:
    """The manifest of the data file that is in `path`."""
    file = path / DATA
    manifest = manifests.Manifest(
        schema=SCHEMA, epoch=epoch, seq=seq, line=straight(line), made_ms=ms, entry_ms=ms, rows={},
        bytes=file.stat().st_size, digest=digest(file), version="test",
    )  # fmt: skip
    (path / manifests.MANIFEST).write_bytes(msgspec.json.encode(manifest))  # without a flush to disk
    return path


def snapshot(store: LmdbStore) -> Path:
    """Of a store that is open."""
    seq, epoch = store.reader.last_seq(), store.env.meta("epoch") or 1
    path = folders_in(store.folder).snapshots / manifests.name_of(epoch, seq)
    path.mkdir(parents=True)
    store.env.raw.copy(str(path), compact=True)
    entry = store.reader.get("journal", (seq,))
    assert isinstance(entry, Journal)
    return describe(path, epoch, store.env.meta("line") or (), seq, entry.ms)


def archive(store: LmdbStore, first: int, last: int) -> Path:
    """One segment with these entries of the store's own epoch."""
    epoch, line = store.env.meta("epoch") or 1, straight(store.env.meta("line") or ())
    with store.reading() as view:
        rows = view.forward(JOURNAL.number, encode_key(JOURNAL, (first,)), encode_key(JOURNAL, (last + 1,)))
        entries = [Entry(int.from_bytes(key, "big"), bytes(row)) for key, row in rows]
    return segment(folders_in(store.folder).archive, epoch, line, entries, store.env.meta("store") or "")


def segment(folder: Path, epoch: int, line: Any, entries: Iterable[Entry], store: str = "") -> Path:
    entries = list(entries)
    folder.mkdir(parents=True, exist_ok=True)
    header = Header(segments.FORMAT, SCHEMA, epoch, entries[0].seq, straight(line), store)
    writer = SegmentWriter(folder, header)
    for entry in entries:
        writer.append(entry)
    writer.flush()
    writer.close()
    return writer.path


def empty_entry(seq: int, ms: int) -> Entry:
    """That changes nothing."""
    return Entry(seq, encode_row(Journal(ms, "test", "test", ())))


def hub_with_history(folder: Path) -> Path:
    """A stopped hub's: a snapshot, an archive up to it, and one task that is in the store and its log alone."""
    store = LmdbStore(folder)
    lane = fill(store)
    archive(store, 1, store.reader.last_seq())
    snapshot(store)
    lane.submit(100)
    store.close()
    return folder
