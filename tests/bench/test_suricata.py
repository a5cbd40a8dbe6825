"""Where Suricata cannot be had, the reason is one line that names the cause."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from tests.bench import suricata

UNSIGNED = """W: GPG error: http://deb.debian.org/debian bookworm InRelease: gpgv is not installed
E: The repository 'http://deb.debian.org/debian bookworm InRelease' is not signed.
"""
OFFLINE = """W: Download is performed unsandboxed as root
E: Failed to fetch http://deb.debian.org/debian/dists/bookworm/InRelease  Could not resolve the name
E: Some index files failed to download. They have been ignored, or old ones used instead.
"""


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (UNSIGNED, "W: GPG error: http://deb.debian.org/debian bookworm InRelease: gpgv is not installed"),
        (OFFLINE, OFFLINE.splitlines()[1]),
        ("something else\nand the end of it\n", "and the end of it"),
        ("", "said nothing"),
    ],
)
def test_the_reason_is_what_apt_complained_of_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, reason: str
) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, body in (("apt-get", f"cat >&2 <<'END'\n{said}END\nexit 100\n"), ("dpkg-deb", "exit 0\n")):
        (programs / name).write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{body}")
        (programs / name).chmod(0o755)
    keyring = tmp_path / "keyring.gpg"
    keyring.touch()
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setattr(suricata, "PLACE", tmp_path / "suricata")
    monkeypatch.setattr(suricata, "KEYRING", keyring)
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: {"VERSION_CODENAME": "bookworm"})
    suricata.find_suricata.cache_clear()
    assert suricata.explain_missing() == f"apt-get: {reason}"
