"""The sentences in which a story is told.

Knows: a sentence for each thing that can be told; what the gate's own words mean comes from
``guard.wording``, the one table that the policy page is made from. Refuses to know: screens and colours.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from guard import wording
from guard.core.context import ANSWER, SPEECH, VOICE, WAKE_WORD
from guard.core.facts import DeviceStatus
from guard.core.tls import ContentType
from guard.core.verdict import Decision, Direction, Verdict
from guard.explain.story import Explanation, Look, Mark, Record, Step, Story, Turn, Wait

MARKS: dict[Mark, str] = {
    Mark.OPENED: "the Echo opens the connection",
    Mark.EXPLAINED: "it is opened inside an interaction: its control traffic has a budget of its own",
    Mark.INBOUND: "somebody else opened it: the Echo is the server",
    Mark.MIDSTREAM: "first seen in its middle: its records are not known yet",
    Mark.AGREED: "both ends agree on",
    Mark.FINISHED: "the handshake is over: what follows is heartbeats and application data",
    Mark.OPAQUE: "it does not speak TLS",
    Mark.LOST: "bytes are missing: where records begin is not known any more",
    Mark.FOUND: "two records fit: their boundaries are inferred from here on",
    Mark.VOICE: "this is a voice",
    Mark.CONDEMNED: "the connection is condemned: nothing passes on it any more",
    Mark.VIRTUAL_RESET: "enforce would cut the connection here; monitor lets it live",
    Mark.FORGIVEN: "from here on it is judged as if the Echo had redialled",
    Mark.CLOSED: "FIN or RST: the connection ends",
}
FRAMINGS: dict[str, str] = {
    "start": "its first record has not begun",
    "framed": "its records are known from the first byte on",
    "unknown": "where its records begin is not known",
    "tentative": "where its records begin is a guess that the next record confirms or throws out",
    "inferred": "its records were found in mid-stream",
    "opaque": "it does not speak TLS",
}
CAUSES: dict[str, str] = {
    WAKE_WORD: "the wake word",
    VOICE: "the Echo's upload",
    ANSWER: "the answer of the cloud",
    SPEECH: "somebody who goes on speaking in the room",
}
RECORDS = {int(kind): kind.name.lower() for kind in ContentType}
GROUPS_SHOWN = 6


def plain(text: str) -> str:
    """Return a sentence of ``guard.wording`` without its markup."""
    return text.replace("**", "").replace("`", "")


def format_bytes(count: int) -> str:
    """Return ``842 B`` or ``61.2 kB``."""
    return f"{count} B" if count < 1000 else f"{count / 1000:,.1f} kB"


def count(number: int, noun: str) -> str:
    """Return ``1 packet`` or ``1,284 packets``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def tell_answer(decision: Decision) -> str:
    """Return ``app_data, justified: refuse flow``."""
    words = [str(decision.packet_class or "downstream")]
    if decision.justification is not None:
        words.append(f", {decision.justification}")
    words.append(f": {tell_verdict(decision)}")
    return "".join(words)


def tell_verdict(decision: Decision) -> str:
    """Return ``refuse flow``, as it would be said aloud."""
    return f"{decision.verdict}{f' {decision.scope}' if decision.scope else ''}"


def tell_reason(decision: Decision) -> str:
    """Return why, in the words of the policy page."""
    return plain(wording.REASONS[decision.reason])


def tell_lengths(step: Step) -> str:
    """Return the records of a step: in order where that is short, else the most frequent lengths."""
    groups = [(record, len(list(same))) for record, same in groupby(step.lengths)]
    if len(step.lengths) == step.records.total() and len(groups) <= GROUPS_SHOWN:
        return ", ".join(_tell_record(record, times) for record, times in groups)
    most = step.records.most_common(GROUPS_SHOWN - 1)
    told = [_tell_record(record, times) for record, times in most]
    others = len(step.records) - len(most)
    return ", ".join(told) + (f" and {count(others, 'other length')}" if others else "")


def _tell_record(record: Record, times: int) -> str:
    kind, length = record
    name = "" if kind == ContentType.APPLICATION_DATA else f"{RECORDS.get(kind, kind)} "
    return f"{name}{length}" + (f" (x{times})" if times > 1 else "")


def tell_step(step: Step) -> str:
    """Return what a step consists of."""
    told = f"{count(step.packets, 'packet')}, {format_bytes(step.bytes)}"
    if step.ended - step.began >= 0.1:
        told += f" in {step.ended - step.began:.1f} s"
    lengths = tell_lengths(step)
    return f"{told}: {lengths}" if lengths else told


def tell_outcomes(step: Step) -> Iterator[tuple[Decision, str]]:
    """Yield (answer, sentence) for what became of packets that waited."""
    for decision, wait in step.outcomes.items():
        yield decision, tell_wait(wait, step.packets)


def tell_wait(wait: Wait, packets: int) -> str:
    """Return how long packets waited."""
    longest, shortest = wait.longest * 1000, wait.shortest * 1000
    span = f"{longest:.0f} ms" if longest - shortest < 1 else f"{shortest:.0f} to {longest:.0f} ms"
    who = "after" if wait.packets == packets else f"{count(wait.packets, 'packet')} after"
    return f"{who} {span}"


def tell_turn(turn: Turn) -> str:
    """Return what became of a connection."""
    return (
        f"{MARKS[turn.mark]} {turn.detail}".rstrip()
        if turn.mark is Mark.AGREED
        else (f"{MARKS[turn.mark]}: {turn.detail}" if turn.detail else MARKS[turn.mark])
    )


def tell_story(story: Story) -> str:
    """Return a connection in one line."""
    told = [f"{format_bytes(story.bytes_up)} up", f"{format_bytes(story.bytes_down)} down"]
    if story.suite:
        told.insert(0, story.suite)
    return ", ".join([*told, f"{max(story.ended - story.began, 0.0):.1f} s"])


def tell_look(explanation: Explanation) -> Iterator[tuple[str, str]]:
    """Yield (question, answer) about the packet that was looked at, in the order in which the gate asks."""
    look = explanation.look
    if look is None:
        return
    answer = look.decision
    yield "What is it?", _tell_packet(look)
    if look.direction is Direction.DOWNSTREAM:
        yield "Verdict?", f"It {tell_reason(answer)}: it passes, and tells the gate what the Echo answers to."
        return
    if answer.packet_class is not None:
        yield "Which class?", f"{answer.packet_class}: {plain(wording.CLASSES[answer.packet_class])}."
    if look.framing is not None:
        yield "Which connection?", _tell_connection(look)
    if look.voice:
        yield "A voice?", f"The detector had seen {look.voice}."
    yield "What did the gate know of the room?", tell_room(look.status, look.since_interaction)
    if answer.justification is not None:
        meaning = plain(wording.JUSTIFICATIONS[answer.justification])
        yield "Which justification?", f"{answer.justification}: {meaning}."
    yield "Verdict?", _tell_verdict(answer)
    if look.final is not None:
        final = f"{tell_verdict(look.final)}, {look.final.reason}: {tell_reason(look.final)}"
        yield "And then?", f"After {look.waited * 1000:.0f} ms: {final}."
    if look.status.budgets and explanation.policy == "balanced":
        left = ", ".join(f"{name} {amount:,.0f}" for name, amount in sorted(look.status.budgets.items()))
        yield "What was left of the budgets?", f"{left}."


def tell_room(status: DeviceStatus, since_interaction: float | None) -> str:
    """Return what the gate knew of microphone and interaction."""
    if status.closed is not None:
        return f"Application data could not pass: {plain(wording.REASONS[status.closed])}."
    live = "The microphone was live"
    if status.interaction_until is not None:
        cause = CAUSES.get(status.interaction_cause or "", "the wake word")
        left = status.interaction_bytes or 0.0
        return f"{live} and an interaction open, kept so by {cause}; {left:,.0f} bytes more may leave in it."
    if since_interaction is None:
        return f"{live}, and nobody had said the wake word."
    return f"{live}; the last interaction had been over for {since_interaction:.1f} s."


def _tell_packet(look: Look) -> str:
    sender = "the Echo" if look.direction is Direction.UPSTREAM else "the cloud"
    told = f"Frame {look.frame}, {look.at:.3f} s into the capture, from {sender}: "
    told += f"{look.bytes} bytes of payload on {look.flow}."
    if not look.records:
        return told
    records = ", ".join(_tell_record(record, 1) for record in look.records)
    return f"{told} It completes the header of {count(len(look.records), 'TLS record')}: {records} bytes."


def _tell_connection(look: Look) -> str:
    told = [FRAMINGS[look.framing or "start"]]
    if look.suite:
        told.append(look.suite)
    told.append("its handshake is over" if look.handshake_done else "its handshake was not seen to end")
    if look.explained:
        told.append("it was opened inside an interaction")
    if look.condemned_before:
        told.append("it was condemned before")
    return f"One of which {'; '.join(told)}. {count(look.parts_before, 'step')} of its story came before."


def _tell_verdict(decision: Decision) -> str:
    told = f"{tell_verdict(decision)}, {decision.reason}: {tell_reason(decision)}."
    if decision.verdict is Verdict.HOLD:
        told += f" On hold, {plain(wording.VERDICTS[Verdict.HOLD])}."
    if decision.scope is not None:
        told += f" Refused is {plain(wording.SCOPES[decision.scope])}."
    if decision.after_virtual_reset:
        told += " Enforce would have cut this connection before; in monitor it lives on."
    return told
