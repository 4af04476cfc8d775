"""The whole harness against the small hub of `fake_hub.py`, and with tiny numbers against the real one."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from benchmarks import cli
from benchmarks.figures import KINDS
from benchmarks.hub import LAUNCH, Hub, HubError

FAKE = (sys.executable, str(Path(__file__).with_name("fake_hub.py")))
TINY = ("--seconds", "0.5", "--depth", "20", "--signatures", "30", "--signature-tasks", "60")
OF_DURABILITY = {"restart.clean", "verify.rate", "snapshot.share", "snapshot.seconds", "snapshot.size"}
OF_MESSAGES = {name for name in KINDS if name.startswith(("direct", "posts"))}
EVERYTHING = ("all", "signatures")

pytestmark = pytest.mark.slow  # each starts processes


def run(tmp_path, *argv, command=FAKE):
    """Exit code and the JSON."""
    file = tmp_path / "result.json"
    code = cli.main([*argv, *TINY, "--json", str(file), "--folder", str(tmp_path / "work")], command)
    return code, json.loads(file.read_text())


def names(result):
    return {figure["name"] for figure in result["figures"]}


def test_a_run_gives_every_figure_and_leaves_no_folder(tmp_path, capsys):
    code, result = run(tmp_path, *EVERYTHING)
    assert (code, result["errors"]) == (0, [])
    assert names(result) == set(KINDS) - OF_DURABILITY - OF_MESSAGES
    assert all(
        figure["value"] > 0 for figure in result["figures"] if figure["name"].endswith(("rate", "p50"))
    )
    assert list((tmp_path / "work").iterdir()) == []
    assert "full life cycles" in capsys.readouterr().out


def test_a_hub_that_forgets_an_acknowledged_task_is_an_error(tmp_path):
    code, result = run(tmp_path, "submit", "--set", "fake.forget=true")
    assert code == 1
    assert "tasks were acknowledged" in result["errors"][0]


def test_refused_submits_are_errors_and_no_figure_of_speed(tmp_path):
    code, result = run(tmp_path, "submit", "--set", "fake.refuse=true")
    assert code == 1
    assert "nothing was done while measuring" in result["errors"][0]
    assert "submit was answered 503" in result["errors"][1]
    rate = next(figure for figure in result["figures"] if figure["name"] == "submit.rate")
    assert rate["value"] == 0


def test_a_hub_that_does_not_start_is_an_error_that_shows_its_log(tmp_path):
    failing = (sys.executable, "-c", "raise SystemExit('no such data')")
    code, result = run(tmp_path, "submit", command=failing)
    assert code == 1
    assert "ended with 1 before it served" in result["errors"][0]
    assert "no such data" in result["errors"][0]


@pytest.mark.parametrize("by", ["the sampler", "py-spy"])
def test_a_profile_says_in_which_functions_the_time_of_each_measurement_went(
    tmp_path, capsys, monkeypatch, by
):
    if by == "the sampler":
        monkeypatch.setattr(shutil, "which", lambda _name: None)
    elif shutil.which("py-spy") is None:
        pytest.skip("py-spy is not on the path")
    code, result = run(tmp_path, "submit", "--profile")
    assert (code, result["errors"]) == (0, [])
    profiles = {file.name for file in (tmp_path / "result-profiles").glob("*.profile")}
    assert profiles == {"fill-20.profile", "submit-20.profile"}
    assert "FakeHub.answer" in capsys.readouterr().out


def test_a_killed_hub_starts_again_on_its_folder_and_port(tmp_path):
    hub = Hub(tmp_path, FAKE)
    try:
        hub.start()
        first, port = hub.pid, hub.port
        hub.kill()
        hub.start()
        assert (hub.port, hub.pid != first) == (port, True)
    finally:
        hub.kill()


def test_a_hub_that_ignores_sigterm_is_killed_and_reported(tmp_path):
    deaf = "import signal, runpy; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    hub = Hub(tmp_path, (sys.executable, "-c", f"{deaf}; runpy.run_path({FAKE[1]!r}, run_name='__main__')"))
    hub.start()
    with pytest.raises(HubError, match="did not stop"):
        hub.stop(deadline_s=0.5)
    hub.kill()


def test_the_peers_alone_need_no_hub(tmp_path):
    failing = (sys.executable, "-c", "raise SystemExit(1)")
    code, result = run(tmp_path, "peers", command=failing)
    assert (code, result["errors"]) == (0, [])
    assert names(result) == {name for name in KINDS if name.startswith(("uvicorn.", "lmdb.", "python."))}
    assert {figure["depth"] for figure in result["figures"]} == {0}
    assert all(figure["value"] > 0 for figure in result["figures"])


def test_the_real_hub_gives_every_figure_with_tiny_numbers(tmp_path):
    code, result = run(tmp_path, *EVERYTHING, command=LAUNCH)
    assert (code, result["errors"]) == (0, [])
    assert names(result) == set(KINDS) - OF_DURABILITY - OF_MESSAGES


def test_durability_is_measured_on_a_real_hub_and_says_when_a_snapshot_was_too_quick(tmp_path):
    code, result = run(tmp_path, "durability", command=LAUNCH)
    assert {"restart.clean", "restart.seconds", "verify.rate"} <= names(result)
    if code:
        assert "made before anything could be measured" in result["errors"][0]
    else:
        assert names(result) >= OF_DURABILITY


def test_messages_are_measured_on_a_real_hub(tmp_path):
    code, result = run(tmp_path, "messages", command=LAUNCH)
    assert (code, result["errors"]) == (0, [])
    assert names(result) >= OF_MESSAGES
