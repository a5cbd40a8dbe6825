"""Decisions as JSON lines in capture order.

One object for each packet that the device sent (``docs/replay.md`` lists the fields). A line costs one
f-string: everything that depends on the decision alone is made once for each decision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from guard.core.hold import Held
from guard.core.verdict import Decision

SECOND_DIGITS = 9
Write = Callable[[str], object]
Fragments = tuple[str, str, str]  # before the value of ``held_ms``, from there to that of ``bytes``, the end


class Lines:
    """JSON lines in capture order; those that wait for a final verdict hold up what follows them."""

    def __init__(self, write: Write) -> None:
        self.lines: list[str] = []
        self._write = write
        # packet_id -> (place in lines, text before and after the decision's part, time)
        self._held: dict[int, tuple[int, str, str, float]] = {}
        self._flushed = 0
        self.fragments: dict[Decision, Fragments] = {}

    @property
    def held(self) -> int:
        """How many packets wait."""
        return len(self._held)

    def make_fragments(self, decision: Decision) -> Fragments:
        """Return, and keep, what every line with this decision has in common."""
        opening = (
            f',"class":{_quote(decision.packet_class)},"justification":{_quote(decision.justification)}'
            f',"verdict":{_quote(decision.verdict)},"held_ms":'
        )
        middle = f',"scope":{_quote(decision.scope)},"reason":{_quote(decision.reason)},"bytes":'
        tail = f',"after_virtual_reset":{"true" if decision.after_virtual_reset else "false"}}}\n'
        fragments = self.fragments[decision] = (opening, middle, tail)
        return fragments

    def hold(self, packet_id: int, head: str, rest: str, now: float) -> None:
        """Keep a place for a packet whose verdict comes later; ``rest``: from bytes to records."""
        self._held[packet_id] = (self._flushed + len(self.lines), head, rest, now)
        self.lines.append("")

    def release(self, released: Iterable[Held], now: float) -> None:
        """Fill the places of packets whose verdict became final at ``now``."""
        for packet in released:
            held = self._held.pop(packet.packet_id, None)
            if held is None:
                continue
            place, head, rest, since = held
            decision = packet.answer
            opening, middle, tail = self.fragments.get(decision) or self.make_fragments(decision)
            line = f"{head}{opening}{(now - since) * 1000:.3f}{middle}{rest}{tail}"
            self.lines[place - self._flushed] = line

    def flush(self) -> None:
        """Write every line before the first one that waits."""
        count = len(self.lines)
        if self._held:
            first = next(iter(self._held.values()))  # held in the order of their places
            count = first[0] - self._flushed
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


def _quote(value: str | None) -> str:
    return "null" if value is None else f'"{value}"'
