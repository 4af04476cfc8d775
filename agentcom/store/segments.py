"""Archive segments: the journal's entries in files that need no LMDB to be read.

    ARCHIVE/EEEEEE-SSSSSSSSSSSSSSSSSSSS.journal    epoch and first seq, decimal

A segment is a header record and then entry records. A record is its length (u32, of what follows the CRC), a
CRC-32 of that, and that: for the header msgpack of `Header`, for an entry its seq (u64) and the row of the journal
table as it is there, its own CRC included. Numbers are big end first. A torn tail ends a segment: what is behind
the first record that does not check is not part of it, and nothing is ever appended behind one.

**Line of epochs.** A restore begins a new epoch, which continues an earlier one up to some seq and discards what
came after it. `line` names these: ((1, 500), (2, 1_049_200)) in a segment of epoch 3 says that of epoch 1 the entries
up to 500 belong to it, of epoch 2 those up to 1,049,200, and everything of its own. A restore that kept everything
up to seq S writes its first own entry at S + `RAISE` + 1. How a line is followed is in agentcom.store.replay.

**Overlap.** After a failed write the next segment begins at what is known to be on disk, so two segments may have the
same entries; the one that begins later is the one to read. What a store that was put back to an earlier state makes
untrue is renamed to `….journal.discarded`, what cannot be read but is in the way to `….journal.damaged`.
May import: agentcom.store.{errors,layout,steps}, msgspec, operating system.
"""

import contextlib
import errno
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import msgspec

from agentcom.store.errors import StoreError
from agentcom.store.layout import sync_folder

FORMAT = 1
SUFFIX = ".journal"
MAX_RECORD = 1 << 30
RAISE = 1 << 20
"""By so much a restore raises the journal's seq, so that no number is minted twice."""
Line = tuple[tuple[int, int], ...]

_FRAME = struct.Struct(">II")
_SEQ = struct.Struct(">Q")


class Header(msgspec.Struct, frozen=True, array_like=True):
    """Of one segment. Fields are only ever appended, with a default."""

    format: int
    schema: int
    epoch: int
    first: int  #: the seq of its first entry
    line: Line = ()
    store: str = ""  #: the id of the store it belongs to (meta's `store`); "" of before there were any


class Entry(NamedTuple):
    seq: int
    row: bytes  #: of the journal table: CRC and msgpack of `rows.Journal`


class Segment(NamedTuple):
    """A segment by its name; nothing of it has been read."""

    path: Path
    epoch: int
    first: int


class DamagedSegment(StoreError):
    """A segment whose header cannot be read: nothing of it can be used."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(str(path), why)
        self.path, self.why = path, why

    def __str__(self) -> str:
        return f"archive segment {self.path}: {self.why}"


def name_of(epoch: int, first: int) -> str:
    return f"{epoch:06d}-{first:020d}{SUFFIX}"


def listed(folder: Path) -> list[Segment]:
    """The segments of an archive, by epoch and first seq; an absent folder has none."""
    found = []
    for path in folder.glob(f"*{SUFFIX}"):
        epoch, _, first = path.stem.partition("-")
        if epoch.isdigit() and first.isdigit():
            found.append(Segment(path, int(epoch), int(first)))
    return sorted(found, key=lambda segment: segment[1:])


class SegmentReader:
    """Reads one segment; a context manager and an iterator of `Entry`. Raises `DamagedSegment` for its header.

    When the iteration has ended, `torn` says whether the file went on behind the last good record, and `end` where
    that record ends. Entries whose seq does not follow the one before end it too.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.torn = False
        self._file = path.open("rb")
        try:
            self.header = self._header()
        except BaseException:
            self._file.close()
            raise
        self.end = self._file.tell()

    def _header(self) -> Header:
        body = _record(self._file)
        if body is None:
            raise DamagedSegment(self.path, "its header is damaged or missing")
        try:
            header = msgspec.msgpack.decode(body, type=Header)
        except msgspec.DecodeError as error:
            raise DamagedSegment(self.path, f"its header does not decode: {error}") from None
        if header.format > FORMAT:
            raise DamagedSegment(
                self.path, f"it has format {header.format}, this release reads up to {FORMAT}"
            )
        return header

    def __iter__(self) -> Iterator[Entry]:
        due = self.header.first
        while (body := _record(self._file)) is not None and len(body) > _SEQ.size:
            (seq,) = _SEQ.unpack_from(body)
            if seq != due:
                break
            self.end = self._file.tell()
            due += 1
            yield Entry(seq, body[_SEQ.size :])
        self.torn = self.end < os.fstat(self._file.fileno()).st_size

    def __enter__(self) -> "SegmentReader":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


class SegmentWriter:
    """A new segment; appended to in order, durable after `sync`. Raises `OSError` as the disk does."""

    def __init__(self, folder: Path, header: Header) -> None:
        """A segment of that name without a single entry (a crash in between) is replaced; what cannot be read gets
        another name; one with entries is never touched (`FileExistsError`).
        """
        self.path = folder / name_of(header.epoch, header.first)
        self.header = header
        self.next = header.first
        self.size = 0
        self._synced_folder = False
        head = _framed(msgspec.msgpack.encode(header))
        _make_way(self.path, len(head))
        self._file = open(self.path, "xb", opener=_private)  # noqa: SIM115 - Path.open takes no opener
        self._write(head)

    def append(self, entry: Entry) -> None:
        if entry.seq != self.next:
            raise ValueError(f"{entry.seq} does not follow {self.next - 1}")
        self._write(_framed(_SEQ.pack(entry.seq) + entry.row))
        self.next += 1

    def is_there(self) -> bool:
        """Whether the file still is where it was made: a folder may be moved away or replaced."""
        try:
            there = self.path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        return os.path.samestat(there, os.fstat(self._file.fileno()))

    def flush(self) -> None:
        """Everything appended so far is with the operating system."""
        self._file.flush()

    def sync(self) -> None:
        """Everything appended so far is on disk on return."""
        self.flush()
        os.fdatasync(self._file.fileno())
        if not self._synced_folder:
            sync_folder(self.path.parent)
            self._synced_folder = True

    def close(self) -> None:
        """Without a sync of its own; an error of what was never synced is no news."""
        with contextlib.suppress(OSError):
            self._file.close()

    def _write(self, record: bytes) -> None:
        self._file.write(record)
        self.size += len(record)


def set_aside(path: Path, why: str) -> Path:
    """Rename a segment so that it is none any more (`….journal.WHY`); returns where it is now."""
    target, n = path.with_name(f"{path.name}.{why}"), 1
    while target.exists():
        n += 1
        target = path.with_name(f"{path.name}.{why}.{n}")
    path.rename(target)
    sync_folder(path.parent)
    return target


def _make_way(path: Path, head: int) -> None:
    """Of `head` bytes or less there is nothing but a piece of a header."""
    if not path.exists():
        return
    if path.stat().st_size <= head:
        path.unlink()
        return
    try:
        with SegmentReader(path) as reader:
            used = next(iter(reader), None)
    except DamagedSegment:
        set_aside(path, "damaged")
        return
    if used is not None:
        raise FileExistsError(errno.EEXIST, "a segment with entries is there already", str(path))
    path.unlink()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def _framed(body: bytes) -> bytes:
    return _FRAME.pack(len(body), zlib.crc32(body)) + body


def _record(file: BinaryIO) -> bytes | None:
    """The next record's body; None at the end, or where what is there does not check."""
    head = file.read(_FRAME.size)
    if len(head) < _FRAME.size:
        return None
    length, crc = _FRAME.unpack(head)
    if length > MAX_RECORD:
        return None
    body = file.read(length)
    return body if len(body) == length and zlib.crc32(body) == crc else None
