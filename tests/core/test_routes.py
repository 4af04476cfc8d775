"""The table of routes, as data."""

from typing import Any

from agentcom.core.routes import ROUTES


def test_every_answer_below_api_has_a_shape():
    assert [r.name for r in ROUTES.values() if r.path.startswith("/api") and r.answer in (Any, None)] == []
