"""Thespian's own tests in processes of their own. They wait for most of their time, so they begin with the session, and
whoever needs the outcome asks for it last.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
DEADLINE_S = 900.0


class SuiteRun:
    """One run, strict or not."""

    def __init__(self, strict: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="thespian-suite-")
        self._output = (Path(self._folder.name) / "output").open("w+")
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(HERE)]), "STRICT": strict}
        environment.pop(
            "PYTHONUNBUFFERED", None
        )  # one test counts on what a killed child had not written yet
        self._child = subprocess.Popen(
            [sys.executable, "-m", "pytest", *_options(self._folder.name), *_files(environment)],
            env=environment,
            cwd=self._folder.name,
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )

    def outcome(self) -> tuple[int, str]:
        """Its exit code and the end of what it said."""
        code = self._child.wait(DEADLINE_S)
        self._output.seek(0)
        return code, self._output.read()[-8_000:]

    def end(self) -> None:
        if self._child.poll() is None:
            self._child.kill()
        self._child.wait()
        self._output.close()
        self._folder.cleanup()


def _options(folder: str) -> list[str]:
    options = ["-q", "-c", os.devnull, f"--rootdir={folder}", "-p", "no:cacheprovider"]
    return [*options, "-p", "thespian_plugin", "--import-mode=importlib"]


def _files(environment: dict[str, str]) -> list[str]:
    ask = "import thespian_plugin as p; print(*p.suite_files(), sep='\\n')"
    argv = [sys.executable, "-c", ask]
    done = subprocess.run(
        argv, env=environment, capture_output=True, text=True, check=True, timeout=DEADLINE_S
    )
    return done.stdout.split()
