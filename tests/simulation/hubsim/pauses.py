"""Pauses on disk, and the rule that nothing is handed out long after one is there."""

from collections.abc import Callable
from typing import Any

from agentcom.protocol.pauses import PREFIX, key_of
from agentcom.protocol.rows import Journal
from agentcom.store.tables import TABLES, decode_key

HEARD_S = 10.0
"""For so long a pause may be on disk while those that it concerns have not heard, as mail is late and parts start."""
_CONFIG = TABLES["config"]


class Pauses:
    """Since when each pause is on disk."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._since: dict[str, float] = {}

    def entry(self, entry: Journal) -> None:
        for number, key, value in entry.ops:
            if number == _CONFIG.number:
                self._note(str(decode_key(_CONFIG, key)[0]), value)

    def _note(self, name: str, value: Any) -> None:
        if name.startswith(PREFIX) and value is not None:
            self._since.setdefault(name, self._monotonic())
        else:
            self._since.pop(name, None)

    def forbids(self, lane: str, agent: str) -> str:
        """The pause by which this lane should not have given anything to this agent; "" if none."""
        before = self._monotonic() - HEARD_S
        names = (key_of("hub"), key_of("lane", lane), key_of("agent", agent))
        return next((str(name) for (name,) in names if self._since.get(str(name), before) < before), "")
