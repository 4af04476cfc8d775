"""The agents of `agentcom smoke`: they speak the whole protocol and do no work.

May import: agentcom.{client, session, session_state, protocol}.
"""

import asyncio
import contextlib
from types import TracebackType
from typing import Self
from urllib.parse import quote

from agentcom.client import AgentSession, Hub
from agentcom.protocol import errors
from agentcom.protocol.frames import TaskResult
from agentcom.session_state import Accepted, Assigned


class Fleet:
    """Some agents, registered when it is entered; when it is left, they go and their tokens are revoked."""

    def __init__(self, hub: Hub, capability: str, size: int) -> None:
        self.problems: list[str] = []
        self._hub = hub
        self._capability = capability
        self._names = [f"{capability}-{n + 1}" for n in range(size)]
        self._open = contextlib.AsyncExitStack()
        self._work: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as opening:
            for name in self._names:
                token = await self._register(name)
                session = AgentSession(
                    self._hub.url,
                    agent_id=name,
                    token=token,
                    capabilities=[self._capability],
                    ca_file=self._hub.ca_file,
                )
                await opening.enter_async_context(session)
                self._work.append(asyncio.create_task(self._serve(session)))
            self._open = opening.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        for work in self._work:
            work.cancel()
        await asyncio.gather(*self._work, return_exceptions=True)
        await self._open.aclose()
        await self._revoke()

    async def _register(self, name: str) -> str:
        invite = await self._hub.call("POST", "/api/invites", {"capabilities": [self._capability]})
        return (await self._hub.register(name, invite["invite"], [self._capability])).token

    async def _revoke(self) -> None:
        tokens = (await self._hub.call("GET", "/api/tokens"))["tokens"]
        for token in tokens:
            if token["subject"] in self._names:
                await self._hub.call("DELETE", f"/api/tokens/{quote(token['token_id'], safe='')}")

    async def _serve(self, session: AgentSession) -> None:
        try:
            async for event in session:
                if isinstance(event, Assigned):
                    await session.accept(event.assign.task_id, event.assign.generation)
                elif isinstance(event, Accepted):
                    result = TaskResult(summary=f"smoke test by {session.agent_id}")
                    await session.complete(event.task_id, event.generation, result)
        except errors.AgentComError as exc:
            self.problems.append(f"agent {session.agent_id} was sent away: {exc}")
