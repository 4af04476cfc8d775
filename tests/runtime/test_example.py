"""The example at the top of the reference page runs, as it stands there."""

import importlib.util
import re
import sys
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs/reference/runtime.md"


def test_the_example_of_the_reference_page_holds(tmp_path):
    code = re.search(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), flags=re.S | re.M)[1]
    assert len(code.splitlines()) <= 35
    (tmp_path / "runtime_example.py").write_text(code, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("runtime_example", tmp_path / "runtime_example.py")
    module = sys.modules["runtime_example"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
