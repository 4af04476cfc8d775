"""What every module and page of this repository must have."""

import ast
import re
import tomllib
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = sorted(
    p for top in ("agentcom", "actors", "supervisors", "sidecar") for p in (ROOT / top).rglob("*.py")
)
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")


def name_of(path):
    return str(path.relative_to(ROOT))


TABLES = {"agentcom/core/messages.py", "agentcom/core/routes.py"}
"""Modules that only list things: one place to look them up is worth more than the limit."""


@pytest.mark.parametrize("path", [p for p in MODULES if name_of(p) not in TABLES], ids=name_of)
def test_a_module_has_at_most_400_lines(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


@pytest.mark.parametrize("path", [p for p in MODULES if p.stat().st_size], ids=name_of)
def test_a_module_opens_by_saying_what_lives_here(path):
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


def test_no_function_is_longer_than_50_lines():
    long = [
        f"{name_of(path)}:{node.lineno} {node.name}"
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or node.lineno) - node.lineno >= 50
    ]
    assert long == []


OF_MESSAGES = {"Message", "Ask", "Note", "StoreMessage"}
"""What messages between actors derive from, in whatever module."""


def messages_in(path):
    """A module of that name holds nothing else, also what messages are made of."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef):
            bases = {base.id for base in node.bases if isinstance(base, ast.Name)}
            if path.name == "messages.py" or bases & OF_MESSAGES:
                yield node.name


def test_no_two_messages_between_actors_have_one_name():
    every = Counter(name for path in MODULES for name in messages_in(path))
    assert {
        "Reply",
        "Crashed",
        "Committed",
        "Flush",
    } <= every.keys()  # of the hub, of supervisors, of the store
    assert [name for name, times in every.items() if times > 1] == []


def test_the_changelog_tells_what_is_unreleased():
    assert "## [Unreleased]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_each_dependency_has_its_reason():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    reasons = (ROOT / "docs/explanation/dependencies.md").read_text(encoding="utf-8")
    needed = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = [re.split(r"[<>=;\s\[]", line, maxsplit=1)[0] for line in needed]
    assert [name for name in names if f"| {name} |" not in reasons] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_of_a_page_leads_somewhere(page):
    targets = [t for t in LINK.findall(page.read_text(encoding="utf-8")) if "://" not in t]
    assert [t for t in targets if not (page.parent / t).exists()] == []
