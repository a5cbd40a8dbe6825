"""Suricata 7 for the comparison: on the path, or unpacked beside the benches from Debian's packages.

Nothing is installed: apt downloads Suricata and the libraries that are missing here into
``build/bench/suricata``, with lists and a cache of its own, and dpkg-deb unpacks them there. Debian 12 has
it in backports. Where it cannot be had, the reason takes its place in the tables.
"""

from __future__ import annotations

import functools
import os
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.bench.report import FOLDER

MIRROR = "http://deb.debian.org/debian"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
BACKPORTED_TO = {"bookworm": "bookworm-backports"}  # Debian 12's own is 6
OLDEST_MAJOR = 7
PLACE = FOLDER / "suricata"
CONFIG = Path(__file__).with_suffix(".yaml")
RULES = Path(__file__).with_suffix(".rules")
DOWNLOAD_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Suricata:
    """A program that runs, and where its libraries are if not in their usual places."""

    program: str
    libraries: str
    version: str

    def command(self, queue: int, folder: Path) -> list[str]:
        """Return the command line for one queue."""
        environment = ["env", f"LD_LIBRARY_PATH={self.libraries}"] if self.libraries else []
        arguments = ["-c", str(CONFIG), "-S", str(RULES), "-q", str(queue), "-l", str(folder)]
        return [*environment, self.program, *arguments]


class SuricataMissingError(Exception):
    """It cannot be had here; says why."""


@functools.cache
def find_suricata() -> Suricata:
    """Return Suricata, fetching it if need be; SuricataMissingError with the reason."""
    installed = shutil.which("suricata")
    if installed is not None and (found := _probe(installed, "")) is not None:
        return found
    if not (PLACE / "complete").exists():
        _fetch()
    libraries = {str(path.parent) for path in PLACE.rglob("*.so*")}
    found = _probe(str(PLACE / "root" / "usr" / "bin" / "suricata"), ":".join(sorted(libraries)))
    if found is None:
        raise SuricataMissingError(f"what {PLACE} holds does not run: remove the folder to fetch it again")
    return found


def explain_missing() -> str | None:
    """Return why Suricata cannot be had; None when it can."""
    try:
        find_suricata()
    except SuricataMissingError as error:
        return str(error)
    return None


def _probe(program: str, libraries: str) -> Suricata | None:
    environment = {**os.environ, "LD_LIBRARY_PATH": libraries} if libraries else None
    try:
        done = subprocess.run(
            [program, "-V"], env=environment, capture_output=True, text=True, timeout=30, check=False
        )
    except OSError:
        return None
    said = re.search(r"Suricata version ((\d+)\.[\d.]+)", done.stdout)
    if said is None or int(said[2]) < OLDEST_MAJOR:
        return None
    return Suricata(program, libraries, said[1])


def _fetch() -> None:
    for need in ("apt-get", "dpkg-deb"):
        if shutil.which(need) is None:
            raise SuricataMissingError(f"there is no {need} here, and no Suricata {OLDEST_MAJOR} on the path")
    release = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    suites = [suite for suite in (release, BACKPORTED_TO.get(release)) if suite]
    if not suites or not KEYRING.exists():
        raise SuricataMissingError(f"not a Debian release, or {KEYRING} is missing")
    shutil.rmtree(PLACE, ignore_errors=True)
    for part in ("lists/partial", "cache/archives/partial", "root"):
        (PLACE / part).mkdir(parents=True)
    sources = PLACE / "sources.list"
    sources.write_text("".join(f"deb [signed-by={KEYRING}] {MIRROR} {suite} main\n" for suite in suites))
    _apt("update", "-q", "--error-on=any")
    _apt("install", "--yes", "--download-only", "--no-install-recommends", "-t", suites[-1], "suricata")
    for package in (PLACE / "cache" / "archives").glob("*.deb"):
        _run("dpkg-deb", "--extract", str(package), str(PLACE / "root"))
    (PLACE / "complete").touch()


def _apt(*command: str) -> None:
    options = {
        "Dir::Etc::SourceList": f"{PLACE}/sources.list",
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::State::Lists": f"{PLACE}/lists",
        "Dir::Cache": f"{PLACE}/cache",
        "APT::Sandbox::User": "root",  # a user of apt's own may enter neither a home nor this machine's /dev
        "Debug::NoLocking": "1",
    }
    _run("apt-get", *(part for key, value in options.items() for part in ("-o", f"{key}={value}")), *command)


def _run(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=DOWNLOAD_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise SuricataMissingError(f"{command[0]} took more than {DOWNLOAD_SECONDS} s") from None
    if done.returncode != 0:
        raise SuricataMissingError(f"{command[0]}: {_get_complaint(done.stderr)}")


def _get_complaint(said: str) -> str:
    """Return the line that tells the cause: of apt's several the first; what follows from it comes last."""
    lines = said.strip().splitlines() or ["said nothing"]
    return next((line for line in lines if line.startswith(("E: ", "W: GPG error"))), lines[-1])
