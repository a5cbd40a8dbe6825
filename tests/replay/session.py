"""A session of an Echo as a capture, a trace beside it, and what the command makes of the two."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from guard.cli.offline import replay
from guard.limits import load_limits
from tests.capture_files import CLOUD, ECHO, ECHO_MAC, EPOCH_NS, GATEWAY_MAC, ethernet, record, tcp

MAC = ECHO_MAC.hex(":")
MILLISECOND = 1_000_000
SECOND = 1_000_000_000
VOICE = record(23, 113)
WAKE = '{"t":0.5,"type":"wake","word":"alexa","score":0.97,"source":"microphone"}'
NO_HOLD = load_limits({"hold": {"hold_s": 0.0}})


def session(*, frames: int = 8, spacing_ns: int = SECOND // 4) -> list[tuple[int, bytes]]:
    """Return a mid-stream flow: the device sends VOICE records, the cloud acknowledges each."""
    result = []
    seq = 1000
    for step in range(frames):
        time_ns = EPOCH_NS + step * spacing_ns
        result.append((time_ns, ethernet(tcp(VOICE, seq=seq))))
        seq += len(VOICE)
        answer = tcp(b"", seq=1, ack=seq, flags=0x10, ports=(443, 46619), source=CLOUD, destination=ECHO)
        answer_frame = ethernet(answer, source=GATEWAY_MAC, destination=ECHO_MAC)
        result.append((time_ns + MILLISECOND, answer_frame))
    return result


def write(folder: Path, data: bytes, name: str = "some.pcap") -> Path:
    """Write a file into the folder; return its path."""
    path = folder / name
    path.write_bytes(data)
    return path


def trace(folder: Path, *texts: str) -> Path:
    """Write lines of events; return the path of the trace."""
    return write(folder, "\n".join(texts).encode(), "events.jsonl")


def gate_line(**limits: object) -> str:
    """Return the line by which a gate begins its trace: one device, balanced, and the limits it changed."""
    settings = {MAC: {"sensor": False, "balanced": True}}
    return json.dumps({"type": "gate", "mode": "monitor", "devices": settings, "limits": {"table": limits}})


def run(*arguments: object) -> Result:
    """Call the command."""
    return CliRunner().invoke(replay, [str(argument) for argument in arguments])


def lines(*arguments: object) -> list[dict[str, Any]]:
    """Call the command; return the lines that it printed, read."""
    result = run(*arguments, "--format", "jsonl")
    assert result.exit_code == 0, result.exception
    return [json.loads(line) for line in result.stdout.splitlines()]
