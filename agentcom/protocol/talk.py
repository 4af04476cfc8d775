"""Which rows a message has besides its own, and how recipients get it. Whoever removes a message removes these too.

May import: agentcom.protocol.
"""

from collections.abc import Iterator

from agentcom.protocol.frames import MessageFrame
from agentcom.protocol.ops import Delete, Key, Op, Put
from agentcom.protocol.rows import Mark, Message

EVERYONE = "*"
"""The channel of broadcasts: no channel that somebody made can have this name."""

_MARK = Mark()


def reach_of(message: Message) -> str:
    """The channel that carries it on; "" when it is for one agent."""
    return EVERYONE if message.broadcast else message.channel


def entries(message: Message) -> Iterator[tuple[str, Key]]:
    """Every index row of a message, all of them marks."""
    yield "talk", (f"from:{message.sender}", message.id)
    if message.to:
        yield "talk", (f"to:{message.to}", message.id)
    if reach := reach_of(message):
        yield "talk", (f"channel:{reach}", message.id)
    if message.reply_to:
        yield "threads", (message.thread_id, message.id)


def ops_of(message: Message) -> tuple[Op, ...]:
    """Its row and its index rows."""
    return (
        Put("messages", (message.id,), message),
        *(Put(table, key, _MARK) for table, key in entries(message)),
    )


def frame_of(message: Message) -> MessageFrame:
    """As recipients get it; `seq` is each one's own."""
    return MessageFrame(
        seq=0, message_id=message.id, sender=message.sender, to=message.to, channel=message.channel,
        broadcast=message.broadcast, message_type=message.message_type, payload=message.payload,
        thread_id=message.thread_id, reply_to=message.reply_to, time_ms=message.ms,
    )  # fmt: skip


def ops_without(message: Message) -> tuple[Op, ...]:
    """What removes it, index rows and all; mailbox entries that still refer to it count as dropped then."""
    return (Delete("messages", (message.id,)), *(Delete(table, key) for table, key in entries(message)))
