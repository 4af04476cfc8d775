"""The reference pages that are made from the code say what the code does."""

import importlib.util
from pathlib import Path

import pytest

from agentcom.cli import exits
from agentcom.core import transitions
from agentcom.protocol.rows import PHASES

ROOT = Path(__file__).parent.parent.parent
SPEC = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
generate = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(generate)


@pytest.mark.parametrize("page", generate.PAGES)
def test_a_made_page_is_up_to_date(page):
    assert (generate.REFERENCE / page).read_text(encoding="utf-8") == generate.PAGES[page](), (
        "run `make docs`"
    )


def test_every_exit_code_has_a_meaning():
    codes = {value for name, value in vars(exits).items() if name.isupper() and isinstance(value, int)}
    assert codes == set(exits.MEANING)


def test_every_state_and_every_step_of_a_task_has_a_meaning():
    assert set(transitions.MEANS) == set(transitions.NEXT) == set(PHASES)
    assert set(transitions.CAUSE) == {step for row in transitions.NEXT.values() for step in row}


def test_every_page_can_be_reached_from_the_index():
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    pages = [page for page in (ROOT / "docs").rglob("*.md") if page.name != "index.md"]
    assert [str(p) for p in pages if f"({p.relative_to(ROOT / 'docs')})" not in index] == []


def test_what_a_field_means_stands_behind_it_or_right_above_it(tmp_path):
    file = tmp_path / "fields.py"
    file.write_text(
        "class Part:\n"
        "    one: int = 1  #: behind it (PEM)\n"
        "    none: int = 0\n"
        "    #: above it,\n"
        "    #: in two lines\n"
        "    two: int = 2\n"
        "    # no note\n"
        "    three: int = 3\n"
    )
    assert generate._field_notes(file) == {
        ("Part", "one"): "behind it (PEM)", ("Part", "none"): "", ("Part", "two"): "above it, in two lines",
        ("Part", "three"): "",
    }  # fmt: skip
