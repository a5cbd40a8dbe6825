"""Switch a running gate's mode, with no packet ungated in between.

Changing the rules takes tens of milliseconds, so it happens in a thread of its own while the loop goes on
judging. Until it is done, refusals are dropped: at no moment does anything depend on a rule that may
not be there. Towards enforce, the engine judges as in enforce first and the rules follow; towards
monitor, the rules go first. Only a switch that worked is stored; after one that did not, the old mode,
its rules and its stored name are what they were.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from guard.background import Background
from guard.control import Answer
from guard.core.verdict import Mode
from guard.errors import ControlError, WakeguardError
from guard.gate import ACTING, Acting, Gate

if TYPE_CHECKING:
    from guard.telemetry.log import Log


class ModeSwitch:
    """The gate's mode, and one change of it at a time."""

    def __init__(
        self,
        gate: Gate,
        *,
        mode: Mode,
        apply: Callable[[Mode], None],
        set_queue_mode: Callable[[Mode], None],
        store: Callable[[Mode], None],
        call: Callable[[Callable[[], None]], None],
        log: Log,
        before: Callable[[], None] = lambda: None,
        after: Callable[[Mode, Mode], None] = lambda _old, _new: None,
    ) -> None:
        """``apply`` installs a mode's rules; ``store`` keeps the mode for the next start.

        ``call`` has something done in the loop.
        ``before`` is called when a switch begins, ``after`` with the old and the new mode when it has worked.
        """
        self.mode = mode
        self._gate = gate
        self._apply = apply
        self._set_queue_mode = set_queue_mode
        self._store = store
        self._log = log
        self._before = before
        self._after = after
        self._background = Background("mode-switch", call=call)

    def request(self, wanted: Mode, answer: Answer) -> None:
        """Switch to ``wanted`` and answer with ``{"mode": ...}`` when it is done, or with the fault."""
        if self._background.is_busy():
            raise ControlError("a switch of the mode is under way; try again in a moment")
        self._before()
        old = self.mode
        self._gate.set_acting(Acting.DROPPING if wanted is not old else ACTING[old])
        if wanted is Mode.ENFORCE and old is not wanted:
            self._gate.set_mode(wanted)
            self._set_queue_mode(wanted)

        self._background.start(
            lambda: self._change_rules(old, wanted),
            lambda fault: self._conclude(old, wanted, fault, answer),
        )

    def wait(self) -> None:
        """Let a switch under way come to its end; for when the loop has ended."""
        self._background.wait()

    def _change_rules(self, old: Mode, wanted: Mode) -> WakeguardError | None:
        """Install the rules and store the mode: both or neither."""
        try:
            self._apply(wanted)
        except WakeguardError as error:
            return error
        except OSError as error:
            return ControlError(f"the rules could not be changed: {error}; the mode is still {old}")
        try:
            self._store(wanted)
        except OSError as error:
            fault = f"the mode could not be stored ({error.strerror}), so it is still {old}"
            try:
                self._apply(old)
            except (WakeguardError, OSError) as second:
                fault += f"; the rules are those of {wanted}, and could not be put back: {second}"
            return ControlError(f"{fault}; make room in state.directory and try again")
        return None

    def _conclude(self, old: Mode, wanted: Mode, fault: WakeguardError | None, answer: Answer) -> None:
        mode = old if fault is not None else wanted
        if self._gate.engine_mode is not mode:
            self._gate.set_mode(mode)
        self._set_queue_mode(mode)
        self._gate.set_acting(ACTING[mode])
        self.mode = mode
        if fault is None:
            self._log.info("mode", mode=mode.value, before=old.value)
            if mode is not old:
                self._after(old, mode)
            answer({"mode": mode.value})
        else:
            self._log.error("mode switch failed", wanted=wanted.value, mode=mode.value, fault=str(fault))
            answer(fault)
