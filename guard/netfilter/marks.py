"""The fwmark layout: what the eight top bits of a packet's mark say.

Both the rules and the verdicts speak through these bits. The lower 24 bits belong to the user's own
rules and are never written: every operation here and in ``rules/`` is masked. ``docs/netfilter.md``
draws the path of a packet through them. This file knows no rule and no packet.
"""

from __future__ import annotations

from typing import Final

MARK_MASK: Final = 0xFF000000
"""The bits that are ours; all others are foreign and kept."""

UNJUDGED: Final = 0x80000000
"""Set on what a device sends before anything else sees it; only an accept verdict clears it."""

CONDEMNED: Final = 0x40000000
"""Set by the verdict on a packet whose flow is refused; the rules reset both of its ends."""

RESET_MARK: Final = UNJUDGED | CONDEMNED
"""With no device: a reset that the gate itself sends for one end of a refused connection to the other."""

DEVICE_MASK: Final = 0x3F000000
DEVICE_SHIFT: Final = 24
MAX_DEVICES: Final = DEVICE_MASK >> DEVICE_SHIFT
"""63: device numbers run from 1, zero says that the packet is no device's."""

CONNMARK_MASK: Final = CONDEMNED | DEVICE_MASK
"""What a connection remembers: whose it is and whether it was refused. Never ``UNJUDGED``."""

QUIET: Final = UNJUDGED
"""In a connection's mark alone, with ``fast_path.acknowledgements``: the kernel may pass bare ones on it."""

ACCEPT_MASK: Final = ~(UNJUDGED | CONDEMNED) & 0xFFFFFFFF
"""``mark & ACCEPT_MASK`` is the mark of an accepted packet."""

QUIET_MASK: Final = ~MARK_MASK & 0xFFFFFFFF
"""``mark & QUIET_MASK`` is the mark of an accepted packet that makes its connection quiet: no device."""


def get_device(mark: int) -> int:
    """Return the device number in ``mark``, 0 when it bears none."""
    return (mark & DEVICE_MASK) >> DEVICE_SHIFT


def is_upstream(mark: int) -> bool:
    """Tell whether a queued packet comes from the device (else it goes to the device)."""
    return mark & UNJUDGED != 0


def make_device_bits(number: int) -> int:
    """Return the mark bits of device ``number``. ValueError outside 1..63."""
    if not 1 <= number <= MAX_DEVICES:
        raise ValueError(f"device number {number} is outside 1..{MAX_DEVICES}")
    return number << DEVICE_SHIFT


def make_upstream_mark(number: int) -> int:
    """Return the bits that the rules set on what device ``number`` sends."""
    return UNJUDGED | make_device_bits(number)


def make_condemned_mark(mark: int) -> int:
    """Return ``mark`` as a refused packet of a condemned flow bears it: not accepted, and condemned."""
    return mark | UNJUDGED | CONDEMNED


def format_match(value: int, mask: int) -> str:
    """Return ``value/mask`` as iptables prints it."""
    return f"0x{value:x}/0x{mask:x}"
