"""Dissect every packet with scapy and ask a random forest about it: how measurement scripts do it.

Usage: python naive.py scapy|forest QUEUE

The forest is scikit-learn's with its hundred trees, learned at the start from made-up rows: what is
measured is asking it, one packet at a time, and the answer is not looked at.
"""

import random
import sys
from typing import Any

from netfilterqueue import NetfilterQueue, Packet
from scapy.layers.inet import IP, TCP

TREES, ROWS, CLASSES = 100, 2000, 3


def get_features(packet: Packet) -> list[int]:
    """Return length, ports, flags and the first byte of the payload as a TLS content type."""
    dissected = IP(packet.get_payload())
    if TCP not in dissected:
        return [len(dissected), 0, 0, 0, 0]
    segment = dissected[TCP]
    payload = bytes(segment.payload)
    return [len(dissected), segment.sport, segment.dport, int(segment.flags), payload[0] if payload else 0]


def make_forest() -> Any:
    """Return a forest learned from rows like the features."""
    from sklearn.ensemble import RandomForestClassifier

    random_numbers = random.Random(1)
    rows = [
        [random_numbers.randrange(40, 1500), random_numbers.randrange(20_000, 30_000), 443, 24, 23]
        for _ in range(ROWS)
    ]
    labels = [random_numbers.randrange(CLASSES) for _ in range(ROWS)]
    return RandomForestClassifier(n_estimators=TREES, random_state=1).fit(rows, labels)


def main() -> None:
    """Accept every packet after looking at it."""
    how, number = sys.argv[1:]
    forest = make_forest() if how == "forest" else None

    def accept(packet: Packet) -> None:
        features = get_features(packet)
        if forest is not None:
            forest.predict([features])
        packet.accept()

    queue = NetfilterQueue()
    queue.bind(int(number), accept)
    queue.run()


main()
