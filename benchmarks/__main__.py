"""`python -m benchmarks`. May import: benchmarks.cli."""

import signal
import sys

from benchmarks.cli import main

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the hub is ended on the way out
    sys.exit(main(sys.argv[1:]))
