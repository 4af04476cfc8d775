"""`agentcom-admin import-tokens`: what it reads, what it sends, what it says."""

import hashlib
import json

import pytest

from agentcom.cli import admin_import, exits
from agentcom.cli.admin import main

ADA, BOB = "a" * 64, "0123456789abcdef" * 4


def hashed(token):
    return hashlib.sha256(token.encode()).hexdigest()


@pytest.fixture
def file(tmp_path):
    def write(content):
        path = tmp_path / "tokens.json"
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return path

    return write


@pytest.mark.parametrize(
    "content",
    [
        {ADA: "ada", BOB: "GCU-Bob"},
        {"tokens": {ADA: "ada", BOB: "GCU-Bob"}},
        {ADA: {"agent_id": "ada", "created_at": 1}, BOB: {"agent_id": "GCU-Bob"}},
        {"ada": ADA, "GCU-Bob": BOB},
        {"ada": [ADA], "GCU-Bob": [BOB]},
        [{"agent_id": "ada", "token": ADA}, {"agent_id": "GCU-Bob", "token": BOB}],
    ],
)
def test_every_way_to_write_identities_is_read(content):
    found = admin_import.read(json.dumps(content).encode())
    assert found.identities == [("ada", ADA), ("GCU-Bob", BOB)]
    assert found.problems == []


def test_only_hashes_leave_this_machine(run, hub, file):
    hub.answers["POST", admin_import.ROUTE] = (200, {"results": ["imported", "known"]})
    done = run(main, "import-tokens", str(file({ADA: "ada", BOB: "bob"})))
    assert done.exit_code == exits.OK
    assert done.output == "2 tokens of 2 agents\n  1 imported\n  1 known already\n"
    sent = hub.body("POST", admin_import.ROUTE)
    assert sent == {
        "tokens": [
            {"agent_id": "ada", "token_hash": hashed(ADA)},
            {"agent_id": "bob", "token_hash": hashed(BOB)},
        ]
    }


def test_bad_entries_are_named_and_the_others_are_taken_over(run, hub, file):
    hub.answers["POST", admin_import.ROUTE] = (200, {"results": ["imported", "conflict"]})
    content = {ADA: "ada", BOB: "bob", "short": "eve", "c" * 64: "no name", "d" * 300: "zoe", "e" * 64: None}
    done = run(main, "import-tokens", str(file(content)))
    assert done.exit_code == exits.REFUSED
    assert len(hub.body("POST", admin_import.ROUTE)["tokens"]) == 2
    for words in (
        "bob: this token",
        "entry 3 (eve)",
        "entry 4 (no agent's name)",
        "entry 5 (zoe)",
        "entry 6",
    ):
        assert words in done.output
    for secret in (ADA, BOB, "c" * 64, "d" * 300, "short:"):
        assert secret not in done.output


@pytest.mark.parametrize("content", [b"{nope", b"5", b'"x"', b"\xff", b"[" * 5_000])
def test_what_is_no_such_file_is_bad_usage(run, hub, file, content):
    done = run(main, "import-tokens", str(file(content)))
    assert done.exit_code == exits.USAGE
    assert "tokens.json" in done.output
    assert hub.asked == []


def test_a_dry_run_asks_nothing(run, hub, file):
    done = run(main, "import-tokens", "--dry-run", str(file({ADA: "ada"})))
    assert done.output == "1 token of 1 agent; nothing was changed\n"
    assert hub.asked == []


def test_many_identities_go_in_several_requests(run, hub, file):
    hub.answers["POST", admin_import.ROUTE] = [
        (200, {"results": ["imported"] * 1_000}), (200, {"results": ["imported"] * 500}),
    ]  # fmt: skip
    content = {f"{n:064x}": f"agent-{n}" for n in range(1_500)}
    assert "1500 imported" in run(main, "import-tokens", str(file(content))).output
