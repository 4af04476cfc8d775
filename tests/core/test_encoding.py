"""One message for many is the same bytes as for each alone."""

import msgspec
import pytest

from agentcom.core.encoding import ENCODERS, Shared, halves
from agentcom.protocol.frames import MessageFrame

FRAME = MessageFrame(
    seq=0, message_id="msg-1", sender="ada", message_type="chat", payload={"a": [1, "é"]}, thread_id="msg-1", time_ms=5,
    broadcast=True,
)  # fmt: skip


@pytest.mark.parametrize("codec", ["json", "msgpack"])
@pytest.mark.parametrize("seq", [1, 127, 128, 2**32, 2**53])
def test_a_shared_frame_is_what_each_receiver_would_have_got_alone(codec, seq):
    shared = Shared()
    for _ in range(2):
        expected = ENCODERS[codec](msgspec.structs.replace(FRAME, seq=seq))
        assert shared.encoded(codec, seq, FRAME) == expected


def test_a_frame_with_a_number_of_its_own_is_not_shared():
    with pytest.raises(ValueError, match="sequence 0"):
        halves("json", msgspec.structs.replace(FRAME, seq=3))


def test_memory_of_shared_frames_is_bounded():
    shared = Shared()
    for n in range(200):
        frame = msgspec.structs.replace(FRAME, message_id=f"msg-{n}", payload={"x": "y" * 100_000})
        shared.encoded("json", n, frame)
    assert sum(len(kept.tail) for kept in shared._kept.values()) <= 4 << 20
