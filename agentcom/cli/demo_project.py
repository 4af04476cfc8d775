"""A small real project in a local bare git remote, for the demo and for tests.

May import: the standard library.
"""

import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

FILES: Mapping[str, str] = {
    "README.md": """# textkit

A few functions for text and numbers. `python3 -m unittest` runs the tests.
""",
    ".agentcom.toml": """# What must pass before work counts as done; read from the base branch.
[checks]
run = [["python3", "-m", "unittest", "discover", "-q", "-s", "tests", "-t", "."]]
""",
    ".gitignore": "__pycache__/\n*.pyc\n",
    "textkit/__init__.py": '"""Functions for text and numbers."""\n',
    "textkit/words.py": '''"""Functions that take a text."""


def count_words(text):
    return len(text.split())


def initials(text):
    return "".join(word[0].upper() for word in text.split())
''',
    "textkit/numbers.py": '''"""Functions that take a number or a list of numbers."""


def mean(values):
    if not values:
        raise ValueError("expected at least one value")
    return sum(values) / len(values)


def clamp(value, low=0, high=100):
    return max(low, min(high, value))
''',
    "tests/__init__.py": "",
    "tests/test_words.py": """import unittest

from textkit.words import count_words, initials


class WordsTest(unittest.TestCase):
    def test_words_are_counted(self):
        self.assertEqual(count_words("one two  three"), 3)

    def test_initials_are_upper_case(self):
        self.assertEqual(initials("ada lovelace"), "AL")
""",
    "tests/test_numbers.py": """import unittest

from textkit.numbers import clamp, mean


class NumbersTest(unittest.TestCase):
    def test_the_mean_of_nothing_is_an_error(self):
        with self.assertRaises(ValueError):
            mean([])

    def test_values_are_clamped_to_both_ends(self):
        self.assertEqual([clamp(-1), clamp(7), clamp(101)], [0, 7, 100])
""",
}


def create(bare_repo_path: Path) -> Path:
    """Make the bare repository with one commit on `main`; returns its path. It must not exist yet."""
    bare = bare_repo_path.absolute()
    bare.parent.mkdir(parents=True, exist_ok=True)
    _git(bare.parent, "init", "--quiet", "--bare", "--initial-branch=main", str(bare))
    with tempfile.TemporaryDirectory(prefix="agentcom-demo-") as folder:
        tree = Path(folder)
        _git(tree, "init", "--quiet", "--initial-branch=main")
        for name, text in FILES.items():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_text(text, encoding="utf-8")
        _git(tree, "add", "--all")
        _git(tree, "commit", "--quiet", "-m", "A small project to work on")
        _git(tree, "push", "--quiet", str(bare), "HEAD:refs/heads/main")
    return bare


def _git(folder: Path, *args: str) -> None:
    """Git as nobody in particular: the user's own configuration and hooks stay out of it."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    person = {"NAME": "AgentCom demo", "EMAIL": "demo@agentcom.invalid"}
    for key, value in person.items():
        ours[f"GIT_AUTHOR_{key}"] = ours[f"GIT_COMMITTER_{key}"] = value
    ours |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run(["git", *args], cwd=folder, env=ours, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"git {args[0]} failed: {done.stderr.strip()}")
