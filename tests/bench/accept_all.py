"""Accept every packet of one NFQUEUE in Python: the least that any tool in Python can cost.

Usage: python accept_all.py QUEUE
"""

import sys

from netfilterqueue import NetfilterQueue, Packet


def accept(packet: Packet) -> None:
    """Look at nothing."""
    packet.accept()


queue = NetfilterQueue()
queue.bind(int(sys.argv[1]), accept)
queue.run()
