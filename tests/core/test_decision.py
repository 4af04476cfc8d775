"""Which outputs leave as one message."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agentcom.core.decision import Output, joined
from agentcom.core.messages import CloseConn, FrameOut, Reply, Several, WhatDoIHold
from agentcom.protocol.frames import Drain


class Address:
    """Opaque, and as Thespian's own it cannot be hashed."""

    __hash__ = None  # type: ignore[assignment]


EDGE, CALLER = Address(), Address()
NAMES = (
    "agents/agent.ada",
    "agents/agent.bob",
    "gateway",
    "lane.high",
    "scheduler",
    "presence",
    EDGE,
    CALLER,
)


def some_message(to: Any, number: int, kind: int) -> Any:
    if to is EDGE:
        return (FrameOut("1.1", str(number).encode()), CloseConn("1.1", 1000, str(number)))[kind]
    return Reply(number, None) if to is CALLER else WhatDoIHold("ada", number)


@given(st.lists(st.tuples(st.sampled_from(range(len(NAMES))), st.sampled_from([0, 0, 1])), max_size=12))
def test_each_receiver_gets_everything_in_its_order(places: list[tuple[int, int]]):
    outputs = [Output(NAMES[at], some_message(NAMES[at], n, kind)) for n, (at, kind) in enumerate(places)]
    left = list(joined(outputs))
    for name in NAMES:
        came = [output.message for output in left if output.to is name]
        flat = [
            one for message in came for one in (message.messages if type(message) is Several else [message])
        ]
        assert flat == [output.message for output in outputs if output.to is name]


def test_notices_to_one_name_leave_as_one_message_whatever_lies_between():
    ada, bob = "agents/agent.ada", "agents/agent.bob"
    outputs = [Output(ada, 1), Output("scheduler", 2), Output(bob, 3), Output(ada, 4), Output("scheduler", 5)]
    assert list(joined(outputs)) == [
        Output(ada, Several((1, 4))),
        Output("scheduler", Several((2, 5))),
        Output(bob, 3),
    ]


def test_frames_for_one_edge_leave_as_one_message_and_never_after_its_close():
    frames = [Output(EDGE, FrameOut("1.1", b"1")), Output(EDGE, FrameOut("1.2", b"2"))]
    close = Output(EDGE, CloseConn("1.1", 1000, "bye"))
    assert list(joined([*frames, close])) == [Output(EDGE, Several(tuple(f.message for f in frames))), close]


def test_names_that_do_not_know_several_get_their_messages_one_by_one():
    outputs = [Output("presence", Drain()), Output("presence", Drain())]
    assert list(joined(outputs)) == outputs
