"""Who may import whom, held to: the contracts are in pyproject.toml, and this runs them."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TOP = ("agentcom", "actors", "supervisors", "sidecar")
SHELLS = sorted([*(ROOT / "actors").glob("*.py"), *(ROOT / "supervisors").glob("*.py")])


def imported(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def test_every_import_points_down_the_layers():
    check = "import sys, importlinter.cli as c; sys.exit(c.lint_imports(no_cache=True, no_logo=True))"
    done = subprocess.run([sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", SHELLS, ids=lambda p: f"{p.parent.name}.{p.stem}")
def test_actors_use_only_the_public_api_of_thespian(path):
    assert {name for name in imported(path) if name.startswith("thespian")} <= {"thespian.actors"}


def test_all_of_a_package_is_shipped():
    files = (path for top in TOP for path in (ROOT / top).rglob("__init__.py"))
    packages = {".".join(path.parent.relative_to(ROOT).parts) for path in files}
    listed = (ROOT / "setup.cfg").read_text(encoding="utf-8").split()
    assert packages <= set(listed)
