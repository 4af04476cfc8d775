"""A Mind that costs no tokens: it follows the script in its task's metadata, and really works.

`metadata["script"]`: `op` is `add_function` (file, name, arg, body, example: [argument, result]) or `note`;
`seconds` it thinks first, `fail_times` attempts fail, `always_fail` all do. It edits its worktree, runs the
project's own tests and commits. Everything it knows comes from the environment, as for any Mind.
May import: msgspec, and nothing else of ours.
"""

import os
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any, Literal

import msgspec


class Script(msgspec.Struct, frozen=True, kw_only=True):
    op: Literal["add_function", "note"] = "note"
    file: str = ""
    name: str = ""
    arg: str = "value"
    body: str = ""
    example: tuple[Any, Any] = (None, None)
    seconds: float = 0.0
    fail_times: int = 0
    always_fail: bool = False


class Task(msgspec.Struct, frozen=True):
    task_id: str
    description: str
    attempt: int = 1
    metadata: dict[str, Any] = {}


class GivesUp(Exception):
    """What a Mind says when it cannot do the task."""


def main() -> int:
    task = msgspec.json.decode(Path(os.environ["AGENTCOM_TASK_FILE"]).read_bytes(), type=Task)
    try:
        script = msgspec.convert(task.metadata.get("script", {}), Script)
        summary = work(task, script, Path(os.environ["AGENTCOM_WORKTREE"]))
    except (GivesUp, msgspec.ValidationError) as exc:
        return _say(status="fail", reason=str(exc))
    return _say(status="done", summary=summary)


def _say(**result: Any) -> int:
    Path(os.environ["AGENTCOM_RESULT_FILE"]).write_bytes(msgspec.json.encode(result))
    return 0 if result["status"] == "done" else 1


def work(task: Task, script: Script, tree: Path) -> str:
    time.sleep(script.seconds)  # an LLM would think here
    if script.always_fail:
        raise GivesUp("this task cannot be done: the script says so")
    if task.attempt <= script.fail_times:
        raise GivesUp(f"attempt {task.attempt} fails: the script says so")
    summary = _OPS[script.op](task, script, tree)
    test(tree)
    commit(task, tree)
    return summary


def add_function(_task: Task, script: Script, tree: Path) -> str:
    """Append a function to a module of the project, with a test."""
    module = tree / script.file
    if not module.is_file() or tree.resolve() not in module.resolve().parents:
        raise GivesUp(f"there is no file {script.file} in this project")
    source = module.read_text()
    if f"def {script.name}(" not in source:
        module.write_text(f"{source.rstrip()}\n\n\ndef {script.name}({script.arg}):\n    {script.body}\n")
    (tree / "tests" / f"test_{script.name}.py").write_text(_test_of(script))
    return f"Added `{script.name}` to `{script.file}`, with a test."


def _test_of(script: Script) -> str:
    module = script.file.removesuffix(".py").replace("/", ".")
    argument, result = script.example
    class_name = "".join(part.title() for part in script.name.split("_"))
    return (
        f"import unittest\n\nfrom {module} import {script.name}\n\n\n"
        f"class {class_name}Test(unittest.TestCase):\n"
        f"    def test_{script.name}_gives_what_its_example_says(self):\n"
        f"        self.assertEqual({script.name}({argument!r}), {result!r})\n"
    )


def note(task: Task, _script: Script, tree: Path) -> str:
    """Write the idea down where the project can find it."""
    notes = tree / "notes"
    notes.mkdir(exist_ok=True)
    (notes / f"{task.task_id}.md").write_text(f"{task.description.strip()}\n")
    return f"Wrote `notes/{task.task_id}.md`."


_OPS = {"add_function": add_function, "note": note}


def test(tree: Path) -> None:
    """The project's own tests, as it says they are run."""
    settings = tree / ".agentcom.toml"
    checks = tomllib.loads(settings.read_text()).get("checks", {}).get("run", []) if settings.exists() else []
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    for argv in checks:
        done = subprocess.run(argv, cwd=tree, env=env, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise GivesUp(f"the project's own tests fail: {_telling(done.stdout + done.stderr)}")


def _telling(output: str) -> str:
    """The last line that names an error, else the end of it all."""
    lines = [line.strip() for line in output.splitlines() if "Error: " in line]
    return lines[-1] if lines else output[-500:]


def commit(task: Task, tree: Path) -> None:
    title = task.description.strip().splitlines()[0][:72]
    for args in (["add", "--all"], ["commit", "--quiet", "-m", f"{title}\n\nTask: {task.task_id}"]):
        done = subprocess.run(["git", *args], cwd=tree, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise GivesUp(f"git {args[0]} fails: {(done.stdout + done.stderr)[-500:]}")


if __name__ == "__main__":
    sys.exit(main())
