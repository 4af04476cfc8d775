"""The tests that Thespian ships, on our base. What is left out is named, with reasons, in the plugin."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


@pytest.mark.slow
@pytest.mark.parametrize("strict", ["0", "1"], ids=["plain", "strict"])
def test_thespian_s_own_tests_pass(strict, tmp_path):
    path = os.pathsep.join([str(ROOT), str(HERE / "thespian_suite")])
    environment = {**os.environ, "PYTHONPATH": path, "STRICT": strict}
    environment.pop("PYTHONUNBUFFERED", None)  # one test counts on what a killed child had not written yet
    list_files = "import thespian_plugin as p; print(*p.suite_files(), sep='\\n')"
    files = _run([sys.executable, "-c", list_files], environment, tmp_path).stdout.split()
    options = ["-q", "-c", os.devnull, f"--rootdir={tmp_path}", "-p", "no:cacheprovider"]
    options += ["-p", "thespian_plugin", "--import-mode=importlib"]
    done = _run([sys.executable, "-m", "pytest", *options, *files], environment, tmp_path)
    assert done.returncode == 0, done.stdout[-8000:]


def _run(command, environment, folder):
    return subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, check=False, timeout=900
    )
