"""What the records of one TLS connection are: handshake, heartbeat or application data.

Knows: the order of messages that RFC 5246 and RFC 8446 allow a client, the caps on each, and the
schedules of heartbeats. Refuses to know: mute state, wake words, budgets of other flows, verdicts.

The client's side as a table (S = ServerHello was read, F = the client's Finished was seen):

    type  when                                         kind
    20    not F, 1 byte, at most twice                 handshake
    21    not F, 2 bytes; F, 2 bytes of plaintext      handshake, at most ``alerts``
    22    not F, within the caps; TLS 1.2: after the
          ChangeCipherSpec it is the Finished          handshake
    23    TLS 1.3, S, not F, of the Finished's length,
          no early data offered                        handshake, and F
    23    the same, before it: client certificate      handshake, within its allowance
    23    F, length and spacing of a heartbeat         syn
    23    F, a PING's length, owed to the server       syn
    any other                                          app_data
"""

from __future__ import annotations

from math import inf
from typing import Final, Protocol

from guard.core.budget import TokenBucket
from guard.core.burst import Burst
from guard.core.hello import Outcome, parse_client_hello, parse_server_hello
from guard.core.lengths import MAY_BE_BEAT, MAY_BE_PRE_ROLL, MAY_BE_VOICE, get_lengths, infer_lengths
from guard.core.policy import Policy
from guard.core.suite import TLS_1_3, Suite, get_suite
from guard.core.tls import (
    APPLICATION_DATA,
    KIND_APP_DATA,
    KIND_HANDSHAKE,
    KIND_SYN,
    RECORD_HEADER_BYTES,
    ContentType,
    Framing,
    Record,
    RecordJudge,
    RecordStream,
)
from guard.core.verdict import Reason
from guard.core.voice import MAX_GAP_S, VoiceRun

_FRAMED: Final = Framing.FRAMED
_ALERT_BYTES: Final = 2  # RFC 8446, 6
_NEVER: Final = -inf  # one float for all connections
_PINGS_OWED: Final = 4  # replies that a server can have coming at most
_CHANGE_CIPHER_SPEC: Final = ContentType.CHANGE_CIPHER_SPEC.value
_ALERT: Final = ContentType.ALERT.value


class VoiceListener(Protocol):
    """Whoever is told when a run of records becomes a voice, or a burst of it."""

    def hear_voice(self, now: float) -> None:
        """Take notice."""
        ...


class Handshake:
    """What a client has sent on its way to the Finished, by kind; afterwards nobody asks.

    ``hello_cap``: bytes of hellos that it may send; twice as many once its server asked for another
    (``retried``). Of a ClientHello nothing is kept but whether it offered ``early_data``.
    """

    __slots__ = (
        "ccs",
        "certificate_bytes",
        "certificate_records",
        "early_data",
        "flight_bytes",
        "hello_bytes",
        "hello_cap",
        "retried",
    )

    def __init__(self, hello_cap: int) -> None:
        self.ccs = 0  # ChangeCipherSpecs
        self.certificate_bytes = self.certificate_records = 0
        self.flight_bytes = 0
        self.hello_bytes = 0
        self.hello_cap = hello_cap
        self.early_data = self.retried = False


class Conversation(RecordJudge):
    """The TLS state of one connection, as far as the wire shows it."""

    __slots__ = (
        "_alerts",
        "_bucket",
        "_handshake",
        "_handshakes",
        "_last_beat",
        "_lengths",
        "_listener",
        "_malformed",
        "_pings_out",
        "_pings_owed",
        "_policy",
        "_pre_roll_at",
        "burst",
        "client",
        "finished",
        "gap_reason",
        "heartbeat_reply",
        "probe_at",
        "server",
        "version",
        "voice",
    )

    def __init__(
        self,
        policy: Policy,
        bucket: TokenBucket,
        handshakes: TokenBucket,
        *,
        from_start: bool,
        listener: VoiceListener | None = None,
        records: list[Record] | None = None,
    ) -> None:
        """Begin; ``records`` will collect the headers of the client's records."""
        framing = Framing.START if from_start else Framing.UNKNOWN
        self._policy = policy
        self._bucket = bucket  # the device's heartbeats
        self._handshakes = handshakes  # and its bytes of handshakes
        self._listener = listener
        self.client = RecordStream(self, framing, records)
        self.server = RecordStream(self, framing)
        if from_start:
            self.client.sink = bytearray()
            self.server.sink = bytearray()
        self.version = 0  # negotiated; 0 until the ServerHello was read
        self.gap_reason = Reason.MIDSTREAM  # why framing had to be inferred
        self.voice: VoiceRun | None = None  # from the first record of a voice's length on
        self.burst: Burst | None = None  # where all of the application data is looked at: ``observe``
        self.probe_at = _NEVER  # when the last record came with which a voice may begin
        self._pre_roll_at = _NEVER  # when the last record came that may hold a whole pre-roll
        # until the client's Finished
        self._handshake = Handshake(policy.hello_bytes) if from_start else None
        self._alerts = 0
        self._malformed = False
        self.finished = False
        self.heartbeat_reply = False
        self._lengths = infer_lengths(policy)
        if not from_start:
            self.server.asked = self._lengths.of_server
            self._ask()
        # record length -> when it was last a heartbeat; None before the first, most connections have none
        self._last_beat: dict[int, float] | None = None
        self._pings_out = 0  # PINGs of the device that the server has not answered
        self._pings_owed = 0  # PINGs of the server that the device may answer

    @property
    def suite(self) -> Suite | None:
        """Return the negotiated suite; None until the ServerHello was read, and for one that is not known."""
        return self._lengths.suite

    @property
    def reason(self) -> Reason | None:
        """Say why the last record was application data; None where it simply is."""
        return self.client.reason

    # -- the client's records --------------------------------------------------------------------

    def judge_record(self, stream: RecordStream, content_type: int, length: int, now: float) -> int:
        """Judge a record by its header; what is a handshake is charged here, whatever order it came in."""
        if stream is self.server:
            return self._judge_server_record(content_type, length)
        flags = self._lengths.of_client[length]
        if content_type == APPLICATION_DATA and self.finished and not flags & MAY_BE_BEAT:
            self.client.reason = None
            self._hear(length, flags, now)
            return KIND_APP_DATA  # nearly every record
        kind = self._classify(content_type, length, now)
        if kind == KIND_HANDSHAKE and not self._handshakes.take(RECORD_HEADER_BYTES + length, now):
            return self._app_data(Reason.HANDSHAKE_BUDGET)
        return kind

    def _classify(self, content_type: int, length: int, now: float) -> int:
        self.client.reason = None
        self.heartbeat_reply = False
        if self.client.framing is not _FRAMED:
            return (
                self._beat_or_app_data(length, now) if content_type == APPLICATION_DATA else self._midstream()
            )
        if not self.version:
            self._read_hellos()
        handshake = self._handshake
        if content_type == APPLICATION_DATA:
            if handshake is None:
                return self._beat_or_app_data(length, now)
            return self._before_finished(handshake, length)
        if self._malformed:
            return self._app_data(Reason.BAD_HANDSHAKE)
        if content_type == _ALERT:
            return self._count_alert(length, encrypted=handshake is None or handshake.ccs > 0)
        if handshake is None:
            return self._app_data(Reason.HANDSHAKE_CAP)
        policy = self._policy
        if content_type == _CHANGE_CIPHER_SPEC:
            handshake.ccs += 1
            allowed = length == 1 and handshake.ccs <= policy.change_cipher_specs
        elif handshake.ccs and self.version != TLS_1_3 and (self.version or not handshake.retried):
            self._finish()  # RFC 5246, 7.4.9: right after the ChangeCipherSpec
            allowed = length <= policy.finished_bytes
        elif self.version:
            handshake.flight_bytes += RECORD_HEADER_BYTES + length  # or empty records would be free
            allowed = self.version != TLS_1_3 and handshake.flight_bytes <= policy.flight_bytes
        else:
            handshake.hello_bytes += RECORD_HEADER_BYTES + length
            allowed = handshake.hello_bytes <= handshake.hello_cap
        return KIND_HANDSHAKE if allowed else self._app_data(Reason.HANDSHAKE_CAP)

    def _before_finished(self, handshake: Handshake, length: int) -> int:
        """Judge record 23 before the client's Finished: in TLS 1.3 it may be that, or a certificate."""
        if handshake.early_data:
            return self._app_data(Reason.EARLY_DATA)
        suite = self.suite
        if suite is None or self.version != TLS_1_3 or self._malformed:
            return self._app_data(None)
        if length == suite.finished_length:
            self._finish()
            return KIND_HANDSHAKE
        handshake.certificate_records += 1
        handshake.certificate_bytes += length
        if (
            handshake.certificate_records <= 2  # Certificate, CertificateVerify (RFC 8446, 4.4)
            and handshake.certificate_bytes <= self._policy.client_certificate_bytes
        ):
            return KIND_HANDSHAKE
        self._finish()  # whatever follows, it is no handshake any more
        return self._app_data(Reason.HANDSHAKE_CAP)

    def _finish(self) -> None:
        self.finished = True
        self._handshake = None
        if self.version:
            self._ask()

    def _count_alert(self, length: int, *, encrypted: bool) -> int:
        expected = _ALERT_BYTES
        if encrypted:
            if self.suite is None:
                return self._app_data(Reason.HANDSHAKE_CAP)
            expected = self.suite.get_length(_ALERT_BYTES)
        self._alerts += 1
        if length in (expected, _ALERT_BYTES) and self._alerts <= self._policy.alerts:
            return KIND_HANDSHAKE
        return self._app_data(Reason.HANDSHAKE_CAP)

    def _beat_or_app_data(self, length: int, now: float) -> int:
        beat = self._lengths.beats.get(length)
        if beat is None:
            self._hear(length, self._lengths.of_client[length], now)
            return self._app_data(None)
        if beat.ping:
            if self._pings_owed:
                self._pings_owed -= 1
                self.heartbeat_reply = True
                return self._charge_beat(now)
            if self._pings_out < _PINGS_OWED:
                self._pings_out += 1
        last = None if self._last_beat is None else self._last_beat.get(length)
        if last is not None and now - last < beat.period_s * self._policy.heartbeat_slack:
            return self._app_data(Reason.HEARTBEAT_TOO_SOON)
        kind = self._charge_beat(now)
        if kind == KIND_SYN:
            if self._last_beat is None:
                self._last_beat = {}
            self._last_beat[length] = now
        return kind

    # -- voice -----------------------------------------------------------------------------------

    def observe(self) -> None:
        """Look at all of the application data from now on, not only at records of a voice's length.

        Needed where some of it may pass for what it looks like; elsewhere it would only cost time.
        """
        if self.burst is None:
            self.burst = Burst(self._policy.voice)
            self.client.asked = None

    def is_voice_like(self, now: float) -> bool:
        """Say whether a voice is being sent, for certain or as far as the model can tell."""
        if self.voice is not None and self.voice.is_voice(now):
            return True
        return self.burst is not None and self.burst.is_voice(now)

    def let_pass(self, size: int, now: float) -> None:
        """Take it that ``size`` bytes pass on a budget, in case that they turn out to be a voice's."""
        if self.voice is not None and now - self.voice.last_at <= MAX_GAP_S:
            self.voice.let_pass(size)
        if self.burst is not None:
            self.burst.left += size

    def _hear(self, length: int, flags: int, now: float) -> None:
        became = False
        speech = self._lengths.voice[length] if flags & MAY_BE_VOICE else None
        if speech is not None:
            if self.voice is None:
                self.voice = VoiceRun()
            became = self.voice.receive(length, speech, now, self._pre_roll_at)
            self.probe_at = now
        elif flags & MAY_BE_PRE_ROLL:
            self._pre_roll_at = self.probe_at = now
        if self.burst is not None and length > self._lengths.control:
            became = self.burst.receive(length, now, lattice=bool(flags & MAY_BE_VOICE)) or became
        if became and self._listener is not None:
            self._listener.hear_voice(now)

    def _ask(self) -> None:
        """Set which records the framing must ask about; the others are application data without a word."""
        if self.burst is None:
            self.client.asked = self._lengths.of_client

    def _charge_beat(self, now: float) -> int:
        return KIND_SYN if self._bucket.take(1, now) else self._app_data(Reason.HEARTBEAT_BUDGET)

    def _midstream(self) -> int:
        return self._app_data(self.gap_reason)

    def _app_data(self, reason: Reason | None) -> int:
        self.client.reason = reason
        return KIND_APP_DATA

    # -- the server's records --------------------------------------------------------------------

    def _judge_server_record(self, content_type: int, length: int) -> int:
        if not self.version and self.server.sink is not None:
            self._read_hellos()
        # Without the suite a PING cannot be told from other small frames: nothing is owed for it then.
        if content_type == APPLICATION_DATA and self.suite is not None:
            beat = self._lengths.beats.get(length)
            if beat is not None and beat.ping:
                if self._pings_out:
                    self._pings_out -= 1
                elif self._pings_owed < _PINGS_OWED:
                    self._pings_owed += 1
        return KIND_APP_DATA

    # -- the hellos ------------------------------------------------------------------------------

    def _read_hellos(self) -> None:
        """Read what the sinks have collected; each hello once."""
        sink = self.client.sink
        if sink is not None:
            outcome, client_hello = parse_client_hello(sink)
            if outcome is not Outcome.NEED_MORE:
                if self._handshake is not None:
                    self._handshake.early_data = client_hello is not None and client_hello.early_data
                self._malformed = outcome is Outcome.MALFORMED and bool(sink)
                self.client.sink = None
        sink = self.server.sink
        if not sink:
            return
        outcome, server_hello = parse_server_hello(sink)
        if outcome is Outcome.NEED_MORE:
            return
        self.server.sink = None
        if server_hello is None:
            return
        if server_hello.retry:
            if self._handshake is not None:
                self._handshake.retried = True
                self._handshake.hello_cap = 2 * self._policy.hello_bytes
            self.server.sink = bytearray()
            return
        self.version = server_hello.version
        suite = get_suite(
            server_hello.version, server_hello.cipher_suite, encrypt_then_mac=server_hello.encrypt_then_mac
        )
        self._lengths = get_lengths(self._policy.heartbeats, suite)
        self.server.asked = self._lengths.of_server
        if self.finished:
            self._ask()
