"""Where pull requests are opened.

May import: agentcom.{client, protocol}.
"""

from typing import Protocol

from agentcom.client import Hub
from agentcom.protocol.bodies import NewPull


class ForgeFailed(Exception):
    """The pull request could not be opened; the sentence says who acts."""


class Forge(Protocol):
    async def open(self, pull: NewPull) -> str:
        """Open or update the branch's pull request and return its URL. Raises `Unavailable` for later."""
        ...


class LocalForge:
    """Pull requests as records on the hub: nothing else is needed."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def open(self, pull: NewPull) -> str:
        answer = await self._hub.open_pull(pull)
        return str(answer.get("url") or f"{self._hub.url}/api/pulls/{answer.get('pr_id', '')}")


def forge(kind: str, hub: Hub) -> Forge:
    """The forge of that name. Raises `ForgeFailed` at start, not after the work."""
    if kind == "local":
        return LocalForge(hub)
    raise ForgeFailed(f'forge {kind!r} is not supported by this version; set forge = "local"')
