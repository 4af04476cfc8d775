"""The demo's cast: two agents, ten tasks.

May import: msgspec, agentcom.protocol.
"""

from typing import Any

import msgspec

from agentcom.protocol.bodies import NewTask
from agentcom.protocol.rows import Lane

REPO = "demo"
BASE = "main"
CAPABILITIES: dict[str, tuple[str, ...]] = {"ada": ("python", "algorithms"), "grace": ("python", "docs")}
"""What each agent can do: `algorithms` only Ada, `docs` only Grace."""


class DemoTask(msgspec.Struct, frozen=True, kw_only=True):
    title: str
    lane: Lane
    script: dict[str, Any]
    needs: tuple[str, ...] = ("python",)
    fail_times: int = 0
    hopeless: bool = False

    def new_task(self, key: str) -> NewTask:
        fate: dict[str, Any] = {"always_fail": True} if self.hopeless else {"fail_times": self.fail_times}
        return NewTask(
            description=self.title,
            priority=self.lane,
            needed_capabilities=list(self.needs),
            metadata={"script": self.script, **fate},
            repo=REPO,
            max_attempts=3,
            idempotency_key=key,
        )
