"""What every module and page of this repository must have."""

import ast
import re
import tomllib
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
