"""The README and the tutorial do what they say: their commands are run, and what they show is what one sees.

A page's `console` blocks are one bash session in an empty folder. A line with `$` is a command (a here document goes
on to its END); the lines under it are its output, in which `…` stands for anything. The hub's port is the only thing
that is changed.
"""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parent.parent.parent
EXPECTED_EXITS = {'agentcom submit "Paint a picture" --needs painting --wait --timeout 2': 4}
PROGRAMS = {
    "agentcom": "agentcom.cli.main",
    "agentcom-admin": "agentcom.cli.admin",
    "agentcom-sidecar": "sidecar.cli",
}


def blocks(page, kind):
    return re.findall(rf"^```{kind}\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.S | re.M)


def steps(page):
    """(command, the output it shows)"""
    found = []
    for block in blocks(page, "console"):
        for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
            heredoc = re.match(r"[^\n]*<<'END'\n.*?^END\n", part, flags=re.S | re.M)
            command = heredoc[0] if heredoc else part.partition("\n")[0]
            found.append((command.rstrip("\n"), part[len(command) :].strip("\n")))
    return found


def matches(shown, seen):
    pattern = ".*".join(re.escape(piece) for piece in " ".join(shown.split()).split("…"))
    return re.search(pattern, " ".join(seen.split()), flags=re.S) is not None


@pytest.fixture
def port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


@pytest.fixture
def project(tmp_path):
    """The project's folder as `make test` leaves it: what a page needs of it is the programs in its `.venv`."""
    programs = tmp_path / "project" / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name, module in PROGRAMS.items():
        (programs / name).write_text(f'#!/bin/sh\nexec {sys.executable} -m {module} "$@"\n')
        (programs / name).chmod(0o755)
    return tmp_path / "project"


@pytest.fixture
def env(port):
    """What a new terminal has, without the programs, and a hub that listens elsewhere than at 4000."""
    ours = {k: v for k, v in os.environ.items() if not k.startswith(("AGENTCOM_", "GIT_"))}
    path = [of for of in ours["PATH"].split(os.pathsep) if not os.path.exists(os.path.join(of, "agentcom"))]
    return {
        **ours,
        "PATH": os.pathsep.join(path),
        "PYTHONPATH": str(ROOT),
        "AGENTCOM_HUB": f"http://127.0.0.1:{port}",
        "AGENTCOM_HUB__PORT": port,
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
    }


class Shell:
    """One bash that is given a command at a time."""

    def __init__(self, env, folder):
        settings = {"cwd": folder, "env": env, "text": True, "start_new_session": True}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        self.bash = subprocess.Popen(["bash", "--norc"], **settings, **pipes)

    def type(self, command):
        self.bash.stdin.write(f"{command}\n")
        self.bash.stdin.flush()

    def run(self, command):
        """(exit code, output)"""
        self.type(f"{command}\n__code=$?; echo; echo DONE $__code")
        lines = []
        for line in self.bash.stdout:
            if line.startswith("DONE "):
                return int(line.split()[1]), "".join(lines)
            lines.append(line)
        raise AssertionError(f"bash ended in {command}: {''.join(lines)}")

    def close(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.bash.pid, signal.SIGTERM)
        self.bash.communicate()


@pytest.fixture
def terminal(env, project):
    """Opens terminals in the project's folder."""
    with contextlib.ExitStack() as opened:

        def open_one():
            shell = Shell(env, project)
            opened.callback(shell.close)
            return shell

        yield open_one


def wait_until_ready(url):
    until = time.monotonic() + 30
    while True:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{url}/ready", trust_env=False).status_code == 200:
                return
        assert time.monotonic() < until, "the hub is not ready"
        time.sleep(0.05)


@pytest.mark.slow
def test_the_tutorial_works_as_it_is_written(terminal, port):
    shell = terminal()
    for command, shown in steps(ROOT / "docs" / "tutorial" / "first-hub.md"):
        code, seen = shell.run(command.replace(":4000", f":{port}"))
        assert code == EXPECTED_EXITS.get(command, 0), f"$ {command}\n{seen}"
        assert matches(shown.replace(":4000", f":{port}"), seen), f"$ {command}\nshown: {shown}\nseen: {seen}"


@pytest.mark.slow
def test_the_agent_of_the_how_to_works(terminal, env, project):
    """The page begins where a hub runs and the programs are on the path."""
    page = ROOT / "docs" / "how-to" / "write-your-own-agent.md"
    [program] = blocks(page, "python")
    assert program == (ROOT / "docs" / "examples" / "words.py").read_text(encoding="utf-8")
    assert len([line for line in program.splitlines() if line.strip()]) <= 40
    (project / "words.py").write_text(program, encoding="utf-8")
    shell = terminal()
    shell.run('export PATH="$PWD/.venv/bin:$PATH"; agentcom hub 2> hub.log &')
    wait_until_ready(env["AGENTCOM_HUB"])
    for command, shown in steps(page):
        code, seen = shell.run(command.replace("python ", f"{sys.executable} "))
        assert code == 0, f"$ {command}\n{seen}"
        assert matches(shown, seen), f"$ {command}\nshown: {shown}\nseen: {seen}"


@pytest.mark.slow
def test_what_the_readme_says_works_in_two_terminals(terminal, port, tmp_path):
    page = ROOT / "README.md"
    made, first, second = blocks(page, "sh")
    assert all(line.startswith("make ") for line in made.splitlines())
    one, other = terminal(), terminal()
    *before, hub = first.splitlines()
    for command in before:
        assert one.run(command)[0] == 0, command
    assert hub == "agentcom hub"
    one.type(hub)  # it stays in the foreground
    for command in second.splitlines():
        code, seen = other.run(command)
        assert code == 0, f"$ {command}\n{seen}"
    [program] = blocks(page, "python")
    (tmp_path / "my-hub" / "p.py").write_text(program.replace(":4000", f":{port}"))
    code, seen = other.run(f"{sys.executable} p.py")
    assert code == 0, seen
    assert "queued" in seen


def test_every_make_target_the_readme_names_is_there():
    named = set(re.findall(r"make (\w+)", (ROOT / "README.md").read_text(encoding="utf-8")))
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.M))
    assert named <= targets
