"""Who is here and what they do, as agents told it last.

May import: agentcom.core.messages.
"""

from typing import Any

import msgspec

from agentcom.core.messages import AgentStatus, AskPresence, Fault, Reply


class Presence:
    """The last word of every agent that was seen since the hub started."""

    def __init__(self) -> None:
        self._seen: dict[str, AgentStatus] = {}

    def note(self, status: AgentStatus) -> None:
        self._seen[status.agent_id] = status

    def answer(self, ask: AskPresence) -> Reply:
        if not ask.agent_id:
            return Reply(ask.request, {"agents": [_shown(of) for _, of in sorted(self._seen.items())]})
        found = self._seen.get(ask.agent_id)
        if found is None:
            return Reply(ask.request, Fault("not_found", f"no agent {ask.agent_id} was seen"))
        return Reply(ask.request, {"agents": [_shown(found)]})


def _shown(status: AgentStatus) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(status)
    return found
