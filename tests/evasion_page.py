"""Write ``docs/evasion.md`` from the cases' expectations: ``python -m tests.evasion_page``."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator

from tests.conftest import ROOT

PAGE = ROOT / "docs" / "evasion.md"
FOLDER = ROOT / "tests" / "cases"

_HEAD = """# Evasion

Generated from `tests/cases` by `python -m tests.evasion_page`; a test fails when it differs.

What a hostile sender could try to get bytes past a judge that reads the same packets as the receiver, in the
manner of Ptacek and Newsham (*Insertion, Evasion, and Denial of Service*, 1998). Each case is a folder in
`tests/cases`: a capture, what the room says, and what each packet gets. `tests/test_cases.py` replays them in
both modes, and gives what passes to a model of a Linux receiver, which the kernel's own TCP was held against.

*Ungated* and *gated*: how many bytes that could tell something the receiver's applications get, without the
gate and with it. Where it is not 0, the budget in the last column bounds it (`wakeguard status` prints the
sum, [threat-model.md](threat-model.md) derives it). *Rules*: what the firewall's rules refuse before the
engine sees it; `tests/netns/test_evasion.py` tries that on the kernel.

| case | what is tried | ungated | gated | budget or rules |
| --- | --- | --- | --- | --- |
"""


def write_page() -> str:
    """Return the page."""
    return _HEAD + "".join(_rows())


def _rows() -> Iterator[str]:
    for path in sorted(FOLDER.glob("*/expect.toml")):
        case = tomllib.loads(path.read_text(encoding="utf-8"))
        numbers = case["delivered"]
        notes = [f"budget `{case['budget']}`"] if "budget" in case else []
        notes += [case["rules"]] if "rules" in case else []
        cells = (f"`{path.parent.name}`", case["shows"], str(numbers["ungated"]), str(numbers["gated"]))
        yield f"| {' | '.join(cells)} | {'; '.join(notes)} |\n"


if __name__ == "__main__":
    PAGE.write_text(write_page(), encoding="utf-8")
