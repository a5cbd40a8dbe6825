"""Change one Echo's policy while the gate runs, and keep it over a restart.

What was chosen here counts instead of what the file says, as long as the file says what it said then: who
edits the file later has the last word. A choice that cannot be put in force is not stored; one that cannot be
stored is taken back. It is written in a thread of its own, because a slow card may not stop verdicts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from guard.background import Background
from guard.config import POLICIES, Config
from guard.control import Answer
from guard.errors import ControlError, WakeguardError
from guard.remedies import suggest
from guard.rules import find_voice_model

if TYPE_CHECKING:
    from guard.telemetry.log import Log


class Choice(NamedTuple):
    """A policy chosen for a device, and what the file said instead."""

    policy: str
    instead_of: str


def warn_without_model(config: Config, log: Log) -> None:
    """Say so where a device is to be balanced and the voice model cannot be used: then it is strict."""
    _, fault = find_voice_model()
    balanced = [name for name, policy in config.get_policies().items() if policy == "balanced"]
    if fault is not None and balanced:
        log.warning("model_missing", devices=balanced, falls_back_to="strict", fault=fault)


class PolicySwitch:
    """Who has another policy than the file gives it; one change at a time."""

    def __init__(
        self,
        chosen: Mapping[str, Choice],
        *,
        store: Callable[[Mapping[str, Choice]], None],
        call: Callable[[Callable[[], None]], None],
        log: Log,
    ) -> None:
        """``store`` keeps the choices for the next start; ``call`` has something done in the loop."""
        self.apply: Callable[[], None] = lambda: None
        """Has the settings in force made anew, or raises WakeguardError; set by whoever makes them."""
        self.get_config: Callable[[], Config]
        """Returns the file as it is in force, without the choices."""
        self._chosen: Mapping[str, Choice] = dict(chosen)
        self._store = store
        self._log = log
        self._background = Background("policy-switch", call=call)

    def overlay(self, config: Config) -> Config:
        """Return ``config`` with the policies that were chosen since."""
        filed = config.get_policies()
        devices = tuple(
            msgspec.structs.replace(device, policy=choice.policy)
            if (choice := self._chosen.get(device.name)) and choice.instead_of == filed[device.name]
            else device
            for device in config.device
        )
        return msgspec.structs.replace(config, device=devices)

    def tell(self, devices: Sequence[str]) -> list[dict[str, str]]:
        """Return the policy of each of ``devices``, and what the file says."""
        config = self.get_config()
        filed, forced = config.get_policies(), self.overlay(config).get_policies()
        return [{"device": name, "policy": forced[name], "file": filed[name]} for name in devices]

    def request(self, devices: Sequence[str], policy: str, answer: Answer) -> None:
        """Give ``devices`` that policy and answer with ``tell``'s rows when it is done, or with the fault."""
        if policy not in POLICIES:
            raise ControlError(f'no policy "{policy}"; {suggest(policy, POLICIES)}')
        if self._background.is_busy():
            raise ControlError("a change of the policy is under way; try again in a moment")
        filed = self.get_config().get_policies()
        chosen = {name: choice for name, choice in self._chosen.items() if name not in devices}
        chosen |= {name: Choice(policy, filed[name]) for name in devices if filed[name] != policy}

        former = self._chosen
        try:
            self._put_in_force(chosen)
        except WakeguardError as error:
            raise self._report(f"the policy stays as it was: {error}") from None
        self._background.start(
            lambda: self._try_to_store(chosen),
            lambda fault: self._conclude(devices, policy, former, fault, answer),
        )

    def wait(self) -> None:
        """Let a change under way come to its end; for when the loop has ended."""
        self._background.wait()

    def _put_in_force(self, chosen: Mapping[str, Choice]) -> None:
        former, self._chosen = self._chosen, chosen
        try:
            self.apply()
        except WakeguardError:
            self._chosen = former
            raise

    def _try_to_store(self, chosen: Mapping[str, Choice]) -> OSError | None:
        try:
            self._store(chosen)
        except OSError as error:
            return error
        return None

    def _conclude(
        self,
        devices: Sequence[str],
        policy: str,
        former: Mapping[str, Choice],
        fault: OSError | None,
        answer: Answer,
    ) -> None:
        if fault is not None:
            answer(self._take_back(former, fault))
            return
        self._log.info("policy", policy=policy, devices=list(devices))
        warn_without_model(self.overlay(self.get_config()), self._log)
        answer(self.tell(devices))

    def _take_back(self, former: Mapping[str, Choice], fault: OSError) -> ControlError:
        remedy = "make room in state.directory and try again"
        try:
            self._put_in_force(former)
        except WakeguardError as error:
            return self._report(
                f"the policy could not be stored ({fault.strerror}), nor be taken back: {error}; "
                f"it counts until the gate ends; {remedy}"
            )
        return self._report(
            f"the policy could not be stored ({fault.strerror}), so nothing was changed; {remedy}"
        )

    def _report(self, fault: str) -> ControlError:
        self._log.error("policy change failed", fault=fault)
        return ControlError(fault)
