"""What a user's program says and hears over an agent's session: the part of `AgentSession` about messages.

May import: msgspec, agentcom.protocol, agentcom.{session_state, session_talk}.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from agentcom.protocol import errors, frames
from agentcom.session_state import Heard, SessionState
from agentcom.session_talk import Answer, News, Request


class SessionMail:
    """Mixed into `AgentSession`, which has the connection."""

    state: SessionState
    _mail: "asyncio.Queue[Heard | BaseException | None]"

    async def _flush(self) -> None:
        raise NotImplementedError

    async def say(
        self,
        payload: dict[str, Any],
        *,
        to: str | None = None,
        channel: str | None = None,
        broadcast: bool = False,
        message_type: str = "chat",
        reply_to: str = "",
        key: str = "",
        timeout_s: float = 30.0,
    ) -> frames.Sent:
        """Send a message; returns when it is on the hub's disk. Sent again by itself, under one key, until answered.

        Raises `Refused`: `bad_frame` unless just one of `to`, `channel`, `broadcast` is given, `not_found` for whom it
        goes to, `conflict` when `key` was another message's. Raises `Unavailable` when `timeout_s` is over: the outcome
        is unknown then, and the same `key` makes another try safe.
        """
        send = frames.Send(
            to=to, channel=channel, broadcast=broadcast, message_type=message_type, payload=payload,
            reply_to=reply_to, key=key,
        )  # fmt: skip
        answer = await self._asked(send, timeout_s)
        assert isinstance(answer, frames.Sent)
        return answer

    async def subscribe(self, channel: str, *, timeout_s: float = 30.0) -> None:
        """What is posted there from now on comes as messages. Once is enough: the hub remembers it.

        Raises `not_found`, and `Unavailable` when `timeout_s` is over; it can be said again.
        """
        await self._asked(frames.Subscribe(channel=channel), timeout_s)

    async def unsubscribe(self, channel: str, *, timeout_s: float = 30.0) -> None:
        """It comes no more. Raises as `subscribe`."""
        await self._asked(frames.Unsubscribe(channel=channel), timeout_s)

    async def ack(self, seq: int) -> None:
        """Messages up to `seq` were dealt with; said again with each connection. What is not acknowledged comes again
        after a restart.
        """
        self.state.ack(seq)
        await self._flush()

    async def messages(self) -> AsyncIterator[News]:
        """Messages in order, each once, and `mailbox_gap` where some were removed unread. `ack` them: the hub sends
        only so many ahead. Ends with `close`, or raises the `Refused` that ended the session.
        """
        while True:
            heard = await self._mail.get()
            if heard is None or isinstance(heard, BaseException):
                self._mail.put_nowait(heard)
                if heard is None:
                    return
                raise heard
            yield heard.frame

    async def _asked(self, request: Request, timeout_s: float) -> Answer:
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        def done(answer: Answer | errors.AgentComError) -> None:
            if future.done():
                return
            if isinstance(answer, errors.AgentComError):
                future.set_exception(answer)
            else:
                future.set_result(answer)

        number = self.state.talk.ask(request, done)
        await self._flush()
        try:
            async with asyncio.timeout(timeout_s):
                return await future
        except TimeoutError:
            raise errors.Unavailable(
                "unavailable", f"no answer within {timeout_s:g} s; send it again"
            ) from None
        finally:
            self.state.talk.forget(number)
