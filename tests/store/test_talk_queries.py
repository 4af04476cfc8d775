"""What HTTP shows of messages: mailboxes, history, threads, channels, figures."""

import pytest

from agentcom.protocol.errors import Refused
from agentcom.protocol.ops import Delete, Put
from agentcom.protocol.rows import Inbox
from agentcom.protocol.talk_views import AnalyticsQuery, MailboxQuery, MessageQuery, ThreadQuery
from agentcom.store import queries
from tests.core.mailing import MS, Post, Writer


def ask(post, what, query=None, key=""):
    return queries.answer(post.store.reader, what, query, key)


def numbers(messages):
    return [message.payload["n"] for message in messages]


def said(post, count, **fields):
    return [post.send(payload={"n": n}, **fields)[0] for n in range(1, count + 1)]


def test_a_mailbox_shows_what_is_not_acknowledged_in_pages():
    post = Post()
    said(post, 5)
    first = ask(post, "mailbox.get", MailboxQuery(limit=3), "ada")
    assert (numbers(first.messages), first.last_seq, first.pending) == ([1, 2, 3], 3, 5)
    rest = ask(post, "mailbox.get", MailboxQuery(since=first.last_seq), "ada")
    assert (numbers(rest.messages), rest.last_seq) == ([4, 5], 5)


def test_a_mailbox_tells_what_was_dropped():
    post = Post()
    said(post, 3)
    ada = Writer(post.store, "agent.ada")
    ada.commit([Delete("mailbox", ("ada", 2)), Put("inbox", ("ada",), Inbox(dropped=1))])
    box = ask(post, "mailbox.get", MailboxQuery(), "ada")
    assert [(gap.from_seq, gap.to_seq) for gap in box.gaps] == [(2, 2)]
    assert (numbers(box.messages), box.dropped) == ([1, 3], 1)


def test_a_cursor_from_another_hub_does_not_hide_what_waits():
    post = Post()
    said(post, 2)
    assert numbers(ask(post, "mailbox.get", MailboxQuery(since=9_999), "ada").messages) == [1, 2]


def test_an_empty_mailbox_is_no_error_and_an_unknown_agents_is_not_there():
    post = Post()
    assert ask(post, "mailbox.get", MailboxQuery(), "ada").messages == []
    assert ask(post, "mailbox.get", MailboxQuery(), "nobody") is None


def test_history_is_newest_first_and_its_cursor_goes_on():
    post = Post()
    said(post, 5)
    first = ask(post, "message.list", MessageQuery(limit=2))
    second = ask(post, "message.list", MessageQuery(limit=2, cursor=first.cursor))
    last = ask(post, "message.list", MessageQuery(limit=2, cursor=second.cursor))
    pages = [numbers(page.messages) for page in (first, second, last)]
    assert (pages, last.cursor) == ([[5, 4], [3, 2], [1]], None)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (MessageQuery(sender="bob"), [1, 2, 3]),
        (MessageQuery(sender="ada"), [7]),
        (MessageQuery(to="ada"), [1, 2, 3]),
        (MessageQuery(to="bob", sender="ada"), [7]),
        (MessageQuery(to="bob", sender="bob"), []),
        (MessageQuery(channel="*"), [8]),
        (MessageQuery(start_time=MS + 1), []),
        (MessageQuery(end_time=MS), []),
    ],
)
def test_history_is_filtered(query, expected):
    post = Post()
    said(post, 3)
    post.send(sender="ada", to="bob", payload={"n": 7})
    post.send(sender="cyd", to=None, broadcast=True, payload={"n": 8})
    found = ask(post, "message.list", query)
    assert sorted(numbers(found.messages)) == expected


@pytest.mark.parametrize("name", ["\x00", "a" * 600])
def test_a_name_that_no_row_can_have_is_refused(name):
    with pytest.raises(Refused, match="nothing of that name"):
        ask(Post(), "message.list", MessageQuery(sender=name))


def test_a_thread_is_whole_whichever_of_its_messages_is_named():
    post = Post()
    root, _ = post.send(payload={"n": 1})
    reply, _ = post.send(payload={"n": 2}, reply_to=root.message_id)
    post.send(payload={"n": 3}, reply_to=reply.message_id)
    post.send(payload={"n": 4})
    for named in (root, reply):
        thread = ask(post, "thread.get", ThreadQuery(), named.message_id)
        assert (thread.thread_id, numbers(thread.messages)) == (root.message_id, [1, 2, 3])
    assert numbers(ask(post, "thread.replies", ThreadQuery(), root.message_id).replies) == [2]
    assert ask(post, "thread.root", None, reply.message_id).root.id == root.message_id
    assert ask(post, "thread.get", ThreadQuery(), "msg-none") is None


def test_a_long_thread_comes_in_pages():
    post = Post()
    root, _ = post.send(payload={"n": 0})
    said(post, 4, reply_to=root.message_id)
    first = ask(post, "thread.get", ThreadQuery(limit=3), root.message_id)
    rest = ask(post, "thread.get", ThreadQuery(limit=3, cursor=first.next_cursor), root.message_id)
    assert (numbers(first.messages), numbers(rest.messages)) == ([0, 1, 2, 3], [4])


def test_figures_count_what_was_said_and_what_came():
    post = Post()
    said(post, 3)
    bob, ada = sorted(
        ask(post, "analytics.agents", AnalyticsQuery()).agents, key=lambda of: -of.messages_sent
    )
    assert (bob.messages_sent, bob.sent_24h, ada.messages_received, ada.messages_pending) == (3, 3, 3, 3)
    assert [hour.sent for hour in ask(post, "analytics.hourly", None, "bob").hours] == [3]
    assert ask(post, "analytics.summary").messages_sent == 3
