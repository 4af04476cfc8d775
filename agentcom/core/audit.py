"""Who did what: one row for each act of an administrator or operator, and each registration.

The directory's own acts are recorded in the commit that does them: there is none without the other. What other parts
are asked for is recorded when it is asked, whatever becomes of it.
May import: agentcom.protocol, agentcom.core.
"""

from collections.abc import Callable
from typing import Any

from agentcom.core.decision import Decision, Rows
from agentcom.core.directory_base import Asked
from agentcom.core.messages import Recorded
from agentcom.protocol.ops import Put
from agentcom.protocol.rows import Audit

UNRECORDED = frozenset({"pull.create"})
"""What agents do by the thousand, and its own row tells who."""

ASKED = frozenset({"agent.drain", "agent.resume"})
"""What an agent's actor does: recorded when it is told to, whatever becomes of it."""

_NAMES = ("lane", "token_id", "subject", "name", "task_id", "agent_id", "rule_id")


def audited(asked: Asked, decide: Callable[[Asked], Decision]) -> Decision:
    """The decision, with its record if it changes anything, or has it changed."""
    decision, msg = decide(asked), asked.msg
    is_told = msg.verb in ASKED and len(decision.outputs) > 1
    if msg.verb in UNRECORDED or not (decision.ops or is_told):
        return decision
    row = Audit(asked.now_ms, msg.by, msg.role, msg.verb, target_of(msg.args, msg.body), msg.peer)
    return decision._replace(ops=(*decision.ops, _put(row, asked.rows)))


def record(said: Recorded, now_ms: int, rows: Rows) -> Decision:
    row = Audit(now_ms, said.by, said.role, said.act, said.target, said.peer, note="asked")
    return Decision(ops=(_put(row, rows),), event="audit")


def target_of(args: dict[str, str], body: Any = None) -> str:
    """What an act is about, as path or body name it."""
    named = (args.get(name) or getattr(body, name, "") for name in _NAMES)
    return str(next(filter(None, named), ""))[:200]


def _put(row: Audit, rows: Rows) -> Put:
    """Under its time, behind what was written in the same millisecond."""
    n = 0
    while rows.get("audit", (row.ms, n)) is not None:
        n += 1
    return Put("audit", (row.ms, n), row)
