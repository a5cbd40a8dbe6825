"""What the running gate does when it is asked: the commands of the control protocol."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from guard.control import Answer, Command, Request
from guard.core.event import MAX_WORD_CHARACTERS, Event, MuteEvent, MuteState, WakeEvent
from guard.core.verdict import Mode
from guard.errors import ControlError
from guard.gate import Gate
from guard.journalist import Journalist
from guard.pauses import Pauses
from guard.policies import PolicySwitch
from guard.remedies import suggest
from guard.reporter import Reporter
from guard.status import DeviceState
from guard.switch import ModeSwitch

MANUAL = "manual"  # the source of an event that a person sent

_MUTES = {"mute": MuteState.MUTED, "unmute": MuteState.UNMUTED}


class Commands:
    """The table from command to what it does."""

    def __init__(
        self,
        gate: Gate,
        reporter: Reporter,
        switch: ModeSwitch,
        *,
        pauses: Pauses,
        policies: PolicySwitch,
        get_journalist: Callable[[], Journalist | None],
        call: Callable[[Callable[[], None]], None],
        reload: Callable[[Answer], None],
        stop: Callable[[Answer, bool], None],
    ) -> None:
        """``stop`` ends the gate, with True also its rules, and answers when it is done.

        ``call`` has something done in the loop, from any thread.
        """
        self._gate = gate
        self._reporter = reporter
        self._switch = switch
        self._pauses = pauses
        self._policies = policies
        self._get_journalist = get_journalist
        self._call = call
        self._stop = stop
        self.table: dict[str, Command] = {
            "status": self._tell_status,
            "mode": self._change_mode,
            "mute-led": self._tell_mute,
            "event": self._send_event,
            "pause": self._pause,
            "resume": self._resume,
            "policy": self._change_policy,
            "journal": self._write_journal,
            "reload": lambda _, answer: reload(answer),
            "stop": lambda request, answer: self._stop(answer, request.release),
        }

    def _tell_status(self, request: Request, answer: Answer) -> None:
        answer(self._reporter.read())

    def _change_mode(self, request: Request, answer: Answer) -> None:
        if request.mode is None:
            answer({"mode": self._switch.mode.value})
            return
        try:
            wanted = Mode(request.mode)
        except ValueError:
            raise ControlError(f'no mode "{request.mode}"; use {" or ".join(Mode)}') from None
        self._switch.request(wanted, answer)

    def _tell_mute(self, request: Request, answer: Answer) -> None:
        names = self._get_devices(request)
        now = self._gate.read_clock()
        answer([_describe_mute(self._reporter.read_device(name, now=now)) for name in names])

    def _send_event(self, request: Request, answer: Answer) -> None:
        device = self._get_device(request)
        self._gate.receive_event(self._make_event(request), device=device)
        answer(_describe_mute(self._reporter.read_device(device, now=self._gate.read_clock())))

    def _pause(self, request: Request, answer: Answer) -> None:
        devices = self._get_devices(request)
        if request.seconds is None:
            raise ControlError("a pause needs seconds")
        self._pauses.begin(devices, request.seconds)
        answer(self._describe_pauses(devices))

    def _resume(self, request: Request, answer: Answer) -> None:
        devices = self._get_devices(request)
        ended = self._pauses.end(devices, "resumed")
        answer([{**row, "was_paused": row["device"] in ended} for row in self._describe_pauses(devices)])

    def _describe_pauses(self, devices: Sequence[str]) -> list[dict[str, object]]:
        now = self._gate.read_clock()
        return [{"device": name, "paused_left_s": self._pauses.get_left(name, now=now)} for name in devices]

    def _change_policy(self, request: Request, answer: Answer) -> None:
        devices = self._get_devices(request)
        if request.policy is None:
            answer(self._policies.tell(devices))
        else:
            self._policies.request(devices, request.policy, answer)

    def _write_journal(self, request: Request, answer: Answer) -> None:
        """Have the journal written now, so that whoever reads it sees the newest."""
        journalist = self._get_journalist()
        if journalist is None:
            answer({"state": "off", "run": None})
            return

        def tell() -> None:
            answer({"state": "on" if journalist.fault is None else journalist.fault, "run": journalist.run})

        journalist.request_flush(lambda: self._call(tell))

    def _get_devices(self, request: Request) -> Sequence[str]:
        """Return the device that is named, or all of them."""
        return self._gate.devices if request.device is None else (self._get_device(request),)

    def _make_event(self, request: Request) -> Event:
        now = self._gate.read_clock()
        if request.type == "wake":
            word = "alexa" if request.word is None else request.word
            if not 0 < len(word) <= MAX_WORD_CHARACTERS:
                raise ControlError(f"the wake word must have 1 to {MAX_WORD_CHARACTERS} characters")
            return WakeEvent(now, word, source=MANUAL)
        if request.type not in _MUTES:
            raise ControlError(f'no event "{request.type}"; use wake, mute or unmute')
        return MuteEvent(now, _MUTES[request.type], source=MANUAL)

    def _get_device(self, request: Request) -> str:
        devices = self._gate.devices
        if request.device is None:
            if len(devices) > 1:
                raise ControlError(f"there are several devices: name one of {', '.join(devices)} (--device)")
            return devices[0]
        if request.device not in devices:
            raise ControlError(f'no device "{request.device}"; {suggest(request.device, devices)}')
        return request.device


def _describe_mute(device: DeviceState) -> dict[str, object]:
    return {
        "device": device.name,
        "mute": device.mute,
        "age_s": device.mute_age_s,
        "source": device.mute_source,
        "interaction_left_s": device.interaction_left_s,
    }
