"""Write the cases' folders: ``python -m tests.cases.make``. The same every time; a test compares."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.cases import datagrams, headers, segments, tls
from tests.cases.scene import Cases

FOLDER = Path(__file__).resolve().parent
CASES: Cases = {**segments.CASES, **headers.CASES, **tls.CASES, **datagrams.CASES}


def main(folder: Path = FOLDER) -> None:
    """Write every case below ``folder``."""
    for name, case in CASES.items():
        case().write(folder / name)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
