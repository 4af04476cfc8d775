"""The sidecar's reference page names what there is."""

import re

from sidecar.settings import Settings
from sidecar.work import MindResult
from tests.sidecar.helpers import ROOT


def test_the_reference_page_lists_every_setting_and_every_field_of_a_result() -> None:
    page = (ROOT / "docs/reference/sidecar.md").read_text(encoding="utf-8")
    section = page.partition("## What a Mind gets")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    assert {key for row in rows for key in re.findall(r"`(\w+)`", row)} == set(Settings.__struct_fields__)
    assert all(f'"{field}"' in page for field in MindResult.__struct_fields__)
