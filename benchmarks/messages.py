"""Agents of the load process that talk: direct messages at a rate, as many as go, and posts to many.

Receivers acknowledge every few messages, as a client that works them off would. A message carries the moment it was
sent; sender and receiver share this process' clock.
May import: asyncio, agentcom.protocol.frames, benchmarks.{meter, mix, specs, ws}.
"""

import asyncio
import time
import uuid
from collections.abc import Callable

from agentcom.protocol.frames import (
    Ack,
    ErrorFrame,
    Heartbeat,
    HeartbeatAck,
    Hello,
    MessageFrame,
    OutboundFrame,
    Send,
    Sent,
    Subscribe,
    Subscribed,
    Welcome,
)
from benchmarks import mix, specs, ws
from benchmarks.meter import Meter

ACK_EVERY = 32
ACK_S = 0.05
TEXT = "The build of this morning is green again; I take the next one of the list. " * 2

OnMessage = Callable[[MessageFrame], None]


class Talker:
    """One connected agent. `answered` is called for each `sent`."""

    def __init__(self, plan: specs.AgentPlan, on_message: OnMessage, on_error: Callable[[str], None]) -> None:
        self.plan, self._on_message, self._on_error = plan, on_message, on_error
        self.answered: Callable[[], None] = lambda: None
        self._loop = asyncio.get_running_loop()
        self._welcome: asyncio.Future[Welcome] = self._loop.create_future()
        self._subscribed = asyncio.Event()
        self._seq = self._acked = 0
        self._timers: list[asyncio.TimerHandle] = []
        self._leaving = False

    async def join(self, target: specs.Target, channel: str = "") -> None:
        plan = self.plan
        self._socket = await ws.connect(target.host, target.port, self._on_frame, self._on_close)
        self._socket.send(Hello(agent_id=plan.agent_id, token=plan.token, instance=uuid.uuid4().hex))
        welcome = await asyncio.wait_for(self._welcome, 30)
        self._beat(welcome.heartbeat_ms / 1e3)
        self._ack_later()
        if channel:
            self._socket.send(Subscribe(channel=channel))
            await asyncio.wait_for(self._subscribed.wait(), 30)

    def say(self, to: str = "", channel: str = "") -> None:
        self._socket.send(
            Send(
                to=to or None, channel=channel or None, key=mix.key(),
                payload={"text": TEXT, "at": time.perf_counter()},
            )
        )  # fmt: skip

    def leave(self) -> None:
        self._leaving = True
        self._ack()
        for timer in self._timers:
            timer.cancel()
        self._socket.close()

    def _on_frame(self, frame: OutboundFrame) -> None:
        match frame:
            case MessageFrame():
                self._heard(frame)
            case Sent():
                self.answered()
            case Welcome():
                self._welcome.set_result(frame)
            case Subscribed():
                self._subscribed.set()
            case ErrorFrame(code=code, message=why):
                self._on_error(f"{self.plan.agent_id}: {code}: {why}")
            case _:
                if not isinstance(frame, HeartbeatAck):
                    self._on_error(f"{self.plan.agent_id} got {type(frame).__name__}")

    def _heard(self, frame: MessageFrame) -> None:
        if frame.seq != self._seq + 1:
            self._on_error(f"{self.plan.agent_id} got number {frame.seq} after {self._seq}")
        self._seq = frame.seq
        self._on_message(frame)
        if self._seq - self._acked >= ACK_EVERY:
            self._ack()

    def _ack(self) -> None:
        if self._seq > self._acked:
            self._acked = self._seq
            self._socket.send(Ack(seq=self._seq))

    def _ack_later(self) -> None:
        self._ack()
        self._timers[:1] = [self._loop.call_later(ACK_S, self._ack_later)]

    def _beat(self, every_s: float) -> None:
        self._socket.send(Heartbeat())
        self._timers[1:] = [self._loop.call_later(every_s, self._beat, every_s)]

    def _on_close(self, reason: str) -> None:
        if not self._leaving:
            self._on_error(f"{self.plan.agent_id}: {reason}")


async def _joined(spec: specs.Talk, meter: Meter, on_message: OnMessage, channel: str = "") -> list[Talker]:
    """The first one has nothing to subscribe: it posts."""
    talkers = [Talker(plan, on_message, meter.error) for plan in spec.agents]
    for n, talker in enumerate(talkers):
        await talker.join(spec.target, channel if n else "")
    return talkers


async def at_a_rate(spec: specs.DirectRate, meter: Meter) -> None:
    """Open loop: the first half of the agents each sends to one of the other half."""
    open_ = 0

    def heard(frame: MessageFrame) -> None:
        nonlocal open_
        open_ -= 1
        meter.done(time.perf_counter() - frame.payload["at"])

    talkers = await _joined(spec, meter, heard)
    half = len(talkers) // 2
    total, warm = round((spec.warmup_s + spec.seconds) * spec.rate), round(spec.warmup_s * spec.rate)
    began = time.perf_counter()
    for number in range(total):
        due = began + number / spec.rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        if number == warm:
            meter.open()
        meter.late(time.perf_counter() - due)
        open_ += 1
        talkers[number % half].say(to=talkers[half + number % half].plan.agent_id)
    for _ in range(500):
        if not open_:
            break
        await asyncio.sleep(0.01)
    meter.close()
    if open_:
        meter.error(f"{open_} messages did not arrive within 5 s")
    for talker in talkers:
        talker.leave()


async def pairs(spec: specs.DirectPairs, meter: Meter) -> None:
    """Closed loop: each sender has `ahead` messages on their way, and sends the next when one was answered."""

    def heard(frame: MessageFrame) -> None:
        meter.done(time.perf_counter() - frame.payload["at"])

    talkers = await _joined(spec, meter, heard)
    half = len(talkers) // 2
    for sender, receiver in zip(talkers[:half], talkers[half:], strict=True):
        _keep_going(sender, receiver.plan.agent_id)
        for _ in range(spec.ahead):
            sender.say(to=receiver.plan.agent_id)
    await meter.window(spec.warmup_s, spec.seconds)
    for talker in talkers:
        talker.answered = lambda: None
    await asyncio.sleep(0.5)
    for talker in talkers:
        talker.leave()


def _keep_going(sender: Talker, to: str) -> None:
    sender.answered = lambda: sender.say(to=to)


async def posts(spec: specs.Posts, meter: Meter) -> None:
    """Closed loop: the next post when one of `ahead` has reached everyone."""
    receivers = len(spec.agents) - 1
    left: dict[str, int] = {}
    stop = False

    def heard(frame: MessageFrame) -> None:
        meter.done(time.perf_counter() - frame.payload["at"])
        missing = left.get(frame.message_id, receivers) - 1
        left[frame.message_id] = missing
        if not missing:
            del left[frame.message_id]
            if not stop:
                talkers[0].say(channel=spec.channel)

    talkers = await _joined(spec, meter, heard, spec.channel)
    for _ in range(spec.ahead):
        talkers[0].say(channel=spec.channel)
    await meter.window(spec.warmup_s, spec.seconds)
    stop = True
    await asyncio.sleep(0.5)
    for talker in talkers:
        talker.leave()
