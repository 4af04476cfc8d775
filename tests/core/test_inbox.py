"""The rules of one mailbox, each by an example."""

import pytest

from agentcom.core.messages import Condition
from tests.core.mailing import MS, Post


def seqs(heard):
    return [what for _, kind, what, _ in heard if kind == "message"]


def told(post):
    post.ada.write()
    return post.ada.heard()


def send(post, count=1):
    return [notice for _ in range(count) for notice in post.send()[1]]


def test_a_message_that_comes_while_a_session_lives_is_sent_at_once():
    post = Post()
    post.ada.open("c1")
    [notice] = send(post)
    post.ada.do(post.ada.inbox.appended(notice, MS))
    assert seqs(told(post)) == [1]


def test_what_came_while_nobody_was_connected_is_sent_to_the_next_session_in_order():
    post = Post()
    send(post, 3)
    post.ada.open("c1")
    assert seqs(told(post)) == [1, 2, 3]


def test_a_notice_that_overtakes_others_has_them_read_and_sent_first():
    post = Post()
    post.ada.open("c1")
    notices = send(post, 3)
    post.ada.do(post.ada.inbox.appended(notices[2], MS))
    post.ada.do(post.ada.inbox.appended(notices[0], MS))
    assert seqs(told(post)) == [1, 2, 3]


def test_what_is_not_acknowledged_comes_again_to_the_next_session():
    post = Post()
    send(post, 3)
    post.ada.open("c1")
    post.ada.do(post.ada.inbox.acked(1, MS, 0.0))
    assert seqs(told(post)) == [1, 2, 3]
    post.ada.open("c2")
    assert seqs(told(post)) == [2, 3]


def test_acks_survive_a_crash_once_they_are_written():
    post = Post()
    send(post, 2)
    post.ada.open("c1")
    post.ada.do(post.ada.inbox.acked(1, MS, 0.0))
    post.ada.do(post.ada.inbox.closed(MS))
    post.ada.write()
    post.ada.out.clear()
    post.ada.start()
    post.ada.open("c2")
    assert seqs(told(post)) == [2]


def test_a_heartbeat_finds_what_no_notice_told_of():
    post = Post()
    post.ada.open("c1")
    send(post)
    post.ada.do(post.ada.inbox.looked(MS))
    assert seqs(told(post)) == [1]


def test_no_more_than_a_few_are_sent_ahead_of_the_acks():
    post = Post(ahead=2)
    send(post, 5)
    post.ada.open("c1")
    assert seqs(told(post)) == [1, 2]
    post.ada.do(post.ada.inbox.acked(1, MS, 0.0))
    assert seqs(told(post)) == [3]


def test_large_messages_are_sent_one_at_a_time():
    post = Post(ahead_bytes=1_024)
    for _ in range(2):
        post.send(payload={"text": "x" * 2_000})
    post.ada.open("c1")
    assert seqs(told(post)) == [1]
    post.ada.do(post.ada.inbox.acked(1, MS, 0.0))
    assert seqs(told(post)) == [2]


def test_over_the_bound_the_oldest_are_dropped_and_the_client_is_told_before_the_next():
    post = Post(max_messages=3)
    send(post, 5)
    post.ada.open("c1")
    assert next(what[1:] for what in told(post)) == ("gap", (1, 2), "full")
    row = post.store.reader.get("inbox", ("ada",))
    assert (row.dropped, row.dropped_to) == (2, 2)
    assert post.store.reader.count("mailbox", "dropped") == 2
    assert [post.ada.inbox.take_dropped() for _ in range(2)] == [2, 0], "the log tells of each once"


def test_drops_are_told_to_health_and_the_alert_ends_with_the_reading():
    post = Post(max_messages=2)
    post.ada.open("c1")
    post.ada.out.clear()
    for notice in send(post, 3):
        post.ada.do(post.ada.inbox.appended(notice, MS))
    post.ada.write()
    [alert] = [o.message for o in post.ada.out if isinstance(o.message, Condition)]
    assert alert.alerts == ("the mailbox of ada is full: 1 messages were dropped unread",)
    post.ada.do(post.ada.inbox.acked(3, MS, 0.0))
    [end] = post.ada.inbox.relief()
    assert end.message == Condition("mailbox.ada", {})


def test_an_agent_that_sleeps_has_its_mailbox_bounded_too():
    post = Post(max_messages=10)
    woken = [notice for notice in send(post, 64) if notice.wakes]
    assert [notice.seq for notice in woken] == [64]
    post.ada.do(post.ada.inbox.appended(woken[0], MS))
    post.ada.write()
    assert len(post.store.reader.scan("mailbox", ("ada",))) == 10


@pytest.mark.parametrize("view", ["acked", "acked_by_poll"])
def test_an_ack_above_what_was_sent_is_refused(view):
    post = Post()
    send(post)
    post.ada.open("c1")
    more = (0.0,) if view == "acked" else ()
    [fault] = post.ada.do(getattr(post.ada.inbox, view)(2, MS, *more))
    assert (fault.code, fault.path) == ("invalid_state", "seq")


def test_what_was_read_over_http_is_not_sent_to_the_session_again():
    post = Post(ahead=1)
    send(post, 4)
    post.ada.open("c1")
    post.ada.do(post.ada.inbox.acked_by_poll(3, MS))
    assert seqs(told(post)) == [1, 4]


def test_a_client_that_knows_another_epoch_acknowledges_nothing_by_its_resume():
    post = Post()
    send(post, 2)
    post.ada.open("c1", acked=1 << 30)
    assert seqs(told(post)) == [1, 2]


def test_nothing_is_sent_before_the_session_is_welcomed():
    post = Post()
    post.ada.do(post.ada.inbox.opened("c1", 0, MS))
    [notice] = send(post)
    assert post.ada.inbox.at_once(notice) is None
    post.ada.do(post.ada.inbox.appended(notice, MS))
    assert told(post) == []


def test_the_short_way_is_taken_only_by_the_next_one_of_a_client_that_keeps_up():
    post = Post(ahead=2)
    post.ada.open("c1")
    first, second, third = send(post, 3)
    assert post.ada.inbox.at_once(second) is None
    assert post.ada.inbox.at_once(first).seq == 1
    assert post.ada.inbox.at_once(first) is None
    assert post.ada.inbox.at_once(second).seq == 2
    assert post.ada.inbox.at_once(third) is None
    post.ada.do(post.ada.inbox.appended(third, MS))
    assert told(post) == []
    post.ada.do(post.ada.inbox.acked(2, MS, 0.0))
    assert seqs(told(post)) == [3]
