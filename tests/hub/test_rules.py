"""The settings reach the rules: each by its own name, and the defaults of both are the same."""

from typing import Any

import msgspec
import pytest

from agentcom import rules
from agentcom.config import Config
from agentcom.core import gateway_state, scheduler
from agentcom.core.channel import ChannelRules
from agentcom.core.inbox import MailRules
from agentcom.core.limits import LimitRules
from agentcom.core.policy import Policy

DEFAULTS = {
    rules.policy_of: Policy(),
    rules.scheduler_rules_of: scheduler.Rules(),
    rules.gateway_rules_of: gateway_state.Rules(),
    rules.limit_rules_of: LimitRules(),
    rules.mail_rules_of: MailRules(),
    rules.channel_rules_of: ChannelRules(),
}


def changed(value: Any) -> Any:
    """Everything below is another value than before, whether a file may say so or not."""
    if isinstance(value, msgspec.Struct):
        fields = {name: changed(getattr(value, name)) for name in value.__struct_fields__}
        return msgspec.structs.replace(value, **fields)
    return not value if isinstance(value, bool) else value * 2 if isinstance(value, int | float) else "other"


def fields_of(of: Any) -> dict[str, Any]:
    return dict(of._asdict() if isinstance(of, tuple) else msgspec.structs.asdict(of))


@pytest.mark.parametrize("make", DEFAULTS, ids=lambda make: make.__name__)
def test_the_rules_of_the_default_settings_are_the_default_rules(make):
    assert make(Config()) == DEFAULTS[make]


@pytest.mark.parametrize(
    "make", [*DEFAULTS, rules.keep_of, rules.rewrite_rules_of], ids=lambda make: make.__name__
)
def test_each_rule_follows_from_a_setting(make):
    before, after = fields_of(make(Config())), fields_of(make(changed(Config())))
    assert [name for name in before if before[name] == after[name]] == []


def test_what_is_kept_is_kept_by_the_setting_of_its_name():
    kept = Config().retention
    keep = rules.keep_of(Config())
    assert [getattr(keep, name) for name in keep._fields] == [
        getattr(kept, name.removesuffix("_ms") + "_s") * 1000 for name in keep._fields
    ]
