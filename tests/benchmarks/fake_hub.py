"""A small hub for the harness's own tests: one queue in memory, the number of tasks in a file.

Unrealistic: the queue is not durable, nothing is checked, leases and lanes do not exist, agents get tasks in
the order of submission. `--set fake.forget=true` makes it lose a task at each restart, `fake.refuse=true`
makes it refuse single submits. The WebSocket side is the `websockets` library's own protocol, so that the
harness's hand-written client is held to it.
"""

import asyncio
import json
import os
import sys
from collections import deque
from pathlib import Path
from typing import Any

import uvloop
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from benchmarks.launch import Sampler


class FakeHub:
    def __init__(self, data: Path, *, forgets: bool, refuses: bool) -> None:
        self.refuses = refuses
        data.mkdir(parents=True, exist_ok=True)
        (data / "admin.token").write_text("secret-token\n")
        self.file = data / "tasks"
        self.tasks = int(self.file.read_text()) - forgets if self.file.exists() else 0
        self.queue: deque[dict[str, Any]] = deque()
        self.idle: deque[Session] = deque()

    def submit(self, task: dict[str, Any]) -> dict[str, Any]:
        self.tasks += 1
        self.queue.append(task | {"task_id": f"task-{self.tasks}"})
        return {"task_id": f"task-{self.tasks}", "status": "queued", "priority": 2, "created_at": 0}

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        if (method, path) == ("POST", "/api/tasks"):
            answer: Any = (
                (503, {"error": "overloaded"}) if self.refuses else (201, self.submit(json.loads(body)))
            )
        elif (method, path) == ("POST", "/api/tasks/batch"):
            answer = (201, {"tasks": [self.submit(task) for task in json.loads(body)["tasks"]]})
        elif path == "/api/tasks/stats":
            answer = (200, {"by_status": {"queued": self.tasks}})
        elif path == "/api/onboard/register":
            answer = (201, {"agent_id": json.loads(body)["agent_id"], "token": "agent-token"})
        else:
            answer = (200, {}) if path == "/ready" else (404, {"error": "not_found", "message": path})
        self.file.write_text(str(self.tasks))
        self.assign()
        return answer

    def assign(self) -> None:
        for _ in range(len(self.idle)):
            session = self.idle.popleft()
            task = next(
                (t for t in self.queue if set(t["needed_capabilities"]) <= session.capabilities), None
            )
            if task is None:
                self.idle.append(session)
            else:
                self.queue.remove(task)
                session.assign(task)


class Session:
    """One agent's frames."""

    def __init__(self, hub: FakeHub, send: Any) -> None:
        self.hub, self.send, self.capabilities = hub, send, set()
        self.draining = False

    def on_frame(self, frame: dict[str, Any]) -> None:
        getattr(self, "on_" + frame["type"])(frame)

    def on_hello(self, frame: dict[str, Any]) -> None:
        self.capabilities = set(frame["capabilities"])
        self.send({
            "type": "welcome", "session": "s", "agent_id": frame["agent_id"], "epoch": 1, "heartbeat_ms": 100,
            "lease_ms": 1000, "grace_ms": 1000, "time_ms": 0,
        })  # fmt: skip
        self.free()

    def on_heartbeat(self, _frame: dict[str, Any]) -> None:
        self.send({"type": "heartbeat_ack"})

    def on_task_accept(self, frame: dict[str, Any]) -> None:
        self.ack(frame, "accepted")

    def on_task_complete(self, frame: dict[str, Any]) -> None:
        self.ack(frame, "completed")
        self.free()

    def on_drain(self, _frame: dict[str, Any]) -> None:
        self.draining = True
        self.hub.idle = deque(session for session in self.hub.idle if session is not self)
        self.send({"type": "draining"})

    def ack(self, frame: dict[str, Any], status: str) -> None:
        self.send(
            {
                "type": "task_ack",
                "task_id": frame["task_id"],
                "generation": frame["generation"],
                "status": status,
            }
        )

    def free(self) -> None:
        if not self.draining:
            self.hub.idle.append(self)
            self.hub.assign()

    def assign(self, task: dict[str, Any]) -> None:
        self.send({
            "type": "task_assign", "generation": 1, "success_criteria": [], "attempt": 1, "max_attempts": 3,
            "lease_ms": 1000, "previous": [], "metadata": task["metadata"], "priority": task["priority"],
            "task_id": task["task_id"], "description": task["description"],
            "needed_capabilities": task["needed_capabilities"],
        })  # fmt: skip


class Http(asyncio.Protocol):
    """Requests with a content-length, until one asks for /ws; then frames."""

    def __init__(self, hub: FakeHub) -> None:
        self.hub, self.buffer, self.ws = hub, b"", None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self.ws is not None:
            self.feed(data)
            return
        self.buffer += data
        while b"\r\n\r\n" in self.buffer:
            head, _, rest = self.buffer.partition(b"\r\n\r\n")
            lines = head.decode().splitlines()
            headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:])}
            length = int(headers.get("content-length", 0))
            method, path, _ = lines[0].split()
            if path == "/ws":
                self.upgrade()
                return
            if len(rest) < length:
                return
            self.buffer = rest[length:]
            status, answer = self.hub.answer(method, path, rest[:length])
            body = json.dumps(answer).encode()
            self.transport.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body))

    def upgrade(self) -> None:
        self.ws = ServerProtocol(subprotocols=["agentcom.v2.json"], max_size=None)
        self.session = Session(self.hub, self.send)
        self.feed(self.buffer)

    def feed(self, data: bytes) -> None:
        self.ws.receive_data(data)
        for event in self.ws.events_received():
            if isinstance(event, Request):
                self.ws.send_response(self.ws.accept(event))
                self.flush()
            elif isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                self.session.on_frame(json.loads(event.data))
        self.flush()

    def send(self, frame: dict[str, Any]) -> None:
        self.ws.send_text(json.dumps(frame).encode())
        self.flush()

    def flush(self) -> None:
        for data in self.ws.data_to_send():
            if data:
                self.transport.write(data)


async def serve(argv: list[str]) -> None:
    options = dict(zip(argv[1::2], argv[2::2], strict=True))
    hub = FakeHub(
        Path(options["--data"]), forgets="fake.forget=true" in argv, refuses="fake.refuse=true" in argv
    )
    server = await asyncio.get_running_loop().create_server(
        lambda: Http(hub), options["--host"], int(options["--port"])
    )
    await server.serve_forever()


if __name__ == "__main__":
    Sampler(Path(os.environ["BENCHMARK_PROFILE"])).install()
    uvloop.run(serve(sys.argv[1:]))
