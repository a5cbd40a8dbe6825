"""A real Prometheus in a namespace, and what it answers there.

It runs the configuration and the rules that are shipped, scraping as often as the caller says.
"""

from __future__ import annotations

import http.client
import json
import math
import re
import socket
import subprocess
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from tests.conftest import ROOT
from tests.netns.household import Namespace

PORT: Final = 9090
SHIPPED: Final = ROOT / "packaging" / "prometheus"


@dataclass(frozen=True)
class Series:
    """One series of an answer: its labels, and its points as (Unix time, value)."""

    labels: dict[str, str]
    points: tuple[tuple[float, float], ...]

    @property
    def last(self) -> float:
        """The newest value."""
        return self.points[-1][1]

    def is_finite(self) -> bool:
        """Say whether every point is a number."""
        return bool(self.points) and all(math.isfinite(value) for _, value in self.points)


class Prometheus:
    """Prometheus with its files in ``folder``, between ``with`` and its end."""

    def __init__(self, namespace: Namespace, folder: Path, *, every_s: int = 1) -> None:
        self._namespace = namespace
        self._folder = folder
        self.every_s = every_s
        text = (SHIPPED / "prometheus.yml").read_text(encoding="utf-8")
        text, count = re.subn(r"(scrape|evaluation)_interval: \w+", rf"\1_interval: {every_s}s", text)
        assert count == 2
        (folder / "prometheus.yml").write_text(text, encoding="utf-8")
        for rules in SHIPPED.glob("*.rules.yml"):
            (folder / rules.name).write_text(rules.read_text(encoding="utf-8"), encoding="utf-8")
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Prometheus:
        command = (
            *("ip", "netns", "exec", self._namespace.name, "prometheus"),
            f"--config.file={self._folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={self._folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{PORT}",
        )
        with (self._folder / "prometheus.log").open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def is_ready(self) -> bool:
        """Say whether it answers queries; AssertionError when it has ended."""
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "prometheus.log").read_text()
        try:
            return fetch(self._namespace, PORT, "/-/ready")[0] == http.client.OK
        except OSError:
            return False

    def ask(self, query: str) -> list[Series]:
        """Return the answer to an instant query."""
        rows = self._ask("/api/v1/query", query=query)["result"]
        return [Series(row["metric"], _read_points([row["value"]])) for row in rows]

    def ask_range(self, query: str, *, start: float, end: float, step: float) -> list[Series]:
        """Return the answer to a range query; times are Unix times."""
        rows = self._ask("/api/v1/query_range", query=query, start=start, end=end, step=step)["result"]
        return [Series(row["metric"], _read_points(row["values"])) for row in rows]

    def get_alerts(self) -> list[dict[str, Any]]:
        """Return what fires or is about to."""
        alerts: list[dict[str, Any]] = self._ask("/api/v1/alerts")["alerts"]
        return alerts

    def get_rules(self) -> list[dict[str, Any]]:
        """Return each rule with its health."""
        return [rule for group in self._ask("/api/v1/rules")["groups"] for rule in group["rules"]]

    def get_metadata(self) -> dict[str, list[dict[str, str]]]:
        """Return metric -> its type and help, as the gate told them."""
        metadata: dict[str, list[dict[str, str]]] = self._ask("/api/v1/metadata")
        return metadata

    def _ask(self, path: str, **fields: object) -> Any:
        status, body = fetch(self._namespace, PORT, f"{path}?{urllib.parse.urlencode(fields)}")
        answer = json.loads(body)
        assert status == http.client.OK, answer
        return answer["data"]


def fetch(namespace: Namespace, port: int, path: str) -> tuple[int, bytes]:
    """Return status and body of a page that somebody serves in the namespace, on its loopback."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.sock = namespace.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        connection.sock.connect(("127.0.0.1", port))
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def _read_points(pairs: Sequence[Sequence[Any]]) -> tuple[tuple[float, float], ...]:
    return tuple((float(when), float(value)) for when, value in pairs)
