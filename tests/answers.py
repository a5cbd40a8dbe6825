"""Print what the engine answers to connections that try everything, in digest; run by ``test_compiled``.

Usage: python -m tests.answers SEEDS
"""

from __future__ import annotations

import hashlib
import json
import sys

from guard.build import get_build
from guard.core.verdict import Mode
from tests.bench.engine import make_engine, prepare
from tests.bench.traffic import generate_datagrams, generate_tls
from tests.properties.hostile import TIGHT, Watch, generate_steps

STEPS = 1500
PACKETS = 4000


def list_hostile(seed: int) -> str:
    """Return every answer to one seed's steps."""
    watch = Watch(TIGHT, sensor=bool(seed & 1), mode=Mode.ENFORCE if seed & 2 else Mode.MONITOR)
    watch.play(generate_steps(seed, STEPS))
    return repr(watch.answers)


def list_ordinary(flows: int) -> str:
    """Return every answer to an ordinary mix (datagrams for no flow at all), and the counters."""
    engine = make_engine()
    answers = []
    packets = generate_tls(PACKETS, flows=flows) if flows else generate_datagrams(PACKETS)
    for chunk in prepare(packets):
        for data, direction, now in chunk:
            if engine.timer <= now:
                answers += [(held.packet_id, repr(held.answer)) for held in engine.handle_timer(now=now)]
            made = engine.receive_packet(data, device="bench", direction=direction, now=now)
            answers.append(
                (engine.facts.payload_bytes, f"{made!r} {engine.facts.records} {engine.get_flow_name()}")
            )
    return repr((answers, [repr(row) for row in engine.counters("bench")], engine.engine_errors))


def main() -> None:
    """Print one JSON object."""
    texts = {f"seed {seed}": list_hostile(seed) for seed in range(int(sys.argv[1]))}
    texts |= {f"{flows} flows": list_ordinary(flows) for flows in (0, 1, 50)}
    digests = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()}
    print(json.dumps({"build": get_build(), "characters": sum(map(len, texts.values())), "answers": digests}))


if __name__ == "__main__":
    main()
