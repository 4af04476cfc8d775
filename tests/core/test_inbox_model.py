"""One mailbox against a model that knows only what was sent, seen, acknowledged and dropped."""

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agentcom.core.decision import Decision, Output
from tests.core.mailing import MS, Post

MAX, AHEAD = 5, 3


def said(delivery):
    return Decision(outputs=(Output("gateway", delivery),))


class Mailbox(RuleBasedStateMachine):
    """`seen` is what the present session got, in order; `acked` the highest number the client ever acknowledged."""

    def __init__(self):
        super().__init__()
        self.post = Post(max_messages=MAX, ahead=AHEAD)
        self.ada = self.post.ada
        self.notices = []
        self.texts = {}
        self.conns = 0
        self.conn = ""
        self.seen = []
        self.acked = 0
        self.next = 1

    # --- what happens ---------------------------------------------------------------------------------

    @rule(count=st.integers(1, 3))
    def send(self, count):
        for _ in range(count):
            self.post.now_ms += 1
            done, notices = self.post.send(payload={"n": len(self.texts) + 1})
            if notices:
                self.texts[notices[0].seq] = done.message_id
                self.notices += notices

    @rule()
    def a_notice_arrives(self):
        self.a_notice_arrives_late(0)

    @rule(n=st.integers(0, 9))
    def a_notice_arrives_late(self, n):
        if self.notices:
            notice = self.notices.pop(n % len(self.notices))
            delivery = self.ada.inbox.at_once(notice)
            self.ada.do(said(delivery) if delivery else self.ada.inbox.appended(notice, MS))
            self.listen()

    @rule(n=st.integers(0, 9))
    def a_notice_arrives_twice(self, n):
        if self.notices:
            self.ada.do(self.ada.inbox.appended(self.notices[n % len(self.notices)], MS))
            self.listen()

    @rule(n=st.integers(0, 9))
    def a_notice_is_lost(self, n):
        if self.notices:
            del self.notices[n % len(self.notices)]

    @rule(tells=st.booleans())
    def a_session_begins(self, tells):
        self.conns += 1
        self.conn, self.seen = f"c{self.conns}", []
        before = self.ada.inbox.last_ack
        self.ada.open(self.conn, self.acked if tells else 0)
        self.next = self.ada.inbox.last_ack + 1
        assert self.ada.inbox.last_ack >= before
        self.listen()

    @precondition(lambda self: self.conn)
    @rule()
    def the_session_ends(self):
        self.ada.do(self.ada.inbox.closed(MS))
        self.conn, self.seen = "", []
        self.listen()

    @precondition(lambda self: self.seen)
    @rule(n=st.integers(0, 9))
    def the_client_acknowledges(self, n):
        seq = self.seen[n % len(self.seen)]
        assert not self.ada.do(self.ada.inbox.acked(seq, MS, self.ada.mono))
        self.acked = max(self.acked, seq)
        self.listen()

    @precondition(lambda self: self.conn)
    @rule()
    def an_ack_of_what_was_not_sent_is_refused(self):
        seq = self.ada.inbox.highest_sent + 1
        [fault] = self.ada.do(self.ada.inbox.acked(seq, MS, self.ada.mono))
        assert fault.code == "invalid_state"

    @rule(n=st.integers(0, 9))
    def it_is_read_over_http(self, n):
        waiting = self.post.store.reader.scan("mailbox", ("ada",))
        if waiting:
            seq = waiting[n % len(waiting)][0][1]
            assert not self.ada.do(self.ada.inbox.acked_by_poll(seq, MS))
            self.acked = max(self.acked, seq)
            self.listen()

    @rule(n=st.integers(0, 9))
    def what_came_until_then_is_too_old(self, n):
        waiting = self.post.store.reader.scan("mailbox", ("ada",))
        if waiting:
            (_, seq), mail = waiting[n % len(waiting)]
            self.ada.do(self.ada.inbox.forget(mail.ms, MS))
            self.ada.write()
            self.listen()
            left = [key[1] for key, _ in self.post.store.reader.scan("mailbox", ("ada",))]
            assert all(n > seq or n <= self.ada.inbox.last_ack for n in left), "but for acks that wait"

    @rule()
    def a_heartbeat_looks(self):
        self.ada.do(self.ada.inbox.looked(MS))
        self.listen()
        if self.conn:
            assert self.ada.inbox.head == self.post.store.reader.head("mailbox", "ada")

    @rule()
    def acks_are_written(self):
        self.ada.do(self.ada.inbox.flush(MS))

    @rule()
    def the_disk_answers(self):
        self.ada.write()
        self.listen()

    @rule()
    def the_actor_crashes(self):
        self.ada.out.clear()
        self.ada.start()
        self.conn, self.seen = "", []

    # --- what must hold ------------------------------------------------------------------------------

    def listen(self):
        for conn, kind, what, more in self.ada.heard():
            if conn != self.conn:
                continue  # its last words to a session that is gone
            first = what[0] if kind == "gap" else what
            assert first >= self.next, f"{first} came after {self.next - 1}"
            assert first == self.next or first - 1 <= self.acked, (
                f"{self.next} to {first - 1} are missing unannounced"
            )
            if kind == "gap":
                assert what[0] <= what[1]
                waiting = {
                    key[1] for key, _ in self.post.store.reader.scan("mailbox", ("ada",), limit=10_000)
                }
                assert not waiting & set(range(what[0], what[1] + 1)), "what waits is no gap"
                self.next = what[1] + 1
            else:
                assert more.message_id == self.texts[what]
                self.seen.append(what)
                self.next = what + 1

    @invariant()
    def no_more_than_allowed_is_on_its_way(self):
        inbox = self.ada.inbox
        sent = [seq for seq in inbox.entries if seq < inbox.next] if inbox.conn else []
        assert len(sent) == inbox.flying <= AHEAD

    @invariant()
    def what_is_on_disk_adds_up(self):
        """Each number ever given out is waiting, read or dropped."""
        reader = self.post.store.reader
        row = reader.get("inbox", ("ada",))
        waiting = len(reader.scan("mailbox", ("ada",), limit=10_000))
        assert reader.head("mailbox", "ada") == waiting + (row.read + row.dropped if row else 0)

    @invariant()
    def an_open_mailbox_is_within_its_bound(self):
        assert len(self.ada.inbox.entries) <= MAX

    def teardown(self):
        """After all that, one faithful client gets everything that was neither acknowledged nor dropped."""
        self.ada.do(self.ada.inbox.closed(MS))
        self.ada.write()
        self.ada.out.clear()
        left = [key[1] for key, _ in self.post.store.reader.scan("mailbox", ("ada",), limit=10_000)]
        left = left[-MAX:]
        self.a_session_begins(tells=False)
        self.ada.write()
        self.listen()
        got = []
        while self.seen:
            got += self.seen
            last, self.seen = self.seen[-1], []
            self.ada.do(self.ada.inbox.acked(last, MS, self.ada.mono))
            self.ada.write()
            self.listen()
        assert got == left


TestMailbox = Mailbox.TestCase
TestMailbox.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
