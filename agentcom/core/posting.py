"""What one `send` comes to: a message's rows, and who is told of it.

The message's own commit holds everything: the row, its indexes, the sender's key, and either the recipient's mailbox
entry or a `posts` row, from which the channel's actor carries it on. So an answered message is never half there.
Whoever sends, an agent's actor or the directory, is the only writer of its keys.
May import: agentcom.core, agentcom.protocol.
"""

from hashlib import blake2b
from typing import NamedTuple

import msgspec

from agentcom.core.decision import Decision, Output, Rows
from agentcom.core.inbox import MailRules
from agentcom.core.messages import Appended, AskPosted, Fault, Posted, Reply, SendMessage
from agentcom.core.missing import missing
from agentcom.protocol.bodies import MessageSent
from agentcom.protocol.figures import sent_figures
from agentcom.protocol.frames import Send
from agentcom.protocol.ops import Append, Op, Put
from agentcom.protocol.rows import Inbox, Mail, Message, Post, Said
from agentcom.protocol.talk import frame_of, ops_of, reach_of

_encode = msgspec.msgpack.Encoder().encode


class Posting(NamedTuple):
    """A message that was said: its ids, what to write, and whom to tell. A repeat writes and tells nothing."""

    message_id: str
    thread_id: str
    ops: tuple[Op, ...] = ()
    outputs: tuple[Output, ...] = ()
    posted: Posted | None = None  #: for a channel's actor

    @property
    def is_repeat(self) -> bool:
        return not self.ops


class Sender(NamedTuple):
    """Who sends, and what sending takes."""

    name: str  #: an agent_id, or "@" and an operator's name
    rows: Rows
    rules: MailRules


def operator(subject: str) -> str:
    """The name operators' messages come from. No agent can have it."""
    return f"@{subject[:60]}"


def post(send: Send, sender: Sender, message_id: str, now_ms: int) -> Posting | Fault:
    """Everything there is to decide about one `send`. A Fault names the field and changes nothing."""
    if fault := _aim(send):
        return fault
    body = digest(send) if send.key else ""
    if send.key and (said := sender.rows.get("said", (sender.name, _key(send.key)))):
        return _repeat(said, body)
    parent = sender.rows.get("messages", (send.reply_to,)) if send.reply_to else None
    if fault := _unreachable(send, sender, parent):
        return fault
    thread_id = parent.thread_id if parent else send.reply_to or message_id
    message = Message(
        message_id, now_ms, sender.name, send.to or "", send.channel or "", send.broadcast, send.message_type,
        send.payload, thread_id, send.reply_to,
    )  # fmt: skip
    said_op = Put(
        "said", (sender.name, _key(send.key)), Said(message_id, thread_id, body, now_ms, reach_of(message))
    )
    ops = (*ops_of(message), *sent_figures(message.sender, message.ms), *((said_op,) if send.key else ()))
    return _on_its_way(message, ops)


def _aim(send: Send) -> Fault | None:
    aims = (send.to is not None) + (send.channel is not None) + send.broadcast
    if aims == 1:
        return None
    return Fault(
        "bad_frame", "a message goes to one of: an agent (to), a channel, everyone (broadcast)", "to"
    )


def _repeat(said: Said, body: str) -> Posting | Fault:
    if said.digest != body:
        return Fault("conflict", "this key was used for another message", "key")
    posted = Posted(said.reach, said.message_id) if said.reach else None
    return Posting(said.message_id, said.thread_id, posted=posted)


def _unreachable(send: Send, sender: Sender, parent: Message | None) -> Fault | None:
    if send.to is not None and _is_operator(send.to):
        return None if parent and parent.sender == send.to else _NO_ANSWER
    if send.to is not None:
        if sender.rows.get("agent", (send.to,)) is None:
            return missing("agent", send.to, "to")
        return _full(send.to, sender)
    if send.channel is not None and sender.rows.get("channels", (send.channel,)) is None:
        return missing("channel", send.channel, "channel")
    return None


_NO_ANSWER = Fault(
    "not_found", "an operator has no mailbox; reply_to must name a message of theirs", "reply_to"
)


def _is_operator(name: str) -> bool:
    return name.startswith("@")


def _full(agent_id: str, sender: Sender) -> Fault | None:
    """The hard bound. Below it the recipient's own actor makes room by dropping the oldest."""
    rows, bound = sender.rows, sender.rules.hard_bound
    head = rows.get("head", ("mailbox", agent_id)) or 0
    acked = (rows.get("inbox", (agent_id,)) or Inbox()).acked
    if head - acked < bound or len(rows.scan("mailbox", (agent_id,), limit=bound)) < bound:
        return None
    return Fault("overloaded", f"the mailbox of {agent_id} is full", "to", retry_after_ms=5_000)


def _on_its_way(message: Message, ops: tuple[Op, ...]) -> Posting:
    frame, size = frame_of(message), size_of(message)
    reach = reach_of(message)
    if reach:
        posted = Posted(reach, message.id, frame, size)
        ops = (*ops, Put("posts", (reach, message.id), Post()))
        told = (Output(f"channels/channel.{reach}", posted),)
        return Posting(message.id, message.thread_id, ops, told, posted)
    if _is_operator(message.to):
        return Posting(message.id, message.thread_id, ops)
    mail = Append("mailbox", (message.to,), Mail(message.id, message.ms, size))
    notice = Output(f"agents/agent.{message.to}", lambda appended: Appended(appended[0], frame, size))
    return Posting(message.id, message.thread_id, (*ops, mail), (notice,))


def size_of(message: Message) -> int:
    """Bytes of its content, near enough for bounds."""
    return len(_encode(message.payload)) + 200


def digest(send: Send) -> str:
    """Of everything but key and id: the same key with another message is a conflict."""
    return blake2b(_encode(msgspec.structs.replace(send, key="", id="")), digest_size=12).hexdigest()


def _key(key: str) -> str:
    """A key of any script fits beside any name."""
    return blake2b(key.encode(), digest_size=16).hexdigest()


def answer_to(ask: SendMessage, done: Posting | Fault) -> Decision:
    """For one who sent over HTTP: at once, but for a post to a channel, which its channel answers with its place."""
    if isinstance(done, Fault):
        return Decision(outputs=(Output(ask.reply_to, Reply(ask.request, done)),))
    if done.posted is not None and ask.send.channel is not None:
        asked = AskPosted(reply_to=ask.reply_to, request=ask.request, posted=done.posted)
        return Decision(
            done.ops, (Output(f"channels/channel.{done.posted.channel}", asked),), "message.posted"
        )
    sent = MessageSent(message_id=done.message_id, id=done.message_id, thread_id=done.thread_id)
    return Decision(done.ops, (*done.outputs, Output(ask.reply_to, Reply(ask.request, sent))), "message.sent")
