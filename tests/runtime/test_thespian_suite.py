"""The tests that Thespian ships, on our base. What is left out is named, with reasons, in the plugin."""

import pytest

from tests.runtime.thespian_suite.running import SuiteRun


@pytest.mark.slow
@pytest.mark.parametrize("strict", ["0", "1"], ids=["plain", "strict"])
def test_thespian_s_own_tests_pass(strict: str, thespian_suites: dict[str, SuiteRun]) -> None:
    code, said = thespian_suites[strict].outcome()
    assert code == 0, said
