"""What each word of the gate means, in a sentence.

The one source for the pages in ``docs/`` and for whatever explains a verdict on a screen. A test fails when
a word has no sentence.
"""

from __future__ import annotations

from guard.core.verdict import Justification, PacketClass, Reason, Scope, Verdict

CLASSES: dict[PacketClass, str] = {
    PacketClass.HANDSHAKE: "TCP SYN; TLS records 20, 21, 22 and the TLS 1.3 Finished, within their caps",
    PacketClass.SYN: "a heartbeat, as the paper calls it. Not a TCP SYN: that is a `handshake`",
    PacketClass.ACK: "TCP without payload: ACK, FIN, RST",
    PacketClass.RETRANSMIT: "bytes that were all seen before, compared with them; also a repeated SYN",
    PacketClass.APP_DATA: "anything that may carry what the microphone heard",
    PacketClass.NOT_RELEVANT: "DNS, NTP, DHCP, mDNS, SSDP, ICMP; TCP that is not TLS, judged as `app_data`",
}

JUSTIFICATIONS: dict[Justification, str] = {
    Justification.NOT_JUSTIFIED: "the microphone is muted, or nobody knows: refused",
    Justification.JUSTIFIED: "unmuted, but nobody spoke to it. Strict **refuses** it all the same",
    Justification.EXPECTED: "a wake word was heard: accepted, up to the interaction's cap",
}

VERDICTS: dict[Verdict, str] = {
    Verdict.ACCEPT: "it may pass",
    Verdict.HOLD: "it waits in the kernel queue for a wake word, and is refused when none comes",
    Verdict.REFUSE: "it may not pass; in monitor mode it passes and is counted",
}

SCOPES: dict[Scope, str] = {
    Scope.PACKET: "this packet; TCP may offer the bytes again and they are judged anew",
    Scope.FLOW: "the whole connection: nothing passes on it any more and both ends are told so",
}

REASONS: dict[Reason, str] = {
    Reason.DOWNSTREAM: "comes from the cloud, which is never judged",
    Reason.TCP_CONTROL: "TCP without payload",
    Reason.CONNECTION_SETUP: "TCP SYN, or the same SYN again",
    Reason.HANDSHAKE: "TLS handshake within its caps",
    Reason.HEARTBEAT: "a heartbeat, as long and as rare as a heartbeat is",
    Reason.HEARTBEAT_REPLY: "the answer to a PING of the server",
    Reason.RETRANSMISSION: "the same bytes as before, and they would pass now",
    Reason.WITHIN_BUDGET: "a service of the home network within its budget",
    Reason.NEIGHBOUR_DISCOVERY: "IPv6 neighbour discovery, which no router forwards",
    Reason.ALLOWED_ENDPOINT: "TCP that is not TLS, allowed by a row of `rules/endpoints.toml`",
    Reason.INTERACTION: "belongs to an interaction",
    Reason.LINEAGE: "control traffic on a connection that an interaction opened, within its budget",
    Reason.CONTROL_BUDGET: "control traffic within the leak budget of the balanced policy",
    Reason.AWAITING_WAKE_WORD: "waits for a wake word",
    Reason.PROBING: "waits until it is known whether this is a voice",
    Reason.VOICE_LIKE: "a run of records as a voice sends them, and nobody said the wake word",
    Reason.HELD: "offered again while it waits",
    Reason.HOLD_FULL: "more packets than may wait",
    Reason.EXCEPTION_ACCEPTED: "an exception policy says `accept`",
    Reason.MUTED: "the microphone is muted",
    Reason.MUTE_UNKNOWN: "the sensor cannot tell whether the microphone is muted",
    Reason.NO_INTERACTION: "nobody said the wake word",
    Reason.INTERACTION_CAP: "the interaction has sent as much as any command needs",
    Reason.CONDEMNED: "the connection was refused before",
    Reason.OUT_OF_ORDER: "lies beyond a gap in the stream; TCP offers it again",
    Reason.SPLIT_HEADER: "ends inside a record header; TCP offers it again with the rest",
    Reason.OPAQUE_PAYLOAD: "TCP that is not TLS",
    Reason.OPAQUE_DATAGRAM: "UDP that nobody can read: QUIC, STUN, SRTP, unknown",
    Reason.OPAQUE_PROTOCOL: "neither TCP nor UDP nor ICMP",
    Reason.INBOUND_FLOW: "a connection that somebody opened to the Echo",
    Reason.SYN_PAYLOAD: "data in a TCP SYN",
    Reason.RST_PAYLOAD: "data in a TCP RST",
    Reason.NOT_CONNECTED: "data before the peer has agreed to begin an old connection anew",
    Reason.HEADER_OPTIONS: "IP options or extension headers, which carry bytes of their own",
    Reason.URGENT_DATA: "urgent data: a receiver may take a byte out of the stream",
    Reason.EARLY_DATA: "TLS 1.3 early data, or records that cannot be told from it",
    Reason.HANDSHAKE_CAP: "a handshake record beyond its caps or out of its turn",
    Reason.BAD_HANDSHAKE: "a ClientHello that does not read as one",
    Reason.HANDSHAKE_BUDGET: "more bytes of handshakes than the budget allows",
    Reason.CONNECTION_RATE: "more new connections than the budget allows",
    Reason.HEARTBEAT_TOO_SOON: "as long as a heartbeat, but too soon after the last",
    Reason.HEARTBEAT_BUDGET: "more heartbeats than the budget allows",
    Reason.BUDGET_EXHAUSTED: "its budget is used up",
    Reason.RETRANSMISSION_BUFFER: "too much is unacknowledged to verify retransmissions",
    Reason.MALFORMED: "headers that contradict themselves",
    Reason.TRUNCATED: "fewer bytes than the headers promise",
    Reason.FRAGMENT: "an IP fragment",
    Reason.MIDSTREAM: "a connection first seen in its middle, before its records are known",
    Reason.STREAM_GAP: "bytes are missing, so the records are not known",
    Reason.OVERLAP_MISMATCH: "other bytes than before in the same place",
    Reason.FLOW_TABLE_FULL: "more connections than the gate remembers",
    Reason.QUEUE_FULL: "the kernel queue overflowed; counted from the kernel's own counters",
    Reason.SENSOR_LOST: "the mute sensor has fallen silent",
    Reason.MODEL_MISSING: "the voice model is missing (no policy needs it yet)",
    Reason.ENGINE_ERROR: "a fault in the gate itself",
    Reason.STARTING: "the mute sensor has not reported yet",
}
