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
