"""Who is here and what they do, as agents told it last; and what changed since those who want to know heard last.

May import: agentcom.core.{messages, missing}, agentcom.protocol.{frames, live_views}.
"""

from collections.abc import Iterable, Iterator
from typing import TypeVar

import msgspec

from agentcom.core.messages import AgentStatus, AskAttendance, AskPresence, Attendance, Reply
from agentcom.core.missing import missing
from agentcom.protocol.frames import PresenceFrame, Present
from agentcom.protocol.live_views import AgentList, AgentView

T = TypeVar("T")
MOST = 1_000
"""Agents named in one frame."""


def _some(items: Iterable[T]) -> Iterator[list[T]]:
    every = list(items)
    return (every[at : at + MOST] for at in range(0, len(every), MOST))


class Presence:
    """The last word of every agent that was seen since the hub started."""

    def __init__(self) -> None:
        self._seen: dict[str, AgentStatus] = {}
        self._told: dict[str, Present] = {}  #: who is here, as was told
        self._changed: dict[str, None] = {}  #: agents to look at

    def note(self, status: AgentStatus) -> None:
        self._seen[status.agent_id] = status
        self._changed[status.agent_id] = None

    def answer(self, ask: AskPresence) -> Reply:
        if not ask.agent_id:
            return Reply(ask.request, AgentList([_shown(of) for _, of in sorted(self._seen.items())]))
        found = self._seen.get(ask.agent_id)
        body = missing("agent", ask.agent_id, "agent_id") if found is None else _shown(found)
        return Reply(ask.request, body)

    def attendance(self, ask: AskAttendance) -> Reply:
        here = [of for of in self._seen.values() if _is_here(of)]
        return Reply(ask.request, Attendance(len(here), frozenset(of.task_id for of in here if of.task_id)))

    # --- notices -----------------------------------------------------------------------------------

    @property
    def has_news(self) -> bool:
        return bool(self._changed)

    def news(self) -> list[PresenceFrame]:
        """What changed since the last call; what came and went in between is not told. Of those that changed,
        `restated` then has the ones that said so themselves.
        """
        frames = []
        self.restated: tuple[str, ...] = ()
        changed, self._changed = self._changed, {}
        for agent_ids in _some(changed):
            joined, left, others = [], [], []
            for agent_id in agent_ids:
                before, now = self._told.pop(agent_id, None), _present(self._seen[agent_id])
                if now is not None:
                    self._told[agent_id] = now
                if before is None and now is not None:
                    joined.append(now)
                elif before is not None and now is None:
                    left.append(agent_id)
                elif now is not None and before is not None and now != before:
                    others.append(now)
                    if _is_said_anew(before, now):
                        self.restated += (agent_id,)
            if joined or left or others:
                frames.append(PresenceFrame(joined=joined, left=left, changed=others))
        return frames

    def everyone(self) -> list[PresenceFrame]:
        """For one who is new: who is here, as the others were told. At least one frame, be it empty."""
        here = [PresenceFrame(joined=some) for some in _some(self._told.values())]
        return here or [PresenceFrame()]


def _shown(status: AgentStatus) -> AgentView:
    return AgentView(
        agent_id=status.agent_id, state=status.state, task_id=status.task_id, generation=status.generation,
        capabilities=status.capabilities, connected_ms=status.connected_ms, since_ms=status.since_ms,
        status=status.status, name=status.name, withheld=status.withheld,
    )  # fmt: skip


def _is_here(status: AgentStatus) -> bool:
    return status.state != "offline" and status.connected_ms != 0


def _present(status: AgentStatus) -> Present | None:
    if not _is_here(status):
        return None
    return Present(
        status.agent_id, status.state, status.status, status.capabilities, status.name, status.connected_ms
    )


def _is_said_anew(before: Present, now: Present) -> bool:
    """Not only its work is another: its client said something else of it."""
    return msgspec.structs.replace(before, state=now.state) != now
