"""Decisions as JSON lines in capture order.

One object for each packet that the device sent (``docs/replay.md`` lists the fields). A line costs one
f-string: everything that depends on the decision alone is made once for each decision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from guard.core.verdict import Decision

SECOND_DIGITS = 9
Write = Callable[[str], object]


class Lines:
    """JSON lines in capture order; those that wait for a final verdict hold up what follows them."""

    def __init__(self, write: Write) -> None:
        self.lines: list[str] = []
        self._write = write
        # packet_id -> (place in lines, text before and after the decision's part, payload, time)
        self._held: dict[int, tuple[int, str, int, str, str, float]] = {}
        self._flushed = 0
        self.fragments: dict[Decision, tuple[str, str]] = {}

    @property
    def held(self) -> int:
        """How many packets wait."""
        return len(self._held)

    def make_fragments(self, decision: Decision) -> tuple[str, str]:
        """Return, and keep, the constant parts of a line before ``bytes``' value and at its end."""
        fragments = (_format_middle(decision, "null"), _format_tail(decision))
        self.fragments[decision] = fragments
        return fragments

    def hold(
        self, packet_id: int, head: str, payload_bytes: int, flow: str, records: str, now: float
    ) -> None:
        """Keep a place for a packet whose verdict comes later."""
        place = self._flushed + len(self.lines)
        self._held[packet_id] = (place, head, payload_bytes, flow, records, now)
        self.lines.append("")

    def release(self, released: Iterable[tuple[int, Decision]], now: float) -> None:
        """Fill the places of packets whose verdict became final at ``now``."""
        for packet_id, decision in released:
            held = self._held.pop(packet_id, None)
            if held is None:
                continue
            place, head, payload_bytes, flow, records, since = held
            middle = _format_middle(decision, f"{(now - since) * 1000:.3f}")
            self.lines[place - self._flushed] = (
                f'{head}{middle}{payload_bytes},"flow":"{flow}","records":{records}{_format_tail(decision)}'
            )

    def flush(self) -> None:
        """Write every line before the first one that waits."""
        count = len(self.lines)
        if self._held:
            count = min(held[0] for held in self._held.values()) - self._flushed
        if count:
            self._write("".join(self.lines[:count]))
            del self.lines[:count]
            self._flushed += count


def format_time(time_ns: int, digits: int) -> str:
    """Return Unix seconds with ``digits`` decimals, exactly as the capture has them."""
    sign = "-" if time_ns < 0 else ""
    text = str(abs(time_ns)).zfill(SECOND_DIGITS + 1)
    fraction = text[-SECOND_DIGITS:][:digits]
    whole = f"{sign}{text[:-SECOND_DIGITS]}"
    return f"{whole}.{fraction}" if fraction else whole


def format_records(records: Sequence[tuple[int, int]]) -> str:
    """Return ``[[23,41],[23,28]]``."""
    if len(records) == 1:
        ((kind, length),) = records
        return f"[[{kind},{length}]]"
    return "[" + ",".join([f"[{kind},{length}]" for kind, length in records]) + "]"


def _format_middle(decision: Decision, held_ms: str) -> str:
    return (
        f',"class":{_quote(decision.packet_class)},"justification":{_quote(decision.justification)}'
        f',"verdict":{_quote(decision.verdict)},"held_ms":{held_ms},"scope":{_quote(decision.scope)}'
        f',"reason":{_quote(decision.reason)},"bytes":'
    )


def _format_tail(decision: Decision) -> str:
    return f',"after_virtual_reset":{"true" if decision.after_virtual_reset else "false"}}}\n'


def _quote(value: str | None) -> str:
    return "null" if value is None else f'"{value}"'
