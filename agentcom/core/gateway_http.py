"""HTTP requests: who may, what was sent, who answers.

Every answer goes straight to the edge (`reply_to`), except a batch, whose lanes' answers are collected here.
May import: agentcom.protocol, agentcom.core.
"""

import ipaddress
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from msgspec.structs import replace

from agentcom.core import sending, v1_http
from agentcom.core.alerting import NAME as ALERTER
from agentcom.core.asked import Asked
from agentcom.core.audit import target_of
from agentcom.core.dashboard import on_dashboard
from agentcom.core.decision import Now, Output
from agentcom.core.decoding import decode_body, decode_query
from agentcom.core.directory_tokens import csrf_of
from agentcom.core.gateway_access import ACCESS
from agentcom.core.gateway_state import (
    LANE_NAMES,
    NEEDED_TO_SERVE,
    SHELL,
    Rows,
    State,
    authenticate,
    failed_login,
)
from agentcom.core.limits import Standing, over
from agentcom.core.messages import (
    Administer,
    AskPresence,
    Delegate,
    Fault,
    HttpIn,
    Maintain,
    NearLimit,
    Operate,
    Read,
    Recorded,
    Reply,
    Submit,
)
from agentcom.core.missing import missing
from agentcom.core.routes import ROUTES, Route
from agentcom.core.submitting import STOPPING, checked, send_to_lanes
from agentcom.protocol.bodies import Batch, BatchAnswer, ErrorBody, FieldError, NewTask
from agentcom.protocol.rows import LANES, TaskState
from agentcom.protocol.v1_views import OldTaskQuery
from agentcom.protocol.views import Readiness, TaskQuery

VIOLATIONS = frozenset({"bad_json", "bad_frame", "unknown_type"})
"""Codes of answers that count against who asked."""

RECORDED = frozenset({"operate", "delegate", "maintain"})

_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


def on_request(state: State, msg: HttpIn, now: Now, rows: Rows) -> list[Output]:
    route = ROUTES[msg.route]
    if msg.url_token and not msg.token and route.url_token and state.rules.compat_v1:
        state.url_tokens += 1
        msg = replace(msg, token=msg.url_token)
    who = authenticate(state, msg.token, rows, now)
    asked = Asked(msg, route, who)
    client = (
        state.limits.of_token(who) if who else state.limits.of_address(msg.peer, direct=not msg.forwarded)
    )
    if fault := _too_soon(state, client, asked, now):
        return asked.refuse(fault)
    if fault := _not_allowed(state, asked, rows):
        wrong = msg.token and who is None
        return asked.refuse(failed_login(state, client, fault, now) if wrong else fault)
    outputs = _HOW[route.how](state, asked, now, rows)
    refused = _refusal_in(outputs)
    if refused in VIOLATIONS:
        state.limits.violation(client, now.mono)
    told = [] if client.exempt else _near(client, asked, now)
    return [*told, *outputs] if refused else [*told, *_recorded(asked), *outputs]


def _too_soon(state: State, client: Standing, asked: Asked, now: Now) -> Fault | None:
    fault = state.limits.spend(client, asked.route.tier or "normal", len(asked.msg.body), now.mono)
    if fault is None and asked.route.roles and asked.who and (wait := client.conduct.wait(now.mono)):
        return over(wait, "too many bad requests before; stay away for so long")
    return fault


def _refusal_in(outputs: list[Output]) -> str:
    """The code, if the gateway itself refused the request."""
    body = outputs[-1].message.body if outputs and type(outputs[-1].message) is Reply else None
    return body.code if type(body) is Fault else ""


def _recorded(asked: Asked) -> list[Output]:
    """Of writes that go past the directory, which records its own. Anyone else's requests are none of its business."""
    route = asked.route
    recorded = route.how in RECORDED or route.name in v1_http.RECORDED
    if route.method == "GET" or not recorded:
        return []
    said = Recorded(asked.subject, asked.role, route.name, target_of(asked.msg.args), asked.msg.peer)
    return [Output("directory", said)]


def _near(client: Standing, asked: Asked, now: Now) -> list[Output]:
    tier = asked.route.tier or "normal"
    bucket = client.bucket(tier)
    if not bucket.is_near(now.mono):
        return []
    return [Output(asked.msg.reply_to, NearLimit(asked.msg.request, tier, bucket.left(now.mono)))]


def _not_allowed(state: State, asked: Asked, rows: Rows) -> Fault | None:
    route, who = asked.route, asked.who
    if not route.roles or (route.open_before and state.rules.compat_v1):
        return None
    if who is None:
        given = asked.msg.token
        said = "unknown or revoked token" if given else HINT
        return Fault("invalid_token", said)
    if asked.msg.csrf is not None and route.method != "GET" and asked.msg.csrf != csrf_of(asked.msg.token):
        return Fault("forbidden", "a write by a browser needs the header X-CSRF-Token", "x-csrf-token")
    if route.own and who.role == "agent" and who.subject != asked.msg.args.get("agent_id"):
        return Fault("forbidden", "an agent may ask only for what is its own")
    if who.role in route.roles or (route.compat and state.rules.compat_v1):
        return None
    if route.owner and _owns(who.subject, asked.msg.args.get("task_id", ""), rows):
        return None
    return Fault("forbidden", f"this needs role {' or '.join(sorted(route.roles))}")


def _owns(subject: str, task_id: str, rows: Rows) -> bool:
    task = find_task(task_id, rows)
    return task is not None and subject in (task.submitter, task.holder, task.last_holder)


def find_task(task_id: str, rows: Rows) -> TaskState | None:
    """The task's row; an id that could not be a key is simply not known."""
    found: TaskState | None = rows.get("task", (task_id,)) if _ID.fullmatch(task_id) else None
    return found


def _submit(state: State, asked: Asked, now: Now, rows: Rows) -> list[Output]:
    if state.draining:
        return asked.refuse(STOPPING)
    msg = asked.msg
    task = decode_body(NewTask, msg.body)
    if type(task) is NewTask:
        task = checked(state, task, msg.args.get("idempotency-key", ""), asked.subject, now, rows)
    if isinstance(task, Fault):
        return asked.refuse(task)
    submit = Submit(reply_to=msg.reply_to, request=msg.request, submitter=asked.subject, items=(task,))
    return [Output(LANE_NAMES[task.priority], submit)]


def _batch(state: State, asked: Asked, now: Now, rows: Rows) -> list[Output]:
    if state.draining:
        return asked.refuse(STOPPING)
    batch = decode_body(Batch, asked.msg.body)
    if isinstance(batch, Fault):
        return asked.refuse(batch)
    header = asked.msg.args.get("idempotency-key", "")
    entries: list[Any] = []
    for n, raw in enumerate(batch.tasks):
        task = decode_body(NewTask, bytes(raw))
        if type(task) is NewTask:
            task = checked(state, task, _nth_key(header, task, n), asked.subject, now, rows)
        entries.append(task)
    return send_to_lanes(
        state, asked.subject, entries, lambda done: asked.reply(BatchAnswer([_entry(e) for e in done]))
    )


def _nth_key(header: str, task: NewTask, n: int) -> str:
    """One header names the whole batch; each item without a key of its own gets its place in it."""
    return f"{header}.{n}" if header and not task.idempotency_key else ""


def _entry(answer: Any) -> Any:
    return error_body(answer) if isinstance(answer, Fault) else answer


HINT = "send `Authorization: Bearer <token>`"


def error_body(fault: Fault) -> ErrorBody:
    """With what protocol 1's clients look for besides the code."""
    wrong = [_field_error(fault)] if fault.code == "bad_frame" else []
    hint = HINT if fault.code == "invalid_token" else ""
    return ErrorBody(fault.code, fault.message, fault.path, fault.retry_after_ms, wrong, hint, fault.tier)


def _field_error(fault: Fault) -> FieldError:
    is_absent = "missing required field" in fault.message
    kind: Any = "required" if is_absent else "too_long" if "length <=" in fault.message else "wrong_type"
    return FieldError(fault.path, kind, fault.message)


def _operate(_state: State, asked: Asked, _now: Now, rows: Rows) -> list[Output]:
    body = decode_body(asked.route.body, asked.msg.body)
    if isinstance(body, Fault):
        return asked.refuse(body)
    task = find_task(asked.msg.args["task_id"], rows)
    if task is None:
        return asked.refuse(missing("task", asked.msg.args["task_id"], "task_id"))
    verb: Any = asked.route.name.removeprefix("task.")
    operate = Operate(
        reply_to=asked.msg.reply_to,
        request=asked.msg.request,
        task_id=task.id,
        verb=verb,
        text=getattr(body, "reason", "") or getattr(body, "answer", ""),
        lane=getattr(body, "priority", None),
        by=asked.subject,
        key=getattr(body, "key", ""),
    )
    return [Output(LANE_NAMES[task.lane], operate)]


def _administer(state: State, asked: Asked, _now: Now, _rows: Rows) -> list[Output]:
    msg = asked.msg
    body = decode_body(asked.route.body, msg.body) if asked.route.body else None
    if isinstance(body, Fault):
        return asked.refuse(body)
    administer = Administer(
        reply_to=msg.reply_to,
        request=msg.request,
        verb=asked.route.name,
        by=asked.subject,
        role=asked.role,
        args=msg.args,
        body=body,
        peer_is_loopback=is_loopback(msg.peer) and not msg.forwarded and not state.rules.proxied,
        peer=msg.peer,
    )
    return [Output("directory", administer)]


@lru_cache(maxsize=1024)
def is_loopback(peer: str) -> bool:
    try:
        return ipaddress.ip_address(peer).is_loopback
    except ValueError:
        return False


def is_old(state: State, asked: Asked) -> bool:
    """Whether it is answered as protocol 1 was: agents' tokens are all that there was then."""
    return state.rules.compat_v1 and asked.role == "agent"


def _query(state: State, asked: Asked) -> Any:
    """What the query string asks for, or a Fault."""
    kind, args = asked.route.query, asked.msg.args
    if kind is not TaskQuery:
        return None if kind is None else decode_query(kind, args)
    if is_old(state, asked):
        if (rank := args.get("priority", "")) in _RANKS:
            args = {**args, "priority": _RANKS[rank]}
        return decode_query(OldTaskQuery, args)
    query = decode_query(TaskQuery, args)
    if isinstance(query, Fault) or query.limit is not None or state.rules.compat_v1:
        return query
    return replace(query, limit=PAGE)


KINDS = {"pr_id": "pull request"}
"""What a parameter names, where that is more than its name without `_id`."""


def unfound(route: Route, name: str) -> Fault:
    """What this route should read is not there."""
    return missing(KINDS.get(route.named, route.named.removesuffix("_id")), name, route.named)


PAGE = 500
"""Rows of a page that says no limit, without `compat.v1`."""
_RANKS: dict[str, str] = {str(rank): lane for rank, lane in enumerate(LANES)}
"""Protocol 1's numbers for lanes."""


def _read(state: State, asked: Asked, _now: Now, _rows: Rows) -> list[Output]:
    msg = asked.msg
    query = _query(state, asked)
    if isinstance(query, Fault):
        return asked.refuse(query)
    named = asked.route.named
    name = msg.args.get(named, "") if named else ""
    key = sending.channel_name(name) if named == "channel" else name
    if named and not _ID.fullmatch(key):
        return asked.refuse(unfound(asked.route, name))
    read = Read(
        reply_to=msg.reply_to,
        request=msg.request,
        what=msg.route,
        query=query,
        key=key,
        old=is_old(state, asked),
    )
    return [Output(SHELL, read)]


def _presence(state: State, asked: Asked, _now: Now, _rows: Rows) -> list[Output]:
    msg = asked.msg
    agent_id = msg.args.get("agent_id", "")
    if is_old(state, asked):
        return v1_http.agents(state, asked, agent_id)
    return [Output("presence", AskPresence(reply_to=msg.reply_to, request=msg.request, agent_id=agent_id))]


def _delegate(_state: State, asked: Asked, _now: Now, _rows: Rows) -> list[Output]:
    return [Output(asked.msg.reply_to, Delegate(asked.msg.request, asked.msg.route, asked.msg.args))]


def _health(state: State, asked: Asked, _now: Now, _rows: Rows) -> list[Output]:
    connected = sum(session.welcomed for session in state.sessions.values())
    # what fails comes first
    said = sorted(state.conditions.items(), key=lambda of: (of[0] == ALERTER, of[0]))
    query = (
        connected,
        {name: condition.facts for name, condition in said},
        [alert for _, condition in said for alert in condition.alerts],
    )
    msg = asked.msg
    return [Output(SHELL, Read(reply_to=msg.reply_to, request=msg.request, what="health", query=query))]


def _maintain(_state: State, asked: Asked, _now: Now, _rows: Rows) -> list[Output]:
    msg, route = asked.msg, asked.route
    body: Any = None
    if route.body is not None:
        body = decode_body(route.body, msg.body)
        if isinstance(body, Fault):
            return asked.refuse(body)
    ask = Maintain(
        reply_to=msg.reply_to,
        request=msg.request,
        verb=route.verb or route.name,
        by=asked.subject,
        args=msg.args,
        body=body,
    )
    return [Output(route.actor, ask)]


def _ready(state: State, asked: Asked, _now: Now, _rows: Rows) -> list[Output]:
    lacking = [name for name in NEEDED_TO_SERVE if name not in state.up]
    if state.draining:
        lacking.append("the hub is stopping")
    return asked.reply(Readiness(ready=not lacking, missing=lacking), 503 if lacking else 200)


_HOW: dict[str, Callable[[State, Asked, Now, Rows], list[Output]]] = {
    "submit": _submit,
    "batch": _batch,
    "operate": _operate,
    "administer": _administer,
    "read": _read,
    "presence": _presence,
    "delegate": _delegate,
    "maintain": _maintain,
    "health": _health,
    "ready": _ready,
    **ACCESS,
    "v1": v1_http.answer,
    "dashboard": on_dashboard,
    "send": sending.on_send,
    "mailbox_ack": sending.on_mailbox_ack,
    "channel": sending.on_channel,
    "publish": sending.on_publish,
}
