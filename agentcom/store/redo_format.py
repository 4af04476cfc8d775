"""What a redo log and its checkpoint look like on disk, and how a start reads them; see agentcom.store.redo.

May import: agentcom.store.errors, msgspec, operating system.
"""

import errno
import os
import secrets
import struct
import zlib
from pathlib import Path

import msgspec

from agentcom.store.errors import StorageFull

Item = tuple[bytes, bytes]

LOGS = ("redo.0", "redo.1")
CHECKPOINT, DATA = "checkpoint", "data.mdb"

HEADER = struct.Struct(">8sII")  #: magic, salt, CRC
RECORD = struct.Struct(">II")  #: length of the body, CRC of it and of everything before it in this log
SEQ = 8
MAGIC = b"acredo\x00\x01"
SLOT = 1_024

META_AT = 16  #: in its page, behind LMDB's page header
META = struct.Struct("=II120xQ")  #: LMDB's magic and version, (…), transaction id; 136 bytes
META_MAGIC = (0xBEEFC0DE, 1)


class Checkpoint(msgspec.Struct, frozen=True, array_like=True):
    """A state of LMDB's file that is on disk whole."""

    number: int
    seq: int  #: the newest journal entry it contains
    page: int  #: bytes of a page
    meta: bytes  #: LMDB's meta of it
    place: tuple[str, int, int]  #: the kernel's boot, device and inode under which later pages are trusted


def open_flushed(path: Path, *, flushed: bool) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | (os.O_DSYNC if flushed else 0)
    return os.open(path, flags, 0o600)


def put(handle: int, data: bytes | bytearray, at: int) -> None:
    """All of it, or `StorageFull`."""
    try:
        written = os.pwrite(handle, data, at)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull(str(error)) from error
        raise
    if written != len(data):
        raise StorageFull(f"only {written} of {len(data)} bytes could be written")


def place_of(data: Path) -> tuple[str, int, int]:
    """A file under a kernel. Without a boot id nothing is ever the same place."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        boot = secrets.token_hex(8)
    found = data.stat()
    return boot, found.st_dev, found.st_ino


def write_checkpoint(handle: int, record: Checkpoint) -> None:
    """Into the slot that the one before it is not in."""
    body = msgspec.msgpack.encode(record)
    framed = RECORD.pack(len(body), zlib.crc32(body)) + body
    os.pwrite(handle, framed.ljust(SLOT, b"\0"), record.number % 2 * SLOT)


def newest_checkpoint(store: Path) -> Checkpoint | None:
    try:
        raw = (store / CHECKPOINT).read_bytes()
    except FileNotFoundError:
        return None
    found = [record for at in (0, SLOT) if (record := read_slot(raw[at : at + SLOT])) is not None]
    return max(found, key=lambda record: record.number, default=None)


def read_slot(raw: bytes) -> Checkpoint | None:
    if len(raw) < RECORD.size:
        return None
    length, crc = RECORD.unpack_from(raw)
    body = raw[RECORD.size : RECORD.size + length]
    if zlib.crc32(body) != crc:
        return None
    try:
        return msgspec.msgpack.decode(body, type=Checkpoint)
    except msgspec.DecodeError:
        return None


def recover(store: Path) -> list[Item]:
    """Before LMDB opens the file: make it the checkpoint's state, if it may be anything else.

    Returns the journal rows (key, row) to be written again, in order; none when the file is to be trusted as it is.
    """
    record = newest_checkpoint(store)
    data = store / DATA
    if record is None or not data.exists() or place_of(data) == record.place:
        return []
    handle = os.open(data, os.O_RDWR | os.O_CLOEXEC)
    try:
        for page in range(2):
            os.pwrite(handle, record.meta, page * record.page + META_AT)
        os.fdatasync(handle)
    finally:
        os.close(handle)
    return after(store, record.seq)


def after(store: Path, seq: int) -> list[Item]:
    """The entries of the logs that follow `seq` without a gap."""
    return following(logged(store), seq)


def logged(store: Path) -> list[Item]:
    """Every entry of both logs, in order."""
    logs = [read_log(store / name) for name in LOGS]
    return [item for log in sorted(filter(None, logs), key=lambda entries: entries[0][0]) for item in log]


def following(items: list[Item], seq: int) -> list[Item]:
    """Those that follow `seq` without a gap."""
    found: list[Item] = []
    for key, row in items:
        if int.from_bytes(key, "big") == seq + 1:
            found.append((key, row))
            seq += 1
    return found


def read_log(path: Path) -> list[Item]:
    """Every entry up to the first record that does not check."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return []
    if len(raw) < HEADER.size:
        return []
    magic, salt, crc = HEADER.unpack_from(raw)
    if magic != MAGIC or crc != zlib.crc32(MAGIC + salt.to_bytes(4, "big")):
        return []
    found, at = [], HEADER.size
    while at + RECORD.size <= len(raw):
        length, want = RECORD.unpack_from(raw, at)
        body = raw[at + RECORD.size : at + RECORD.size + length]
        crc = zlib.crc32(body, crc)
        if length <= SEQ or len(body) < length or crc != want:
            break
        found.append((body[:SEQ], body[SEQ:]))
        at += RECORD.size + length
    return found
