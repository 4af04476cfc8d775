"""The pages about supervision say what the code has: every option, every message, and an example that runs."""

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from supervisors import messages
from supervisors.base import Supervised
from supervisors.root import Root
from supervisors.specs import Backoff, ChildSpec, DynamicSpec, SupervisorSpec

DOCS = Path(__file__).parent.parent.parent / "docs"
REFERENCE = (DOCS / "reference" / "supervision.md").read_text(encoding="utf-8")
EXPLANATION = (DOCS / "explanation" / "supervision.md").read_text(encoding="utf-8")
EXAMPLE = DOCS / "examples" / "counter.py"


def section(title):
    return re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", REFERENCE, flags=re.S | re.M)[1]


def rows(title):
    """First cells and second cells of a section's first table."""
    table = re.search(r"(?:^\|.*\n)+", section(title), flags=re.M)[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def shown(default):
    if default is msgspec.NODEFAULT:
        return ""
    return (
        f"`{default.__class__.__name__}()`"
        if isinstance(default, Backoff)
        else f"`{default!r}`".replace("'", '"')
    )


@pytest.mark.parametrize("spec", [ChildSpec, SupervisorSpec, Backoff, DynamicSpec])
def test_every_option_of_a_spec_is_listed_with_its_default(spec):
    listed = {}
    for names, defaults, *_ in rows(spec.__name__):
        values = [value.strip() for value in re.sub(r"(?<=\d)_", "", defaults).split(",")]
        listed |= dict(zip(re.findall(r"`(\w+)`", names), values * 2, strict=False))
    fields = msgspec.structs.fields(spec)
    assert listed == {field.name: shown(field.default) for field in fields}


def test_every_message_to_a_supervisor_is_listed_with_its_fields():
    listed = dict(
        re.fullmatch(r"`(\w+)\((.*)\)`", row[0]).groups() for row in rows("Messages to a supervisor")
    )
    asked = [messages.To, messages.ToEach, *messages.Request.__subclasses__(), messages.Which, messages.Count]
    assert listed == {kind.__name__: ", ".join(kind.__struct_fields__) for kind in asked}


@pytest.mark.parametrize("kind", [messages.Children, messages.Counts, messages.Done, messages.Configure])
def test_a_message_that_the_page_spells_out_has_these_fields(kind):
    assert f"{kind.__name__}({', '.join(kind.__struct_fields__)})" in REFERENCE


def test_every_field_of_a_child_info_is_named():
    said = re.search(r"A `ChildInfo`.*?\.\n", REFERENCE, flags=re.S)[0]
    assert set(messages.ChildInfo.__struct_fields__) <= set(re.findall(r"`(\w+)`", said))


def test_every_hook_of_an_actor_is_listed():
    listed = {name for row in rows("Supervised") for name in re.findall(r"`(on_\w+)\(", row[0])}
    assert listed == {name for name in vars(Supervised) if name.startswith("on_")}


def test_everything_that_a_root_can_do_is_listed():
    public = {name for name, _ in inspect.getmembers(Root, inspect.isfunction) if not name.startswith("_")}
    listed = set(re.findall(r"`(?:await )?root\.(\w+)", section("Root")))
    assert listed == public | {"failed"}


def test_the_example_of_the_page_is_the_file_and_prints_what_is_shown():
    program = EXAMPLE.read_text(encoding="utf-8")
    assert program in EXPLANATION
    assert len([line for line in program.splitlines() if line.strip()]) <= 35
    root = str(DOCS.parent)
    done = subprocess.run(
        [sys.executable, EXAMPLE.name],
        cwd=EXAMPLE.parent,
        env={**os.environ, "PYTHONPATH": root, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    expected = re.search(r"```text\n(.*?)```", EXPLANATION, flags=re.S)[1].splitlines()
    assert [line for line in done.stdout.splitlines() if line in set(expected)] == expected
