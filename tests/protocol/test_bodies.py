"""What a body may hold, where its words go to others than us."""

import subprocess

import msgspec
import pytest

from agentcom.protocol.bodies import LAST_MS, NewRepo, NewTask

GOOD = [
    "main",
    "a",
    "release/1.2",
    "ada/task-7_x",
    "feature/ünï-☃",
    "v1.lockdown",
    "a.b/c@d",
    "x" * 256,
    "a{b",
    "@a",
    "A-",
]
BAD = [
    "-main", "--upload-pack=x", "a b", " main", "main ", "a\tb", "main\n", "a\0b", "a\x7fb", "a..b", "a~1", "a^", "a:b",
    "a?", "a*", "[a", "a\\b", "a@{1", "/a", "a/", "a//b", "a.", ".a", "a/.b", "a.lock", "a.lock/b", "a/b.lock",
]  # fmt: skip


def is_taken(name: str) -> bool:
    try:
        msgspec.convert({"description": "x", "base_branch": name}, NewTask)
        msgspec.convert({"name": "r", "url": "u", "base_branch": name}, NewRepo)
    except msgspec.ValidationError as error:
        return "base_branch" not in str(error)
    return True


def is_known_to_git(name: str) -> bool:
    return subprocess.run(["git", "check-ref-format", "--branch", name], capture_output=True).returncode == 0


@pytest.mark.parametrize("name", GOOD)
def test_a_branch_that_git_can_have_is_taken(name):
    assert is_known_to_git(name)
    assert is_taken(name)


@pytest.mark.parametrize("name", BAD)
def test_a_branch_that_git_cannot_have_is_refused(name):
    assert "\0" in name or not is_known_to_git(name)
    assert not is_taken(name)


@pytest.mark.parametrize("name", ["a\u00a0b", "a\u2003b", "a\x85b", "@", "x" * 257])
def test_a_branch_that_would_be_mistaken_is_refused(name):
    assert not is_taken(name)


def test_a_task_need_not_name_a_branch_and_a_repo_has_one():
    assert msgspec.convert({"description": "x", "base_branch": ""}, NewTask).base_branch == ""
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"name": "r", "url": "u", "base_branch": ""}, NewRepo)


@pytest.mark.parametrize("field", ["not_before", "complete_by"])
def test_times_end_with_the_year_9999(field):
    made = msgspec.convert({"description": "x", field: LAST_MS}, NewTask)
    assert getattr(made, field) == LAST_MS
    with pytest.raises(msgspec.ValidationError, match=field):
        msgspec.convert({"description": "x", field: LAST_MS + 1}, NewTask)
