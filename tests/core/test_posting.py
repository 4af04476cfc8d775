"""What one `send` comes to."""

import pytest

from agentcom.core.messages import Fault, Posted
from tests.core.mailing import Post


def test_a_direct_message_is_one_row_and_one_entry_of_a_mailbox():
    post = Post()
    done, [notice] = post.send(payload={"text": "hello"})
    row = post.store.reader.get("messages", (done.message_id,))
    assert (row.sender, row.to, row.payload, row.thread_id) == (
        "bob",
        "ada",
        {"text": "hello"},
        done.message_id,
    )
    [(key, mail)] = post.store.reader.scan("mailbox", ("ada",))
    assert (key, mail.message_id, notice.seq) == (("ada", 1), done.message_id, 1)


def test_the_same_key_again_gets_the_first_answer_and_writes_nothing():
    post = Post()
    first, _ = post.send(key="k1", payload={"n": 1})
    again, notices = post.send(key="k1", payload={"n": 1})
    assert again.is_repeat
    assert (again.message_id, again.thread_id, notices) == (first.message_id, first.thread_id, [])
    assert post.store.reader.head("mailbox", "ada") == 1


def test_the_same_key_with_another_message_is_a_conflict():
    post = Post()
    post.send(key="k1", payload={"n": 1})
    fault, _ = post.send(key="k1", payload={"n": 2})
    assert (fault.code, fault.path) == ("conflict", "key")


def test_keys_of_different_senders_are_different_keys():
    post = Post()
    first, _ = post.send(key="k1")
    other, _ = post.send(sender="ada", to="bob", key="k1")
    assert not other.is_repeat
    assert other.message_id != first.message_id


@pytest.mark.parametrize(
    ("fields", "code", "path"),
    [
        ({"to": "nobody"}, "not_found", "to"),
        ({"to": None, "channel": "nowhere"}, "not_found", "channel"),
        ({"to": None}, "bad_frame", "to"),
        ({"broadcast": True}, "bad_frame", "to"),
        ({"channel": "nowhere"}, "bad_frame", "to"),
    ],
)
def test_a_message_without_one_clear_aim_is_refused(fields, code, path):
    fault, _ = Post().send(**fields)
    assert isinstance(fault, Fault)
    assert (fault.code, fault.path) == (code, path)


def test_a_reply_joins_the_thread_of_what_it_answers():
    post = Post()
    root, _ = post.send()
    reply, _ = post.send(reply_to=root.message_id)
    deeper, _ = post.send(reply_to=reply.message_id)
    assert {reply.thread_id, deeper.thread_id} == {root.message_id}
    keys = [key[1] for key, _ in post.store.reader.scan("threads", (root.message_id,))]
    assert keys == [reply.message_id, deeper.message_id]


def test_a_reply_to_something_that_is_no_longer_kept_begins_a_thread_of_that_name():
    done, _ = Post().send(reply_to="msg-gone")
    assert done.thread_id == "msg-gone"


def test_an_operator_is_answered_in_the_thread_and_has_no_mailbox():
    post = Post()
    asked, _ = post.send(sender="@olga")
    done, notices = post.send(sender="ada", to="@olga", reply_to=asked.message_id)
    assert (done.thread_id, notices) == (asked.message_id, [])
    assert post.store.reader.get("messages", (done.message_id,)).to == "@olga"
    assert post.store.reader.scan("mailbox", ("@olga",)) == []


@pytest.mark.parametrize("reply_to", ["", "msg-gone", "of another"])
def test_an_operator_who_did_not_ask_cannot_be_written_to(reply_to):
    post = Post()
    other, _ = post.send(sender="bob")
    fault, _ = post.send(
        sender="ada", to="@olga", reply_to=other.message_id if reply_to == "of another" else reply_to
    )
    assert (fault.code, fault.path) == ("not_found", "reply_to")


def test_a_broadcast_is_left_to_its_channel_by_a_row_of_the_same_commit():
    post = Post()
    done, _ = post.send(to=None, broadcast=True)
    assert post.store.reader.get("posts", ("*", done.message_id)) is not None
    assert done.posted == Posted("*", done.message_id, done.posted.message, done.posted.size)


def test_over_the_hard_bound_a_send_is_overloaded():
    post = Post(max_messages=1)
    for _ in range(post.rules.hard_bound):
        post.send()
    fault, _ = post.send()
    assert (fault.code, fault.path) == ("overloaded", "to")


def test_a_mailbox_whose_numbers_jumped_is_not_taken_for_full():
    """A restore adds to every sequence; what counts is how many wait."""
    post = Post(max_messages=1)
    for _ in range(post.rules.hard_bound + 10):
        _, [notice] = post.send()
        post.ada.do(post.ada.inbox.appended(notice, 0))
        post.ada.write()
        post.ada.open("c")
    done, _ = post.send()
    assert not isinstance(done, Fault)


def test_the_senders_figures_are_written_with_the_message():
    post = Post()
    post.send()
    assert post.store.reader.count("agent", "bob", "sent") == 1
