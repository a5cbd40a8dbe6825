"""A newcomer's session: what docs/quickstart.md tells to type is typed, in its order, while an Echo talks.

Each section's commands run on a machine with a real systemd between a household's Echo and its cloud; setup's
questions are answered on a terminal. What must be seen after each section stands in the table below.
"""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conftest import ROOT
from tests.netns.gate import TlsCloud, talks_in_vain
from tests.netns.household import ECHO_MAC, Household, wait_until
from tests.vm.container import Container

pytestmark = [pytest.mark.kernel, pytest.mark.systemd]

PAGE = ROOT / "docs" / "quickstart.md"
VOICE = 20_000
# Is it an Echo? Its name? Where does this machine stand? Go on?
ANSWERS = "\nkitchen\naccess-point\n\n"


class Session(NamedTuple):
    """The newcomer: a machine, an Echo behind it, and the cloud that counts what it is told."""

    home: Household
    machine: Container
    cloud: TlsCloud

    def type(self, line: str) -> str:
        """Type a line of the page and return what is shown; it must succeed."""
        words = shlex.split(line, comments=True)
        assert words[:2] == ["sudo", "wakeguard"]
        if words[2] in {"setup", "uninstall"}:
            return self.answer(words[1:], ANSWERS if words[2] == "setup" else "y\n")
        return self.machine.call(*words[1:])

    def answer(self, words: list[str], answers: str) -> str:
        """Type a command that asks, on a terminal, with all answers at once."""
        terminal, end = pty.openpty()
        with os.fdopen(terminal, "wb", buffering=0) as keyboard, os.fdopen(end, "rb", buffering=0) as screen:
            keyboard.write(answers.encode())
            done = self.machine.run(*words, stdin=screen)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def passes(self) -> bool:
        """Have the Echo open a connection and talk; tell whether all of it arrived."""
        before = self.cloud.received
        with self.cloud.connect() as stream:
            self.cloud.deliver(stream, VOICE)
        return self.cloud.received == before + VOICE

    def is_settled(self) -> bool:
        """Tell whether every verdict has been given: in monitor packets pass and the verdict may wait."""
        status = json.loads(self.machine.call("wakeguard", "status", "--json"))
        return all(device["holds"]["packets"] == 0 for device in status["devices"])

    def is_refused(self) -> bool:
        """Have the Echo open a connection and talk; tell whether it was cut and nothing arrived."""
        before = self.cloud.received
        with self.cloud.connect() as stream:
            return talks_in_vain(stream, VOICE) and self.cloud.received == before


def see_setup(session: Session, shown: str) -> None:
    assert "found: amazon-0123" in shown
    assert "The gate runs, mode monitor." in shown
    assert "kitchen" in shown
    assert "All is well." in shown
    assert session.passes(), "monitor changes nothing"


def see_watch(session: Session, shown: str) -> None:
    before, event, after = shown.partition("kitchen: unmuted, interaction for another")
    assert event, "the wake event opens an interaction"
    assert re.search(r"app_data +justified +refuse +[1-9]", before), "what enforce would drop is counted"
    assert "expected" not in before
    assert re.search(r"^ *r1 .* would be refused: ", before, re.MULTILINE)
    assert re.search(r"app_data +expected +accept +[1-9]", after)


def see_enforce(session: Session, shown: str) -> None:
    assert shown == "enforce\n"
    session.machine.call("systemctl", "restart", "wakeguard")  # no interaction is left of the last section
    assert session.is_refused()
    session.machine.call("wakeguard", "event", "wake")
    assert session.passes(), "a wake word explains it"
    session.machine.call("systemctl", "restart", "wakeguard")


def see_pause(session: Session, shown: str) -> None:
    assert re.search(r"kitchen: everything passes until \d\d:\d\d", shown)
    assert "kitchen: gated again" in shown
    assert session.is_refused()
    session.machine.call("wakeguard", "pause", "5m")
    assert session.passes()
    session.machine.call("wakeguard", "resume")


def see_why(session: Session, shown: str) -> None:
    assert "what to do" in shown
    assert "kitchen" in shown
    assert "refused" in shown


def see_uninstall(session: Session, shown: str) -> None:
    assert "Remove all this?" in shown
    assert "Wakeguard is off." in shown
    assert "WAKEGUARD" not in session.machine.call("iptables-save")
    assert session.machine.run("id", "wakeguard").returncode != 0
    assert session.passes()


SEEN: dict[str, Callable[[Session, str], None]] = {
    "4. Put it in between": see_setup,
    "5. Watch": see_watch,
    "6. Enforce": see_enforce,
    "7. Pause it": see_pause,
    "8. Ask why": see_why,
    "9. Off again": see_uninstall,
}


def read_sections() -> dict[str, list[str]]:
    """Return the commands of each section of the page, in order."""
    sections = {}
    for part in PAGE.read_text(encoding="utf-8").split("\n## ")[1:]:
        title, _, text = part.partition("\n")
        blocks = re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        sections[title] = [line for block in blocks for line in block.splitlines()]
    return sections


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with Household() as home, Container(tmp_path / "machine", home.gate) as machine, TlsCloud(home) as cloud:
        lease = f"1700000000 {ECHO_MAC} 10.77.0.2 amazon-0123 *\n"
        machine.run("tee", "/var/lib/misc/dnsmasq.leases", text=lease)
        newcomer = Session(home, machine, cloud)
        assert newcomer.passes(), "before there is any gate"
        yield newcomer


def test_the_page_has_every_step() -> None:
    assert [title for title in read_sections() if title in SEEN] == list(SEEN)


@pytest.mark.slow
def test_a_newcomers_session(session: Session) -> None:
    sections = read_sections()
    for title, see in SEEN.items():
        shown = []
        for line in sections[title]:
            if title.startswith("5") and line.endswith("status"):
                assert session.passes()
                wait_until(session.is_settled)
            shown.append(session.type(line))
        see(session, "".join(shown))
