"""New tasks of one lane: ids, idempotency keys, and one commit for all that are new.

Nearly every key is new, so the first try reads nothing and lets the commit's preconditions find a repeat; a refused
try is decided again with a look at each key (`check`), by then the winner's row is on disk.
May import: agentcom.core, agentcom.protocol.
"""

from hashlib import blake2b
from typing import NamedTuple

import msgspec

from agentcom.core import tasks
from agentcom.core.decision import Decision, Entropy, Output, Rows
from agentcom.core.messages import Fault, Reply, Submit
from agentcom.core.policy import Policy
from agentcom.core.signature import Needs, needs
from agentcom.protocol.bodies import NewTask, Submitted
from agentcom.protocol.ops import Must, Op, Put
from agentcom.protocol.rows import LANES, Idempotent, Lane

Item = Submitted | Fault

_encode = msgspec.msgpack.Encoder().encode


class Context(NamedTuple):
    """What one lane brings to a submit. `order` is the first place of its tasks; each next task takes the next."""

    lane: Lane
    rows: Rows
    order: int
    now_ms: int
    policy: Policy
    entropy: Entropy
    known: set[str]  #: signatures that have their row


class Draft:
    """The commit and the answers of one submit, as they grow item by item."""

    def __init__(self, submitter: str) -> None:
        self.submitter = submitter
        self.ops: list[Op] = []
        self.must: list[Must] = []
        self.answers: list[Item] = []
        self.keys: dict[str, tuple[str, Submitted]] = {}
        self.signed: set[str] = set()


def digest(new: NewTask) -> str:
    """Of everything but the key: the same key with another body is a conflict."""
    if new.idempotency_key:
        new = msgspec.structs.replace(new, idempotency_key="")
    return blake2b(_encode(new), digest_size=12).hexdigest()


def overloaded(ask: Submit, lane: Lane, queued: int) -> Decision:
    """Refused before any state changes."""
    fault = Fault("overloaded", f"the lane {lane} is full ({queued} tasks queued)", retry_after_ms=5_000)
    return Decision(outputs=(Output(ask.reply_to, Reply(ask.request, [fault] * len(ask.items))),))


def submit(ask: Submit, ctx: Context, *, check: bool = False) -> Decision:
    """One commit for the new items; a repeated key gets its first answer, or is refused alone if its body differs."""
    draft = Draft(ask.submitter)
    for n, new in enumerate(ask.items):
        body = digest(new) if new.idempotency_key else ""
        known = _known(new, body, draft, ctx, check=check) if body else None
        draft.answers.append(known or _create(new, body, ctx.order + n, draft, ctx))
    out = Output(ask.reply_to, Reply(ask.request, draft.answers))
    return Decision(tuple(draft.ops), (out,), "submitted", tuple(draft.must))


def _create(new: NewTask, body: str, order: int, draft: Draft, ctx: Context) -> Submitted:
    task_id = ctx.entropy.task_id(ctx.now_ms)
    needed = needs(tuple(new.needed_capabilities))
    state, ops = tasks.create(new, needed, task_id, order, draft.submitter, ctx.now_ms, ctx.policy)
    draft.ops += ops
    if needed.signature not in ctx.known and needed.signature not in draft.signed:
        _sign(needed, draft, ctx)
    answer = _answer(task_id, state.phase, ctx.lane, ctx.now_ms)
    if key := new.idempotency_key:
        draft.ops.append(Put("idempotency", (draft.submitter, key), Idempotent(task_id, body, ctx.now_ms)))
        draft.must.append(Must("idempotency", (draft.submitter, key)))
        draft.keys[key] = (body, answer)
    return answer


def _sign(needed: Needs, draft: Draft, ctx: Context) -> None:
    """A set is known once its row is: then this lane need not look again."""
    draft.signed.add(needed.signature)
    if ctx.rows.get("signature", (ctx.lane, needed.first, needed.signature)) is None:
        draft.ops.append(tasks.signature_op(ctx.lane, needed))
    else:
        ctx.known.add(needed.signature)


def _answer(task_id: str, status: str, lane: Lane, ms: int, *, repeated: bool = False) -> Submitted:
    return Submitted(
        task_id=task_id, status=status, priority=LANES.index(lane), created_at=ms, repeated=repeated
    )


def _known(new: NewTask, body: str, draft: Draft, ctx: Context, *, check: bool) -> Item | None:
    """What this key was answered before, in this very request or earlier."""
    key = new.idempotency_key
    if key in draft.keys:
        earlier, answer = draft.keys[key]
        return msgspec.structs.replace(answer, repeated=True) if earlier == body else _conflict(key)
    row: Idempotent | None = ctx.rows.get("idempotency", (draft.submitter, key)) if check else None
    if row is None:
        return None
    if row.digest != body:
        return _conflict(key)
    event = ctx.rows.get("history", (row.task_id, 0))
    return _answer(row.task_id, event.phase if event else "queued", new.priority, row.ms, repeated=True)


def _conflict(key: str) -> Fault:
    return Fault("conflict", f"the idempotency key {key} was used for another task", path="idempotency_key")
