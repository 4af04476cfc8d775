"""The demo's cast: two agents, ten tasks.

May import: msgspec, agentcom.protocol.
"""

from typing import Any

import msgspec

from agentcom.protocol.bodies import NewTask
from agentcom.protocol.rows import Lane

REPO = "demo"
BASE = "main"
CAPABILITIES: dict[str, tuple[str, ...]] = {"ada": ("python", "algorithms"), "grace": ("python", "docs")}
"""What each agent can do: `algorithms` only Ada, `docs` only Grace."""
THINKS_S = 0.6
"""Each Mind thinks that long, so that there is something to watch."""


class DemoTask(msgspec.Struct, frozen=True, kw_only=True):
    title: str
    lane: Lane
    script: dict[str, Any]
    needs: tuple[str, ...] = ("python",)
    fail_times: int = 0
    hopeless: bool = False

    def new_task(self, key: str) -> NewTask:
        fate: dict[str, Any] = {} if self.hopeless else {"fail_times": self.fail_times}
        script = {**self.script, **fate, "seconds": THINKS_S}
        return NewTask(
            description=self.title,
            priority=self.lane,
            needed_capabilities=list(self.needs),
            metadata={"script": script},
            repo=REPO,
            max_attempts=3,
            idempotency_key=key,
        )


def _function(file: str, name: str, arg: str, body: str, given: Any, gives: Any) -> dict[str, Any]:
    where = f"textkit/{file}.py"
    return {
        "op": "add_function",
        "file": where,
        "name": name,
        "arg": arg,
        "body": body,
        "example": [given, gives],
    }


_NOTE: dict[str, Any] = {"op": "note"}
_ALGORITHMS = ("python", "algorithms")
_DOCS = ("docs",)

TASKS: tuple[DemoTask, ...] = (
    DemoTask(
        title="Add slug()",
        lane="normal",
        script=_function(
            "words",
            "slug",
            "text",
            'return "-".join(text.lower().split())',
            "Hello Big World",
            "hello-big-world",
        ),
    ),
    DemoTask(
        title="Describe releases",
        lane="low",
        needs=_DOCS,
        script=_NOTE,
    ),
    DemoTask(
        title="Find palindromes",
        lane="urgent",
        needs=_ALGORITHMS,
        script=_function("words", "is_palindrome", "text", "return text == text[::-1]", "level", True),
    ),
    DemoTask(
        title="Add title_case()",
        lane="high",
        script=_function("words", "title_case", "text", "return text.title()", "one two", "One Two"),
    ),
    DemoTask(
        title="Reverse words",
        lane="normal",
        script=_function(
            "words", "reverse_words", "text", 'return " ".join(text.split()[::-1])', "a b c", "c b a"
        ),
        fail_times=1,
    ),
    DemoTask(
        title="Make 1 equal 2",
        lane="high",
        script=_function("numbers", "one", "value", "return value", 1, 2),
        hopeless=True,
    ),
    DemoTask(
        title="Add median()",
        lane="normal",
        needs=_ALGORITHMS,
        script=_function(
            "numbers", "median", "values", "return sorted(values)[len(values) // 2]", [3, 1, 2], 2
        ),
    ),
    DemoTask(
        title="Count vowels",
        lane="low",
        script=_function(
            "words", "vowels", "text", 'return sum(c in "aeiou" for c in text.lower())', "Idea", 3
        ),
    ),
    DemoTask(
        title="Collect ideas",
        lane="urgent",
        needs=_DOCS,
        script=_NOTE,
    ),
    DemoTask(
        title="Add spread()",
        lane="low",
        needs=_ALGORITHMS,
        script=_function("numbers", "spread", "values", "return max(values) - min(values)", [4, 9, 6], 5),
    ),
)
"""One fails once (`fail_times`), one always (`hopeless`: its own test can never pass)."""
