"""New tasks of one lane: ids, idempotency keys, and one commit for all that are new.

May import: agentcom.core, agentcom.protocol.
"""

from hashlib import blake2b
from typing import NamedTuple

import msgspec

from agentcom.core import tasks
from agentcom.core.decision import Decision, Entropy, Output, Rows
from agentcom.core.messages import Fault, Reply, Submit
from agentcom.core.policy import Policy
from agentcom.core.signature import first, normal, signature
from agentcom.protocol.bodies import NewTask, Submitted
from agentcom.protocol.ops import Must, Op, Put
from agentcom.protocol.rows import LANES, Idempotent, Lane

Item = Submitted | Fault


class Minted(NamedTuple):
    """The first place in the lane for this submit's tasks; each next task takes the next."""

    order: int
    now_ms: int


def digest(new: NewTask) -> str:
    """Of everything but the key: the same key with another body is a conflict."""
    return blake2b(
        msgspec.msgpack.encode(msgspec.structs.replace(new, idempotency_key="")), digest_size=12
    ).hexdigest()


def submit(ask: Submit, lane: Lane, rows: Rows, minted: Minted, policy: Policy, entropy: Entropy) -> Decision:
    """One commit for the new items; a repeated key gets its first answer, or is refused alone if its body differs."""
    queued = rows.get("counter", ("tasks", lane, "queued")) or 0
    if queued + len(ask.items) > policy.max_queued:
        fault = Fault("overloaded", f"the lane {lane} is full ({queued} tasks queued)", retry_after_ms=5_000)
        return Decision(outputs=(Output(ask.reply_to, Reply(ask.request, [fault] * len(ask.items))),))
    ops: list[Op] = []
    must: list[Must] = []
    answers: list[Item] = []
    seen: dict[str, tuple[str, Submitted]] = {}
    for n, new in enumerate(ask.items):
        known = _known(ask.submitter, new, rows, seen) if new.idempotency_key else None
        if known is not None:
            answers.append(known)
            continue
        answer, more = _create(
            ask.submitter, new, lane, minted._replace(order=minted.order + n), rows, policy, entropy
        )
        answers.append(answer)
        ops += more
        if new.idempotency_key:
            seen[new.idempotency_key] = (digest(new), answer)
            must.append(Must("idempotency", (ask.submitter, new.idempotency_key)))
    out = Output(ask.reply_to, Reply(ask.request, answers))
    return Decision(tuple(ops), (out,), "submitted", tuple(must))


def _create(
    submitter: str, new: NewTask, lane: Lane, minted: Minted, rows: Rows, policy: Policy, entropy: Entropy
) -> tuple[Submitted, list[Op]]:
    task_id = entropy.task_id(minted.now_ms)
    state, ops = tasks.create(new, task_id, minted.order, submitter, minted.now_ms, policy)
    more = list(ops)
    needed = normal(new.needed_capabilities)
    if rows.get("signature", (lane, first(needed), signature(needed))) is None:
        more.append(tasks.signature_op(lane, needed))
    if new.idempotency_key:
        row = Idempotent(task_id, digest(new), minted.now_ms)
        more.append(Put("idempotency", (submitter, new.idempotency_key), row))
    return _answer(task_id, state.phase, lane, minted.now_ms), more


def _answer(task_id: str, status: str, lane: Lane, ms: int, *, repeated: bool = False) -> Submitted:
    return Submitted(
        task_id=task_id, status=status, priority=LANES.index(lane), created_at=ms, repeated=repeated
    )


def _known(submitter: str, new: NewTask, rows: Rows, seen: dict[str, tuple[str, Submitted]]) -> Item | None:
    """What this key was answered before, in this very request or earlier."""
    key = new.idempotency_key
    if key in seen:
        body, answer = seen[key]
        return msgspec.structs.replace(answer, repeated=True) if body == digest(new) else _conflict(key)
    row: Idempotent | None = rows.get("idempotency", (submitter, key))
    if row is None:
        return None
    if row.digest != digest(new):
        return _conflict(key)
    event = rows.get("history", (row.task_id, 0))
    return _answer(row.task_id, event.phase if event else "queued", new.priority, row.ms, repeated=True)


def _conflict(key: str) -> Fault:
    return Fault("conflict", f"the idempotency key {key} was used for another task", path="idempotency_key")
