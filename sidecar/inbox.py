"""What a sidecar must not forget (held tasks, unsent reports), on disk before it is acted upon.

May import: msgspec, structlog, agentcom.session_state, sidecar.files.
"""

import asyncio
import time
from pathlib import Path

import msgspec
import structlog

from agentcom.session_state import Saved
from sidecar import files

_log = structlog.get_logger("sidecar.inbox")


class Inbox:
    """An `agentcom.session.Outbox` in one file. A file that cannot be read is set aside, never deleted."""

    def __init__(self, path: Path) -> None:
        self.path = path

    async def load(self) -> Saved:
        return await asyncio.to_thread(self.read)

    async def save(self, saved: Saved) -> None:
        await asyncio.to_thread(files.write, self.path, msgspec.json.encode(saved))

    def read(self) -> Saved:
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=Saved)
        except FileNotFoundError:
            return Saved()
        except msgspec.DecodeError as exc:
            aside = self.path.with_name(f"{self.path.name}.unreadable-{time.time_ns() // 1_000_000}")
            self.path.rename(aside)
            _log.error("inbox.set_aside", file=str(aside), problem=str(exc))
            return Saved()
