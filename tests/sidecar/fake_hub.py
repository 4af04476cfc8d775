"""A hub of one file for the tests of client and sidecar: real sockets, real frames, no durability.

Unrealistic: it has no scheduler (tests assign by hand), no leases or timers, no roles, any token and any invite but
"bad" is good, and everything is forgotten with the object. It does check known tasks and generations.
"""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import msgspec
import uvicorn

from agentcom.protocol import bodies, frames

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
STATUS = {
    frames.TaskAccept: "accepted", frames.TaskReject: "requeued", frames.TaskBlock: "blocked",
    frames.TaskUnblock: "working", frames.TaskComplete: "completed", frames.TaskFail: "retrying",
}  # fmt: skip


class FakeHub:
    """`async with FakeHub() as hub`: `hub.url`, `hub.got` (all frames), `hub.assign(...)`, `hub.pulls`."""

    def __init__(self, *, heartbeat_ms: int = 200) -> None:
        self.heartbeat_ms = heartbeat_ms
        self.got: list[Any] = []
        self.registered: list[str] = []
        self.pulls: dict[tuple[str, str], bodies.NewPull] = {}
        self.tasks: dict[str, frames.TaskAssign] = {}
        self.holders: dict[str, str] = {}
        self.finals: dict[tuple[str, int], tuple[Any, str]] = {}
        self.verdicts: list[frames.Verdict] = []
        self.errors: dict[type, list[tuple[str, int]]] = {}  #: report type → codes to answer it with first
        self.close_hello_with: int = 0
        self.pulls_are_down: bool = False
        self.mute: bool = False  #: take reports, answer nothing
        self.sends: list[Send] = []
        self._changed = asyncio.Event()

    async def __aenter__(self) -> "FakeHub":
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{sock.getsockname()[1]}"
        config = uvicorn.Config(
            self.app,
            log_level="error",
            interface="asgi3",
            lifespan="off",
            ws="websockets-sansio",
            timeout_graceful_shutdown=1,
        )
        self.server = uvicorn.Server(config)
        self.server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
        self._task = asyncio.create_task(self.server.serve([sock]))
        await until(lambda: self.server.started)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.should_exit = True
        self.drop()
        await self._task

    # --- for tests -------------------------------------------------------------------------------------

    def of(self, kind: type) -> list[Any]:
        return [frame for frame in self.got if isinstance(frame, kind)]

    def assign(self, task_id: str, generation: int = 1, **more: Any) -> frames.TaskAssign:
        """Assign to the newest session."""
        defaults: dict[str, Any] = {
            "description": "do it", "priority": "normal", "metadata": {}, "needed_capabilities": [],
            "success_criteria": [], "attempt": 1, "max_attempts": 3, "lease_ms": 60_000, "previous": [],
        }  # fmt: skip
        task = frames.TaskAssign(task_id=task_id, generation=generation, **{**defaults, **more})
        self.tasks[task_id] = task
        self.push(task)
        return task

    def push(self, frame: Any) -> None:
        if self.sends:
            self._later(self.sends[-1]({"type": "websocket.send", "text": _text(frame)}))

    def drop(self, code: int = 1012) -> None:
        """Close all connections."""
        for send in self.sends:
            self._later(send({"type": "websocket.close", "code": code}))
        self.sends.clear()

    def _later(self, sending: Any) -> None:
        async def run() -> None:
            with contextlib.suppress(Exception):  # the peer went first
                await sending

        self._sending = asyncio.ensure_future(run())

    # --- the app ---------------------------------------------------------------------------------------

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self.socket(receive, send, scope["subprotocols"])
        elif scope["type"] == "http":
            await self.http(scope, receive, send)

    async def http(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        while True:
            part = await receive()
            body += part.get("body", b"")
            if not part.get("more_body"):
                break
        status, answer = self.route(scope["method"], scope["path"], body)
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": msgspec.json.encode(answer)})

    def route(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        if path == "/api/pulls" and self.pulls_are_down:
            self.got.append(path)
            return 503, bodies.ErrorBody("unavailable", "as planned")
        if (method, path) == ("POST", "/api/pulls"):
            pull = msgspec.json.decode(body, type=bodies.NewPull)
            self.pulls[(pull.repo, pull.branch)] = pull
            return 201, {
                "pr_id": f"pr-{len(self.pulls)}",
                "url": f"{self.url}/api/pulls/pr-{len(self.pulls)}",
            }
        if (method, path) == ("POST", "/api/onboard/register"):
            wanted = msgspec.json.decode(body, type=bodies.Register)
            self.registered.append(wanted.agent_id)
            if wanted.invite == "bad":
                return 403, bodies.ErrorBody("forbidden", "this invite is not good any more")
            return 201, bodies.Registered(
                agent_id=wanted.agent_id, token="good", hub_ws_url="", hub_api_url=self.url, default_repo=""
            )
        return 404, bodies.ErrorBody("not_found", path)

    async def socket(self, receive: Receive, send: Send, offered: list[str]) -> None:
        await receive()
        self.packed = "agentcom.v2.msgpack" in offered
        await send({"type": "websocket.accept", "subprotocol": offered[0]})
        while (event := await receive())["type"] == "websocket.receive":
            frame = msgspec.json.decode(event["text"], type=frames.InboundFrame)
            self.got.append(frame)
            for answer in self.answers(frame):
                if isinstance(answer, int):
                    await send({"type": "websocket.close", "code": answer})
                    return
                await send({"type": "websocket.send", "text": _text(answer)})
            if isinstance(frame, frames.Hello):
                self.sends.append(send)
        if send in self.sends:
            self.sends.remove(send)

    def answers(self, frame: Any) -> Iterator[Any]:
        if isinstance(frame, frames.Hello):
            yield from self.on_hello(frame)
        elif isinstance(frame, frames.Heartbeat):
            yield frames.HeartbeatAck(re=frame.id)
        elif type(frame) in STATUS and not self.mute:
            yield self.on_report(frame)

    def on_hello(self, hello: frames.Hello) -> Iterator[Any]:
        if hello.token == "bad":
            yield frames.ErrorFrame(code="invalid_token", message="no such token")
            yield 4401
        elif self.close_hello_with:
            yield self.close_hello_with
        else:
            yield frames.Welcome(
                session="s", agent_id=hello.agent_id, epoch=1, heartbeat_ms=self.heartbeat_ms,
                lease_ms=60_000, grace_ms=60_000, time_ms=0, tasks=self.verdicts,
            )  # fmt: skip
            listed = {held.task_id for held in hello.resume.tasks}
            yield from (
                task for task_id, task in self.tasks.items() if task_id not in listed and self.open(task)
            )

    def open(self, task: frames.TaskAssign) -> bool:
        return (task.task_id, task.generation) not in self.finals and task.task_id not in self.holders

    def on_report(self, report: Any) -> Any:
        about = {"task_id": report.task_id, "generation": report.generation, "re": report.id}
        planned = self.errors.get(type(report))
        if planned:
            code, after_ms = planned.pop(0)
            return frames.ErrorFrame(code=code, message="as planned", retry_after_ms=after_ms, **about)
        task = self.tasks.get(report.task_id)
        if task is None:
            return frames.ErrorFrame(code="not_found", message="no such task", **about)
        if report.generation < task.generation:
            return frames.ErrorFrame(code="stale_generation", message="an older generation", **about)
        status = STATUS[type(report)]
        if isinstance(report, frames.TaskAccept):
            self.holders[report.task_id] = "held"
        if isinstance(report, frames.TaskComplete | frames.TaskFail | frames.TaskReject):
            _, status = self.finals.setdefault((report.task_id, report.generation), (report, status))
        return frames.TaskAck(status=status, **about)


def _text(frame: Any) -> str:
    return msgspec.json.encode(frame).decode()


async def until(condition: Callable[[], Any], deadline_s: float = 20.0) -> Any:
    """Wait for a condition; the pause only sets how often it is looked at."""
    async with asyncio.timeout(deadline_s):
        while not (value := condition()):
            await asyncio.sleep(0.005)
        return value
