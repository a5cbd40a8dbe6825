"""What is told of the voices of one device.

Knows: which connections send a voice that nothing has explained yet, and what was told of voices so far.
Refuses to know: how a voice is recognised (``voice``), what becomes of it (``judge``).

    spotted   a run became a voice outside an interaction; ``hold_s`` later it is looked at again: a burst of
              speech from before a wake word that no wake event explains by then is an ``unheard_wake``
    refused   its connection was condemned: ``voice_refused``, once for each run
"""

from __future__ import annotations

import math
from heapq import heappop, heappush

from guard.core.context import Context
from guard.core.flow import Flow
from guard.core.notice import Notice, NoticeKind, Notices
from guard.core.policy import Policy
from guard.core.voice import BURST_S, LEAK_BOUNDS, MAX_GAP_S


class VoiceWatch:
    """The voices of one device, and the counters of what was told."""

    __slots__ = (
        "_context",
        "_device",
        "_looks",
        "_notices",
        "_number",
        "_policy",
        "_spotted",
        "_unheard_at",
        "leaked",
        "leaked_bytes",
        "refusals",
        "unheard",
    )

    def __init__(self, device: str, policy: Policy, context: Context, notices: Notices) -> None:
        self._device = device
        self._policy = policy
        self._context = context
        self._notices = notices
        self._spotted: set[Flow] = set()  # the flows that are to be looked at again
        self._looks: list[tuple[float, int, Flow]] = []  # heap of them: when, number, flow
        self._number = 0
        self._unheard_at = -math.inf
        self.unheard = 0  # bursts that no wake event explained
        self.refusals = 0  # voices refused
        self.leaked = [0] * len(LEAK_BOUNDS)  # the same, by what had left of them before
        self.leaked_bytes = 0

    def set_policy(self, policy: Policy) -> None:
        """Go on under other limits; what was spotted keeps its time."""
        self._policy = policy

    def spot(self, flow: Flow, now: float, *, refused: bool) -> float | None:
        """Take it that a flow sends a voice; return when it must be looked at again, if at all.

        ``refused``: the flow had been condemned before.
        """
        if now < self._context.interaction_until:
            return None
        if refused:
            self.refuse(flow, now)
        run = flow.conversation.voice
        if run is None or flow in self._spotted:
            return None
        due = max(now, run.began_at + max(self._policy.hold_s, BURST_S))
        self._number += 1
        self._spotted.add(flow)
        heappush(self._looks, (due, self._number, flow))
        return due

    def refuse(self, flow: Flow, now: float) -> None:
        """Tell that a flow was condemned, where it sends a voice; once for each run."""
        conversation, context = flow.conversation, self._context
        for voice in (conversation.voice, conversation.burst):  # what is certain first
            if voice is None or not voice.voice or voice.told or voice.last_at < context.interaction_until:
                continue
            if now - voice.last_at <= MAX_GAP_S + self._policy.hold_s:  # else it was something else
                break
        else:
            return
        left = voice.left
        for told in (conversation.voice, conversation.burst):
            if told is not None:
                told.told = True
        self.refusals += 1
        self.leaked_bytes += left
        for index, bound in enumerate(LEAK_BOUNDS):
            if left <= bound:
                self.leaked[index] += 1
                break
        self._tell(NoticeKind.VOICE_REFUSED, flow, now, left)

    def get_deadline(self) -> float:
        """Return when a flow must be looked at next, ``inf`` when none."""
        return self._looks[0][0] if self._looks else math.inf

    def look_again(self, due: float) -> None:
        """Look at the flows whose time has come; tell of the bursts that nothing explains."""
        context = self._context
        numbered: dict[int, Flow] = {}
        while self._looks and self._looks[0][0] <= due:
            _, number, flow = heappop(self._looks)
            self._spotted.discard(flow)
            numbered[number] = flow
        for number in sorted(numbered):  # as they were spotted
            flow = numbered[number]
            run = flow.conversation.voice
            if run is None or not run.burst:
                continue
            if due < context.interaction_until and context.explained_from <= run.began_at:
                continue
            # An Echo that is refused dials again and repeats itself: one wake word is told of once.
            if due - self._unheard_at >= self._policy.listen_s:
                self._unheard_at = due
                self.unheard += 1
                self._tell(NoticeKind.UNHEARD_WAKE, flow, due, run.bytes)

    def _tell(self, kind: NoticeKind, flow: Flow, now: float, octets: int) -> None:
        self._notices.put(Notice(self._device, kind, flow.get_name(), now, octets))
