"""What one agent says and hears: its sends, and the acks of its mailbox. Each is decided by `posting` and `inbox`.

It speaks only as itself: every message of an agent, over a session or HTTP, is written by this agent's actor.
May import: agentcom.core, agentcom.protocol.
"""

from collections.abc import Iterator

from agentcom.core.agent_state import AgentState
from agentcom.core.decision import Decision, Now, Output
from agentcom.core.messages import AckMailbox, Fault, Forget, Reply, SendMessage
from agentcom.core.posting import Posting, Sender, answer_to, post
from agentcom.protocol.figures import HOUR_MS, HOURS, old_hours
from agentcom.protocol.frames import Ack, ErrorFrame, Send, Sent
from agentcom.protocol.talk_views import Acked


class AgentMail(AgentState):
    """The part of an agent's decisions that is about messages."""

    def _post(self, send: Send, now: Now) -> Posting | Fault:
        if self.admission is not None:
            return self.admission
        assert self.entropy is not None, "an agent that sends needs ids"
        sender = Sender(self.id, self.rows, self.mail_rules)
        return post(send, sender, self.entropy.message_id(now.ms), now.ms)

    def _said(self, send: Send, now: Now) -> Iterator[Decision]:
        done = self._post(send, now)
        if isinstance(done, Fault):
            yield Decision(outputs=self._say(_error(done, send.id)))
            return
        answer = Sent(message_id=done.message_id, thread_id=done.thread_id, re=send.id)
        yield Decision(done.ops, (*self._say(answer), *done.outputs), "message.sent")

    def _asked_to_send(self, ask: SendMessage, now: Now) -> Iterator[Decision]:
        yield answer_to(ask, self._post(ask.send, now))

    def _ack(self, ack: Ack, now: Now) -> Iterator[Decision]:
        if self.session and self.session.silent:
            yield from self.inbox.taken(ack.seq, now.ms, now.mono)
            return
        for step in self.inbox.acked(ack.seq, now.ms, now.mono):
            yield Decision(outputs=self._say(_error(step, ack.id))) if isinstance(step, Fault) else step
        if outputs := self.inbox.relief():
            yield Decision(outputs=outputs)

    def _asked_to_ack(self, ask: AckMailbox, now: Now) -> Iterator[Decision]:
        """The answer leaves when the ack is on disk."""
        answer: Fault | Acked = Acked(up_to=ask.seq)
        for step in self.inbox.acked_by_poll(ask.seq, now.ms):
            if isinstance(step, Fault):
                answer = step
            else:
                yield step
        yield Decision(outputs=(Output(ask.reply_to, Reply(ask.request, answer)),))

    def _forget_mail(self, forget: Forget, now: Now) -> Iterator[Decision]:
        yield from self.inbox.forget(forget.before_ms, now.ms)

    def _tidy(self, now: Now) -> Iterator[Decision]:
        """Once an hour: the figures of more than a day ago go."""
        hour = now.ms // HOUR_MS
        if hour != self.tidied:
            self.tidied = hour
            keys = [key for key, _ in self.rows.scan("counter", ("hourly", self.id), limit=4 * HOURS)]
            if ops := old_hours(keys, now.ms):
                yield Decision(ops, (), "figures.tidied")


def _error(fault: Fault, re: str) -> ErrorFrame:
    return ErrorFrame(
        code=fault.code, message=fault.message, re=re, path=fault.path, retry_after_ms=fault.retry_after_ms
    )
