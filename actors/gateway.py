"""The gateway's shell: messages into `agentcom.core.gateway`, its outputs to names, reads answered from rows.

It never commits. May import: supervisors.base, agentcom.{core, store, runtime}.
"""

from typing import Any

import msgspec
import structlog
from thespian.actors import ActorAddress

from agentcom.core.decision import Now, Output, joined
from agentcom.core.gateway import decide, on_deliver, on_down, on_up
from agentcom.core.gateway_http import unfound
from agentcom.core.gateway_sessions import TICK_S, unreadable
from agentcom.core.gateway_state import NEEDED_TO_SERVE, SHELL, Rules, State
from agentcom.core.messages import Condition, Deliver, Fault, FrameIn, Read, Reply, Several, Tick
from agentcom.core.routes import ROUTES
from agentcom.protocol.errors import Refused
from agentcom.protocol.v1_views import as_before
from agentcom.runtime import BlockingDone, BlockingFailed, Clock, SystemClock, TimedOut, run_blocking
from agentcom.store import Reader, StoreError, queries
from agentcom.store.env import reader_of
from supervisors.base import Supervised
from supervisors.messages import answer_unavailable

log = structlog.get_logger()

MAINTENANCE = ("snapshots", "archive", "compaction", "verifier")
READ_S = 25.0
"""A list that takes longer is given up, before the edge's own backstop."""


class ReadFailed(RuntimeError):
    """A query raised on its thread: a bug, and so a crash."""


def _now_ms() -> int:
    return int(SystemClock().now() * 1000)


class GatewayArgs(msgspec.Struct, frozen=True):
    rules: Rules
    folder: str
    clock: Clock = msgspec.field(default_factory=SystemClock)
    #: of the hub: a gateway that crashed is given them again
    since_ms: int = msgspec.field(default_factory=_now_ms)
    said: Condition | None = None  #: of the start: shown in `/health` until it is over


class GatewayActor(Supervised):
    needs = ("store",)
    soft_needs = (*NEEDED_TO_SERVE, "channels", "presence", "alerter", *MAINTENANCE)

    def on_start(self, args: GatewayArgs) -> None:
        self.reader, self.clock = reader_of(args.folder), args.clock
        self.state = State(args.rules, self.myAddress)
        self.state.since_ms = args.since_ms
        if args.said is not None:
            decide(self.state, args.said, self._now(), self.reader)
        self.after(TICK_S, Tick())
        self.ready()

    def on_message(self, msg: Any, sender: ActorAddress) -> None:
        if type(msg) is Deliver:  # the most frequent by far, and it needs neither time nor rows
            self._carry_out(on_deliver(self.state, msg))
            return
        if isinstance(msg, BlockingDone | BlockingFailed | TimedOut):
            self._read_ended(msg)
            return
        parts = msg.messages if isinstance(msg, Several) else (msg,)
        self._carry_out([output for part in parts for output in self._decide(part)])

    def _decide(self, msg: Any) -> list[Output]:
        """A row that cannot be read concerns who needs it, not every session."""
        try:
            return decide(self.state, msg, self._now(), self.reader)
        except StoreError:
            log.exception("gateway.unreadable", actor=self.name, message=str(msg))
            if isinstance(msg, FrameIn):
                return unreadable(self.state, msg)
            if not answer_unavailable(self.send, msg):
                raise
            return []

    def on_wakeup(self, payload: Any) -> None:
        self.after(TICK_S, payload)
        self.on_message(payload, self.myAddress)

    def on_up(self, name: str, incarnation: int) -> None:
        self._carry_out(on_up(self.state, name, self.reader))

    def on_down(self, name: str) -> None:
        self._carry_out(on_down(self.state, name))

    def _now(self) -> Now:
        return Now(int(self.clock.now() * 1000), self.clock.monotonic())

    def _carry_out(self, outputs: list[Output]) -> None:
        for to, message in joined(outputs):
            if not isinstance(to, str):
                self.send(to, message)
            elif to == SHELL:
                self._read(message)
            elif not self._tell(to, message):
                answer_unavailable(self.send, message)

    def _tell(self, to: str, message: Any) -> bool:
        supervisor, _, child = to.partition("/")
        return self.tell_child(supervisor, child, message) if child else self.tell(to, message)

    def _read(self, read: Read) -> None:
        if queries.is_long(read.what, read.query):
            run_blocking(self, _answer, self.reader, read, token=read, deadline_s=READ_S)
        else:
            self.send(read.reply_to, Reply(read.request, _answer(self.reader, read)))

    def _read_ended(self, end: BlockingDone | BlockingFailed | TimedOut) -> None:
        read: Read = end.token
        if isinstance(end, BlockingFailed):
            raise ReadFailed(f"{read.what}: {end.error_type}: {end.text}\n{end.traceback}")
        slow = Fault("unavailable", "the list took too long; ask for smaller pages", retry_after_ms=5_000)
        body = end.value if isinstance(end, BlockingDone) else slow
        self.send(read.reply_to, Reply(read.request, body))


def _answer(reader: Reader, read: Read) -> Any:
    try:
        body = queries.answer(reader, read.what, read.query, read.key)
    except Refused as refused:
        return Fault(refused.code, refused.message, refused.path)
    except StoreError:
        log.exception("gateway.unreadable", actor="gateway", message=read.what)
        return Fault("unavailable", "a row that this needs cannot be read; the log says which")
    if body is None:
        return unfound(ROUTES[read.what], read.key)
    return as_before(body) if read.old else body
