"""A real ALSA PCM fed from a file: the file plugin of ALSA itself, configured through its environment."""

from __future__ import annotations

from pathlib import Path

SYSTEM = "</usr/share/alsa/alsa.conf>\n"


def configure(folder: Path, *, raw: bytes, slave: str = "null", extra: str = "") -> Path:
    """Write ``raw`` and an ALSA configuration with a capture PCM "array" that reads it; return the latter."""
    source = folder / "input.raw"
    source.write_bytes(raw)
    path = folder / "asound.conf"
    path.write_text(
        SYSTEM
        + f"pcm.array {{ type file; slave.pcm {slave}; file /dev/null; infile {source}; format raw }}\n"
        + extra
    )
    return path
