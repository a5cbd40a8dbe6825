"""The mute LED's comparator on a GPIO pin, through gpiozero.

``DigitalInputDevice`` and not ``LightSensor``: the latter reads 0 for ever on lgpio and ends later edges.
Edges come by callback, on the library's one notify thread, with the kernel's time; an exception there
would end all later callbacks silently, so nothing gets out of ours. Whoever owns the pin polls it as well.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from hardware.config import MuteLedSettings
from hardware.errors import PinError

MAX_EDGE_AGE_S = 1.0  # an edge told later than this, or from the future, was stamped by another clock
_PULLS = {"up": True, "down": False, "none": None}
_CHIP = Path("/dev/gpiochip0")

# what the libraries say -> what the owner can do; looked up in lower case, first match
_REMEDIES = (
    ("gpio busy", "another process holds it: stop that one (`wakeguard sense`? `gpioinfo` lists them all)"),
    ("in use by", "this process holds it already: choose another with sense.mute_led.pin"),
    ("not permitted", "add the user to the group gpio, or run as root"),
    ("permission denied", "add the user to the group gpio, or run as root"),
    ("can not open gpiochip", "there is no GPIO here, or no right to it: add the user to the group gpio"),
    ("unable to load any default pin factory", "install Debian's python3-lgpio"),
    ("unable to locate pi revision", 'this is no Raspberry Pi: set sense.mute_led.pin = "none"'),
    ("unknown pi revision", "this is no Raspberry Pi that gpiozero knows: upgrade gpiozero"),
    ("not a valid pin", "use a name such as GPIO27 or BOARD13 in sense.mute_led.pin"),
)


class Lamp(Protocol):
    """What a mute LED's sensor is to the rest."""

    def read(self) -> bool | None:
        """Return whether the lamp is lit; None when that cannot be told."""

    def close(self) -> None:
        """Let go of the pin."""


class GpioLamp:
    """A real pin. ``receive(lit, t)`` is called for each edge, on another thread; ``t`` is monotonic."""

    def __init__(
        self,
        settings: MuteLedSettings,
        receive: Callable[[bool, float], object],
        *,
        factory: Any = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open the pin; PinError says why it cannot be had. ``factory``: gpiozero's default when None."""
        self._receive = receive
        self._clock = clock
        self._pull_up = _PULLS[settings.pull]
        self._lit_level = settings.active_level == "high"
        self.callback_faults = 0
        self.last_fault = ""
        self._default = factory is None
        self._gone = False  # the pin could not be read: its chip may have gone
        factory = get_default_factory() if factory is None else factory
        from gpiozero import DigitalInputDevice

        try:
            self._device = DigitalInputDevice(
                settings.pin,
                pull_up=self._pull_up,
                active_state=True if self._pull_up is None else None,
                pin_factory=factory,
            )
        except get_pin_errors() as error:
            raise PinError(f"pin {settings.pin} cannot be opened ({error}); {_find_remedy(error)}") from None
        self._device.when_activated = self._notice
        self._device.when_deactivated = self._notice

    def read(self) -> bool | None:
        """Return whether the lamp is lit; None when the pin cannot be read any more."""
        try:
            return self._is_lit(active=bool(self._device.value))
        except get_pin_errors():
            self._gone = True
            return None

    def close(self) -> None:
        """Let go of the pin; one that has gone already is no fault."""
        with contextlib.suppress(*get_pin_errors()):
            self._device.close()
        if self._gone and self._default:
            drop_default_factory()

    def _is_lit(self, *, active: bool) -> bool:
        level = active is not (self._pull_up is True)  # gpiozero takes a pulled-up pin as active low
        return level is self._lit_level

    def _notice(self) -> None:
        try:
            now = self._clock()
            active_for = self._device.active_time
            active = active_for is not None
            age = active_for if active else self._device.inactive_time
            if age is None or not 0.0 <= age <= MAX_EDGE_AGE_S:
                age = 0.0
            self._receive(self._is_lit(active=active), now - age)
        except Exception as error:  # noqa: BLE001 - lgpio's only notify thread would die of it, silently
            self.callback_faults += 1
            self.last_fault = f"{type(error).__name__}: {error}"


def get_default_factory() -> Any:
    """Return gpiozero's pin factory: lgpio unless GPIOZERO_PIN_FACTORY says otherwise. One a process."""
    try:
        from gpiozero import Device
    except ImportError:
        raise PinError(
            f"gpiozero is not installed; {sys.executable} -m pip install 'wakeguard[sense]'"
        ) from None
    if Device.pin_factory is not None:
        return Device.pin_factory
    try:
        if os.environ.get("GPIOZERO_PIN_FACTORY"):
            Device.ensure_pin_factory()
        else:
            Device.pin_factory = _make_lgpio_factory()
    except get_pin_errors() as error:
        raise PinError(f"no GPIO can be used here ({error}); {_find_remedy(error)}") from None
    return Device.pin_factory


def drop_default_factory() -> None:
    """Close gpiozero's pin factory, so that the next pin is opened on a new one.

    A second factory in a process may lose edges; only a chip that has gone makes one, and polls are left.
    """
    from gpiozero import Device

    factory, Device.pin_factory = Device.pin_factory, None
    if factory is not None:
        with contextlib.suppress(*get_pin_errors()):
            factory.close()


def check_lgpio() -> None:
    """Raise PinError unless the lgpio that Python finds is a real one."""
    if "LG_WD" not in os.environ:  # lgpio makes a pipe in its working directory, which may be read-only
        folder = tempfile.mkdtemp(prefix="wakeguard-lgpio-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        os.environ["LG_WD"] = folder
    try:
        import lgpio
    except ImportError:
        raise PinError(
            "lgpio is not installed; sudo apt install python3-lgpio, and make the virtual environment "
            "with --system-site-packages"
        ) from None
    if not hasattr(lgpio, "gpiochip_open"):
        raise PinError(
            "the lgpio found is PyPI's empty package; pip uninstall lgpio, then sudo apt install "
            "python3-lgpio and make the virtual environment with --system-site-packages"
        )


def get_pin_errors() -> tuple[type[Exception], ...]:
    """Return what gpiozero and lgpio raise; a chip that has gone shows as a TypeError in gpiozero."""
    errors: list[type[Exception]] = [OSError, TypeError, AttributeError, ValueError]
    gpiozero = sys.modules.get("gpiozero")
    if gpiozero is not None:
        errors.append(gpiozero.GPIOZeroError)
    lgpio_error = getattr(sys.modules.get("lgpio"), "error", None)
    if isinstance(lgpio_error, type) and issubclass(lgpio_error, Exception):
        errors.append(lgpio_error)
    return tuple(errors)


def _make_lgpio_factory() -> Any:
    check_lgpio()
    if _CHIP.exists() and not os.access(_CHIP, os.R_OK | os.W_OK):
        raise PinError(f"no permission for {_CHIP}; add the user to the group gpio, or run as root")
    from gpiozero.pins.lgpio import LGPIOFactory

    return LGPIOFactory()


def _find_remedy(error: Exception) -> str:
    text = str(error).lower()
    for words, remedy in _REMEDIES:
        if words in text:
            return remedy
    return "see docs/hardware.md, tests step by step"
