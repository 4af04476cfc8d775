"""What is said of the checks of the store: the one that runs, and what the last one found.

May import: agentcom.protocol.
"""

from typing import Any

import msgspec

from agentcom.protocol.upkeep_views import Verification, VerifyProblem

HELP_PAGE = "docs/how-to/when-verify-fails.md"


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """The newest check. `last` is the report of the newest one that came to its end."""

    running: bool = False
    why: str = ""
    begun_ms: int = 0
    last: dict[str, Any] | None = None
    last_begun_ms: int = 0
    problem: str = ""  #: why the newest check did not come to its end

    def ended(self, report: dict[str, Any]) -> "Run":
        return msgspec.structs.replace(
            self, running=False, last=report, last_begun_ms=self.begun_ms, problem=""
        )

    def failed(self, why: str) -> "Run":
        return msgspec.structs.replace(self, running=False, problem=why)

    @property
    def found(self) -> int:
        """Problems of the last report."""
        return len(self.last["problems"]) + int(self.last["more"]) if self.last else 0

    @property
    def first(self) -> str:
        """The first problem as a sentence."""
        found = self.last["problems"][:1] if self.last else []
        return "".join(str(msgspec.convert(problem, VerifyProblem)) for problem in found)


def facts(run: Run) -> dict[str, Any]:
    """For `/health`."""
    said: dict[str, Any] = {"running": run.running, "reason": run.why, "begun_ms": run.begun_ms}
    if run.last is not None:
        said["last"] = {
            "begun_ms": run.last_begun_ms,
            "problems": run.found,
            "seconds": round(run.last["seconds"], 1),
            **{name: run.last[name] for name in ("seq", "bytes", "fold")},
        }
    if run.problem:
        said["problem"] = run.problem
    return said


def alerts(run: Run) -> list[str]:
    """They stand until a later check finds nothing."""
    said = []
    if run.found:
        counted = "1 problem" if run.found == 1 else f"{run.found} problems"
        said.append(f"verify found {counted} in the store, the first: {run.first}; see {HELP_PAGE}")
    if run.problem:
        said.append(f"verify could not read the store to its end: {run.problem}; see {HELP_PAGE}")
    return said


def view(run: Run) -> Verification:
    """For who asks."""
    last = run.last or {}
    return Verification(
        running=run.running,
        reason=run.why,
        begun_ms=run.begun_ms,
        finished=run.last is not None,
        failed=run.problem,
        problems=[msgspec.convert(problem, VerifyProblem) for problem in last.get("problems", ())],
        **{name: last[name] for name in ("more", "rows", "bytes", "seq", "epoch", "seconds", "fold") if last},
    )
