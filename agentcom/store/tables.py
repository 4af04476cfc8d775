"""Tables: their numbers, keys, rows and writers. The only place that knows how a key looks on disk.

A key is a tuple of parts. `str` is UTF-8 with a closing zero byte, so that a prefix of a tuple is a prefix
of its bytes and "a" sorts before "ab"; a zero byte inside is refused. `int` is eight bytes, big end first.
`lane` and `phase` are one byte, their place in `rows.LANES` and `rows.PHASES`. A row is msgpack behind its
CRC-32. Numbers are in the journal: never change or reuse one.
May import: agentcom.protocol, agentcom.store.errors.
"""

import zlib
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import msgspec

from agentcom.protocol import rows
from agentcom.protocol.ops import Key
from agentcom.store.errors import CorruptRow, KeyRefused

MAX_KEY = 511
"""LMDB's own limit."""

_LANE_BYTE: dict[Any, bytes] = {lane: bytes((i,)) for i, lane in enumerate(rows.LANES)}
_PHASE_BYTE: dict[Any, bytes] = {phase: bytes((i,)) for i, phase in enumerate(rows.PHASES)}


def _encode_str(part: Any) -> bytes:
    if "\0" in part:
        raise ValueError("a zero byte in a text part")
    raw: bytes = part.encode() + b"\0"
    return raw


def _encode_int(part: Any) -> bytes:
    raw: bytes = part.to_bytes(8, "big")
    return raw


def _decode_str(raw: bytes, at: int) -> tuple[str, int]:
    end = raw.index(0, at)
    return raw[at:end].decode(), end + 1


def _decode_int(raw: bytes, at: int) -> tuple[int, int]:
    if len(raw) < at + 8:
        raise ValueError("key is cut short")
    return int.from_bytes(raw[at : at + 8], "big"), at + 8


def _decode_lane(raw: bytes, at: int) -> tuple[str, int]:
    return rows.LANES[raw[at]], at + 1


def _decode_phase(raw: bytes, at: int) -> tuple[str, int]:
    return rows.PHASES[raw[at]], at + 1


class PartCodec(NamedTuple):
    encode: Callable[[Any], bytes]
    decode: Callable[[bytes, int], tuple[str | int, int]]


PARTS: dict[str, PartCodec] = {
    "str": PartCodec(_encode_str, _decode_str),
    "int": PartCodec(_encode_int, _decode_int),
    "lane": PartCodec(_LANE_BYTE.__getitem__, _decode_lane),
    "phase": PartCodec(_PHASE_BYTE.__getitem__, _decode_phase),
}


def _encode_texts(parts: Any) -> bytes:
    """Keys of text alone, the most frequent, in one go."""
    if not parts:
        return b""
    raw: bytes = ("\0".join(parts) + "\0").encode()
    if raw.count(0) != len(parts):
        raise ValueError("a zero byte in a text part")
    return raw


def _joined(encoders: tuple[Callable[[Any], bytes], ...]) -> Callable[[Any], bytes]:
    """Keys of several kinds. Written out by length: a loop costs more than all the encoding."""

    def two(parts: Any) -> bytes:
        return first(parts[0]) + second(parts[1]) if len(parts) == 2 else any_length(parts)

    def three(parts: Any) -> bytes:
        if len(parts) != 3:
            return any_length(parts)
        return first(parts[0]) + second(parts[1]) + third(parts[2])

    def five(parts: Any) -> bytes:
        if len(parts) != 5:
            return any_length(parts)
        a, b, c, d, e = parts
        return first(a) + second(b) + third(c) + fourth(d) + fifth(e)

    def any_length(parts: Any) -> bytes:
        return b"".join([encode(part) for encode, part in zip(encoders, parts, strict=False)])

    first, second, third, fourth, fifth = (*encoders, *[_encode_str] * 4)[:5]
    return {2: two, 3: three, 5: five}.get(len(encoders), any_length)


class Table:
    """One table; `key` is written "name:kind name:kind …".

    `writers` are actor names, or prefixes of names when they end in "."; "*" is any actor, none is the
    store itself. A `counter` table takes `Add` only; an `append` table has a text part and then the
    sequence the store allocates.
    """

    def __init__(
        self,
        number: int,
        name: str,
        key: str,
        row: Any,
        *writers: str,
        append: bool = False,
        counter: bool = False,
    ) -> None:
        self.number, self.name, self.key, self.row = number, name, key, row
        self.writers, self.append, self.counter = writers, append, counter
        self.codecs = tuple(PARTS[part.partition(":")[2]] for part in key.split())
        self.decoders = tuple(codec.decode for codec in self.codecs)
        self.depth = len(self.codecs)
        self.texts = set(self.codecs) == {PARTS["str"]}  #: every part is text
        self.encode = _encode_texts if self.texts else _joined(tuple(codec.encode for codec in self.codecs))
        self.decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(row)

    def __repr__(self) -> str:
        return f"Table({self.name})"

    def may_write(self, actor: str) -> bool:
        return any(w == "*" or w == actor or (w.endswith(".") and actor.startswith(w)) for w in self.writers)


def _tables() -> Iterable[Table]:
    lane, directory, sender = "lane.", "directory", ("agent.", "directory")
    yield Table(1, "task", "task_id:str", rows.TaskState, lane)
    yield Table(2, "body", "task_id:str", rows.TaskBody, lane)
    yield Table(3, "history", "task_id:str n:int", rows.Event, lane)
    yield Table(4, "result", "task_id:str generation:int n:int", rows.Result, lane)
    yield Table(
        5, "ready", "lane:lane target:str signature:str order:int task_id:str", rows.Ready, lane
    )  # fmt: skip
    yield Table(6, "signature", "lane:lane first_capability:str signature:str", rows.Signature, lane)
    yield Table(7, "due", "lane:lane ms:int task_id:str", rows.Mark, lane)
    yield Table(8, "deadline", "lane:lane ms:int task_id:str", rows.Mark, lane)
    yield Table(9, "waiting", "lane:lane task_id:str", rows.Mark, lane)
    yield Table(10, "by_phase", "phase:phase lane:lane task_id:str", rows.Mark, lane)
    yield Table(11, "by_agent", "agent_id:str task_id:str", rows.Held, lane)
    yield Table(12, "by_submitter", "submitter:str task_id:str", rows.Mark, lane)
    yield Table(13, "moves", "lane:lane task_id:str", rows.Move, lane)
    yield Table(14, "counter", "name:str a:str b:str", int, "*", counter=True)
    yield Table(15, "idempotency", "submitter:str key:str", rows.Idempotent, lane)
    yield Table(16, "agent", "agent_id:str", rows.Agent, directory)
    yield Table(17, "token", "sha256:str", rows.Token, directory)
    yield Table(18, "repo", "name:str", rows.Repo, directory)
    yield Table(19, "invite", "sha256:str", rows.Invite, directory)
    yield Table(20, "config", "name:str", Any, directory)
    yield Table(21, "pull", "pr_id:str", rows.PullRequest, directory)
    yield Table(22, "pull_by_task", "task_id:str pr_id:str", rows.Mark, directory)
    yield Table(23, "mailbox", "agent_id:str seq:int", rows.Mail, "*", append=True)
    yield Table(24, "messages", "message_id:str", rows.Message, *sender)
    yield Table(25, "threads", "thread_id:str message_id:str", rows.Mark, *sender)
    yield Table(26, "channels", "channel:str", rows.Channel, "channel.")
    yield Table(27, "channel_log", "channel:str seq:int", rows.Logged, "channel.", append=True)
    yield Table(28, "alerts", "alert_id:str", Any, "alerter")
    yield Table(29, "audit", "ms:int n:int", rows.Audit, directory)
    yield Table(30, "head", "table:str key:str", int)
    yield Table(31, "journal", "seq:int", rows.Journal)
    yield Table(32, "meta", "name:str", Any)
    yield Table(33, "seen", "agent_id:str", rows.Seen, "agent.")
    yield Table(40, "inbox", "agent_id:str", rows.Inbox, "agent.")
    yield Table(41, "said", "sender:str key:str", rows.Said, *sender)
    yield Table(42, "talk", "who:str message_id:str", rows.Mark, *sender)
    yield Table(43, "posts", "channel:str message_id:str", rows.Post, *sender, "channel.")
    yield Table(44, "subscribers", "channel:str agent_id:str", rows.Subscriber, "channel.")
    yield Table(45, "subscribed", "agent_id:str channel:str", rows.Mark, "channel.")


TABLES: dict[str, Table] = {table.name: table for table in _tables()}
BY_NUMBER: dict[int, Table] = {table.number: table for table in TABLES.values()}
UNFOLDED = frozenset({"journal", "meta"})
"""The tables that folding the journal does not rebuild: the journal, and what belongs to the file itself."""
NAMED = {"agent": "agent_id", "seen": "agent_id", "repo": "name", "pull": "pr_id"}
"""Rows that repeat their key."""

_encode = msgspec.msgpack.encode
_crc32 = zlib.crc32


def encode_key(table: Table, key: Key) -> bytes:
    """The bytes of a whole key; `KeyRefused` when it has another shape or is too long."""
    if len(key) != table.depth:
        raise KeyRefused(table.name, key, f"its parts are {table.key}")
    try:
        raw = table.encode(key)
    except _UNFIT as error:
        raise KeyRefused(table.name, key, f"its parts are {table.key} ({error})") from None
    if len(raw) > MAX_KEY:
        raise _too_long(table, key, raw)
    return raw


def encode_prefix(table: Table, prefix: Key) -> bytes:
    """The bytes that every key starting with these parts starts with; () is the whole table."""
    if len(prefix) > table.depth:
        raise KeyRefused(table.name, prefix, f"its parts are {table.key}")
    try:
        raw = table.encode(prefix)
    except _UNFIT as error:
        raise KeyRefused(table.name, prefix, f"its parts are {table.key} ({error})") from None
    if len(raw) > MAX_KEY:
        raise _too_long(table, prefix, raw)
    return raw


_UNFIT = (TypeError, ValueError, AttributeError, LookupError, OverflowError)


def _too_long(table: Table, key: Key, raw: bytes) -> KeyRefused:
    return KeyRefused(table.name, key, f"{len(raw)} bytes on disk, at most {MAX_KEY}")


def decode_key(table: Table, raw: bytes) -> Key:
    parts: list[str | int] = []
    at = 0
    try:
        for decode in table.decoders:
            part, at = decode(raw, at)
            parts.append(part)
    except (ValueError, IndexError) as error:
        raise CorruptRow(table.name, raw, f"key does not decode ({error})") from None
    if at != len(raw):
        raise CorruptRow(table.name, raw, "key has bytes to spare")
    return tuple(parts)


def prefix_length(table: Table, raw: bytes, depth: int) -> int:
    """How many bytes the first `depth` parts of a key on disk take."""
    at = 0
    for decode in table.decoders[:depth]:
        _, at = decode(raw, at)
    return at


def after_prefix(prefix: bytes) -> bytes | None:
    """The least bytes above every key that starts with `prefix`; None when there are none."""
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes((kept[-1] + 1,)) if kept else None


def encode_row(row: Any) -> bytes:
    body = _encode(row)
    return _crc32(body).to_bytes(4, "big") + body


def decode_row(table: Table, raw: bytes, key: object) -> Any:
    """The row, or `CorruptRow` naming table and key."""
    body = raw[4:]
    if len(raw) < 5 or _crc32(body).to_bytes(4, "big") != raw[:4]:
        raise CorruptRow(table.name, key, "checksum does not match")
    try:
        return table.decoder.decode(body)
    except msgspec.DecodeError as error:
        raise CorruptRow(table.name, key, str(error)) from None
