"""Frames mean the same in JSON and msgpack, and in the eyes of msgpack's reference implementation."""

import json
from typing import get_args

import msgpack
import msgspec
import pytest

from agentcom.protocol import frames

EXAMPLES = [
    frames.Hello(agent_id="ada", instance="i1", capabilities=["python"], resume=frames.Resume(
        tasks=[frames.HeldTask("task-1", 3)], acked_seq=7)),
    frames.TaskComplete(task_id="task-1", generation=3, result=frames.TaskResult(
        summary="done ✔", branch="ada/x", checks=[frames.Check(["make", "test"], 0, 1.5)], data={"n": 2**53})),
    frames.Welcome(session="1.1", agent_id="ada", epoch=1, heartbeat_ms=1, lease_ms=2, grace_ms=3, time_ms=4,
                   tasks=[frames.Verdict("task-1", 3, "abort", "busy")]),
    frames.TaskAck(task_id="task-1", generation=3, status="completed", superseded=True),
]  # fmt: skip


@pytest.mark.parametrize("frame", EXAMPLES, ids=lambda frame: type(frame).__name__)
def test_a_binary_frame_says_what_the_text_frame_says(frame):
    binary = msgpack.unpackb(msgspec.msgpack.encode(frame))
    assert binary == json.loads(msgspec.json.encode(frame))


@pytest.mark.parametrize("frame", EXAMPLES, ids=lambda frame: type(frame).__name__)
def test_what_the_reference_implementation_packs_is_read_back(frame):
    packed = msgpack.packb(json.loads(msgspec.json.encode(frame)))
    kinds = frames.InboundFrame if type(frame) in get_args(frames.InboundFrame) else frames.OutboundFrame
    assert msgspec.msgpack.decode(packed, type=kinds) == frame


def test_no_two_frames_share_a_tag():
    kinds = (*get_args(frames.InboundFrame), *get_args(frames.OutboundFrame))
    tags = [kind.__struct_config__.tag for kind in kinds]
    assert len(tags) == len(set(tags))
