"""An agent's messages over its session, without any I/O: what is sent until it is answered, what came and was acked.

Feed it the hub's frames; it is part of `session_state`. A `send` goes again after each reconnect, under the same key,
until it was answered: so a message is said once, however often the line breaks.
May import: msgspec, agentcom.protocol.
"""

import os
import time
from collections.abc import Callable
from typing import Any

import msgspec

from agentcom.answers import error
from agentcom.protocol import frames
from agentcom.protocol.errors import CALLER_LATER, AgentComError

Request = frames.Send | frames.Subscribe | frames.Unsubscribe
Answer = frames.Sent | frames.Subscribed | frames.Unsubscribed
Done = Callable[[Answer | AgentComError], None]
News = frames.MessageFrame | frames.MailboxGap


def new_key() -> str:
    """A time-ordered random key: 12 hex digits of milliseconds, 20 of randomness."""
    return f"{time.time_ns() // 1_000_000:012x}{os.urandom(10).hex()}"


class Talk:
    """`send` and `news` are called for what goes out and what came in; nothing here waits."""

    def __init__(self, send: Callable[[Any], None], news: Callable[[News], None]) -> None:
        self.seen = 0  #: the highest sequence handed on; what comes again is not handed on twice
        self.acked = 0
        self._send, self._news = send, news
        self._asked: dict[str, tuple[Request, Done]] = {}
        self._number = 0

    # --- out ---------------------------------------------------------------------------------------

    def ask(self, request: Request, done: Done) -> str:
        """Send it now or after the next welcome; `done` gets the answer, or why there is none. Returns its id."""
        self._number += 1
        number = f"m{self._number}"
        request = _with_id(request, number)
        self._asked[number] = (request, done)
        self._send(request)
        return number

    def forget(self, number: str) -> None:
        """Nobody waits for it any more."""
        self._asked.pop(number, None)

    def again(self, number: str) -> None:
        if (asked := self._asked.get(number)) is not None:
            self._send(asked[0])

    def ack(self, seq: int) -> None:
        """Everything up to `seq` was dealt with."""
        if seq > self.acked:
            self.acked = seq
            self._send(frames.Ack(seq=seq))

    # --- in ----------------------------------------------------------------------------------------

    def welcomed(self, *, other_epoch: bool) -> None:
        """A new session: questions without an answer are asked again. Another epoch counts anew."""
        if other_epoch:
            self.seen = self.acked = 0
        for request, _ in list(self._asked.values()):
            self._send(request)

    def received(self, frame: Any) -> tuple[bool, int]:
        """Whether the frame was about messages, and for a refusal that will pass, when to ask `again` (ms)."""
        if isinstance(frame, frames.MessageFrame):
            if frame.seq > self.seen:
                self.seen = frame.seq
                self._news(frame)
            return True, 0
        if isinstance(frame, frames.MailboxGap):
            self._news(frame)
            return True, 0
        asked = self._asked.get(getattr(frame, "re", ""))
        if asked is None:
            return isinstance(frame, Answer), 0
        return True, self._answered(frame, *asked)

    def _answered(self, frame: Any, request: Request, done: Done) -> int:
        if isinstance(frame, frames.ErrorFrame):
            if frame.code in CALLER_LATER:
                return max(frame.retry_after_ms, 1)
            done(error(frame.code, frame.message, path=frame.path))
        else:
            done(frame)
        self._asked.pop(request.id, None)
        return 0


def _with_id(request: Request, number: str) -> Request:
    """A send always has a key, so that sending it again is safe."""
    fields: dict[str, Any] = {"id": number}
    if isinstance(request, frames.Send) and not request.key:
        fields["key"] = new_key()
    return msgspec.structs.replace(request, **fields)
