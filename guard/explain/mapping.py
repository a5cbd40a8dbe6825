"""An explanation for machines: what ``show`` prints, as values that JSON knows.

Seconds count from the capture's first frame, bytes are transport payload. There is no payload in it.
"""

from __future__ import annotations

from typing import Any

from guard.core.facts import DeviceStatus
from guard.core.verdict import Decision
from guard.explain import words
from guard.explain.story import Explanation, Look, Part, Step, Story
from guard.explain.words import tell_look

DIGITS = 6


def make_mapping(explanation: Explanation, stories: list[Story], *, steps: bool) -> dict[str, Any]:
    """Return the object that ``wakeguard explain --json`` prints; ``steps``: each flow's."""
    return {
        "device": explanation.device,
        "mode": explanation.mode,
        "policy": explanation.policy,
        "room": [
            {"at": _round(occasion.at), "kind": occasion.kind, "what": occasion.what}
            for occasion in explanation.occasions
        ],
        "frame": None if explanation.look is None else _map_look(explanation, explanation.look),
        "flows": [_map_story(story, steps=steps) for story in stories],
    }


def _map_story(story: Story, *, steps: bool) -> dict[str, Any]:
    decisive = story.get_decisive()
    content: dict[str, Any] = {
        "flow": story.name,
        "began": _round(story.began),
        "ended": _round(story.ended),
        "first_frame": story.first_frame,
        "last_frame": story.last_frame,
        "suite": story.suite or None,
        "packets_up": story.packets_up,
        "bytes_up": story.bytes_up,
        "packets_down": story.packets_down,
        "bytes_down": story.bytes_down,
        "verdicts": [{**_map_decision(answer), "bytes": size} for answer, size in story.verdicts.items()],
        "decisive": None if decisive is None else _map_step(decisive),
    }
    if steps:
        content["steps"] = [_map_part(part) for part in story.parts]
    return content


def _map_part(part: Part) -> dict[str, Any]:
    if isinstance(part, Step):
        return _map_step(part)
    return {
        "at": _round(part.at),
        "frame": part.frame,
        "became": part.mark.value,
        "words": words.tell_turn(part),
    }


def _map_step(step: Step) -> dict[str, Any]:
    return {
        "at": _round(step.began),
        "until": _round(step.ended),
        "frame": step.first_frame,
        "last_frame": step.last_frame,
        "direction": step.direction.name.lower(),
        "packets": step.packets,
        "bytes": step.bytes,
        "records": [[*record, times] for record, times in step.records.items()],
        **_map_decision(step.decision),
        "outcomes": [
            {
                **_map_decision(answer),
                "packets": wait.packets,
                "bytes": wait.bytes,
                "held_ms": [round(wait.shortest * 1000, 3), round(wait.longest * 1000, 3)],
            }
            for answer, wait in step.outcomes.items()
        ],
        "room": None if step.status is None else _map_status(step.status),
    }


def _map_decision(answer: Decision) -> dict[str, Any]:
    return {
        "class": answer.packet_class,
        "justification": answer.justification,
        "verdict": answer.verdict,
        "scope": answer.scope,
        "reason": answer.reason,
        "words": words.tell_reason(answer),
        "after_virtual_reset": answer.after_virtual_reset,
    }


def _map_status(status: DeviceStatus) -> dict[str, Any]:
    return {
        "closed": status.closed,
        "interaction": status.interaction_cause,
        "interaction_bytes": status.interaction_bytes,
        "held_packets": status.held_packets,
        "budgets": dict(status.budgets),
    }


def _map_look(explanation: Explanation, look: Look) -> dict[str, Any]:
    return {
        "frame": look.frame,
        "at": _round(look.at),
        "direction": look.direction.name.lower(),
        "flow": look.flow,
        "bytes": look.bytes,
        "records": look.records,
        "framing": look.framing,
        "voice": look.voice or None,
        **_map_decision(look.decision),
        "held_ms": round(look.waited * 1000, 3) if look.final is not None else None,
        "final": None if look.final is None else _map_decision(look.final),
        "room": _map_status(look.status),
        "answers": [list(pair) for pair in tell_look(explanation)],
    }


def _round(seconds: float) -> float:
    return round(seconds, DIGITS)
