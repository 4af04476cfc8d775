"""Whatever bytes come, decoding gives a frame or a Fault, and never raises."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentcom.core.decoding import (
    MAX_DEPTH,
    convert_task,
    decode_body,
    decode_frame,
    decode_query,
    named,
    not_plain,
)
from agentcom.core.messages import Fault
from agentcom.protocol.bodies import NewTask
from agentcom.protocol.v1_bodies import PushTask
from agentcom.protocol.views import TaskQuery

TEXT = st.text(alphabet="ab\u00e9\0 \n1", max_size=6)
CODECS: Any = ("json", "msgpack")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=10,
)
FIELDS = st.sampled_from(
    ["type", "task_id", "generation", "id", "agent_id", "result", "tasks", "task", "instance"]
)
TYPES = st.sampled_from(["hello", "heartbeat", "task_complete", "task_submit", "task_fail", "status", "x"])


@given(codec=st.sampled_from(CODECS), data=st.binary(max_size=60))
def test_any_bytes_are_a_frame_or_a_fault(codec, data):
    frame = decode_frame(codec, data)
    assert isinstance(frame, Fault) or hasattr(frame, "id")
    assert all(isinstance(text, str) for text in named(codec, data))


@given(kind=TYPES, fields=st.dictionaries(FIELDS, VALUES, max_size=5))
def test_any_object_is_a_frame_or_a_fault_that_says_why(kind, fields):
    data = json.dumps(fields | {"type": kind}, allow_nan=True).encode()
    frame = decode_frame("json", data)
    assert not isinstance(frame, Fault) or frame.message


@given(value=VALUES)
def test_metadata_that_is_let_in_fits_a_row_and_comes_out_as_it_was(value):
    try:
        data = msgspec.json.encode({"description": "x", "metadata": {"v": value}})
    except (OverflowError, UnicodeEncodeError):
        return
    task = decode_body(NewTask, data)
    if not isinstance(task, Fault):
        packed = msgspec.msgpack.encode(task.metadata)
        assert msgspec.json.encode(msgspec.msgpack.decode(packed)) == msgspec.json.encode(task.metadata)


@pytest.mark.parametrize("value", [{1: 2}, {"a": b"x"}, [object()], 2**64, -(2**63) - 1])
def test_what_json_cannot_say_is_refused(value):
    assert isinstance(not_plain(value, "v"), Fault)


def test_nesting_is_bounded():
    value: Any = 0
    for _ in range(MAX_DEPTH):
        value = [value]
    assert not_plain(value, "v") is None
    assert isinstance(not_plain([value], "v"), Fault)


@given(args=st.dictionaries(st.sampled_from(["status", "limit", "cursor", "submitter", "other"]), TEXT))
def test_any_query_is_a_query_or_a_fault(args):
    assert isinstance(decode_query(TaskQuery, args), TaskQuery | Fault)


def test_null_in_a_body_is_the_same_as_leaving_the_field_out():
    task = decode_body(
        NewTask, b'{"description":"x","priority":null,"metadata":null,"needed_capabilities":null}'
    )
    assert task == NewTask(description="x")
    fault = decode_body(NewTask, b'{"description":null,"priority":null}')
    assert isinstance(fault, Fault)
    assert fault.path == "description"
    fault = decode_body(NewTask, b'{"description":"null","priority":7}')
    assert isinstance(fault, Fault)
    assert fault.path == "priority"


@pytest.mark.parametrize("codec", CODECS)
def test_a_task_stands_in_its_frame_or_under_task_and_what_is_wrong_is_named_where_it_stands(codec):
    encode = (msgspec.json if codec == "json" else msgspec.msgpack).encode
    for fields, at in (({"task": {"description": "x"}}, "task."), ({"description": "x"}, "")):
        frame: Any = decode_frame(codec, encode({"type": "task_submit", "id": "1", **fields}))
        assert (frame.id, convert_task(frame.task)) == ("1", NewTask(description="x"))
        bad = {"task": {"description": 1}} if at else {"description": 1}
        frame = decode_frame(codec, encode({"type": "task_submit", "id": "1", **bad}))
        fault = convert_task(frame.task)
        assert isinstance(fault, Fault)
        assert fault.path == f"{at}description"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_json_has_no_word_for_is_refused_where_it_stands(value):
    data = msgspec.msgpack.encode({"type": "send", "to": "bob", "payload": {"x": [1.5, value]}})
    fault = decode_frame("msgpack", data)
    assert isinstance(fault, Fault)
    assert (fault.code, fault.path) == ("bad_frame", "payload.x[1]")


def test_a_key_that_is_no_text_is_refused_where_it_stands():
    fault = decode_frame("msgpack", msgspec.msgpack.encode({"type": "send", "to": "bob", "payload": {1: 2}}))
    assert isinstance(fault, Fault)
    assert (fault.code, fault.path) == ("bad_frame", "payload")


@pytest.mark.parametrize("value", [2**70, [[[]]] * 2])
def test_free_values_are_held_to_the_same_in_every_body_that_has_some(value):
    deep: Any = value
    for _ in range(MAX_DEPTH):
        deep = [deep]
    body = json.dumps({"agent_id": "ada", "description": "x", "metadata": {"v": deep}}).encode()
    for kind in (NewTask, PushTask):
        without = body if kind is PushTask else body.replace(b'"agent_id": "ada", ', b"")
        fault = decode_body(kind, without)
        assert isinstance(fault, Fault)
        assert fault.path.startswith("metadata.v")
