"""Dissect every packet with scapy, then accept it: how measurement scripts usually do it.

Usage: python naive.py QUEUE
"""

import sys

from netfilterqueue import NetfilterQueue, Packet
from scapy.layers.inet import IP, TCP


def accept(packet: Packet) -> None:
    """Dissect, read the first byte of the payload as a TLS content type, forget it."""
    dissected = IP(packet.get_payload())
    if TCP in dissected:
        bytes(dissected[TCP].payload)[:1]
    packet.accept()


queue = NetfilterQueue()
queue.bind(int(sys.argv[1]), accept)
queue.run()
