"""Log lines that look like agentcom.logging's, without what that loads: for the keeper, which should stay small.

May import: the standard library.
"""

import json
import sys
from datetime import UTC, datetime
from typing import Any

LEVELS = ("debug", "info", "warning", "error")


class PlainLog:
    """On stderr; events below `level` are not written."""

    def __init__(self, level: str, format: str) -> None:
        self._least = LEVELS.index(level)
        self._as_json = format == "json"

    def warning(self, event: str, **fields: Any) -> None:
        self._write("warning", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        self._write("error", event, fields)

    def _write(self, level: str, event: str, fields: dict[str, Any]) -> None:
        if LEVELS.index(level) < self._least:
            return
        at = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        if self._as_json:
            line = json.dumps({**fields, "event": event, "level": level, "timestamp": at})
        else:
            line = f"{at} [{level}] {event} " + " ".join(f"{name}={value}" for name, value in fields.items())
        print(line, file=sys.stderr, flush=True)
