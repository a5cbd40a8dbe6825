"""Run the command line as ``python -m guard``."""

from __future__ import annotations

import sys

from guard.cli import main

if __name__ == "__main__":
    sys.exit(main())
