"""The published schema of the frames says what the decoder does."""

from typing import Any, get_args

import jsonschema_rs
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentcom.core.decoding import decode_frame
from agentcom.core.messages import Fault
from agentcom.protocol.frames import InboundFrame, OutboundFrame
from agentcom.protocol.schema import frames_schema
from tests.fuzz.shapes import damaged, fitting

SCHEMA = frames_schema()
VALID = jsonschema_rs.validator_for(SCHEMA).is_valid
FROM_CLIENT = jsonschema_rs.validator_for({**SCHEMA, "anyOf": [{"$ref": "#/$defs/from_client"}]}).is_valid
INBOUND = [fitting(kind) for kind in get_args(InboundFrame)]
EVERY = [*get_args(InboundFrame), *get_args(OutboundFrame)]


def test_it_is_a_schema() -> None:
    jsonschema_rs.meta.validate(SCHEMA)
    assert {kind.__name__ for kind in EVERY} <= set(SCHEMA["$defs"])


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)
def test_every_frame_that_can_be_made_fits_it(kind: Any) -> None:
    @settings(deadline=None, max_examples=5)
    @given(fitting(kind))
    def holds(frame: dict[str, Any]) -> None:
        assert VALID(frame)
        assert VALID(msgspec.to_builtins(msgspec.convert(frame, kind)))

    holds()


@settings(deadline=None, max_examples=100)
@given(damaged(st.one_of(INBOUND)))
def test_a_frame_is_decoded_if_and_only_if_it_fits(frame: dict[str, Any]) -> None:
    decoded = decode_frame("json", msgspec.json.encode(frame))
    assert isinstance(decoded, Fault) != FROM_CLIENT(frame)
