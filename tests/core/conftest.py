"""Core's tests share a small world beside them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
