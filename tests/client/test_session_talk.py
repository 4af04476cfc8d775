"""The client's side of messages: said once, heard once, acknowledged across reconnects."""

from agentcom.protocol import frames
from agentcom.protocol.errors import AgentComError
from agentcom.session_state import Again, Heard, SessionState


def welcome(epoch=1):
    return frames.Welcome(
        session="s", agent_id="ada", epoch=epoch, heartbeat_ms=1, lease_ms=1, grace_ms=1, time_ms=1
    )


def message(seq):
    return frames.MessageFrame(
        seq=seq, message_id=f"m{seq}", sender="bob", message_type="chat", payload={}, thread_id="t", time_ms=1
    )


def online(epoch=1):
    state = SessionState()
    state.receive(welcome(epoch))
    state.take()
    return state


def ask(state, **fields):
    answers = []
    state.talk.ask(frames.Send(**({"to": "bob", "payload": {}} | fields)), answers.append)
    return answers


def test_a_send_always_carries_a_key_and_the_same_one_each_time():
    state = online()
    ask(state)
    [first] = state.take().sends
    assert len(first.key) == 32
    state.lost("cut")
    state.receive(welcome())
    assert [send for send in state.take().sends if isinstance(send, frames.Send)] == [first]


def test_what_is_said_offline_is_sent_with_the_next_welcome():
    state = SessionState()
    ask(state, key="k")
    assert state.take().sends == []
    state.receive(welcome())
    assert [send.key for send in state.take().sends] == ["k"]


def test_an_answer_ends_the_asking():
    state = online()
    answers = ask(state)
    [send] = state.take().sends
    state.receive(frames.Sent(message_id="m", thread_id="t", re=send.id))
    assert [answer.message_id for answer in answers] == ["m"]
    state.receive(welcome())
    assert state.take().sends == []


def test_a_refusal_is_told_and_one_that_will_pass_is_asked_again():
    state = online()
    answers = ask(state)
    [send] = state.take().sends
    state.receive(frames.ErrorFrame(code="overloaded", message="full", re=send.id, retry_after_ms=50))
    assert (state.take().again, answers) == ([Again(send.id, 50)], [])
    state.resend(send.id)
    assert state.take().sends == [send]
    state.receive(frames.ErrorFrame(code="not_found", message="who?", re=send.id, path="to"))
    [error] = answers
    assert isinstance(error, AgentComError)
    assert (error.code, error.path) == ("not_found", "to")


def test_a_message_that_comes_again_is_heard_once():
    state = online()
    for seq in (1, 2, 1, 2, 3):
        state.receive(message(seq))
    assert [event.frame.seq for event in state.take().events if isinstance(event, Heard)] == [1, 2, 3]


def test_acks_are_kept_so_that_a_restarted_client_says_them_again():
    state = online()
    state.receive(message(1))
    state.ack(1)
    todo = state.take()
    assert todo.sends == [frames.Ack(seq=1)]
    again = SessionState(todo.saved)
    assert again.talk.acked == 1
    again.receive(welcome())
    again.receive(message(1))
    assert [event for event in again.take().events if isinstance(event, Heard)] == []


def test_another_epoch_counts_anew():
    state = online()
    state.receive(message(5))
    state.ack(5)
    state.receive(welcome(epoch=2))
    state.take()
    state.receive(message(3))
    assert [event.frame.seq for event in state.take().events if isinstance(event, Heard)] == [3]
