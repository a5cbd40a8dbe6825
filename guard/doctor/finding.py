"""What a check says: all well, a fault with its remedy, a remark, or that the question does not arise."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class State(StrEnum):
    """How it stands. Only a fault counts against the machine."""

    OK = "ok"
    FAULT = "fault"
    NOTE = "note"
    ABSENT = "absent"


class Finding(NamedTuple):
    """One answer: how it stands, what was seen, and what to do about it (empty: nothing)."""

    state: State
    text: str
    remedy: str = ""


def ok(text: str) -> Finding:
    """Return that it is as it should be."""
    return Finding(State.OK, text)


def fault(text: str, remedy: str) -> Finding:
    """Return a fault and its remedy."""
    return Finding(State.FAULT, text, remedy)


def note(text: str, remedy: str = "") -> Finding:
    """Return what the owner should know, and may leave as it is."""
    return Finding(State.NOTE, text, remedy)


def absent(text: str) -> Finding:
    """Return that there is nothing to check here."""
    return Finding(State.ABSENT, text)
