"""What agents say to each other over protocol 1: messages, channels, and how agents are shown.

May import: agentcom.protocol, agentcom.core.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from agentcom.core.decision import Now, Output
from agentcom.core.gateway_outputs import to_agent
from agentcom.core.gateway_state import SHELL, Rows, Session, State
from agentcom.core.messages import Fault, FrameOut, ManageChannel, Read, SendMessage, SessionFrame
from agentcom.core.sending import RECIPIENT, channel_name
from agentcom.core.v1_translating import send_of
from agentcom.protocol import frames, v1
from agentcom.protocol.bodies import Published
from agentcom.protocol.live_views import AgentView
from agentcom.protocol.talk_views import ChannelHistoryQuery, ChannelQuery, MessageView

FRAMES = (
    v1.Message, v1.ChannelSubscribe, v1.ChannelUnsubscribe, v1.ChannelPublish, v1.ChannelHistory, v1.ListChannels,
)  # fmt: skip
MOST_SHOWN = 1_000
NO_CHANNEL = v1.Error(error="channel_not_found", message="there is no such channel")

encode = msgspec.json.Encoder().encode


def on_frame(state: State, session: Session, frame: Any, now: Now, rows: Rows) -> list[Output]:
    match frame:
        case v1.Message():
            return _message(session, frame)
        case v1.ChannelPublish():
            return _publish(state, session, frame)
        case v1.ChannelSubscribe(channel=channel):
            return _manage(state, session, "subscribe", channel, now, rows)
        case v1.ChannelUnsubscribe(channel=channel):
            return _manage(state, session, "unsubscribe", channel, now, rows)
        case v1.ChannelHistory():
            return _history(state, session, frame)
    return _channels(state, session)


def _ask(state: State, session: Session, name: str, show: Callable[[Any], v1.Outbound]) -> int:
    """The number of a question whose answer becomes a frame, if the session is still there."""
    conn = session.conn

    def answered(body: Any) -> list[Output]:
        open_still = state.sessions.get(conn)
        return [] if open_still is None else [out(open_still, show(body))]

    return state.asked(name, answered)


def _refused(fault: Fault) -> v1.Error:
    return v1.Error(error=fault.code, message=fault.message)


# --- messages --------------------------------------------------------------------------------------


def _message(session: Session, frame: v1.Message) -> list[Output]:
    send = send_of(frame)
    if send.to is not None and not RECIPIENT.fullmatch(send.to):
        return [out(session, v1.Error(error="not_found", message="there is no such agent"))]
    return [to_agent(session, SessionFrame(session.conn, send))]


def _publish(state: State, session: Session, frame: v1.ChannelPublish) -> list[Output]:
    """Answered by the channel, which gives the post its place."""
    channel = channel_name(frame.channel)
    if not channel:
        return [out(session, NO_CHANNEL)]

    def show(body: Any) -> v1.Outbound:
        if isinstance(body, Published):
            return v1.ChannelPublished(channel=body.channel, seq=body.seq, id=body.id)
        return NO_CHANNEL if body.code == "not_found" else _refused(body)

    send = frames.Send(
        payload=frame.payload, channel=channel, message_type=frame.message_type or "chat", reply_to=frame.reply_to or ""
    )  # fmt: skip
    number = _ask(state, session, "channels", show)
    ask = SendMessage(reply_to=state.me, request=number, sender=session.agent_id, send=send)
    return [to_agent(session, ask)]


# --- channels --------------------------------------------------------------------------------------


def _manage(state: State, session: Session, verb: Any, said: str, now: Now, rows: Rows) -> list[Output]:
    channel, conn, agent_id = channel_name(said), session.conn, session.agent_id
    if not channel:
        return [out(session, NO_CHANNEL)]

    def answered(body: Any) -> list[Output]:
        open_still = state.sessions.get(conn)
        told = _joined(state, rows, channel, agent_id) if _is_new(body) else []
        return told if open_still is None else [out(open_still, _managed(verb, channel, body)), *told]

    ask = ManageChannel(
        reply_to=state.me, request=state.asked("channels", answered), channel=channel, verb=verb, now_ms=now.ms,
        by=agent_id,
    )  # fmt: skip
    return [Output(f"channels/channel.{channel}", ask)]


def _is_new(body: Any) -> bool:
    return not isinstance(body, Fault) and body.status == "subscribed"


def _managed(verb: str, channel: str, body: Any) -> v1.Outbound:
    if isinstance(body, Fault):
        return NO_CHANNEL if body.code == "not_found" else _refused(body)
    if verb == "unsubscribe":
        return v1.ChannelUnsubscribed(channel=channel)
    return v1.ChannelSubscribed(channel=channel, note="" if _is_new(body) else body.status)


def _joined(state: State, rows: Rows, channel: str, agent_id: str) -> list[Output]:
    """The other subscribers that are here are told."""
    data = encode(v1.ChannelAgentJoined(channel=channel, agent_id=agent_id))
    here = [s for s in state.sessions.values() if s.v1 is not None and s.agent_id not in ("", agent_id)]
    return [
        Output(session.edge, FrameOut(session.conn, data))
        for session in here
        if rows.get("subscribers", (channel, session.agent_id)) is not None
    ]


def _history(state: State, session: Session, frame: v1.ChannelHistory) -> list[Output]:
    channel = channel_name(frame.channel)
    if not channel:
        return [out(session, v1.History(channel=frame.channel, messages=[]))]

    def show(body: Any) -> v1.Outbound:
        if isinstance(body, Fault) and body.code != "not_found":
            return _refused(body)
        posts = [] if isinstance(body, Fault) else body.messages
        return v1.History(channel=channel, messages=[_stored(post) for post in posts])

    query = ChannelHistoryQuery(
        since=max(0, min(frame.since or 0, 2**53)), limit=max(1, min(frame.limit or 50, MOST_SHOWN))
    )
    number = _ask(state, session, SHELL, show)
    read = Read(reply_to=state.me, request=number, what="channel.history", query=query, key=channel)
    return [Output(SHELL, read)]


def _stored(post: MessageView) -> v1.Stored:
    message = {
        "id": post.id, "channel": post.channel, "from": post.sender, "type": post.type, "payload": post.payload,
        "message_type": post.type, "reply_to": post.reply_to, "timestamp": post.timestamp,
    }  # fmt: skip
    return v1.Stored(seq=post.seq or 0, message=message, stored_at=post.timestamp)


def _channels(state: State, session: Session) -> list[Output]:
    def show(body: Any) -> v1.Outbound:
        if isinstance(body, Fault):
            return _refused(body)
        found = [
            v1.ChannelShown(
                name=one.name, description=one.description, subscriber_count=one.subscriber_count,
                created_at=one.created_at,
            )
            for one in body.channels
        ]  # fmt: skip
        return v1.Channels(channels=found)

    number = _ask(state, session, SHELL, show)
    query = ChannelQuery(limit=MOST_SHOWN)
    return [Output(SHELL, Read(reply_to=state.me, request=number, what="channel.list", query=query))]


# --- agents ----------------------------------------------------------------------------------------


def shown(agent: frames.Present) -> v1.Shown:
    """Of what presence tells of a change."""
    return v1.Shown(
        agent_id=agent.agent_id, name=agent.name or agent.agent_id, status=agent.status or "connected",
        capabilities=agent.capabilities, connected_at=agent.connected_at,
    )  # fmt: skip


def seen(agent: AgentView) -> v1.Shown:
    """Of what presence answers."""
    return v1.Shown(
        agent_id=agent.agent_id, name=agent.name or agent.agent_id, status=agent.status or "connected",
        capabilities=agent.capabilities, connected_at=agent.connected_ms,
    )  # fmt: skip


def out(session: Session, frame: v1.Outbound) -> Output:
    return Output(session.edge, FrameOut(session.conn, encode(frame)))
