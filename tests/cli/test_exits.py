"""With `--json` every failure of every command is an object on stderr."""

import json
from collections.abc import Iterator

import click
import pytest

from agentcom.cli import admin, exits
from agentcom.cli import main as agentcom
from sidecar import cli as sidecar

PROGRAMS = {"agentcom": agentcom.main, "agentcom-admin": admin.main, "agentcom-sidecar": sidecar.main}


def commands(of: click.Command, path: tuple[str, ...]) -> Iterator[tuple[str, click.Command]]:
    if isinstance(of, click.Group):
        for name, one in of.commands.items():
            yield from commands(one, (*path, name))
    else:
        yield " ".join(path), of


ALL = dict(each for name, program in PROGRAMS.items() for each in commands(program, (name,)))


def test_every_command_gives_the_option_the_name_by_which_a_failure_finds_it():
    named = {param.name for command in ALL.values() for param in command.params if "--json" in param.opts}
    assert named == {"as_json"}
    assert len(ALL) > 30


@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        ("agentcom-admin", ("channel", "general", "--delete", "--post", "x")),
        ("agentcom-admin", ("send", "ada", "no object", "--payload")),
        ("agentcom-admin", ("agents", "--hub", "ftp://hub")),
        ("agentcom-admin", ("agents", "--token-file", "absent")),
        ("agentcom-admin", ("agents", "--hub", "https://localhost", "--ca-file", "absent")),
        ("agentcom", ("submit",)),
        ("agentcom-sidecar", ("status", "--home", "absent")),
    ],
)
def test_a_failure_before_the_hub_was_asked_is_an_object_too(run, program, arguments):
    done = run(PROGRAMS[program], *arguments, "--json")
    told = json.loads(done.stderr)
    assert (told["error"], told["exit"]) == ("failed", done.exit_code)
    assert told["message"]
    assert done.exit_code in (exits.USAGE, exits.REFUSED)
    assert done.stdout == ""
