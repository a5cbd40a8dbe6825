"""Put prepared packets through a fresh engine, with its timers: what valgrind counts, and nothing else.

Usage: python feed.py FRAMES COUNT

FRAMES as ``traffic.write_frames`` writes them, for one device at the pace of a busy household.
"""

import struct
import sys
from pathlib import Path

from guard.core.engine import DeviceSettings, Engine
from guard.core.verdict import Direction, Mode
from guard.rules import load_policy

DEVICE, PACE, ETHERNET_BYTES = "bench", 0.005, 14
DOWN, LENGTH = 1 << 31, (1 << 30) - 1


def main() -> None:
    """Feed the first COUNT packets."""
    data = Path(sys.argv[1]).read_bytes()
    engine = Engine(load_policy(), devices={DEVICE: DeviceSettings()}, mode=Mode.MONITOR)
    at = 0
    for number in range(int(sys.argv[2])):
        (word,) = struct.unpack_from("<I", data, at)
        end = at + 4 + (word & LENGTH)
        packet, at = data[at + 4 + ETHERNET_BYTES : end], end
        now = number * PACE
        timer = engine.get_timer()
        if timer is not None and timer <= now:
            engine.handle_timer(now=now)
        direction = Direction.DOWNSTREAM if word & DOWN else Direction.UPSTREAM
        engine.receive_packet(packet, device=DEVICE, direction=direction, now=now)


main()
