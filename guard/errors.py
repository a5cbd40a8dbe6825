"""The one exception family.

Each message is one line that says what is wrong and what to do about it. The command line prints it
after ``wakeguard: `` and exits with status 2; nothing is left half done behind it.
"""

from __future__ import annotations


class WakeguardError(Exception):
    """Report a fault that the user can mend; its text is the whole report."""


class ConfigError(WakeguardError):
    """A setting is unknown, of the wrong type or out of range; names the key."""


class CaptureError(WakeguardError):
    """A capture file cannot be read, or is damaged from some point on."""


class EventTraceError(WakeguardError):
    """A recorded sensor trace cannot be read; names the line."""


class NetfilterError(WakeguardError):
    """The kernel refused a rule or a queue, or lacks a feature."""


class ControlError(WakeguardError):
    """The running gate cannot be reached, or refused what was asked."""


class LabError(WakeguardError):
    """The lab could not be built or one of its steps failed."""


class RecordingError(WakeguardError):
    """What the live gate was asked to record cannot be written."""


class JournalError(WakeguardError):
    """The journal cannot be read or written."""


class SetupError(WakeguardError):
    """The machine could not be set up, or not be left as it was before."""


class DatasetError(WakeguardError):
    """A table cannot be built, read or learnt from; names the file and what is missing."""


class ModelError(WakeguardError):
    """A trained model is missing, damaged, or was trained on other features than the gate's."""
