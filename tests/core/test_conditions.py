"""What the parts of the hub say of themselves is what /health shows."""

from agentcom.core.decision import Now
from agentcom.core.gateway import decide, on_down
from agentcom.core.gateway_state import Rules, State
from agentcom.core.messages import Condition, HttpIn, Tick
from agentcom.store import MemoryStore, queries


def health(state, store):
    msg = HttpIn(reply_to="edge", request=1, route="health", token="", args={}, body=b"", peer="127.0.0.1")
    ((_, read),) = decide(state, msg, Now(0, 0.0), store.reader)
    return queries.answer(store.reader, read.what, read.query, read.key)


def test_health_shows_the_newest_of_each_part_and_any_alert_degrades_it():
    state, store = State(Rules(), "me"), MemoryStore()
    assert health(state, store).status == "ok"
    for condition in (
        Condition("archive", {"lag_s": 90}, ("the archive is 90 s behind",)),
        Condition("store", {"sync": "interval"}),
    ):
        assert decide(state, condition, Now(0, 0.0), store.reader) == []
    seen = health(state, store)
    assert (seen.status, seen.alerts) == ("degraded", ["the archive is 90 s behind"])
    assert seen.parts == {"archive": {"lag_s": 90}}
    assert seen.store == {"seq": 0, "sync": "interval"}
    decide(state, Condition("archive", {"lag_s": 0}), Now(0, 0.0), store.reader)
    assert health(state, store).status == "ok"


def test_a_part_that_is_down_says_nothing():
    state, store = State(Rules(), "me"), MemoryStore()
    decide(state, Condition("archive", {}, ("old news",)), Now(0, 0.0), store.reader)
    on_down(state, "archive")
    assert health(state, store).alerts == []


def test_what_is_said_until_a_time_is_forgotten_then_with_its_acknowledgement():
    state, store = State(Rules(), "me"), MemoryStore()
    said = Condition("restore", {"how": "restored"}, ("the store was restored",), until_ms=5_000)
    decide(state, said, Now(1_000, 1.0), store.reader)
    state.acknowledged.add("restore")
    decide(state, Tick(), Now(4_999, 5.0), store.reader)
    assert health(state, store).alerts == ["the store was restored"]
    decide(state, Tick(), Now(5_000, 5.0), store.reader)
    assert (health(state, store).alerts, state.fired, state.acknowledged) == ([], {}, set())
    decide(state, said, Now(5_000, 5.0), store.reader)
    assert health(state, store).status == "ok"
