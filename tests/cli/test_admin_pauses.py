"""`agentcom-admin pause`, `resume` and `drain`: what they ask and what they say."""

import json

import pytest

from agentcom.cli import exits
from agentcom.cli.admin import main


@pytest.mark.parametrize(
    ("command", "path", "says"),
    [
        (("pause", "lane", "high"), "/api/lanes/high/pause", "lane high is paused\n"),
        (("resume", "lane", "high"), "/api/lanes/high/resume", "lane high is resumed\n"),
        (("pause", "agent", "ada"), "/api/agents/ada/pause", "ada is paused\n"),
        (("resume", "agent", "ada"), "/api/agents/ada/resume", "ada is resumed\n"),
        (("drain", "ada"), "/api/agents/ada/drain", "ada is drained\n"),
        (("drain",), "/api/drain", "the hub is drained\n"),
        (("resume", "hub"), "/api/resume", "the hub is resumed\n"),
    ],
)
def test_each_is_one_request_and_one_sentence(run, hub, command, path, says):
    hub.answers["POST", path] = (200, {"status": "ok"})
    done = run(main, *command)
    assert (done.exit_code, done.output) == (exits.OK, says)
    assert json.loads(run(main, *command, "--json").output) == {"status": "ok"}
    assert [ask[:2] for ask in hub.asked] == [("POST", path)] * 2


def test_an_agent_that_nobody_knows_is_a_refusal(run, hub):
    hub.answers["POST", "/api/agents/eve/pause"] = (
        404,
        {"error": "not_found", "message": "there is no agent eve"},
    )
    done = run(main, "pause", "agent", "eve")
    assert (done.exit_code, "there is no agent eve" in done.output) == (exits.REFUSED, True)


@pytest.mark.parametrize("command", [("drain",), ("pause", "agent"), ("resume", "agent")])
@pytest.mark.parametrize("name", ["..", ".", "", "a/b", "a b"])
def test_what_is_no_agents_name_is_bad_usage_and_never_the_whole_hub(run, hub, command, name):
    assert run(main, *command, name).exit_code == exits.USAGE
    assert hub.asked == []


def test_a_lane_that_does_not_exist_is_bad_usage(run, hub):
    assert run(main, "pause", "lane", "middle").exit_code == exits.USAGE
    assert hub.asked == []
