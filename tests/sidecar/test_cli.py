"""`agentcom-sidecar` as a person meets it."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from msgspec.structs import replace

from sidecar import settings
from sidecar.cli import main
from tests.sidecar.fake_hub import FakeHub


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    """A fake hub on a loop of its own, since the command line brings its own loop."""
    fake, started, stop = FakeHub(), threading.Event(), threading.Event()

    async def serve() -> None:
        async with fake:
            started.set()
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert started.wait(20)
    yield fake
    stop.set()
    thread.join()


def sidecar(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


def join(hub: FakeHub, home: Path, agent_id: str = "ada", invite: str = "invite") -> Result:
    args = ["join", hub.url, invite, "--agent-id", agent_id, "--capability", "python"]
    return sidecar(*args, "--mind", "mind --fast 'a b'", "--home", home)


def test_join_writes_settings_that_only_the_owner_can_read(hub: FakeHub, tmp_path: Path) -> None:
    assert join(hub, tmp_path).exit_code == 0
    written = settings.load(tmp_path)
    assert (written.token, written.capabilities) == ("good", ["python"])
    assert written.mind == ["mind", "--fast", "a b"]
    assert os.stat(tmp_path / "sidecar.toml").st_mode & 0o777 == 0o600


def test_join_again_keeps_token_and_instance(hub: FakeHub, tmp_path: Path) -> None:
    join(hub, tmp_path)
    before = settings.load(tmp_path)
    assert join(hub, tmp_path).exit_code == 0
    assert settings.load(tmp_path) == before


def test_a_home_of_another_agent_is_refused(hub: FakeHub, tmp_path: Path) -> None:
    join(hub, tmp_path)
    refused = join(hub, tmp_path, "bob")
    assert refused.exit_code == 1
    assert "belongs to ada" in refused.output


def test_a_bad_agent_id_is_refused_before_anything_is_written(hub: FakeHub, tmp_path: Path) -> None:
    refused = join(hub, tmp_path, "Not Good")
    assert refused.exit_code == 1
    assert "agent_id" in refused.output
    assert list(tmp_path.iterdir()) == []


def test_a_refused_invite_is_no_word_about_an_agent(hub: FakeHub, tmp_path: Path) -> None:
    """3 tells whoever starts sidecars that this one is wanted no more: only `run` may say so."""
    refused = join(hub, tmp_path, invite="bad")
    assert refused.exit_code == 1
    assert "invite" in refused.output


def test_run_ends_with_3_when_the_hub_wants_the_agent_no_more(hub: FakeHub, tmp_path: Path) -> None:
    join(hub, tmp_path)
    settings.save(tmp_path, replace(settings.load(tmp_path), token="bad"))
    run = [sys.executable, "-m", "sidecar.cli", "run", "--home", str(tmp_path)]
    ended = subprocess.run(run, capture_output=True, text=True, timeout=60)  # it sets up its process's log
    assert ended.returncode == 3
    assert "invalid_token" in ended.stderr


def test_status_and_leave_need_a_join(tmp_path: Path) -> None:
    for command in ("status", "run", "leave"):
        refused = sidecar(command, "--home", tmp_path)
        assert refused.exit_code == 1
        assert "join" in refused.output


def test_leave_undoes_join(hub: FakeHub, tmp_path: Path) -> None:
    join(hub, tmp_path)
    assert "does not run" in sidecar("status", "--home", tmp_path).output
    assert sidecar("leave", "--home", tmp_path).exit_code == 0
    assert not (tmp_path / "sidecar.toml").exists()


def test_an_unknown_key_in_the_settings_is_named(hub: FakeHub, tmp_path: Path) -> None:
    join(hub, tmp_path)
    with (tmp_path / "sidecar.toml").open("a") as file:
        file.write("colour = 1\n")
    assert "colour" in sidecar("status", "--home", tmp_path).output


def test_a_home_that_cannot_be_written_costs_no_registration(hub: FakeHub, tmp_path: Path) -> None:
    """The hub tells a token once: whoever could not keep it would have burnt the name."""
    (tmp_path / "file").write_text("")
    refused = join(hub, tmp_path / "file" / "home")
    assert refused.exit_code != 0
    assert hub.registered == []


def test_a_join_that_the_hub_refused_can_be_repeated(hub: FakeHub, tmp_path: Path) -> None:
    assert join(hub, tmp_path, invite="bad").exit_code == 1
    half = settings.load(tmp_path)
    assert half.token == ""
    assert "repeat" in sidecar("run", "--home", tmp_path).output
    assert join(hub, tmp_path).exit_code == 0
    assert settings.load(tmp_path) == replace(half, token="good")


def test_a_home_that_never_got_a_token_may_become_another_agents(hub: FakeHub, tmp_path: Path) -> None:
    join(hub, tmp_path, invite="bad")
    assert join(hub, tmp_path, "bob").exit_code == 0
    assert settings.load(tmp_path).agent_id == "bob"


@pytest.mark.parametrize("agent_id", ["a..b", "x.lock"])
def test_a_name_that_git_refuses_in_a_branch_is_refused_by_join_and_run(
    hub: FakeHub, tmp_path: Path, agent_id: str
) -> None:
    refused = join(hub, tmp_path, agent_id)
    assert refused.exit_code == 1
    assert f"agent_id {agent_id}" in refused.output
    assert hub.registered == []
    join(hub, tmp_path)
    settings.save(tmp_path, replace(settings.load(tmp_path), agent_id=agent_id))
    run = [sys.executable, "-m", "sidecar.cli", "run", "--home", str(tmp_path)]
    ended = subprocess.run(run, capture_output=True, text=True, timeout=60)  # it sets up its process's log
    assert ended.returncode == 1
    assert f"agent_id {agent_id}" in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["http://[bad", "", "--agent-id", "ada", "--mind", "mind"], "hub"),
        (["http://h:99999", "", "--agent-id", "ada", "--mind", "mind"], "hub"),
        (["http://h", "", "--agent-id", "ada", "--mind", "mind 'a"], "--mind"),
        (["http://h", "", "--agent-id", "ada", "--mind", "mind \udcff"], "mind is not UTF-8"),
        (["http://h", "", "--agent-id", "\udcff", "--mind", "mind"], "agent_id"),
        (["http://h", "", "--agent-id", "ada", "--mind", "m", "--capability", "\udcff"], "capabilities"),
        (["http://h", "", "--agent-id", "ada", "--mind", "m", "--ca-file", "\udcff"], "ca_file"),
        (["http://h", "\udcff", "--agent-id", "ada", "--mind", "mind"], "INVITE"),
        (["http://h", "", "--agent-id", "ada", "--mind", "m", "--home", "~nobody-of-that-name/h"], "--home"),
    ],
)
def test_a_slip_in_join_is_one_sentence_that_names_it(
    tmp_path: Path, arguments: list[str], told: str
) -> None:
    refused = sidecar("join", "--home", tmp_path, *arguments)
    assert isinstance(refused.exception, SystemExit)
    assert told in refused.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"\xff\xfe", b"two words", b"two\nlines", "tök".encode()])
def test_a_token_file_without_a_token_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "token").write_bytes(content)
    join = ["join", "http://h", "--agent-id", "ada", "--mind", "m", "--home", tmp_path / "home"]
    refused = sidecar(*join, "--token-file", tmp_path / "token")
    assert isinstance(refused.exception, SystemExit)
    assert "--token-file" in refused.output
