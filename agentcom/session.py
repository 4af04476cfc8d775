"""An agent's live connection to the hub: the WebSocket shell around `session_state`.

`async with AgentSession(...) as session: async for event in session: ...`. It reconnects by itself; it ends,
and the iteration raises, only when the hub says that this client must not come back. What must not be
forgotten goes through an `Outbox` before it is acted upon.
May import: websockets, msgspec, structlog, agentcom.protocol and its neighbours answers, backoff, endpoint,
session_mail, session_reports, session_state.
"""

import asyncio
import contextlib
import random
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Literal, Protocol, Self

import msgspec
import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.typing import Subprotocol

from agentcom.answers import error
from agentcom.backoff import delay_s
from agentcom.endpoint import CODECS, is_local, tls_of, ws_url
from agentcom.protocol import errors, frames
from agentcom.session_mail import SessionMail
from agentcom.session_reports import SessionReports
from agentcom.session_state import Event, Heard, Saved, SessionState, Todo

#: Close codes and pre-welcome error codes after which a client does not come back by itself.
FATAL_CLOSES: dict[int, tuple[errors.Code, str]] = {
    4401: ("invalid_token", "the hub does not know this token"),
    4403: ("forbidden", "this token was revoked"),
    4409: ("conflict", "replaced by a newer session of the same instance"),
    4410: ("conflict", "another instance of this agent is connected or holds work"),
}
FATAL_ERRORS = frozenset(
    {"invalid_token", "token_agent_mismatch", "forbidden", "conflict", "bad_frame", "not_found"}
)
WELCOME_S = 20.0
CLOSE_S = 3.0
SILENT_HEARTBEATS = 3

_log = structlog.get_logger("agentcom.session")


class Outbox(Protocol):
    """Where a session's memory is kept. `save` returns when it would survive a crash."""

    async def load(self) -> Saved: ...

    async def save(self, saved: Saved) -> None: ...


class AgentSession(SessionReports, SessionMail):
    """One agent's session: iterate over it for its events (`agentcom.session_state`).

    `alive(task_id)` tells heartbeats whether the work's process lives. `want=["presence"]` asks for `Presence` events.
    `takeover` ends the session of another instance. `backoff_s` begins and bounds the pauses between connections.
    `OSError` for a `ca_file` that cannot be used.
    """

    def __init__(
        self,
        url: str,
        *,
        agent_id: str,
        token: str,
        instance: str = "",
        capabilities: Sequence[str] = (),
        codec: Literal["json", "msgpack"] = "json",
        outbox: Outbox | None = None,
        alive: Callable[[str], bool] = lambda _task_id: True,
        takeover: bool = False,
        client: frames.ClientInfo | None = None,
        backoff_s: tuple[float, float] = (0.2, 30.0),
        ca_file: str = "",
        want: Sequence[str] = (),
    ) -> None:
        self.url = ws_url(url)
        self.agent_id = agent_id
        self.instance = instance or uuid.uuid4().hex
        self.state = SessionState()
        self.welcome: frames.Welcome | None = None
        self._tls = tls_of(self.url, ca_file)
        self._token = token
        self._capabilities = list(capabilities)
        self._codec = CODECS[codec]
        self._outbox = outbox
        self._alive = alive
        self._takeover = takeover
        self._client = client or frames.ClientInfo("agentcom.client")
        self._backoff_s = backoff_s
        self._want = list(want)
        self._rng = random.Random()  # noqa: S311  # jitter, not a secret
        self._events: asyncio.Queue[Event | BaseException | None] = asyncio.Queue()
        self._mail: asyncio.Queue[Heard | BaseException | None] = asyncio.Queue()
        self._lock = asyncio.Lock()
        self._ws: ClientConnection | None = None
        self._task: asyncio.Task[None] | None = None
        self._later: set[asyncio.Task[None]] = set()
        self._heard = 0.0
        self._welcomed = 0.0
        self._pause_s = 0.0

    # --- life ----------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start(self) -> None:
        """Load what was kept and begin to connect; does not wait for the hub. Raises what `Outbox.load` raises."""
        if self._outbox is not None:
            self.state = SessionState(await self._outbox.load())
        self._task = asyncio.create_task(self._run(), name=f"session {self.agent_id}")

    async def close(self) -> None:
        """Close the connection (1000). What is held stays held: the hub gives it the grace period."""
        for task in (self._task, *self._later):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        self._ended(None)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        """The next event. Stops after `close`; when the hub ended the session for good, raises `Refused` with why:
        `invalid_token`, `token_agent_mismatch`, `forbidden`, `conflict` (another session has its place), `not_found`.
        """
        event = await self._events.get()
        if event is None or isinstance(event, BaseException):
            self._events.put_nowait(event)  # the end stays the end for everyone who asks
            raise StopAsyncIteration if event is None else event
        return event

    # --- other frames ----------------------------------------------------------------------------------

    async def send(self, frame: frames.InboundFrame) -> bool:
        """Any other frame (status, drain), now or not at all; says whether it was sent. Of what the hub answers only a
        refusal is told, by the event `Refused`.
        """
        return self._ws is not None and self.state.online and await self._send(self._ws, frame)

    async def beat(self) -> None:
        """A heartbeat now, without waiting for the next one's time."""
        await self.send(frames.Heartbeat(tasks=self.state.listed(self._alive)))

    # --- connection ------------------------------------------------------------------------------------

    async def _run(self) -> None:
        attempt = 0
        try:
            while True:
                began = time.monotonic()
                reason = await self._once()
                _log.info("session.lost", agent_id=self.agent_id, reason=reason)
                attempt = 0 if self._lasted(began) else attempt + 1
                base_s, cap_s = self._backoff_s
                await asyncio.sleep(
                    delay_s(attempt, self._rng, base_s=base_s, cap_s=cap_s, at_least_s=self._pause_s)
                )
                self._pause_s = 0.0
        except asyncio.CancelledError:
            raise
        except Exception as exc:  # noqa: BLE001  # handed to whoever iterates, who cannot go on without us
            self._ended(exc)

    def _ended(self, why: BaseException | None) -> None:
        self._events.put_nowait(why)
        self._mail.put_nowait(why)

    def _lasted(self, began: float) -> bool:
        """Whether the connection begun then was a good one; only such a one makes us eager again."""
        return self._welcomed > began and time.monotonic() - self._welcomed > 5.0

    async def _once(self) -> str:
        """One connection, from dialling to its end; says why it ended. Raises `Refused` if it is the last."""
        try:
            async with connect(
                self.url,
                subprotocols=[Subprotocol(self._codec.name)],
                compression=None,
                close_timeout=CLOSE_S,
                max_size=4 << 20,
                ssl=self._tls,
                proxy=None if is_local(self.url) else True,
            ) as ws:
                return await self._talk(ws)
        except ConnectionClosed as exc:
            return self._closed(exc)
        except (OSError, WebSocketException, TimeoutError, msgspec.DecodeError) as exc:
            return f"{type(exc).__name__}: {exc}"
        finally:
            self._ws = None
            self.state.lost("connection lost")
            self._tell(self.state.take())

    async def _talk(self, ws: ClientConnection) -> str:
        await ws.send(self._codec.encode(self._hello()))
        async with asyncio.timeout(WELCOME_S):
            first = self._codec.decode(await ws.recv())
        if isinstance(first, frames.ErrorFrame):
            self._pause_s = first.retry_after_ms / 1000
            if first.code in FATAL_ERRORS:
                raise error(first.code, first.message, path=first.path)
            return f"{first.code}: {first.message}"
        if not isinstance(first, frames.Welcome):
            self._goodbye(first)
            return f"{type(first).__name__} instead of a welcome"
        self._ws, self.welcome = ws, first
        self._heard = self._welcomed = time.monotonic()
        self.state.receive(first)
        await self._flush()
        beats = asyncio.create_task(self._beats(ws, first.heartbeat_ms / 1000))
        try:
            async for data in ws:
                self._heard = time.monotonic()
                await self._received(data)
        finally:
            beats.cancel()
            await asyncio.gather(beats, return_exceptions=True)
        return self._closed_by(ws.close_code, ws.close_reason)

    async def _received(self, data: bytes | str) -> None:
        try:
            frame = self._codec.decode(data)
        except msgspec.DecodeError as exc:  # of a newer hub: what we do not know is not for us
            _log.warning("frame.unknown", agent_id=self.agent_id, problem=str(exc))
            return
        self._goodbye(frame)
        self.state.receive(frame)
        await self._flush()

    def _goodbye(self, frame: frames.OutboundFrame) -> None:
        if isinstance(frame, frames.Goodbye):
            self._pause_s = frame.retry_after_ms / 1000

    def _hello(self) -> frames.Hello:
        return frames.Hello(
            agent_id=self.agent_id,
            instance=self.instance,
            token=self._token,
            epoch=self.state.epoch,
            capabilities=self._capabilities,
            client=self._client,
            takeover=self._takeover,
            want=self._want,
            resume=frames.Resume(tasks=self.state.listed(self._alive), acked_seq=self.state.talk.acked),
        )

    def _closed(self, exc: ConnectionClosed) -> str:
        return self._closed_by(exc.rcvd.code if exc.rcvd else None, exc.rcvd.reason if exc.rcvd else "")

    def _closed_by(self, code: int | None, reason: str | None) -> str:
        if code in FATAL_CLOSES:
            kind, said = FATAL_CLOSES[code]
            raise error(kind, f"{said} ({code}{': ' + reason if reason else ''})")
        return f"closed with {code} {reason or ''}".strip()

    async def _beats(self, ws: ClientConnection, every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            if time.monotonic() - self._heard > SILENT_HEARTBEATS * every_s:
                _log.warning("hub.silent", agent_id=self.agent_id)
                ws.transport.abort()
                return
            await self._send(ws, frames.Heartbeat(tasks=self.state.listed(self._alive)))
            self.state.tick()
            await self._flush()

    # --- carrying out what the state says ----------------------------------------------------------------

    async def _flush(self) -> None:
        """Keep, then send, then tell: in the order in which it was decided."""
        todo, ws = self.state.take(), self._ws
        if todo.saved is not None and self._outbox is not None:
            async with self._lock:
                await self._keep(self._outbox, todo.saved)
                await self._carry_out(todo, ws)
        elif todo.sends or todo.events or todo.again:
            async with self._lock:
                await self._carry_out(todo, ws)

    async def _carry_out(self, todo: Todo, ws: ClientConnection | None) -> None:
        for frame in todo.sends:
            if ws is None or not await self._send(ws, frame):
                break  # offline: reports are sent after the next welcome
        self._tell(todo)

    def _tell(self, todo: Todo) -> None:
        for event in todo.events:
            if isinstance(event, Heard):
                self._mail.put_nowait(event)
            else:
                self._events.put_nowait(event)
        for again in todo.again:
            task = asyncio.create_task(self._resend(again.id, again.after_ms / 1000))
            self._later.add(task)
            task.add_done_callback(self._later.discard)

    async def _resend(self, report_id: str, after_s: float) -> None:
        await asyncio.sleep(delay_s(1, self._rng, base_s=0.1, cap_s=1.0, at_least_s=after_s))
        self.state.resend(report_id)
        await self._flush()

    async def _keep(self, outbox: Outbox, saved: Saved) -> None:
        attempt = 0
        while True:
            try:
                await outbox.save(saved)
            except OSError as exc:
                # a full disk is a state, not the end: nothing is acted upon until it passes
                attempt += 1
                _log.error("session.not_saved", agent_id=self.agent_id, problem=str(exc))
                await asyncio.sleep(delay_s(attempt, self._rng, base_s=0.5, cap_s=10.0))
            else:
                return

    async def _send(self, ws: ClientConnection, frame: frames.InboundFrame) -> bool:
        with contextlib.suppress(ConnectionClosed):
            await ws.send(self._codec.encode(frame))
            return True
        return False
