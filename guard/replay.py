"""Drive the engine with a capture, on the capture's clock.

This file knows the order in which the engine is told things: timers that are due, then events, then
the packet; and how a decision becomes one line of JSON. It judges nothing itself, and neither mode
changes the capture. Time may go backwards in a capture; the engine's clock stands still meanwhile.

Lines come out in capture order: a packet that is held keeps its place until its verdict is final.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol

from guard.capture import Frame, Interface
from guard.core.engine import DeviceSettings, Engine
from guard.core.hold import Held
from guard.core.policy import Policy
from guard.core.verdict import Decision, Direction, Mode, Verdict
from guard.errors import CaptureError
from guard.limits import load_limits
from guard.lines import Lines, Write, format_records, format_time
from guard.selector import DeviceSelector, Matcher, match_nothing
from guard.trace import NANOSECONDS, Entry, Item, Settings, TimerServed, Trace

SECOND_DIGITS = 9
SECOND_NS = 10**SECOND_DIGITS
BATCH_LINES = 1024  # written at once


@dataclass(slots=True)
class Totals:
    """What a replay went through."""

    frames: int = 0  # in the capture
    upstream: int = 0  # packets that the device sent
    downstream: int = 0
    not_ip: int = 0  # frames of the device that never reach the gate's queue (ARP and such)


class Witness(Protocol):
    """Is told what a replay told the engine, right after it, and may ask the engine anything.

    Of the device that is replayed only. ``now`` is the engine's clock; a frame's time is Unix time in ns.
    """

    def see_packet(
        self, frame: int, time_ns: int, direction: Direction, decision: Decision, now: float
    ) -> None:
        """Take a packet and the answer; ``engine.facts`` is about it."""

    def see_release(self, packet_id: int, decision: Decision, now: float) -> None:
        """Take what became of a packet that waited."""

    def see_item(self, item: Item, now: float) -> None:
        """Take a sensor event, a switch of the mode, changed settings."""


class Replay:
    """One device of one capture through one engine; ``run`` once."""

    def __init__(
        self,
        capture: Iterable[Frame],
        selector: DeviceSelector,
        policy: Policy | None = None,
        *,
        mode: Mode | None = None,
        balanced: bool | None = None,
        trace: Trace | None = None,
        write: Write | None = None,
    ) -> None:
        """Without ``policy`` the recording's limits count, or the shipped ones; likewise ``balanced``.

        ``witness`` may be set before ``run``.
        """
        self.witness: Witness | None = None
        self.totals = Totals()
        self.device = selector.name or selector.text
        self._capture = capture
        self._selector = selector
        self._trace = trace or Trace()
        gate = self._trace.gate
        # An explicit mode is the user's question: what the owner switched back then does not count.
        self._follow_mode = mode is None
        self.mode = mode or (gate.mode if gate else Mode.MONITOR)
        names = {self.device, *(gate.devices if gate else ())}
        self._follow_limits = policy is None
        self._balanced = balanced
        settings = gate.settings if gate else Settings({})
        self._names = sorted(names)
        devices = self._choose_devices(settings)
        self.policy = "balanced" if devices[self.device].balanced else "strict"  # that it began under
        limits = settings.limits or load_limits()
        self.engine = Engine(policy or limits.make_policy(), devices=devices, mode=self.mode)
        self._entries = [entry for entry in self._trace.entries if (entry.device or self.device) in names]
        self._entries.reverse()  # the next one is the last: popping it costs nothing
        self._lines = Lines(write) if write else None
        self._gate_timers = gate is not None  # recorded: served when the live gate served them
        self._waiting = 0
        self._now = -math.inf

    def _choose_devices(self, settings: Settings) -> dict[str, DeviceSettings]:
        """Return what counts for each device; an explicit policy is the user's question."""
        chosen = {}
        for name in self._names:
            recorded = settings.devices.get(name, DeviceSettings(sensor=self._trace.has_sensor(name)))
            balanced = recorded.balanced if self._balanced is None else self._balanced
            chosen[name] = replace(recorded, balanced=balanced)
        return chosen

    def run(self) -> None:
        """Judge the whole capture; CaptureError after everything before the damage was judged and written."""
        try:
            self._feed()
        except CaptureError:
            self._finish()
            raise
        self._finish()

    def _feed(self) -> None:
        engine = self.engine
        device = sender = self.device
        # A recording holds several devices that shared one engine: all of them are fed, one is printed.
        recorded = self._trace.gate.devices if self._trace.gate else {}
        witness = self.witness
        selector = self._selector
        entries = self._entries
        epoch_ns: int = self._trace.epoch_ns or 0
        epoch_known = self._trace.epoch_ns is not None
        lines = self._lines
        upstream_direction = Direction.UPSTREAM
        hold = Verdict.HOLD
        facts = engine.facts
        fragments = lines.fragments if lines else {}
        waiting_lines = lines.lines if lines else []
        matchers: dict[Interface, Matcher] = {}
        matcher: Matcher = match_nothing
        interface_seen: Interface | None = None
        number = upstream = downstream = not_ip = 0
        latest = self._now
        next_entry = entries[-1].now if entries else math.inf
        cut: int | None = None  # where the printed fraction of a second ends, from the right
        try:
            for number, time_ns, interface, frame, _wire_bytes, flags in self._capture:
                if interface is not interface_seen:
                    if not epoch_known:
                        epoch_ns = time_ns
                        epoch_known = True
                    interface_seen = interface
                    sender = interface.name if interface.name in recorded else device
                    if interface not in matchers:
                        chosen = selector if sender == device else DeviceSelector.of_name(sender)
                        matchers[interface] = chosen.make_matcher(interface)
                    matcher = matchers[interface]
                    cut = interface.digits - SECOND_DIGITS or None
                matched = matcher(frame, flags)
                if matched is None:
                    continue
                direction, packet = matched
                if packet is None:
                    not_ip += direction is upstream_direction
                    continue
                now = (time_ns - epoch_ns) / NANOSECONDS
                if now < latest:
                    now = latest
                if next_entry <= now or engine.timer <= now:
                    self._now = latest
                    self._advance(now)
                    next_entry = entries[-1].now if entries else math.inf
                latest = now
                decision = engine.receive_packet(packet, device=sender, direction=direction, now=now)
                if witness is not None and sender == device:
                    witness.see_packet(number, time_ns, direction, decision, now)
                if direction is not upstream_direction:
                    downstream += sender == device
                    continue
                held = decision.verdict is hold
                if held:
                    self._waiting += 1
                if sender != device:
                    continue
                upstream += 1
                if lines is None:
                    continue
                flow = facts.flow
                name = (flow.name if flow is not None else None) or engine.get_flow_name()
                records = format_records(facts.records) if facts.records else "[]"
                if time_ns >= SECOND_NS and cut != -SECOND_DIGITS:
                    text = str(time_ns)
                    time = f"{text[:-9]}.{text[-9:cut]}"
                else:
                    time = format_time(time_ns, interface.digits)
                head = f'{{"frame":{number},"time":{time}'
                rest = f'{facts.payload_bytes},"flow":"{name}","records":{records}'
                if held:
                    lines.hold(facts.packet_id, head, rest, now)
                else:
                    opening, middle, tail = fragments.get(decision) or lines.make_fragments(decision)
                    waiting_lines.append(f"{head}{opening}null{middle}{rest}{tail}")
                if not upstream % BATCH_LINES:
                    lines.flush()
        finally:
            self._now = latest
            self.totals = Totals(number, upstream, downstream, not_ip)

    def _advance(self, until: float) -> None:
        """Serve the timers and tell the events that are due by ``until``, in the order of their times."""
        engine = self.engine
        while True:
            timer = math.inf if self._gate_timers else engine.get_timer()
            due = math.inf if timer is None else max(timer, self._now)
            event = max(self._entries[-1].now, self._now) if self._entries else math.inf
            if min(due, event) > until or min(due, event) == math.inf:
                return
            if due <= event:
                self._now = due
                self._release(engine.handle_timer(now=due))
                if engine.get_timer() == timer:  # a timer at its own time may be a rounding too early
                    self._now = until
                    self._release(engine.handle_timer(now=until))
            else:
                self._now = event
                self._tell(self._entries.pop())

    def _tell(self, entry: Entry) -> None:
        item = entry.item
        released: list[Held] = []
        if isinstance(item, TimerServed):
            self._release(self.engine.handle_timer(now=self._now))
            return
        if isinstance(item, Mode):
            if self._follow_mode:
                self.engine.set_mode(item, device=entry.device or None)
        elif isinstance(item, Settings):
            if self._follow_limits and item.limits is not None:
                policy = item.limits.make_policy()
                self.engine.set_policy(policy, self._choose_devices(item), now=self._now)
        else:
            released = self.engine.receive_event(item, device=entry.device or self.device, now=self._now)
        if self.witness is not None and (entry.device or self.device) == self.device:
            self.witness.see_item(item, self._now)
        self._release(released)

    def _finish(self) -> None:
        """Serve what is left until no packet waits for its verdict, then write the rest."""
        self._gate_timers = False
        while self._waiting:
            timer = self.engine.get_timer()
            due = math.inf if timer is None else timer
            if self._entries:
                due = min(due, self._entries[-1].now)
            if due == math.inf:
                break
            self._advance(max(due, self._now))
        if self._lines is not None:
            self._lines.flush()

    def _release(self, released: list[Held]) -> None:
        self._waiting -= len(released)
        if self._lines is not None:
            self._lines.release(released, self._now)
        if self.witness is not None:
            for held in released:
                self.witness.see_release(held.packet_id, held.answer, self._now)
