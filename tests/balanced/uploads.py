"""The uploads of the research captures, record by record, with nobody having said a word.

Each is played before an engine of its own with full budgets, at its own times, on a connection whose
handshake the engine has seen. What follows the last record of voice is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from guard.core.policy import Policy
from tests.balanced.play import Outcome, Play
from tests.balanced.senders import GCM, Sent
from tests.traffic_page.uploads import Upload

# Echo A cuts pre-roll of n x 400 bytes at 4096: such pieces and the rest are voice as well.
CUT = frozenset([8 + 4096, *(8 + 400 * n % 4096 for n in range(11, 60))])


@dataclass(frozen=True, slots=True)
class Leak:
    """What became of one upload."""

    upload: Upload
    outcome: Outcome

    @property
    def name(self) -> str:
        """Return where it is: household, file, seconds."""
        return f"{self.upload.household}/{self.upload.session.path.name} at {self.upload.start:.1f} s"


def play_upload(upload: Upload, policy: Policy, *, muted: bool = False) -> Outcome:
    """Return what leaves of one upload."""
    overhead = GCM.suite.get_length(0)  # the captures' own suite
    first = upload.audio[0].at
    records = [
        Sent(
            record.at,
            max(0, record.length - overhead),
            record.at >= first and (upload.is_audio(record) or record.length - overhead in CUT),
        )
        for record in upload.up
        if record.at <= upload.seconds + 0.001
    ]
    return Play(policy, muted=muted).run_one(GCM, records)


def play_uploads(uploads: Sequence[Upload], policy: Policy) -> list[Leak]:
    """Return what leaves of each upload that has any voice in it."""
    return [Leak(one, play_upload(one, policy)) for one in uploads if one.audio]
