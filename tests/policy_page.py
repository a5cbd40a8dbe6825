"""Write ``docs/policy.md`` from the code's own tables: ``python -m tests.policy_page``.

A test fails when the page is not what this writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from guard import wording
from guard.core.bound import get_bound, get_explained_bound, get_local_bound
from guard.core.policy import BUDGET_UNITS, EXCEPTIONS, REFUSALS, STRICT, Policy
from guard.core.verdict import Reason, Scope
from guard.rules import load_policy
from tests.conftest import ROOT
from tests.markdown import format_table

PAGE = ROOT / "docs" / "policy.md"
_HOUR = 3600.0

_HEAD = """# Policy

Generated from the code by `python -m tests.policy_page`; a test fails when it differs.

Two words of the paper mislead at first sight. **`syn` is a heartbeat, not a TCP SYN** (that is a
`handshake`), and **`justified` is refused** under the strict policy: the microphone was live, but that does
not say that anybody spoke to it.
"""

_PRECEDENCE = """A packet is judged by the most sensitive byte it carries: `app_data` before `handshake`
before `syn`.
"""

_STRICT = """## Strict

Only application data that a wake word explains may pass. In `monitor` the same is judged, nothing is refused.
"""

_BUDGETS = """## Budgets

Whatever passes without a wake word has one. `per hour` flows in steadily, `burst` can be saved up;
beyond it the packet is judged as application data. `rules/policy.toml` has the limits with their reasons.
"""

_BOUND = """### The bound

The payload bytes that can leave the home in an hour without a wake word, whatever the device does.
`wakeguard status` prints the same. Voice at 32 kbit/s would be 14,400,000.
"""

_LOCAL = """Besides, to the home's own network only:
"""

_EXPLAINED = """\
And what one wake word explains: at most this much inside the interaction, and as control requests on
its connections in the hour after it.
"""

_EXCEPTIONS = """## Failures

Every failure has a name, a verdict in `[exceptions]` of `rules/policy.toml`, and a counter. `drop-packet` and
`drop-flow` refuse, `accept` lets pass, never while the microphone is muted. *Always*: also inside an
interaction.
"""

_REASONS = """## Reasons

Each packet the Echo sends gets one. *Always*: refused inside an interaction too, since no receiver's reading
of such bytes is certain.
"""


def write_page(policy: Policy) -> str:
    """Return the page for ``policy``."""
    parts = [
        _HEAD,
        "## Packet classes\n",
        format_table(("class", "what"), ((f"`{name}`", text) for name, text in wording.CLASSES.items())),
        _PRECEDENCE,
        _STRICT,
        format_table(
            ("justification", "meaning", "verdict"),
            ((f"`{name}`", text, f"`{STRICT[name]}`") for name, text in wording.JUSTIFICATIONS.items()),
        ),
        format_table(
            ("verdict", "meaning"), ((f"`{name}`", text) for name, text in wording.VERDICTS.items())
        ),
        format_table(
            ("scope", "what is refused"), ((f"`{name}`", text) for name, text in wording.SCOPES.items())
        ),
        _BUDGETS,
        format_table(("budget", "unit", "per hour", "burst", "at most in an hour"), _budget_rows(policy)),
        _BOUND,
        format_table(("part", "strict", "balanced"), _bound_rows(policy)),
        _LOCAL,
        format_table(
            ("part", "bytes an hour"), ((f"`{n}`", f"{b:,.0f}") for n, b in get_local_bound(policy).items())
        ),
        _EXPLAINED,
        format_table(
            ("part", "bytes"), ((f"`{n}`", f"{b:,.0f}") for n, b in get_explained_bound(policy).items())
        ),
        _EXCEPTIONS,
        format_table(
            ("failure", "what", "default", "always"),
            (
                (f"`{name}`", wording.REASONS[name], f"`{policy.exceptions[name]}`", _yes(always))
                for name, always in EXCEPTIONS.items()
            ),
        ),
        _REASONS,
        format_table(("reason", "what", "verdict", "scope", "always"), map(_reason_row, Reason)),
    ]
    return "\n".join(parts)


def _bound_rows(policy: Policy) -> Iterable[Sequence[str]]:
    strict, balanced = get_bound(policy, balanced=False), get_bound(policy, balanced=True)
    for name, most in balanced.items():
        yield f"`{name}`", f"{strict.get(name, 0):,.0f}", f"{most:,.0f}"
    yield "**sum**", f"**{sum(strict.values()):,.0f}**", f"**{sum(balanced.values()):,.0f}**"


def _budget_rows(policy: Policy) -> Iterable[Sequence[str]]:
    for name, budget in policy.budgets.items():
        bound = f"{budget.get_bound(_HOUR):,.0f}"
        yield f"`{name}`", BUDGET_UNITS[name], f"{budget.per_hour:,.0f}", f"{budget.burst:,.0f}", bound


_ACCEPTING = list(Reason)[: list(Reason).index(Reason.AWAITING_WAKE_WORD)]
_HOLDING = (Reason.AWAITING_WAKE_WORD, Reason.PROBING)


def _reason_row(reason: Reason) -> Sequence[str]:
    if reason in _ACCEPTING:
        return f"`{reason}`", wording.REASONS[reason], "`accept`", "", ""
    if reason in _HOLDING:
        return f"`{reason}`", wording.REASONS[reason], "`hold`", "", ""
    if reason in EXCEPTIONS:
        return f"`{reason}`", wording.REASONS[reason], "see Failures", "", _yes(EXCEPTIONS[reason])
    refusal = REFUSALS.get(reason)
    scope = refusal.scope if refusal else Scope.FLOW
    always = refusal.always if refusal else reason in (Reason.INTERACTION_CAP, Reason.CONDEMNED)
    return f"`{reason}`", wording.REASONS[reason], "`refuse`", f"`{scope}`", _yes(always)


def _yes(always: bool) -> str:
    return "yes" if always else ""


if __name__ == "__main__":
    PAGE.write_text(write_page(load_policy()), encoding="utf-8")
