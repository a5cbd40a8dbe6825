"""The kernel's share of the work, as far as the running gate has to do with it.

What the kernel passed and refused by itself is counted like the gate's own answers: status reads it from the
gate, the journal hears of the refusals. A pause forgets in the kernel which connections were condemned, so
that everything of the device passes. This file knows neither rules nor packets.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from guard.config import FastPath
from guard.core.verdict import Decision, Verdict
from guard.errors import NetfilterError
from guard.gate import Gate
from guard.netfilter import netlink
from guard.netfilter.counts import Count, KernelCounts
from guard.netfilter.marks import CONDEMNED, DEVICE_MASK, make_device_bits

if TYPE_CHECKING:
    from guard.telemetry.log import Log

_NONE: Count = (0, 0)


class KernelShare:
    """Counts for the gate, refusals for its journal, and an open way for a device that is paused."""

    def __init__(self, settings: FastPath, gate: Gate, *, log: Log) -> None:
        """Let ``gate`` make connections quiet where the kernel may pass what they acknowledge."""
        self._settings = settings
        self._counting = settings != FastPath()
        self._gate = gate
        self._log = log
        self._counts = KernelCounts(gate.devices)
        self._noted: dict[tuple[str, Decision], Count] = {}
        gate.fast_path = settings.acknowledgements
        gate.read_kernel = self._counts.get

    @contextmanager
    def replacing(self) -> Iterator[None]:
        """Go on counting while the block replaces all rules."""
        if not self._counting:
            yield
            return
        with self._counts.replacing():
            yield

    def keep_house(self, *, now: float) -> None:
        """Look whether the kernel's counters are to be read; to be called about once a second."""
        if self._counting:
            self._counts.read_in_background(now=now)
            self._note_refusals()

    def finish(self) -> None:
        """Take the last counts: the gate ends."""
        if self._counting:
            with suppress(NetfilterError):
                self._counts.read()
            self._note_refusals()

    def forget_condemned(self, device: str) -> None:
        """Let the kernel forget which connections of ``device`` were condemned; the engine remembers them."""
        if not self._settings.condemned:
            return
        bits = make_device_bits(self._gate.devices.index(device) + 1)
        try:
            netlink.clear_connmarks(CONDEMNED | bits, CONDEMNED | DEVICE_MASK, clear=CONDEMNED)
        except OSError as error:
            self._log.warning(
                "condemned connections stay refused", device=device, fault=str(error), effect="new ones pass"
            )

    def _note_refusals(self) -> None:
        """Tell the journal of what the kernel has refused since the last time."""
        tally = self._gate.tally
        if tally is None:
            return
        for device in self._gate.devices:
            for answer, counted in self._counts.get(device).items():
                packets, octets = self._noted.get((device, answer), _NONE)
                if answer.verdict is Verdict.REFUSE and counted[0] > packets:
                    self._noted[device, answer] = counted
                    ns = round(self._gate.read_clock() * 1e9)
                    tally.add(device, answer, counted[0] - packets, counted[1] - octets, ns)
