"""Who is limited, by what, and what is forgotten."""

from typing import get_args

import pytest

from agentcom.core import limits
from agentcom.core.conduct import COOL_DOWNS, FORGOTTEN_S, Conduct
from agentcom.core.limits import LimitRules, Limits, Override, from_row, network_of, to_row
from agentcom.core.rates import FORGIVEN_S, TIERS, Rate
from agentcom.core.routes import ROUTES
from agentcom.core.tiers import FRAME_TIERS
from agentcom.protocol.frames import InboundFrame
from agentcom.protocol.rows import Token

FEW = LimitRules(light=Rate(60, 5), normal=Rate(60, 5), heavy=Rate(60, 5))


def test_every_route_has_a_tier():
    assert [name for name, route in ROUTES.items() if route.tier not in TIERS] == []


def test_every_frame_has_a_tier_and_no_other_thing_has():
    assert set(FRAME_TIERS) == set(get_args(InboundFrame))


def allowed(
    made: Limits, client: limits.Standing, now: float = 1_000.0, tier: str = "normal", size: int = 0
) -> int:
    """How many it may ask at once."""
    return next(n for n in range(10_000) if made.spend(client, tier, size, now))


def test_all_tokens_of_a_subject_share_one_rate_and_tiers_do_not():
    made = Limits(FEW)
    assert allowed(made, made.of_token(Token("t1", "ada", "agent", 1))) == 5
    assert made.spend(made.of_agent("ada"), "normal", 0, 1_000.0) is not None
    assert made.spend(made.of_agent("ada"), "light", 0, 1_000.0) is None
    assert made.spend(made.of_agent("bob"), "normal", 0, 1_000.0) is None


def test_an_operator_may_more_and_a_stranger_less_than_an_agent():
    made = Limits(FEW._replace(operator_factor=4, address_factor=0.4))
    assert allowed(made, made.of_token(Token("t", "ada", "operator", 1))) == 20
    assert allowed(made, made.of_token(Token("t", "ada", "agent", 1))) == 5
    assert allowed(made, made.of_address("192.0.2.1", direct=True)) == 2
    assert allowed(made, made.of_address("127.0.0.1", direct=True)) == 20
    assert allowed(made, made.of_address("127.0.0.1", direct=False)) == 2


def test_big_requests_cost_more():
    made = Limits(FEW)
    assert allowed(made, made.of_agent("ada"), size=limits.SIZE_STEP) == 2


def test_an_override_counts_at_once_and_forgives():
    made = Limits(FEW)
    allowed(made, made.of_agent("ada"))
    made.override("ada", Override(rates={"normal": Rate(60, 50)}))
    assert allowed(made, made.of_agent("ada")) == 50
    assert allowed(made, made.of_agent("ada"), tier="heavy") == 5
    made.override("ada", Override(exempt=True))
    assert all(made.spend(made.of_agent("ada"), "heavy", 0, 1_000.0) is None for _ in range(100))
    made.override("ada", None)
    assert allowed(made, made.of_agent("ada")) == 5


def test_what_is_in_force_already_is_left_alone_when_the_rows_are_read_again():
    made = Limits(FEW)
    made.set_overrides({"ada": Override(rates={"normal": Rate(60, 3)})})
    assert allowed(made, made.of_agent("ada")) == 3
    made.set_overrides({"ada": Override(rates={"normal": Rate(60, 3)})})
    assert allowed(made, made.of_agent("ada")) == 0
    made.set_overrides({})
    assert allowed(made, made.of_agent("ada")) == 5


@pytest.mark.parametrize("override", [Override(True), Override(False, {"light": Rate(60.0, 5)})])
def test_an_override_is_the_same_after_its_row(override):
    assert from_row(to_row(override)) == override


def test_limits_that_are_off_refuse_nobody():
    made = Limits(FEW._replace(enabled=False))
    assert all(made.spend(made.of_agent("ada"), "heavy", 0, 1_000.0) is None for _ in range(100))


def test_who_is_idle_is_forgotten_and_who_was_refused_lately_is_not():
    made = Limits(FEW)
    made.spend(made.of_agent("ada"), "light", 0, 1_000.0)
    allowed(made, made.of_agent("bob"))
    made.violation(made.of_address("192.0.2.1", direct=True), 1_000.0)
    made.forget(1_030.0)
    assert [sorted(known) for known in made._of.values()] == [["bob"], [], ["192.0.2.1"], []]
    made.forget(1_000.0 + FORGIVEN_S + 5)
    assert not any(made._of.values())


def test_inventing_names_costs_no_memory(monkeypatch):
    monkeypatch.setattr(limits, "MOST_CLIENTS", 10)
    made = Limits(FEW)
    clients = {id(made.of_address(f"192.0.2.{n}", direct=True)) for n in range(100)}
    assert len(clients) == 11
    assert len(made._of["address"]) == 10


def test_an_ipv6_network_is_one_client_and_a_mapped_ipv4_is_that_ipv4():
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff:1") != network_of("2001:db8:0:1::1")
    assert network_of("::ffff:192.0.2.1") == "192.0.2.1"
    assert network_of("::1") == network_of("127.0.0.9") == network_of("::ffff:127.0.0.1")
    assert network_of("nonsense") == network_of("")


def test_violations_far_enough_apart_are_forgiven_for_ever():
    conduct = Conduct()
    assert [conduct.violation(1_000.0 + n * 6, 10, 60.0) for n in range(1_000)] == [0.0] * 1_000


def test_one_violation_too_many_begins_a_cool_down_that_grows_and_is_forgotten():
    conduct, now, begun = Conduct(), 1_000.0, []
    for _ in range(4):
        told = [conduct.violation(now, 2, 60.0) for _ in range(3)]
        assert told[:2] == [0.0, 0.0]
        begun.append(told[2])
        assert conduct.wait(now) == told[2]
        now += told[2]
        assert conduct.wait(now) == 0
    assert begun == [*COOL_DOWNS, COOL_DOWNS[-1]]
    assert not conduct.is_idle(now + 100, 60.0)
    now += FORGOTTEN_S
    assert conduct.is_idle(now, 60.0)
    assert [conduct.violation(now, 2, 60.0) for _ in range(3)] == [0.0, 0.0, COOL_DOWNS[0]]
