"""How the package that runs was built: compiled, or plain Python. Both give the same answers.

``hatch_build.py`` compiles. This file only looks at what was imported.
"""

from __future__ import annotations

import sys
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec
from typing import Final

COMPILED: Final = "compiled"
PURE: Final = "pure"


def get_build() -> str:
    """Return ``compiled`` or ``pure``."""
    engine = sys.modules.get("guard.core.engine")
    origin = engine.__file__ if engine is not None else _find_origin()
    return COMPILED if origin and origin.endswith(tuple(EXTENSION_SUFFIXES)) else PURE


def _find_origin() -> str | None:
    spec = find_spec("guard.core.engine")
    return None if spec is None else spec.origin
