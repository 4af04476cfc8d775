"""Routes that only protocol 1 has, answered from what the gateway knows or by asking the part that does.

Where the older hub had many tables there is one store here: what it was asked of a table is answered for the whole.
May import: agentcom.protocol, agentcom.core.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, get_args

import msgspec

from agentcom.core.alerting import NAME as ALERTER
from agentcom.core.alerting import shown, thresholds_of
from agentcom.core.asked import Asked
from agentcom.core.decision import Now, Output
from agentcom.core.decoding import decode_body
from agentcom.core.gateway_state import SHELL, Rows, State
from agentcom.core.messages import AskPresence, Delegate, Fault, Maintain, Read
from agentcom.core.missing import missing
from agentcom.core.submitting import STOPPING, checked, send_to_lanes
from agentcom.protocol import v1, v1_bodies, v1_views
from agentcom.protocol.alerts import RULES, THRESHOLDS, Thresholds
from agentcom.protocol.bodies import MailboxAck, NewChannel, NewMessage, NewPost, NewTask, Register, Submitted
from agentcom.protocol.live_views import AgentView
from agentcom.protocol.upkeep_views import CompactionView, SnapshotMade
from agentcom.protocol.views import Acknowledged

TABLES = frozenset(
    {
        "task_queue", "task_dead_letter", "agent_mailbox", "message_history", "agent_channels", "channel_history",
        "agentcom_config", "thread_messages", "thread_replies", "store",
    }
)  # fmt: skip
"""The older hub's, and ours."""
STALE_MS = 48 * 3_600_000
FRAGMENTED = 0.5


def answer(state: State, asked: Asked, now: Now, rows: Rows) -> list[Output]:
    return _ROUTES[asked.route.name](state, asked, now, rows)


def _ask(state: State, asked: Asked, verb: str, actor: str, shape: Callable[[Any], Any]) -> list[Output]:
    """Ask a part that looks after the data, and give its answer another shape."""

    def answered(body: Any) -> list[Output]:
        return asked.refuse(body) if isinstance(body, Fault) else asked.reply(shape(body), asked.route.status)

    ask = Maintain(reply_to=state.me, request=state.asked(actor, answered), verb=verb, by=asked.subject)
    return [Output(actor, ask)]


# --- what the gateway knows ------------------------------------------------------------------------


def _schemas(_state: State, asked: Asked, _now: Now, _rows: Rows) -> list[Output]:
    return asked.reply(schemas())


@cache
def schemas() -> v1_bodies.Schemas:
    frames = {name: _fields(kind) for name, kind in v1.BY_TYPE.items()}
    http = {
        "post_task": NewTask, "post_admin_token": v1_bodies.AgentTokenFor, "post_admin_push_task": v1_bodies.PushTask,
        "put_default_repo": v1_bodies.DefaultRepoUrl, "put_heartbeat_interval": v1_bodies.HeartbeatInterval,
        "post_message": NewMessage, "post_channel": NewChannel, "post_channel_publish": NewPost,
        "post_mailbox_ack": MailboxAck, "post_onboard_register": Register,
        "put_mailbox_retention": v1_bodies.MailboxRetention, "put_alert_thresholds": Thresholds,
    }  # fmt: skip
    bodies = {name: _fields(kind) for name, kind in http.items()}
    return v1_bodies.Schemas({"websocket": frames, "http": bodies, "version": "1.0"}, "1.0")


def _fields(kind: Any) -> dict[str, dict[str, str]]:
    required: dict[str, str] = {}
    optional: dict[str, str] = {}
    for field in msgspec.structs.fields(kind):
        (required if field.required else optional)[field.encode_name] = _type_name(field.type)
    return {"required": required, "optional": optional}


def _type_name(kind: Any) -> str:
    """As JSON calls it."""
    inside = [part for part in get_args(kind) if isinstance(part, type) and part is not type(None)]
    text = str(kind)
    if "list[" in text:
        return "array"
    if "dict[" in text or (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        return "object"
    plain = kind if isinstance(kind, type) else inside[0] if inside else str
    return {int: "integer", bool: "boolean"}.get(plain, "string")


def alerts_shown(state: State, now: Now, rows: Rows) -> list[v1_bodies.AlertShown]:
    """What parts of the hub say of themselves, and what the alerter has found: its rows tell more, and outlast us."""
    found = [
        v1_bodies.AlertShown(
            rule_id=name, severity="warning", message="; ".join(said.alerts), details=said.facts,
            fired_at=state.fired.get(name, now.ms), acknowledged=name in state.acknowledged,
        )
        for name, said in sorted(state.conditions.items())
        if said.alerts and name != ALERTER
    ]  # fmt: skip
    return [*shown(rows.scan("alerts", ())), *found]


def _alerts(state: State, asked: Asked, now: Now, rows: Rows) -> list[Output]:
    return asked.reply(v1_bodies.AlertList(alerts_shown(state, now, rows), now.ms))


def _thresholds(state: State, asked: Asked, _now: Now, rows: Rows) -> list[Output]:
    return asked.reply(thresholds_of(rows.get("alerts", (THRESHOLDS,)), state.rules.blocked_alert_ms))


def _acknowledge(state: State, asked: Asked, _now: Now, _rows: Rows) -> list[Output]:
    msg, rule = asked.msg, asked.msg.args["rule_id"]
    if rule in RULES:
        ask = Maintain(
            reply_to=msg.reply_to, request=msg.request, verb=msg.route, by=asked.subject, args=msg.args
        )
        return [Output(ALERTER, ask)]
    said = state.conditions.get(rule)
    if said is None or not said.alerts or rule == ALERTER:
        return asked.refuse(missing("alert", rule, "rule_id"))
    state.acknowledged.add(rule)
    return asked.reply(v1_bodies.AlertAcknowledged("acknowledged", rule))


def _whitelist(state: State, asked: Asked, _now: Now, _rows: Rows) -> list[Output]:
    exempt = sorted(who for who, override in state.limits.overrides.items() if override.exempt)
    return asked.reply(v1_bodies.Whitelist(exempt))


def _retention(state: State, asked: Asked, _now: Now, rows: Rows) -> list[Output]:
    kept = rows.get("config", ("mailbox_ttl_ms",))
    return asked.reply(v1_bodies.MailboxRetention(kept or state.rules.mailbox_ttl_ms))


def _heartbeat(_state: State, asked: Asked, _now: Now, rows: Rows) -> list[Output]:
    return asked.reply(v1_bodies.HeartbeatInterval(rows.get("config", ("heartbeat_interval_ms",)) or 900_000))


def _default_repo(_state: State, asked: Asked, _now: Now, rows: Rows) -> list[Output]:
    name = rows.get("config", ("default_repo",))
    repo = rows.get("repo", (name,)) if name else None
    return asked.reply(v1_bodies.DefaultRepoShown(repo.url if repo else None, repo is not None))


def _metrics(state: State, asked: Asked, now: Now, _rows: Rows) -> list[Output]:
    online = {session.agent_id for session in state.sessions.values() if session.welcomed}
    old = sum(session.v1 is not None for session in state.sessions.values())
    facts = {name: said.facts for name, said in state.conditions.items()}
    query = (now.ms, len(online), facts, {"sessions": old, "tokens_in_urls": state.url_tokens})
    msg = asked.msg
    return [Output(SHELL, Read(reply_to=msg.reply_to, request=msg.request, what="metrics.show", query=query))]


# --- agents and tasks ------------------------------------------------------------------------------


def agents(state: State, asked: Asked, agent_id: str) -> list[Output]:
    """What presence says, as protocol 1 showed it: those that are here, with its names of fields and states."""

    def answered(body: Any) -> list[Output]:
        if isinstance(body, Fault):
            return asked.refuse(body)
        if isinstance(body, AgentView):
            if not body.connected_ms:
                return asked.refuse(Fault("not_found", f"{agent_id} is not connected"))
            return asked.reply(v1_views.agent_state(body))
        show = v1_views.agent if asked.route.name == "agent.list" else v1_views.agent_state
        return asked.reply({"agents": [show(agent) for agent in body.agents if agent.connected_ms]})

    ask = AskPresence(reply_to=state.me, request=state.asked("presence", answered), agent_id=agent_id)
    return [Output("presence", ask)]


def _push(state: State, asked: Asked, now: Now, rows: Rows) -> list[Output]:
    """A task of the most urgent lane aimed at one agent, which must be connected."""
    body = decode_body(v1_bodies.PushTask, asked.msg.body)
    if isinstance(body, Fault):
        return asked.refuse(body)
    if state.draining:
        return asked.refuse(STOPPING)
    if not any(s.agent_id == body.agent_id and s.welcomed for s in state.sessions.values()):
        return asked.refuse(Fault("not_found", f"{body.agent_id} is not connected", "agent_id"))
    made = NewTask(
        description=body.description, metadata=body.metadata, target=body.agent_id, priority="urgent"
    )
    task = checked(state, made, "", asked.subject, now, rows)
    return send_to_lanes(state, asked.subject, [task], lambda done: _pushed(asked, done[0]))


def _pushed(asked: Asked, done: Submitted | Fault) -> list[Output]:
    if isinstance(done, Fault):
        return asked.refuse(done)
    return asked.reply(v1_bodies.Pushed("pushed", done.task_id))


# --- the store as a whole --------------------------------------------------------------------------


def _health(state: State, asked: Asked, now: Now, _rows: Rows) -> list[Output]:
    said = state.conditions.get("snapshots")
    age_s = said.facts.get("age_s") if said else None
    last = None if age_s is None else now.ms - int(age_s) * 1000
    return _ask(state, asked, "compaction.get", "compaction", lambda view: store_health(view, last, now.ms))


def store_health(view: CompactionView, last_ms: int | None, now_ms: int) -> v1_bodies.StoreHealth:
    free = view.free_bytes / view.bytes if view.bytes else 0.0
    stale, fragmented = last_ms is None or now_ms - last_ms > STALE_MS, free > FRAGMENTED
    status = ("healthy", "warning", "unhealthy")[stale + fragmented]
    table = v1_bodies.StoreTable(
        status=status, detail=view.problem, file_size_bytes=view.bytes, fragmentation_ratio=round(free, 4)
    )
    return v1_bodies.StoreHealth(
        health_status=status,
        stale_backup=stale,
        high_fragmentation=fragmented,
        last_backup_at=last_ms,
        tables=[table],
    )


def _backup(state: State, asked: Asked, _now: Now, _rows: Rows) -> list[Output]:
    def shape(made: SnapshotMade) -> v1_bodies.StoreDone:
        snapshot = made.snapshot
        return _done("ok", "ok", snapshot.path, snapshot.bytes)

    return _ask(state, asked, "snapshot.make", "snapshots", shape)


def _done(status: str, table: str, detail: str = "", size: int | None = None) -> v1_bodies.StoreDone:
    shown = v1_bodies.StoreTable(status=table, detail=detail, file_size_bytes=size)
    return v1_bodies.StoreDone(status, [shown])


def _compact(state: State, asked: Asked, _now: Now, _rows: Rows) -> list[Output]:
    """Answered when it has begun: GET /api/compaction tells its end."""
    if fault := _unknown_table(asked):
        return asked.refuse(fault)
    return _ask(
        state, asked, "compaction.run", "compaction", lambda view: _done("ok", "compacting", view.problem)
    )


def _evict(state: State, asked: Asked, _now: Now, _rows: Rows) -> list[Output]:
    return _ask(
        state, asked, "compaction.run", "compaction", lambda _view: Acknowledged("eviction_triggered")
    )


def _restore(_state: State, asked: Asked, _now: Now, _rows: Rows) -> list[Output]:
    said = "a restore is of the whole store and needs a stopped hub: agentcom-admin restore"
    return asked.refuse(_unknown_table(asked) or Fault("invalid_state", said, "table"))


def _unknown_table(asked: Asked) -> Fault | None:
    table = asked.msg.args.get("table", "store")
    return None if table in TABLES else Fault("not_found", "unknown_table", "table")


def _log_level(_state: State, asked: Asked, _now: Now, _rows: Rows) -> list[Output]:
    body = decode_body(v1_bodies.LogLevel, asked.msg.body)
    if isinstance(body, Fault):
        return asked.refuse(body)
    msg = asked.msg
    return [Output(msg.reply_to, Delegate(msg.request, msg.route, {**msg.args, "level": body.level}))]


_ROUTES: dict[str, Callable[[State, Asked, Now, Rows], list[Output]]] = {
    "schema.show": _schemas,
    "alert.list": _alerts,
    "alert.acknowledge": _acknowledge,
    "alert.thresholds_get": _thresholds,
    "limits.whitelist": _whitelist,
    "retention.get": _retention,
    "heartbeat.get": _heartbeat,
    "repo.default_get": _default_repo,
    "metrics.show": _metrics,
    "task.push": _push,
    "admin.store_health": _health,
    "admin.backup": _backup,
    "admin.compact": _compact,
    "admin.compact_table": _compact,
    "admin.restore_table": _restore,
    "admin.log_level": _log_level,
    "mailbox.evict": _evict,
}
RECORDED = frozenset(
    {"alert.acknowledge", "task.push", "admin.backup", "admin.compact", "admin.compact_table", "admin.log_level",
     "mailbox.evict"}
)  # fmt: skip
"""Acts of an administrator that no other part records."""
