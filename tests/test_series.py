"""How many series the metrics can have: a number, whatever the devices do, and the same for each device."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec
import pytest

from guard.core.engine import DeviceSettings, Engine
from guard.core.verdict import Direction, Mode
from guard.status import DeviceState, GateStatus, PacketCount
from guard.telemetry.metrics import GateCollector
from tests.properties.hostile import TIGHT, generate_steps
from tests.snapshot import make_status

DEVICES = 100
STEPS = 600
OF_A_DEVICE = 300  # docs/metrics.md: at the most
OF_THE_GATE = 60
DOCS = Path(__file__).parent.parent / "docs" / "metrics.md"


def read_counts(engine: Engine, device: str) -> tuple[PacketCount, ...]:
    return tuple(
        PacketCount(
            direction=direction.name.lower(),
            packet_class=decision.packet_class,
            justification=decision.justification,
            verdict=decision.verdict,
            scope=decision.scope,
            reason=decision.reason,
            after_virtual_reset=decision.after_virtual_reset,
            packets=packets,
            bytes=size,
        )
        for direction, decision, packets, size in engine.counters(device)
    )


def play(engine: Engine, device: str, seed: int) -> None:
    """Let a device send what nobody would send."""
    for step in generate_steps(seed, STEPS):
        now, what = step[0], step[1]
        engine.handle_timer(now=now)
        if isinstance(what, Mode):
            continue  # of the whole gate
        if isinstance(what, Direction):
            engine.receive_packet(step[2], device=device, direction=what, now=now)  # type: ignore[misc]  # a packet's step
        else:
            engine.receive_event(what, device=device, now=now)


@pytest.fixture(scope="module")
def status() -> GateStatus:
    """Return what a gate of a hundred hostile devices says, in both modes and both policies."""
    template = make_status()
    devices: list[DeviceState] = []
    for number in range(DEVICES):
        name = f"echo-{number}"
        settings = {name: DeviceSettings(balanced=bool(number % 2))}
        engine = Engine(TIGHT, settings, mode=Mode.ENFORCE if number % 3 else Mode.MONITOR)
        play(engine, name, number)
        devices.append(
            msgspec.structs.replace(template.devices[0], name=name, packets=read_counts(engine, name))
        )
    return msgspec.structs.replace(template, devices=tuple(devices))


def count_series(status: GateStatus) -> Counter[str]:
    return Counter(
        sample.labels.get("device", "")
        for family in GateCollector(lambda: status).collect()
        for sample in family.samples
    )


def test_a_hundred_devices_have_a_bounded_number_of_series(status: GateStatus) -> None:
    series = count_series(status)
    assert series.pop("") <= OF_THE_GATE
    assert len(series) == DEVICES
    assert max(series.values()) <= OF_A_DEVICE
    assert f"at most {OF_A_DEVICE} series" in DOCS.read_text(encoding="utf-8")


def test_the_same_again_adds_no_series(status: GateStatus) -> None:
    device = status.devices[0]
    doubled = tuple(
        msgspec.structs.replace(row, packets=2 * row.packets, after_virtual_reset=not row.after_virtual_reset)
        for row in device.packets
    )
    again = msgspec.structs.replace(device, packets=(*device.packets, *doubled))
    changed = msgspec.structs.replace(status, devices=(again, *status.devices[1:]))
    assert count_series(changed) == count_series(status)
