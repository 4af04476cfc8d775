"""Whatever a shell hands to a command: a sentence and an exit code, never a traceback, never an endless wait."""

import functools
from collections.abc import Iterator
from pathlib import Path

import click
import httpx
import pytest
from click.testing import CliRunner

from agentcom.cli import admin, connect, exits
from agentcom.cli import main as agentcom
from agentcom.cli.times import END_MS, Moment, Past, Span, clock

HOSTILE = [
    "", "\udcff", "nan", "inf", "1e308", "9" * 400, "9" * 400 + "d", "-1", "..", ".", "a\nb", "a" * 70_000, "x y!",
    "{", "[" * 100_000, "http://[bad", "http://h:99999", "99999999999999999d", "0001-01-01", "9999-12-31T23:59:59",
    "1" * 5_000, "~nobody-of-that-name/x", "/dev/null", "/",
]  # fmt: skip
VARIABLES = ("AGENTCOM_HUB", "AGENTCOM_TOKEN", "AGENTCOM_CA_FILE")
LEFT_OUT = {"hub", "smoke", "tail", "verify", "restore", "migrate"}
"""Commands that go on until they are stopped, or look at this machine's disk in processes of their own."""


def commands(group: click.Command, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if not isinstance(group, click.Group):
        yield path, group
        return
    ctx = click.Context(group)
    for name in group.list_commands(ctx):
        found = group.get_command(ctx, name)
        assert found is not None
        yield from commands(found, *path, name)


ALL = {
    path: (root, command)
    for root in (agentcom.main, admin.main)
    for path, command in commands(root)
    if path[0] not in LEFT_OUT
}


@pytest.fixture
def refusing(monkeypatch, tmp_path):
    """A hub that knows nothing, without a socket."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(connect, "STARTING_S", 0.1)
    answer = httpx.MockTransport(lambda _: httpx.Response(404, json={"error": "not_found", "message": "no"}))
    monkeypatch.setattr(connect, "Hub", functools.partial(connect.Hub, transport=answer))


def usual(param: click.Parameter) -> str:
    if isinstance(param.type, click.Choice):
        return str(param.type.choices[0])
    numeric = (click.IntRange, click.FloatRange)
    return "5" if isinstance(param.type, numeric) else "absent-file" if param.name == "out" else "v"


def line(command: click.Command, odd: click.Parameter | None, value: str) -> list[str]:
    """A whole command line: what is required as usual, and one odd value."""
    options, arguments = [], []
    for param in command.params:
        if isinstance(param, click.Option) and not param.is_flag and (param.required or param is odd):
            options.append(f"{param.opts[-1]}={value if param is odd else usual(param)}")
        elif isinstance(param, click.Argument) and (param.required or param is odd or param.name == "text"):
            arguments.append(value if param is odd else usual(param))
    return [*options, "--", *arguments]


def ends_orderly(root: click.Command, path: tuple[str, ...], rest: list[str], **env: str) -> None:
    ended = CliRunner(env={"AGENTCOM_HUB": "http://127.0.0.1:1", "AGENTCOM_TOKEN": "t", **env}).invoke(
        root, [*path, *rest]
    )
    assert isinstance(ended.exception, SystemExit | None), (path, rest, env, ended.exception)


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_no_value_of_any_argument_or_option_ends_in_a_traceback(refusing, path):
    root, command = ALL[path]
    for param in command.params:
        for value in HOSTILE:
            ends_orderly(root, path, line(command, param, value))


@pytest.mark.parametrize("variable", VARIABLES)
def test_no_value_of_a_variable_ends_in_a_traceback(refusing, variable):
    for value in HOSTILE:
        ends_orderly(admin.main, ("tree",), [], **{"AGENTCOM_HUB": "https://h", variable: value})


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["submit", "\udcff"], "TEXT"),
        (["submit", "x", "--needs", "\udcff"], "--needs"),
        (["submit", "x", "--wait", "--timeout", "nan"], "--timeout"),
        (["submit", "x", "--wait", "--timeout", "inf"], "--timeout"),
        (["submit", "x", "--deadline", "9999999d"], "--deadline"),
        (["submit", "x", "--hub", "http://[bad"], "--hub"),
        (["submit", "x", "--hub", "http://"], "--hub"),
        (["submit", "--file", "odd"], "--file odd"),
    ],
)
def test_a_slip_names_its_field(run, hub, arguments, told):
    Path("odd").write_bytes(b"one\n\xff\xfe\n")
    done = run(agentcom.main, *arguments)
    assert done.exit_code == exits.USAGE
    assert told in done.output
    assert hub.asked == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["repo", "add", "bad name!", "x"], "name"),
        (["repo", "add", "", "x"], "NAME"),
        (["task", ""], "TASK_ID"),
        (["inspect", "a" * 5_000], "NAME"),
        (["invite", "--expires", "9" * 400 + "d"], "--expires"),
        (["limits", "set", "ada", "--tier", "light", "--burst", "1", "--per-minute", "nan"], "--per-minute"),
        (["send", "ada", "--payload", "[" * 100_000], "--payload"),
    ],
)
def test_an_operators_slip_names_its_field(run, hub, arguments, told):
    done = run(admin.main, *arguments)
    assert done.exit_code == exits.USAGE
    assert told in done.output
    assert hub.asked == []


@pytest.mark.parametrize("command", [(agentcom.main, "submit", "-"), (admin.main, "answer", "t", "-")])
def test_stdin_that_is_no_text_is_refused(run, hub, command):
    done = run(*command, input=b"\xff")
    assert done.exit_code == exits.USAGE
    assert "stdin" in done.output
    assert hub.asked == []


@pytest.mark.parametrize("token", ["two words", "tök", "\udcff", "a\nb"])
def test_what_no_header_can_carry_is_no_token(run, hub, token):
    done = run(admin.main, "tree", env={"AGENTCOM_TOKEN": token})
    assert done.exit_code == exits.USAGE
    assert "AGENTCOM_TOKEN" in done.output
    assert hub.asked == []


@pytest.mark.parametrize("name", ["..", "."])
def test_dots_are_a_name_like_any_other_and_no_step_in_the_path(run, hub, name):
    run(admin.main, "restart", name)
    assert hub.asked[-1][1] == f"/api/actors/{name.replace('.', '%2E')}/restart"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["verify", "--data", "a" * 5_000], "data folder"),
        (["verify", "--snapshots", "\udcff"], "snapshots"),
        (["migrate", "--data", "\udcff"], "--data"),
        (["migrate", "--data", "a" * 5_000], "--data"),
        (["restore", "--data", "\udcff"], "data"),
        (["restore", "--data", "new", "--to", "1" * 5_000], "--to"),
        (["restore", "--data", "new", "--to", "9" * 400 + "d"], "--to"),
    ],
)
def test_a_slip_about_a_folder_names_it(run, tmp_path, arguments, told):
    done = run(admin.main, *arguments)
    assert isinstance(done.exception, SystemExit)
    assert done.exit_code == exits.USAGE
    assert told in done.output
    assert list(tmp_path.iterdir()) == []


def test_what_answers_but_is_no_hub_is_told_as_such(run, hub, monkeypatch):
    monkeypatch.setattr("tests.cli.conftest.json.dumps", lambda _: "<html>")
    hub.answers["GET", "/api/actors"] = (200, "")
    done = run(admin.main, "tree")
    assert done.exit_code == exits.UNAVAILABLE
    assert "no hub" in done.output


def test_a_refusal_with_odd_bytes_can_be_told_to_programs_too(run, hub):
    done = run(admin.main, "tree", "--json", "--token-file", "\udcff")
    assert done.exit_code == exits.USAGE


@pytest.mark.parametrize("ms", [END_MS * 100, 10**30, -(10**30)])
def test_a_time_that_no_calendar_has_is_shown_all_the_same(ms):
    assert str(ms) in clock(ms)


@pytest.mark.parametrize("text", ["9" * 400 + "d", "99999999d", "0001-01-01", "1969-12-31T00:00:00+00:00"])
@pytest.mark.parametrize("kind", [Moment(), Past()])
def test_a_time_outside_the_calendar_is_refused(kind, text):
    with pytest.raises(click.BadParameter):
        kind.convert(text, None, None)


def test_a_span_of_ages_is_refused():
    with pytest.raises(click.BadParameter):
        Span().convert("9" * 400 + "d", None, None)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--set", "hub.data=\udcff"], "hub.data"),
        (["--data", "\udcff"], "hub.data"),
        (["--set", "tasks.max_attempts=nan"], "max_attempts"),
        (["--set", "tasks.backoff_base_s=inf"], "backoff_base_s"),
        (["--config", "odd.toml"], "odd.toml"),
    ],
)
def test_a_hub_that_cannot_start_for_a_setting_names_it(run, tmp_path, arguments, told):
    Path("odd.toml").write_text(f"[hub]\nport = {'1' * 5_000}\n")
    done = run(agentcom.main, "hub", "--no-keeper", "--port", "0", *arguments)
    assert done.exit_code == exits.USAGE
    assert told in done.output
