"""`agentcom-admin` about messages: what it asks, what it shows, how it exits."""

import json

import pytest

from agentcom.cli import exits
from agentcom.cli.admin import main

MESSAGE = {
    "id": "msg-1", "message_id": "msg-1", "from": "ada", "to": "bob", "channel": None, "broadcast": False,
    "type": "chat", "message_type": "chat", "payload": {"text": "the build is green"}, "reply_to": None,
    "thread_id": "msg-1", "timestamp": 1_000, "seq": 4,
}  # fmt: skip
SENT = {"message_id": "msg-9", "id": "msg-9", "thread_id": "msg-9", "status": "sent"}
CHANNEL = {
    "name": "builds", "description": "what was built", "subscribers": ["ada"], "subscriber_count": 1,
    "created_at": 1_000, "created_by": "@olga", "last_seq": 4,
}  # fmt: skip


def test_send_says_where_the_message_is(run, hub):
    hub.answers["POST", "/api/message"] = (200, SENT)
    done = run(main, "send", "bob", "hello")
    assert done.exit_code == exits.OK
    assert "msg-9 is in the mailbox of bob" in done.output


@pytest.mark.parametrize(
    ("args", "code"), [(["{}", "--payload"], exits.OK), (["no", "--payload"], exits.USAGE)]
)
def test_a_payload_must_be_an_object(run, hub, args, code):
    hub.answers["POST", "/api/message"] = (200, SENT)
    assert run(main, "send", "bob", *args).exit_code == code


def test_broadcast_goes_to_everyone(run, hub):
    hub.answers["POST", "/api/message"] = (200, SENT)
    assert "goes to every agent" in run(main, "broadcast", "hello").output


def test_a_channel_shows_its_posts(run, hub):
    hub.answers["GET", "/api/channels/builds"] = (200, CHANNEL)
    hub.answers["GET", "/api/channels/builds/history"] = (200, {"messages": [MESSAGE]})
    shown = run(main, "channel", "builds").output
    assert "what was built" in shown
    assert "the build is green" in shown


def test_delete_goes_alone(run, hub):
    assert run(main, "channel", "builds", "--delete", "--post", "x").exit_code == exits.USAGE


def test_a_mailbox_shows_what_waits_and_what_was_dropped(run, hub):
    box = {"agent_id": "bob", "messages": [MESSAGE], "pending": 1, "acked": 3, "dropped": 2, "count": 1}
    hub.answers["GET", "/api/mailbox/bob"] = (200, box)
    shown = run(main, "mailbox", "bob").output
    assert "1 waiting, read up to 3, 2 dropped unread" in shown
    assert json.loads(run(main, "mailbox", "bob", "--json").output)["pending"] == 1


def test_what_an_agent_wrote_is_shown_as_it_is(run, hub):
    """Markup of a message is text, and no colour of ours."""
    marked = {**MESSAGE, "payload": {"text": "[red]x[/red]"}}
    hub.answers["GET", "/api/messages"] = (200, {"messages": [marked]})
    assert "[red]x[/red]" in run(main, "messages").output
