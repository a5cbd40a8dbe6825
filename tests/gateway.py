"""The live gate in a test's hand: its recording, its decisions, and an hour of two devices at random."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

from guard.core.engine import DeviceSettings, Engine
from guard.core.event import AliveEvent, Event, MuteEvent, MuteState, VoiceEvent, WakeEvent
from guard.core.verdict import Direction, Mode
from guard.decisions import DecisionLog
from guard.errors import RecordingError
from guard.gate import ACTING, Gate
from guard.limits import Limits, load_limits
from guard.netfilter.marks import UNJUDGED, make_upstream_mark
from guard.netfilter.queue import hand_over
from guard.recorded import Recorder
from guard.recording import Recording
from guard.trace import Settings
from tests.capture_files import CLOUD, EPOCH_NS, record, tcp, udp

DEVICES = {
    "kitchen": DeviceSettings(sensor=True),
    "Küche 2": DeviceSettings(balanced=True),
}
LIMITS = load_limits({"hold": {"hold_s": 0.8}}, period_scale=0.5)
SETTINGS = Settings(DEVICES, LIMITS)
CHOICES = (
    LIMITS,
    load_limits({"hold": {"hold_s": 0.3}}),
    load_limits({"hold": {"hold_s": 0.0}, "budgets": {"control": {"per_hour": 500, "burst": 500}}}),
)
ADDRESSES = {"kitchen": "192.168.1.10", "Küche 2": "2001:db8::10"}
CLOUDS = {"kitchen": CLOUD, "Küche 2": "2001:db8::443"}
SECOND = 1_000_000_000


class Packet:
    """A queued packet; it must get exactly one answer."""

    hook = 2
    indev = 1

    def __init__(self, payload: bytes, mark: int) -> None:
        self.payload = payload
        self.mark = mark
        self.answers = 0

    def get_payload(self) -> bytes:
        return self.payload

    def get_mark(self) -> int:
        return self.mark

    def set_mark(self, mark: int) -> None:
        self.mark = mark

    def accept(self) -> None:
        self.answers += 1

    def drop(self) -> None:
        self.answers += 1

    def retain(self) -> None:
        assert not self.answers


class Gateway:
    """The live gate with its recording and its decisions, and its clock in the test's hand."""

    def __init__(self, folder: Path, mode: Mode) -> None:
        engine = Engine(LIMITS.make_policy(), devices=DEVICES, mode=mode)
        self.now_ns = 0
        self.gate = Gate(engine, list(DEVICES), clock=lambda: self.now_ns, mode=mode)
        self.gate.open = True
        recorder = Recorder(folder, settings=SETTINGS, epoch_ns=EPOCH_NS, mode=mode)
        failures: list[RecordingError] = []
        self.recording = Recording(recorder, on_failure=failures.append)
        self.gate.witness = self.recording
        self.decisions = folder / "decisions.jsonl"
        self.log = DecisionLog(self.decisions, engine, epoch_ns=EPOCH_NS, on_failure=failures.append)
        self.gate.audit = self.log
        self.packets: list[Packet] = []
        self.failures = failures

    def send(self, device: str, packet: bytes, direction: Direction, now_ns: int) -> None:
        self.now_ns = now_ns
        mark = make_upstream_mark(1 + list(DEVICES).index(device))
        queued = Packet(packet, mark & ~UNJUDGED if direction is Direction.DOWNSTREAM else mark)
        self.packets.append(queued)
        self.gate.start_batch()
        hand_over(self.gate.receive, lambda: now_ns, queued)  # type: ignore[arg-type]  # a double

    def tell(self, device: str, event: Event, now_ns: int) -> None:
        self.now_ns = now_ns
        self.gate.receive_event(event, device=device)

    def pause(self, device: str, now_ns: int, *, paused: bool) -> None:
        self.now_ns = now_ns
        self.gate.set_paused(device, paused=paused)

    def switch(self, mode: Mode, now_ns: int) -> None:
        self.now_ns = now_ns
        for device in list(self.gate.paused):  # a switch ends every pause
            self.gate.set_paused(device, paused=False)
        self.gate.set_mode(mode)
        self.gate.set_acting(ACTING[mode])

    def reload(self, limits: Limits, balanced: set[str], now_ns: int) -> None:
        self.now_ns = now_ns
        devices = {name: replace(row, balanced=name in balanced) for name, row in DEVICES.items()}
        self.gate.set_settings(Settings(devices, limits), limits.make_policy())

    def wait(self, now_ns: int) -> None:
        """Let the timer fire on its own, a little late, when it is due before ``now_ns``."""
        due = self.gate.engine.timer
        if due < now_ns / 1e9:
            self.now_ns = max(self.now_ns + 1, min(now_ns, int(due * 1e9) + 300_000))
            self.gate.handle_timer()

    def stop(self) -> None:
        self.gate.finish()
        self.recording.close()
        self.log.__exit__(None, None, None)
        assert all(packet.answers == 1 for packet in self.packets)
        assert not self.failures


def live(folder: Path, seed: int, look: Callable[[Gateway], None] = lambda _gate: None) -> Gateway:
    """Run an hour of two devices at random: voice, datagrams, wakes, mutes, silence, switches, pauses.

    ``look`` is called before anything happens, then after each step, and when the gate has ended.
    """
    random = Random(seed)
    gate = Gateway(folder, random.choice(list(Mode)))
    look(gate)
    now_ns = random.getrandbits(50)  # the machine has been up for days
    seqs = {name: random.getrandbits(32) for name in DEVICES}
    for _ in range(1500):
        now_ns += random.choice((1, 1000, 20_000_000, 20_000_000, 300_000_000, 5 * SECOND))
        device = random.choice(list(DEVICES))
        if random.random() < 0.5:
            gate.wait(now_ns)
        t = (now_ns - random.randrange(SECOND)) / 1e9  # sensors speak of a moment ago
        dice = random.random()
        if dice < 0.02:
            gate.tell(device, WakeEvent(t, "alexa", 0.9), now_ns)
        elif dice < 0.06:
            state = random.choice(list(MuteState))
            gate.tell(device, random.choice((MuteEvent(t, state), AliveEvent(t, state))), now_ns)
        elif dice < 0.064:
            gate.switch(random.choice(list(Mode)), now_ns)
        elif dice < 0.067:
            balanced = set(random.sample(sorted(DEVICES), random.randrange(3)))
            gate.reload(random.choice(CHOICES), balanced, now_ns)
        elif dice < 0.074:
            gate.pause(device, now_ns, paused=random.random() < 0.5)
        elif dice < 0.08:
            gate.tell(device, VoiceEvent(t), now_ns)
        else:
            home, cloud = ADDRESSES[device], CLOUDS[device]
            port = 40000 + random.randrange(3)
            if dice < 0.2:
                packet = udp(random.randbytes(random.randrange(300)), source=home, destination=cloud)
                gate.send(device, packet, Direction.UPSTREAM, now_ns)
            elif dice < 0.5:
                packet = tcp(
                    b"", ack=seqs[device], flags=0x10, ports=(443, port), source=cloud, destination=home
                )
                gate.send(device, packet, Direction.DOWNSTREAM, now_ns)
            else:
                payload = record(23, random.choice((28, 41, 113, 113, 113, 1400)))
                seq = seqs[device]
                packet = tcp(payload, seq=seq, ports=(port, 443), source=home, destination=cloud)
                if random.random() < 0.9:
                    seqs[device] = (seq + len(payload)) & 0xFFFFFFFF
                gate.send(device, packet, Direction.UPSTREAM, now_ns)
        look(gate)
    gate.stop()
    look(gate)
    return gate
