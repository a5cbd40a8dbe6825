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
    Reason.MODEL_MISSING: "the voice model is missing: balanced gives no budget without it",
    Reason.ENGINE_ERROR: "a fault in the gate itself",
    Reason.STARTING: "the mute sensor has not reported yet",
}

_BY_ITSELF = "nothing: TCP offers the bytes again, and they are judged anew"
_STRANGE = "nothing, unless it goes on: an honest Echo does not send this"
_LIMIT = "nothing, unless it goes on in daily use: then raise its limit in [limits] (docs/configuration.md)"
_FAULT = "look at the gate's log, and tell us of it: this is a fault of ours"

ADVICE: dict[Reason, str] = {
    Reason.MUTED: "nothing: this is what the mute button is for. Unmute the Echo to use it",
    Reason.MUTE_UNKNOWN: "see whether the light sensor sits on the mute lamp: `wakeguard mute-led "
    "--calibrate`",
    Reason.NO_INTERACTION: "nothing, if nobody spoke to it. If somebody did, our detector missed the wake "
    "word: docs/wake-word.md. If the Echo must send by itself, `wakeguard policy balanced` gives it a "
    "small budget, and `wakeguard pause 5m` lets it pass for a while",
    Reason.INTERACTION_CAP: "nothing; if long requests are cut, raise limits.interaction.voice_bytes_per_s",
    Reason.CONDEMNED: "nothing: the Echo opens another connection. Why this one was refused first is an "
    "earlier entry of the same connection",
    Reason.VOICE_LIKE: "ask who was speaking: a voice was on its way and we had heard no wake word. If "
    "there was one, our detector missed it: docs/wake-word.md",
    Reason.HELD: _BY_ITSELF,
    Reason.HOLD_FULL: "nothing, unless it goes on: it sends faster than anything may wait",
    Reason.OUT_OF_ORDER: _BY_ITSELF,
    Reason.SPLIT_HEADER: _BY_ITSELF,
    Reason.OPAQUE_PAYLOAD: "if you know and trust the service behind that port, give it an [[endpoint]] "
    "with a budget (docs/configuration.md); else nothing",
    Reason.OPAQUE_DATAGRAM: "nothing: the Echo falls back to TCP. Calls and video need it; `wakeguard "
    "pause` lets them pass for a while",
    Reason.OPAQUE_PROTOCOL: _STRANGE,
    Reason.INBOUND_FLOW: "nothing, unless you cast to the Echo from another device: `wakeguard pause` "
    "lets that pass",
    Reason.SYN_PAYLOAD: _BY_ITSELF,
    Reason.RST_PAYLOAD: _STRANGE,
    Reason.NOT_CONNECTED: _BY_ITSELF,
    Reason.HEADER_OPTIONS: _STRANGE,
    Reason.URGENT_DATA: _STRANGE,
    Reason.EARLY_DATA: "nothing: the Echo opens the connection again without early data",
    Reason.HANDSHAKE_CAP: _STRANGE,
    Reason.BAD_HANDSHAKE: _STRANGE,
    Reason.HANDSHAKE_BUDGET: _LIMIT,
    Reason.CONNECTION_RATE: _LIMIT,
    Reason.HEARTBEAT_TOO_SOON: "nothing, unless it goes on: then this Echo's heartbeats differ from those "
    "we know; send us a recording",
    Reason.HEARTBEAT_BUDGET: _LIMIT,
    Reason.BUDGET_EXHAUSTED: _LIMIT,
    Reason.RETRANSMISSION_BUFFER: "nothing, unless it goes on: the line is slower than the Echo sends",
    Reason.MALFORMED: _STRANGE,
    Reason.TRUNCATED: "switch offloading off on the interface (docs/netfilter.md) if it goes on",
    Reason.FRAGMENT: _STRANGE,
    Reason.MIDSTREAM: "nothing: it began before the gate did, and the Echo opens another",
    Reason.STREAM_GAP: "nothing: the Echo opens another connection. If it goes on, the gate lost packets: "
    "look at the queue in `wakeguard status`",
    Reason.OVERLAP_MISMATCH: _STRANGE,
    Reason.FLOW_TABLE_FULL: _LIMIT,
    Reason.QUEUE_FULL: "look at the load of this machine: it judges more slowly than packets come",
    Reason.SENSOR_LOST: "see whether `wakeguard sense` runs and its light sensor is connected "
    "(docs/hardware.md)",
    Reason.MODEL_MISSING: "reinstall wakeguard: its voice model is missing or damaged",
    Reason.ENGINE_ERROR: _FAULT,
    Reason.STARTING: "nothing: the sensor reports within seconds of its start. If not, see whether "
    "`wakeguard sense` runs",
}
"""What the owner can do about a refusal, by its reason."""
