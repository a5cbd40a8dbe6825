"""Write down what the owner may want to know later, without ever keeping a packet waiting.

Gathers entries in bounded memory: refusals from the gate's tally, the rest from what changed since the last
look. Every ``flush_s`` they go to the writer's thread as one batch, if it is free; else they wait, and what
exceeds the room is counted as lost (refusals never are: their sums only lose the connections' names). This
file knows when; the entries' columns are ``journal_schema``'s, the disk is the writer's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Final

from guard import __version__
from guard.config import Config
from guard.core.event import Event
from guard.core.notice import Notice
from guard.gate import Gate
from guard.sightings import DeviceSightings
from guard.tally import Tally
from guard.telemetry import journal_schema as schema
from guard.telemetry.journal_store import FILE_NAME, Fault, Store, StoreError
from guard.telemetry.journal_writer import Done, Writer

if TYPE_CHECKING:
    from guard.telemetry.log import Log

MAX_ENTRIES: Final = 1024  # between two writings, refusals aside
KEPT_FREE: Final = 256  # of them for people, sensors and the gate: no traffic takes their room
FLOWS_A_LOOK: Final = 1000  # devices whose connections are looked at in one turn hold about so many
NS_A_MS: Final = 1_000_000
MEGABYTE: Final = 1_000_000


class Journalist:
    """One gate's entries, from its start to its end."""

    def __init__(
        self,
        gate: Gate,
        writer: Writer,
        *,
        flush_s: float,
        read_epoch_ns: Callable[[], int],
    ) -> None:
        """``read_epoch_ns`` gives the Unix time at which the gate's clock reads 0, as it is now."""
        self.lost = 0  # entries for which there was no room
        self._gate = gate
        self._writer = writer
        self._flush_s = flush_s
        self._read_epoch_ns = read_epoch_ns
        self._epoch_ns = read_epoch_ns()
        self._entries: list[schema.Entry] = []
        self._waiting: list[Done] = []  # who asked for a writing that the writer had no room for
        now = gate.read_clock()
        self.run = self._to_ms(now)
        self._run = schema.Run(self.run, None, gate.engine_mode.value, __version__)
        self._next_flush = now  # at once: whoever looks finds a journal
        self._devices = {
            name: DeviceSightings(
                name, gate.engine.get_device(name), run=self.run, note=self.note, to_ms=self._to_ms
            )
            for name in gate.devices
        }
        self._round: Iterator[DeviceSightings] = iter(self._devices.values())
        self.note(self._run)
        gate.tally = self._tally = Tally()
        gate.after_event = self._see_event

    @property
    def fault(self) -> Fault | None:
        """Return why nothing can be written at present."""
        return self._writer.fault

    @property
    def failures(self) -> int:
        """Return how many attempts to write failed."""
        return sum(self._writer.failures.values())

    def note(self, entry: schema.Entry) -> None:
        """Keep an entry until the next writing, if there is room."""
        if len(self._entries) < (MAX_ENTRIES - KEPT_FREE if _is_traffic(entry) else MAX_ENTRIES):
            self._entries.append(entry)
        else:
            self.lost += 1

    def note_change(self, what: str, before: str, after: str, device: str = "") -> None:
        """Note that the owner switched something."""
        at = self._to_ms(self._gate.read_clock())
        self.note(schema.Mode(self.run, device, at, what, before, after))

    def note_notice(self, notice: Notice) -> None:
        """Note what the engine found."""
        at = self._to_ms(notice.now)
        self.note(schema.Notice(self.run, notice.device, at, notice.kind.value, notice.flow, notice.bytes))

    def note_failure(self, kind: str, device: str = "", count: int = 0) -> None:
        """Note that something failed; ``count`` is of packets where it is about any."""
        at = self._to_ms(self._gate.read_clock())
        self.note(schema.Notice(self.run, device, at, kind, "", count))

    def note_pause(
        self, device: str, began: float, until: float, ended: float | None = None, cause: str = ""
    ) -> None:
        """Note a pause, at its beginning and again at its end."""
        last = None if ended is None else self._to_ms(ended)
        began_ms = self._to_ms(began)
        self.note(schema.Pause(self.run, device, began_ms, self._to_ms(until), last, cause))

    def keep_house(self) -> None:
        """Look at what changed, and write when it is time; to be called about once a second."""
        self._epoch_ns = self._read_epoch_ns()
        now = self._gate.read_clock()
        for device in self._devices.values():
            device.look(now)
        self._look_at_flows(now)
        if now >= self._next_flush or self._waiting:
            self.flush()

    def request_flush(self, done: Done) -> None:
        """Have everything written that there is; ``done`` is called then, from any thread.

        At once while nothing can be written: who asks need not wait for a faulty disk.
        """
        if self.fault is not None:
            self.flush()
            done()
        else:
            self._waiting.append(done)
            self.flush()

    def flush(self) -> None:
        """Hand over what there is, if the writer is free."""
        if self._writer.full:
            return
        self._next_flush = self._gate.read_clock() + self._flush_s
        batch = [*self._entries, *self._take_refusals()]
        if not batch and not self._waiting:
            return
        waiting, self._entries, self._waiting = self._waiting, [], []

        def done() -> None:
            for answer in waiting:
                answer()

        self._writer.offer(batch, done)

    def close(self) -> None:
        """Write the rest: the gate has ended."""
        now = self._gate.read_clock()
        for device in self._devices.values():
            device.finish(now)
        self._gate.tally = None
        self.note(self._run._replace(ended=self._to_ms(now), mode=self._gate.engine_mode.value))
        self.flush()
        self._writer.close()

    def _see_event(self, event: Event, device: str) -> None:
        sightings = self._devices[device]
        sightings.hear(event)
        sightings.look(self._gate.read_clock())

    def _look_at_flows(self, now: float) -> None:
        """Look at the connections of as many devices as one turn has time for, then go on with the others."""
        seen = 0
        for device in self._round:
            seen += device.look_at_flows(now)
            if seen >= FLOWS_A_LOOK:
                return
        self._round = iter(self._devices.values())

    def _take_refusals(self) -> list[schema.Refusal]:
        return [
            schema.Refusal(
                run=self.run,
                device=row.device,
                began=self._to_ms(row.first_ns / 1e9),
                ended=self._to_ms(row.last_ns / 1e9),
                flow=row.flow,
                packet_class=row.decision.packet_class or "",
                justification=row.decision.justification or "",
                reason=row.decision.reason.value,
                scope=row.decision.scope or "",
                after_virtual_reset=row.decision.after_virtual_reset,
                passed=row.passed,
                packets=row.packets,
                bytes=row.bytes,
            )
            for row in self._tally.take()
        ]

    def _to_ms(self, now: float) -> int:
        return (round(now * 1e9) + self._epoch_ns) // NS_A_MS


def _is_traffic(entry: schema.Entry) -> bool:
    """Tell whether a device can have as many of these written as it likes, by its packets alone."""
    return isinstance(entry, schema.Flow) or (isinstance(entry, schema.Notice) and entry.flow != "")


def start_journal(
    config: Config,
    gate: Gate,
    *,
    call: Callable[[Callable[[], None]], None],
    read_epoch_ns: Callable[[], int],
    log: Log,
) -> Journalist:
    """Return the journalist of ``gate``, its writer at work. A disk that is no good ends neither.

    ``call`` has something done in the gate's loop.
    """
    settings = config.journal

    def report(error: StoreError) -> None:
        log.error("journal failed", fault=str(error), effect="entries wait, verdicts do not")

    store = Store(
        config.get_journal_directory() / FILE_NAME,
        days=settings.days,
        max_bytes=settings.megabytes * MEGABYTE,
    )
    writer = Writer(
        store,
        retry_s=settings.flush_s,
        clock=time.monotonic,
        read_ms=lambda: time.time_ns() // NS_A_MS,
        on_fault=lambda error: call(partial(report, error)),
        on_recovery=lambda: call(partial(log.info, "journal written again")),
    )
    return Journalist(gate, writer, flush_s=settings.flush_s, read_epoch_ns=read_epoch_ns)
