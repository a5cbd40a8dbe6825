"""An entry of the journal in words: one line for a list, and the whole story for ``wakeguard why``.

What the gate's own words mean comes from ``guard.wording``. Times are shown in the reader's own time zone.
This file knows entries; it prints nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, tzinfo
from typing import Any, Final

from guard import wording
from guard.core.verdict import Justification, PacketClass, Reason, Scope
from guard.telemetry.journal import Journal, Row

NOTICES: Final[dict[str, str]] = {
    "unheard_wake": "the Echo began to send as after a wake word, and we had heard none: our detector missed "
    "it, or the Echo erred",
    "voice_refused": "a voice was refused; so many bytes of it had left before it was known as one",
    "sensor_lost": "the sensing process fell silent; the Echo counts as muted until it speaks again",
    "queue_full": "the kernel's queue lost packets: this machine judges more slowly than packets come",
    "verdict_failed": "packets were gone before they had their verdict, as when an interface goes down; none "
    "of them passed",
}
"""What a notice means, by its kind."""

STYLES: Final[dict[str, str]] = {
    "run": "bold",
    "refusal": "red",
    "flow": "dim",
    "interaction": "green",
    "mute": "magenta",
    "mode": "cyan",
    "pause": "yellow",
    "notice": "bold yellow",
}
"""How a screen tells the kinds apart, in rich's words."""


def summarise(row: Row, zone: tzinfo | None = None) -> str:
    """Return the entry on one line, without its id and its time."""
    return _SUMMARIES[row.kind](row.fields, zone)


def tell(row: Row, journal: Journal, zone: tzinfo | None = None) -> list[tuple[str, str]]:
    """Return the whole story as (heading, sentence): who, what, when, why, what to do."""
    when = _tell_span(row, zone)
    device = row.fields.get("device") or "the gate"
    story = [("who", device), ("when", when), ("what", summarise(row, zone))]
    if row.kind == "refusal":
        story += _tell_refusal(row, journal, zone)
    elif row.kind == "notice" and row.fields["kind"] in NOTICES:
        story.append(("meaning", NOTICES[row.fields["kind"]]))
    elif row.kind == "flow" and row.fields["end"] == "refused":
        story.append(("why", _find_refusal(row, journal)))
    return story


def format_time(ms: int, zone: tzinfo | None = None) -> str:
    """Return ``2026-11-22 20:15:03`` in ``zone``, or the reader's own."""
    return f"{datetime.fromtimestamp(ms / 1000).astimezone(zone):%Y-%m-%d %H:%M:%S}"


def to_mapping(row: Row) -> dict[str, Any]:
    """Return the entry for programs: times in ISO 8601 with UTC's offset, in place of milliseconds."""
    content: dict[str, Any] = {"id": row.id, "kind": row.kind}
    for name, value in row.fields.items():
        if name in ("began", "ended", "until") and value is not None:
            content[name] = (
                f"{datetime.fromtimestamp(value / 1000).astimezone().isoformat(timespec='milliseconds')}"
            )
        else:
            content[name] = value
    return content


def _tell_span(row: Row, zone: tzinfo | None) -> str:
    began = format_time(row.began, zone)
    ended = row.fields.get("ended")
    if ended is None or ended // 1000 == row.began // 1000:
        return began
    last = format_time(ended, zone)
    return f"{began} to {last[11:] if last[:10] == began[:10] else last}"


def _tell_refusal(row: Row, journal: Journal, zone: tzinfo | None) -> list[tuple[str, str]]:
    fields = row.fields
    reason = Reason(fields["reason"])
    story = [("why", _plain(wording.REASONS[reason]))]
    if fields["packet_class"]:
        meaning = wording.CLASSES[PacketClass(fields["packet_class"])]
        story.append((fields["packet_class"], _plain(meaning)))
    if fields["justification"]:
        meaning = wording.JUSTIFICATIONS[Justification(fields["justification"])]
        story.append((fields["justification"], _plain(meaning)))
    if fields["scope"]:
        story.append((f"scope {fields['scope']}", _plain(wording.SCOPES[Scope(fields["scope"])])))
    if reason is Reason.CONDEMNED and fields["flow"]:
        story.append(("first", _find_first(row, journal)))
    if fields["passed"]:
        story.append(("but", "it passed all the same: the gate was in monitor, or the Echo was paused"))
    if fields["after_virtual_reset"]:
        story.append(
            ("note", "enforce would have cut this connection before, so it would never have come to this")
        )
    story.append(("the room", _tell_room(row, journal, zone)))
    story.append(("what to do", _plain(wording.ADVICE[reason])))
    return story


def _tell_room(row: Row, journal: Journal, zone: tzinfo | None) -> str:
    """Say what was known of the microphone and the last wake word when it happened."""
    device = row.fields["device"]
    mute = journal.get_latest("mute", device, row.began)
    spoken = journal.get_latest("interaction", device, row.began)
    parts = [
        "no sensor had reported" if mute is None else f"{mute.fields['state']} {_tell_since(mute, zone)}"
    ]
    if spoken is None:
        parts.append("no wake word in the journal")
    else:
        word = spoken.fields["word"] or "a wake word"
        parts.append(f'the last wake word ("{word}") at {format_time(spoken.began, zone)}')
        if spoken.fields["ended"] is not None:
            parts.append(f"its interaction over at {format_time(spoken.fields['ended'], zone)[11:]}")
    return ", ".join(parts)


def _tell_since(row: Row, zone: tzinfo | None) -> str:
    source = row.fields["source"]
    return f"since {format_time(row.began, zone)}" + (f" (by {source})" if source else "")


def _find_first(row: Row, journal: Journal) -> str:
    """Say why a connection was condemned that is only refused as such by now."""
    found = journal.find_refusals(row.fields["run"], row.fields["device"], row.fields["flow"])
    first = next((other for other in found if other.fields["reason"] != Reason.CONDEMNED), None)
    if first is None or first.began > row.fields["ended"]:
        return "an event condemned it: the microphone was muted while its data was under way"
    return f"{_plain(wording.REASONS[Reason(first.fields['reason'])])} (wakeguard why {first.id})"


def _find_refusal(row: Row, journal: Journal) -> str:
    found = journal.find_refusals(row.fields["run"], row.fields["device"], row.fields["flow"])
    if not found:
        return "its refusal is not in the journal any more"
    first = found[0]
    return f"{_plain(wording.REASONS[Reason(first.fields['reason'])])} (wakeguard why {first.id})"


def _plain(text: str) -> str:
    return text.replace("**", "").replace("`", "")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _summarise_run(fields: Any, _zone: tzinfo | None) -> str:
    if fields["ended"] is None:
        return f"gate {fields['version']} started in {fields['mode']}"
    return f"gate {fields['version']} ran, and stopped in {fields['mode']}"


def _summarise_refusal(fields: Any, _zone: tzinfo | None) -> str:
    verb = "would be refused" if fields["passed"] else "refused"
    whom = fields["flow"] or "many connections"
    size = f"{_count(fields['packets'], 'packet')}, {_count(fields['bytes'], 'byte')}"
    return f"{verb}: {fields['reason']}, {whom}, {size}"


def _summarise_flow(fields: Any, _zone: tzinfo | None) -> str:
    why = ", after a wake word" if fields["explained"] else ""
    size = f"{fields['sent']:,} up, {fields['received']:,} down"
    return f"connection {fields['end']}: {fields['flow']}, {size}{why}"


def _summarise_interaction(fields: Any, _zone: tzinfo | None) -> str:
    word = f'"{fields["word"]}"' if fields["word"] else "a wake word"
    source = f" by {fields['source']}" if fields["source"] else ""
    if fields["ended"] is None:
        return f"{word} heard{source}: an interaction began"
    length = (fields["ended"] - fields["began"]) / 1000
    return f"{word} heard{source}: {length:.0f} s, {_count(fields['sent'], 'byte')} sent"


def _summarise_mute(fields: Any, _zone: tzinfo | None) -> str:
    return f"microphone {fields['state']}" + (f" (by {fields['source']})" if fields["source"] else "")


def _summarise_mode(fields: Any, _zone: tzinfo | None) -> str:
    return f"{fields['what']}: {fields['before']} became {fields['after']}"


def _summarise_pause(fields: Any, zone: tzinfo | None) -> str:
    until = format_time(fields["until"], zone)[11:]
    if fields["ended"] is None:
        return f"paused until {until}: everything passes"
    return f"paused until {until}, ended {format_time(fields['ended'], zone)[11:]}: {fields['cause']}"


def _summarise_notice(fields: Any, _zone: tzinfo | None) -> str:
    size = f", {fields['bytes']:,}" if fields["bytes"] else ""
    flow = f", {fields['flow']}" if fields["flow"] else ""
    return f"{fields['kind']}{flow}{size}"


_SUMMARIES: Final[dict[str, Callable[[Any, tzinfo | None], str]]] = {
    "run": _summarise_run,
    "refusal": _summarise_refusal,
    "flow": _summarise_flow,
    "interaction": _summarise_interaction,
    "mute": _summarise_mute,
    "mode": _summarise_mode,
    "pause": _summarise_pause,
    "notice": _summarise_notice,
}
