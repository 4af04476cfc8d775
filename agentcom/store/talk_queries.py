"""What HTTP reads show of messages and mailboxes, from committed rows.

May import: agentcom.protocol, agentcom.store.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from agentcom.protocol.ops import Key
from agentcom.protocol.rows import Channel, Inbox, Message
from agentcom.protocol.talk import reach_of
from agentcom.protocol.talk_views import (
    ChannelDetail,
    ChannelHistory,
    ChannelHistoryQuery,
    ChannelList,
    ChannelQuery,
    ChannelView,
    Gap,
    Mailbox,
    MailboxQuery,
    MessageList,
    MessageQuery,
    MessageView,
    Replies,
    RootOf,
    Subscriptions,
    Thread,
    ThreadQuery,
    message_view,
)
from agentcom.store.reader import Snapshot

MAX_PENDING = 5_000
"""Entries of a mailbox that are counted."""
MAX_NAMES = 1_000
SLICE = 500
EXAMINED = 20_000
"""Messages one page may look at in search of those that fit; then it ends early, with a cursor."""


def _mailbox(snap: Snapshot, query: MailboxQuery, agent_id: str) -> Mailbox | None:
    """The same rows that a session is sent, behind the last ack or a later `since`."""
    if snap.get("agent", (agent_id,)) is None:
        return None
    inbox = snap.get("inbox", (agent_id,)) or Inbox()
    head = snap.head("mailbox", agent_id)
    since = max(inbox.acked, query.since if query.since <= head else 0)  # a larger one is of another hub
    shown: list[MessageView] = []
    gaps: list[Gap] = []
    last = since
    for (_, seq), mail in snap.scan("mailbox", (agent_id,), after=(agent_id, since), limit=query.limit):
        if int(seq) > last + 1:
            gaps.append(Gap(from_seq=last + 1, to_seq=int(seq) - 1))
        last = int(seq)
        message: Message | None = snap.get("messages", (mail.message_id,))
        if message is not None:
            shown.append(message_view(message, last))
    return Mailbox(
        agent_id=agent_id, messages=shown, last_seq=last, count=len(shown),
        pending=len(snap.scan("mailbox", (agent_id,), after=(agent_id, inbox.acked), limit=MAX_PENDING)),
        acked=inbox.acked, dropped=inbox.dropped, gaps=gaps,
    )  # fmt: skip


# --- channels --------------------------------------------------------------------------------------


def _channels(snap: Snapshot, query: ChannelQuery, _key: str) -> ChannelList:
    after = (query.cursor,) if query.cursor else None
    rows = [row for _, row in snap.scan("channels", (), after=after, limit=query.limit)]
    shown = [
        ChannelView(
            name=row.name, description=row.description, subscriber_count=row.subscribers,
            created_at=row.created_ms, created_by=row.created_by,
        )
        for row in rows
    ]  # fmt: skip
    return ChannelList(channels=shown, next_cursor=rows[-1].name if len(rows) == query.limit else None)


def _channel(snap: Snapshot, _query: Any, name: str) -> ChannelDetail | None:
    row: Channel | None = snap.get("channels", (name,))
    if row is None:
        return None
    return ChannelDetail(
        name=row.name, description=row.description, subscriber_count=row.subscribers, created_at=row.created_ms,
        created_by=row.created_by, last_seq=snap.head("channel_log", name),
        subscribers=[str(key[1]) for key, _ in snap.scan("subscribers", (name,), limit=MAX_NAMES)],
    )  # fmt: skip


def _history(snap: Snapshot, query: ChannelHistoryQuery, name: str) -> ChannelHistory | None:
    if snap.get("channels", (name,)) is None:
        return None
    if query.since:
        found = snap.scan("channel_log", (name,), after=(name, query.since), limit=query.limit)
    else:
        found = snap.scan("channel_log", (name,), limit=query.limit, reverse=True)[::-1]
    places = {row.message_id: int(key[1]) for key, row in found}
    messages = [message_view(message, places[message.id]) for message in _read(snap, places)]
    last = int(found[-1][0][1]) if found else query.since
    return ChannelHistory(channel=name, messages=messages, count=len(messages), last_seq=last)


def _subscriptions(snap: Snapshot, _query: Any, agent_id: str) -> Subscriptions | None:
    if snap.get("agent", (agent_id,)) is None:
        return None
    found = snap.scan("subscribed", (agent_id,), limit=MAX_NAMES)
    return Subscriptions(agent_id=agent_id, channels=[str(key[1]) for key, _ in found])


# --- history and threads -----------------------------------------------------------------------------


def _read(snap: Snapshot, ids: Iterable[str]) -> Iterator[Message]:
    """Those that are still kept."""
    found = (snap.get("messages", (message_id,)) for message_id in ids)
    return (message for message in found if message is not None)


def _messages(snap: Snapshot, query: MessageQuery, _key: str) -> MessageList:
    """By the narrowest index there is, newest first; the other filters are looked at message by message."""
    prefix = _index_of(query)
    table = "talk" if prefix else "messages"
    cursor = query.cursor or (_first_id(query.end_time) if query.end_time else "")
    after = (*prefix, cursor) if cursor else None
    shown: list[MessageView] = []
    examined = 0
    while found := snap.scan(table, prefix, after=after, limit=SLICE, reverse=True):
        for key, row in found:
            examined, after = examined + 1, key
            message = row if table == "messages" else snap.get("messages", (key[-1],))
            if message is not None and message.ms < query.start_time:
                return _page(shown, None)
            if message is not None and _fits(query, message):
                shown.append(message_view(message))
            if len(shown) == query.limit or examined == EXAMINED:
                return _page(shown, str(key[-1]))
    return _page(shown, None)


def _page(shown: list[MessageView], cursor: str | None) -> MessageList:
    return MessageList(messages=shown, count=len(shown), cursor=cursor, next_cursor=cursor)


def _first_id(ms: int) -> str:
    """Ids of messages said at `ms` or later are not below it."""
    return f"msg-{min(ms, 2**47) << 32:020x}"


def _index_of(query: MessageQuery) -> Key:
    filters = (("from", query.sender), ("to", query.to), ("channel", query.channel))
    return next(((f"{name}:{value}",) for name, value in filters if value), ())


def _fits(query: MessageQuery, message: Message) -> bool:
    return (
        query.sender in ("", message.sender)
        and query.to in ("", message.to)
        and query.channel in ("", reach_of(message))
        and (not query.end_time or message.ms < query.end_time)
    )


def _thread(snap: Snapshot, query: ThreadQuery, message_id: str) -> Thread | None:
    """The thread that a message is in, whichever of it was named."""
    named: Message | None = snap.get("messages", (message_id,))
    thread_id = named.thread_id if named else message_id
    root: Message | None = snap.get("messages", (thread_id,))
    messages, cursor = _after(snap, thread_id, query)
    if root is None and not messages:
        return None
    shown = [message_view(root)] if root and not query.cursor else []
    shown += map(message_view, messages)
    return Thread(
        thread_id=thread_id, root=message_view(root) if root else None, messages=shown, count=len(shown),
        next_cursor=cursor,
    )  # fmt: skip


def _after(snap: Snapshot, thread_id: str, query: ThreadQuery) -> tuple[list[Message], str | None]:
    after = (thread_id, query.cursor) if query.cursor else None
    keys = [str(key[1]) for key, _ in snap.scan("threads", (thread_id,), after=after, limit=query.limit)]
    return list(_read(snap, keys)), keys[-1] if len(keys) == query.limit else None


def _replies(snap: Snapshot, query: ThreadQuery, message_id: str) -> Replies | None:
    parent: Message | None = snap.get("messages", (message_id,))
    messages, cursor = _after(snap, parent.thread_id if parent else message_id, query)
    answers = [message_view(message) for message in messages if message.reply_to == message_id]
    if parent is None and not answers:
        return None
    shown = message_view(parent) if parent else None
    return Replies(parent=shown, replies=answers, count=len(answers), next_cursor=cursor)


def _root(snap: Snapshot, _query: Any, message_id: str) -> RootOf | None:
    message: Message | None = snap.get("messages", (message_id,))
    if message is None:
        return None
    root: Message | None = snap.get("messages", (message.thread_id,))
    shown = message_view(root) if root else None
    return RootOf(message_id=message_id, thread_id=message.thread_id, root=shown)


QUESTIONS: dict[str, Callable[[Snapshot, Any, str], Any]] = {
    "mailbox.get": _mailbox,
    "channel.list": _channels,
    "channel.get": _channel,
    "channel.history": _history,
    "agent.subscriptions": _subscriptions,
    "message.list": _messages,
    "thread.get": _thread,
    "thread.replies": _replies,
    "thread.root": _root,
}
