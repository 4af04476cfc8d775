"""Agents of the load process: protocol 2, and work that takes no time.

May import: asyncio, agentcom.protocol.frames, benchmarks.{specs, ws}.
"""

import asyncio
import time
import uuid
from collections.abc import Callable
from functools import partial

from agentcom.protocol.frames import (
    Abort,
    Drain,
    Draining,
    ErrorFrame,
    Goodbye,
    Heartbeat,
    HeartbeatAck,
    HeldTask,
    Hello,
    OutboundFrame,
    TaskAccept,
    TaskAck,
    TaskAssign,
    TaskCancel,
    TaskComplete,
    TaskResult,
    Welcome,
)
from benchmarks import ws
from benchmarks.specs import AgentPlan, Target

RESULT = TaskResult(summary="done", branch="bench/task", commit="0" * 40)

OnAssign = Callable[[TaskAssign, float], None]
OnDone = Callable[[float], None]
OnError = Callable[[str], None]


class Agent:
    """Accepts and completes at once; with `acked` it completes when the accept was acknowledged; with `keep`
    not before `leave`. Tells `on_assign` what came and when, `on_done` the seconds until its completion was
    acknowledged."""

    def __init__(
        self,
        plan: AgentPlan,
        on_assign: OnAssign,
        on_done: OnDone,
        on_error: OnError,
        *,
        acked: bool = False,
        keep: bool = False,
    ) -> None:
        self._plan, self._acked, self._keep = plan, acked, keep
        self._on_assign, self._on_done, self._on_error = on_assign, on_done, on_error
        self._held: dict[tuple[str, int], float] = {}
        self._leaving = False
        self._beat: asyncio.Task[None] | None = None
        self._socket: ws.Socket | None = None
        self._welcome: asyncio.Future[Welcome] = asyncio.get_running_loop().create_future()
        self._draining = asyncio.Event()
        self.holding = asyncio.Event()  #: an accept was acknowledged
        self._handlers: dict[type, Callable[..., None]] = {
            Welcome: self._on_welcome,
            TaskAssign: self._on_task,
            TaskAck: self._on_ack,
            ErrorFrame: self._on_fault,
            TaskCancel: self._on_cancel,
            HeartbeatAck: self._on_beat,
            Draining: lambda _: self._draining.set(),
            Goodbye: lambda frame: self._on_error(f"goodbye: {frame.reason}"),
        }

    async def join(self, target: Target) -> None:
        """Connected, welcomed, and beating."""
        self._socket = await ws.connect(target.host, target.port, self._on_frame, self._on_close)
        plan = self._plan
        self._send(
            Hello(
                agent_id=plan.agent_id,
                token=plan.token,
                instance=uuid.uuid4().hex,
                capabilities=list(plan.capabilities),
            )
        )
        welcome = await asyncio.wait_for(self._welcome, 30)
        self._beat = asyncio.create_task(self._beat_for_ever(welcome.heartbeat_ms / 1e3))

    async def leave(self, deadline_s: float = 10.0) -> None:
        """Ask for no more work, finish what is held, and close."""
        self._send(Drain())
        if self._keep:
            self._keep = False
            for task_id, generation in self._held:
                self._complete(task_id, generation)
        try:
            await asyncio.wait_for(self._settled(), deadline_s)
        except TimeoutError:
            self._on_error(
                f"{self._plan.agent_id} still held {len(self._held)} tasks {deadline_s:.0f} s after drain"
            )
        self._leaving = True
        if self._beat is not None:
            self._beat.cancel()
        if self._socket is not None:
            self._socket.close()

    async def _settled(self) -> None:
        await self._draining.wait()
        quiet_since = time.perf_counter()
        while time.perf_counter() - quiet_since < 0.2:  # an assignment may have been on its way when we asked
            await asyncio.sleep(0.02)
            if self._held:
                quiet_since = time.perf_counter()

    def _send(self, *frames: Hello | Drain | Heartbeat | TaskAccept | TaskComplete) -> None:
        if self._socket is not None:
            self._socket.send(*frames)

    def _complete(self, task_id: str, generation: int) -> None:
        self._send(TaskComplete(task_id=task_id, generation=generation, result=RESULT))

    def _on_frame(self, frame: OutboundFrame) -> None:
        handle = self._handlers.get(type(frame), partial(self._unexpected, self._plan.agent_id))
        handle(frame)

    def _unexpected(self, agent_id: str, frame: OutboundFrame) -> None:
        self._on_error(f"{agent_id} got an unexpected {type(frame).__name__}")

    def _on_welcome(self, frame: Welcome) -> None:
        self._welcome.set_result(frame)

    def _on_task(self, frame: TaskAssign) -> None:
        now = time.perf_counter()
        self._on_assign(frame, now)
        self._held.setdefault((frame.task_id, frame.generation), now)
        accept = TaskAccept(task_id=frame.task_id, generation=frame.generation)
        if self._acked or self._keep:
            self._send(accept)
        else:
            self._send(
                accept, TaskComplete(task_id=frame.task_id, generation=frame.generation, result=RESULT)
            )

    def _on_ack(self, frame: TaskAck) -> None:
        if frame.status == "accepted":
            self.holding.set()
            if self._acked and not self._keep:
                self._complete(frame.task_id, frame.generation)
        elif frame.status == "completed":
            since = self._held.pop((frame.task_id, frame.generation), None)
            if since is not None:
                self._on_done(time.perf_counter() - since)
        else:
            self._on_error(f"task {frame.task_id} was answered {frame.status}")

    def _on_fault(self, frame: ErrorFrame) -> None:
        self._held.pop((frame.task_id, frame.generation or 0), None)
        self._on_error(f"{frame.code}: {frame.message}")
        if not self._welcome.done():
            self._welcome.set_exception(ConnectionError(f"{frame.code}: {frame.message}"))

    def _on_cancel(self, frame: TaskCancel) -> None:
        self._on_error(f"task {frame.task_id} was cancelled: {frame.reason}")

    def _on_beat(self, frame: HeartbeatAck) -> None:
        for abort in frame.abort:
            self._on_abort(abort)

    def _on_abort(self, abort: Abort) -> None:
        self._held.pop((abort.task_id, abort.generation), None)
        self._on_error(f"task {abort.task_id} was aborted: {abort.reason}")

    def _on_close(self, reason: str) -> None:
        if not self._welcome.done():
            self._welcome.set_exception(ConnectionError(reason))
        if not self._leaving:
            self._on_error(f"{self._plan.agent_id}: {reason}")

    async def _beat_for_ever(self, every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            held = [HeldTask(task_id, generation) for task_id, generation in self._held]
            self._send(Heartbeat(tasks=held))
