"""Frames as bytes. One that goes to many is encoded once for each codec.

May import: agentcom.protocol.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from agentcom.protocol.frames import MessageFrame

ENCODERS: dict[str, Callable[[Any], bytes]] = {
    "json": msgspec.json.Encoder().encode,
    "msgpack": msgspec.msgpack.Encoder().encode,
}
MAX_SHARED_BYTES = 4 << 20
"""Kept of the newest messages; above it the memory of them starts anew."""


class Halves(NamedTuple):
    """A message's bytes before and after its sequence, which is each receiver's own."""

    head: bytes
    tail: bytes


_BEFORE_SEQ = {"json": b'{"type":"message","seq":', "msgpack": b"?\xa4type\xa7message\xa3seq"}


def halves(codec: str, message: MessageFrame) -> Halves:
    """`seq` is the first field behind the tag, and 0 is one byte in either codec."""
    data = ENCODERS[codec](message)
    cut = len(_BEFORE_SEQ[codec])
    if data[1:cut] != _BEFORE_SEQ[codec][1:] or message.seq != 0:
        raise ValueError("a message frame to share begins with its type and sequence 0")
    return Halves(data[:cut], data[cut + 1 :])


class Shared:
    """The newest messages by id and codec."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], Halves] = {}
        self._bytes = 0

    def encoded(self, codec: str, seq: int, message: MessageFrame) -> bytes:
        found = self._kept.get((message.message_id, codec))
        if found is None:
            found = self._keep(codec, message)
        return found.head + ENCODERS[codec](seq) + found.tail

    def _keep(self, codec: str, message: MessageFrame) -> Halves:
        made = halves(codec, message)
        self._bytes += len(made.tail)
        if self._bytes > MAX_SHARED_BYTES:
            self._kept.clear()
            self._bytes = len(made.tail)
        self._kept[message.message_id, codec] = made
        return made
