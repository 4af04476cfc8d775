"""Mailboxes without actors: real inboxes and the real output commit on the real commit engine over plain dicts.

The test decides when the disk answers, which notices arrive, and when an actor crashes.
"""

from collections import deque

from agentcom.core.decision import Decision
from agentcom.core.inbox import Inbox, MailRules
from agentcom.core.messages import Appended, Deliver, Fault, ToSession
from agentcom.core.output_commit import OutputCommit
from agentcom.core.posting import Sender, post
from agentcom.protocol.frames import MailboxGap, Send
from agentcom.protocol.ops import Put
from agentcom.protocol.rows import Agent
from agentcom.store.memory import MemoryStore
from agentcom.store.messages import Commit, Committed, Open
from agentcom.store.overlay import Overlay
from tests.core.world import SeededEntropy

MS = 1_700_000_000_000


class Writer:
    """Somebody who commits at once."""

    def __init__(self, store, name):
        self.store, self.name, self.ticket = store, name, 0
        [opened] = store.engine.apply([Open(name)])
        self.incarnation = opened.incarnation

    def commit(self, ops, event="test"):
        self.ticket += 1
        [done] = self.store.commit(Commit(self.name, self.incarnation, self.ticket, event, tuple(ops)))
        assert isinstance(done, Committed), done
        return done.appended


class Recipient:
    """Ada's inbox and its tickets; what was released is in `out`."""

    def __init__(self, store, rules):
        self.store, self.rules = store, rules
        self.out = []
        self.mono = 1_000.0
        self.start()

    def start(self):
        """A new life from rows: what was not written is forgotten."""
        self.rows = Overlay(self.store.reader)
        self.tickets = OutputCommit(self.rows, lambda ops: (), self.out.extend)
        self.unwritten = deque()
        [opened] = self.store.engine.apply([Open("agent.ada")])
        self.incarnation = opened.incarnation
        self.inbox = Inbox("ada", self.rows, self.rules)

    def do(self, steps):
        faults = []
        for step in [steps] if isinstance(steps, Decision) else steps:
            if isinstance(step, Fault):
                faults.append(step)
            else:
                self._owe(self.tickets.take(step))
        self._owe(self.tickets.close())
        return faults

    def _owe(self, due):
        self.unwritten += [Commit("agent.ada", self.incarnation, *each) for each in due]

    def write(self):
        while self.unwritten:
            [done] = self.store.commit(self.unwritten.popleft())
            assert isinstance(done, Committed), done
            self.tickets.committed(done.ticket, done.appended)

    def heard(self):
        """(what, numbers) of each frame since the last look: ("message", 3) or ("gap", (1, 2))."""
        said, self.out[:] = list(self.out), []
        told = []
        for output in said:
            if isinstance(output.message, Deliver):
                told.append((output.message.conn, "message", output.message.seq, output.message.message))
            elif isinstance(output.message, ToSession):
                assert isinstance(output.message.frame, MailboxGap)
                gap = output.message.frame
                told.append((output.message.conn, "gap", (gap.from_seq, gap.to_seq), gap.reason))
        return told

    def open(self, conn, acked=0):
        self.do(self.inbox.opened(conn, acked, MS))
        self.do(Decision(outputs=tuple(self.inbox.begin())))


class Post:
    """A store with agents ada and bob, and bob's sends."""

    def __init__(self, **rules):
        self.rules = MailRules(**rules)
        self.store = MemoryStore()
        self.entropy = SeededEntropy()
        self.now_ms = MS  #: of what is said next
        Writer(self.store, "directory").commit(
            [Put("agent", (name,), Agent(name)) for name in ("ada", "bob")]
        )
        self.bob = Writer(self.store, "agent.bob")
        self.ada = Recipient(self.store, self.rules)

    def send(self, sender="bob", **fields):
        """The Posting or Fault; written, and the notices it leads to."""
        send = Send(**({"to": "ada", "payload": {}} | fields))
        sender = Sender(sender, Overlay(self.store.reader), self.rules)
        done = post(send, sender, self.entropy.message_id(self.now_ms), self.now_ms)
        if isinstance(done, Fault) or done.is_repeat:
            return done, []
        appended = self.bob.commit(done.ops)
        told = [o.message(appended) if callable(o.message) else o.message for o in done.outputs]
        return done, [notice for notice in told if isinstance(notice, Appended)]
