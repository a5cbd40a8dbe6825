"""The sensing side's one exception family.

Each message is one line that says what is wrong and what to do about it. The command line prints it
after ``wakeguard: `` and exits with status 2; a running ``sense`` logs it and keeps what still works.
"""

from __future__ import annotations


class HardwareError(Exception):
    """Report a fault that the owner can mend; its text is the whole report."""


class SettingError(HardwareError):
    """A setting under ``[sense]`` is unknown, of the wrong type or out of range; names the key."""


class PinError(HardwareError):
    """The GPIO pin cannot be opened or read."""


class MicrophoneError(HardwareError):
    """A microphone cannot be found or opened, or it has gone."""


class DetectorError(HardwareError):
    """A wake-word detector cannot be had, or has died."""


class CalibrationError(HardwareError):
    """The mute LED's sensor sees what it must not see, or misses what it must."""
