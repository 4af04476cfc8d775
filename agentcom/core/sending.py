"""Messages on their way in, and mailboxes read over HTTP: which actor decides about each.

May import: agentcom.protocol, agentcom.core.
"""

import re
from typing import Any

from agentcom.core.asked import Asked
from agentcom.core.decision import Now, Output
from agentcom.core.decoding import decode_body
from agentcom.core.gateway_state import Rows, State
from agentcom.core.messages import AckMailbox, Fault, ManageChannel, SendMessage
from agentcom.core.missing import missing
from agentcom.core.posting import operator
from agentcom.protocol.bodies import MailboxAck, NewChannel, NewMessage, NewPost
from agentcom.protocol.frames import Send

_NO_CHANNEL = re.compile(r"[^a-z0-9_-]")
RECIPIENT = re.compile(r"@[^\x00-\x1f\x7f]{1,60}|[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
"""What can be the name of one."""
TO_ALL = "broadcast"
"""The recipient that older clients name for a broadcast."""


def on_send(_state: State, asked: Asked, _now: Now, _rows: Rows) -> list[Output]:
    body = decode_body(NewMessage, asked.msg.body)
    if isinstance(body, Fault):
        return asked.refuse(body)
    to = None if body.to in (None, "", TO_ALL) else body.to
    if to is not None and not RECIPIENT.fullmatch(to):
        return asked.refuse(missing("agent", to, "to"))
    send = Send(
        to=to, broadcast=to is None, message_type=body.type, payload=body.payload, reply_to=body.reply_to or "",
        key=body.key,
    )  # fmt: skip
    return hand_over(asked, send)


def hand_over(asked: Asked, send: Send) -> list[Output]:
    """An agent speaks by its own actor, an operator by the directory."""
    of_agent = asked.role == "agent"
    sender = asked.subject if of_agent else operator(asked.subject)
    message = SendMessage(reply_to=asked.msg.reply_to, request=asked.msg.request, sender=sender, send=send)
    return [Output(f"agents/agent.{sender}" if of_agent else "directory", message)]


def on_mailbox_ack(_state: State, asked: Asked, _now: Now, _rows: Rows) -> list[Output]:
    body = decode_body(MailboxAck, asked.msg.body)
    if isinstance(body, Fault):
        return asked.refuse(body)
    ask = AckMailbox(reply_to=asked.msg.reply_to, request=asked.msg.request, seq=body.seq)
    return [Output(f"agents/agent.{asked.subject}", ask)]


# --- channels --------------------------------------------------------------------------------------


def channel_name(text: str) -> str:
    """As channels are kept: in small letters, without a leading # and whatever else a name does not have. Empty for
    what cannot be one.
    """
    name = _NO_CHANNEL.sub("", text.lower())
    return name if len(name) <= 64 else ""


def on_publish(_state: State, asked: Asked, _now: Now, _rows: Rows) -> list[Output]:
    body = decode_body(NewPost, asked.msg.body)
    if isinstance(body, Fault):
        return asked.refuse(body)
    channel = channel_name(asked.msg.args["channel"])
    if not channel:
        return asked.refuse(missing("channel", asked.msg.args["channel"], "channel"))
    send = Send(
        channel=channel,
        message_type=body.type,
        payload=body.payload,
        reply_to=body.reply_to or "",
        key=body.key,
    )
    return hand_over(asked, send)


def on_channel(_state: State, asked: Asked, now: Now, _rows: Rows) -> list[Output]:
    """Create, delete, subscribe, unsubscribe: the channel's own actor decides."""
    body: Any = decode_body(NewChannel, asked.msg.body) if asked.route.body else None
    if isinstance(body, Fault):
        return asked.refuse(body)
    name = body.name if body else asked.msg.args["channel"]
    channel = channel_name(name)
    if not channel:
        return asked.refuse(missing("channel", name, "channel"))
    verb: Any = asked.route.name.removeprefix("channel.")
    ask = ManageChannel(
        reply_to=asked.msg.reply_to, request=asked.msg.request, channel=channel, verb=verb, now_ms=now.ms,
        by=asked.subject if asked.role == "agent" else operator(asked.subject),
        description=body.description if body else "",
    )  # fmt: skip
    return [Output(f"channels/channel.{channel}", ask)]
