"""A client of protocol 1 as people have them: plain `websockets` and raw HTTP, nothing of ours."""

import asyncio
import http.client
import json
from typing import Any

import websockets

DEADLINE_S = 15.0


class Old:
    """One socket. `hear` skips what others do (presence), unless that is what is waited for."""

    OTHERS = frozenset({"agent_joined", "agent_left", "status_changed", "rate_limit_warning"})

    token: str

    def __init__(self, ws: Any) -> None:
        self.ws = ws

    async def say(self, kind: str, **fields: Any) -> None:
        await self.ws.send(json.dumps({"type": kind, **fields}))

    async def hear(self, kind: str = "") -> dict[str, Any]:
        async with asyncio.timeout(DEADLINE_S):
            while True:
                frame: dict[str, Any] = json.loads(await self.ws.recv())
                if frame["type"] == kind or (not kind and frame["type"] not in self.OTHERS):
                    return frame
                assert frame["type"] in self.OTHERS, f"waited for {kind}, got {frame}"

    async def ask(self, kind: str, answer: str = "", **fields: Any) -> dict[str, Any]:
        await self.say(kind, **fields)
        return await self.hear(answer)

    async def closed(self) -> tuple[int, str, list[dict[str, Any]]]:
        """Code and reason of the close, after whatever still came."""
        frames = []
        async with asyncio.timeout(DEADLINE_S):
            try:
                while True:
                    frames.append(json.loads(await self.ws.recv()))
            except websockets.ConnectionClosed as end:
                return (end.rcvd.code, end.rcvd.reason, frames) if end.rcvd else (1006, "", frames)

    async def quiet(self) -> None:
        """Nothing is on its way: the answer to a ping comes first."""
        assert (await self.ask("ping"))["type"] == "pong"

    async def __aenter__(self) -> "Old":
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self.ws.close()


class Place:
    """A running hub and what an old installation knows of it."""

    def __init__(self, host: str, port: int, admin: str) -> None:
        self.host, self.port, self.admin = host, port, admin

    def http(
        self, method: str, path: str, body: Any = None, token: str | None = None, **headers: str
    ) -> tuple[int, Any]:
        status, _, found = self.raw(method, path, body, token, **headers)
        return status, found

    def raw(
        self, method: str, path: str, body: Any = None, token: str | None = None, **headers: str
    ) -> tuple[int, dict[str, str], Any]:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=DEADLINE_S)
        sent = dict(headers)
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        data = None
        if body is not None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        try:
            connection.request(method, path, data, sent)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        return (
            answer.status,
            {k.lower(): v for k, v in answer.getheaders()},
            json.loads(text) if text else None,
        )

    def register(self, agent_id: str) -> str:
        status, body = self.http("POST", "/api/onboard/register", {"agent_id": agent_id})
        assert status == 201, body
        return str(body["token"])

    def submit(self, **fields: Any) -> str:
        given = {"description": "do it", **fields}
        status, body = self.http("POST", "/api/tasks", given, self.admin)
        assert status == 201, body
        return str(body["task_id"])

    def task(self, task_id: str, token: str | None = None) -> dict[str, Any]:
        status, body = self.http("GET", f"/api/tasks/{task_id}", token=token or self.admin)
        assert status == 200, body
        return dict(body)

    async def until(self, task_id: str, status: str) -> dict[str, Any]:
        async with asyncio.timeout(DEADLINE_S):
            while (task := await asyncio.to_thread(self.task, task_id))["status"] != status:
                await asyncio.sleep(0.02)
        return task

    async def connect(self, **options: Any) -> Old:
        return Old(
            await websockets.connect(f"ws://{self.host}:{self.port}/ws", ping_interval=None, **options)
        )

    async def agent(self, agent_id: str, token: str | None = None, **fields: Any) -> Old:
        """Registered unless it brings a token, connected and identified."""
        secret = token or await asyncio.to_thread(self.register, agent_id)
        old = await self.connect()
        answer = await old.ask("identify", agent_id=agent_id, token=secret, **fields)
        assert answer == {"type": "identified", "agent_id": agent_id}
        old.token = secret
        return old
