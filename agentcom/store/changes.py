"""What a journal entry tells to people: one event for each row that matters to them.

Never a secret, a hash of one or what somebody wrote to somebody: tokens and invites by their public ids, messages by
theirs, settings by name. What is removed for its age is not told, nor are indexes and what an actor keeps for itself.
May import: agentcom.protocol, agentcom.store.tables.
"""

from collections.abc import Callable, Container, Iterator
from typing import Any

from agentcom.protocol import rows
from agentcom.protocol.alerts import RULES, THRESHOLDS
from agentcom.protocol.dashboard import HubEvent
from agentcom.protocol.ops import Key
from agentcom.store.tables import BY_NUMBER, decode_key, decode_row

Tell = Callable[[Key, Any, int], HubEvent | None]
"""Of a key, the row that is there now (None: it is gone) and when it was written."""
_ID = 16
"""So many characters of a token's or invite's key are its public id."""


def told(entry: rows.Journal, only: Container[str] | None = None) -> Iterator[HubEvent]:
    """In the order of the entry. `only` names tables."""
    for number, raw, value in entry.ops:
        table = BY_NUMBER[number]
        tell = _TELL.get(table.name)
        if tell is None or (only is not None and table.name not in only):
            continue
        row = None if value is None else decode_row(table, value, raw)
        event = tell(decode_key(table, raw), row, entry.ms)
        if event is not None:
            yield event


# --- work ------------------------------------------------------------------------------------------


def _task(key: Key, line: rows.Event | None, _ms: int) -> HubEvent | None:
    if line is None:
        return None
    return HubEvent(
        type="task_event", event=line.event, task_id=str(key[0]), timestamp=line.ms, status=line.phase,
        generation=line.generation, agent_id=line.agent_id, reason=line.reason,
    )  # fmt: skip


def _pull(_key: Key, row: rows.PullRequest | None, _ms: int) -> HubEvent | None:
    if row is None:
        return None
    event = "opened" if row.created_ms == row.updated_ms else "updated"
    return HubEvent(
        type="pull_event", event=event, task_id=row.task_id, timestamp=row.updated_ms, agent_id=row.author,
        url=row.branch, name=row.pr_id,
    )  # fmt: skip


def _repo(key: Key, row: rows.Repo | None, ms: int) -> HubEvent:
    status = "" if row is None else "paused" if row.paused else "active"
    return _saved("repo_event", str(key[0]), row, ms, status)


# --- who may ---------------------------------------------------------------------------------------


def _agent(key: Key, row: rows.Agent | None, ms: int) -> HubEvent:
    kept = "registered" if row is not None and row.created_ms == row.updated_ms else "changed"
    event = "removed" if row is None else kept
    return HubEvent(type="agent_event", event=event, timestamp=ms, agent_id=str(key[0]))


def _token(key: Key, row: rows.Token | None, ms: int) -> HubEvent:
    if row is None:
        return _saved("token_event", str(key[0])[:_ID], None, ms)
    good = "login" if row.parent else "valid"
    return HubEvent(
        type="token_event", event="saved", timestamp=ms, name=row.token_id, subject=row.subject,
        status="revoked" if row.revoked_ms else good,
    )  # fmt: skip


def _invite(key: Key, row: rows.Invite | None, ms: int) -> HubEvent:
    if row is None:
        return _saved("invite_event", str(key[0])[:_ID], None, ms)
    status = "used" if row.used_by else "open"
    return HubEvent(
        type="invite_event", event="saved", timestamp=ms, name=row.invite_id, status=status,
        agent_id=row.used_by,
    )  # fmt: skip


# --- talk ------------------------------------------------------------------------------------------


def _message(key: Key, row: rows.Message | None, _ms: int) -> HubEvent | None:
    if row is None:
        return None
    return HubEvent(
        type="message_event", event="sent", timestamp=row.ms, name=str(key[0]), agent_id=row.sender
    )


def _channel(key: Key, row: rows.Channel | None, ms: int) -> HubEvent:
    return _saved("channel_event", str(key[0]), row, ms)


def _subscriber(key: Key, row: rows.Subscriber | None, ms: int) -> HubEvent:
    event = "unsubscribed" if row is None else "subscribed"
    return HubEvent(type="channel_event", event=event, timestamp=ms, name=str(key[0]), agent_id=str(key[1]))


# --- the hub ---------------------------------------------------------------------------------------


def _alert(key: Key, row: Any, ms: int) -> HubEvent | None:
    """A rule's row as the alerter writes it; its others are thresholds, and figures that nobody is told of."""
    name = str(key[0])
    if name == THRESHOLDS:
        return _saved("config_event", "alert-thresholds", row, ms)
    if name not in RULES or not isinstance(row, dict):
        return None
    state, message = str(row.get("state", "")), str(row.get("message", ""))
    return HubEvent(type="alert_event", event=state, timestamp=ms, name=name, status=state, reason=message)


def _config(key: Key, row: Any, ms: int) -> HubEvent:
    return _saved("config_event", str(key[0]), row, ms)


def _saved(kind: str, name: str, row: Any, ms: int, status: str = "") -> HubEvent:
    event = "removed" if row is None else "saved"
    return HubEvent(type=kind, event=event, timestamp=ms, name=name, status=status)


_TELL: dict[str, Tell] = {
    "history": _task,
    "pull": _pull,
    "repo": _repo,
    "agent": _agent,
    "token": _token,
    "invite": _invite,
    "messages": _message,
    "channels": _channel,
    "subscribers": _subscriber,
    "alerts": _alert,
    "config": _config,
}
