"""Cipher suites: how long a plaintext becomes.

Knows: what TLS 1.2 and 1.3 suites add to a plaintext. Refuses to know: ciphers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

TLS_1_3: Final = 0x0304


@dataclass(frozen=True, slots=True)
class Suite:
    """What a negotiated cipher suite does to lengths: ``length(plaintext bytes) -> TLSCiphertext.length``."""

    version: int
    explicit_nonce: int  # bytes of nonce or IV on the wire
    tag: int  # AEAD tag or MAC
    block: int  # CBC block size, 0 for AEAD
    encrypt_then_mac: bool
    hash_bytes: int  # of the suite's hash: the size of a TLS 1.3 Finished

    def get_length(self, plaintext: int) -> int:
        """Return the record length of ``plaintext`` bytes, without TLS 1.3 padding."""
        if self.version >= TLS_1_3:
            return plaintext + 1 + self.tag  # the inner content type
        if not self.block:
            return self.explicit_nonce + plaintext + self.tag
        padded = plaintext + (0 if self.encrypt_then_mac else self.tag)
        padded += self.block - padded % self.block  # at least one byte of padding
        return self.explicit_nonce + padded + (self.tag if self.encrypt_then_mac else 0)

    @property
    def finished_length(self) -> int:
        """Return the record length of a TLS 1.3 Finished: 53 for SHA-256, 69 for SHA-384."""
        return self.get_length(4 + self.hash_bytes)


# TLS 1.3 suites (RFC 8446, B.4): tag, hash
_SUITES_1_3: Final = {0x1301: (16, 32), 0x1302: (16, 48), 0x1303: (16, 32), 0x1304: (16, 32), 0x1305: (8, 32)}

# TLS 1.2 suites (IANA), rows of (explicit nonce or IV, tag or MAC, block), suites
_SUITES_1_2: Final = {
    suite: shape
    for shape, suites in (
        ((8, 16, 0), (0x009C, 0x009D, 0x009E, 0x009F)),  # AES-GCM
        ((8, 16, 0), (0xC02B, 0xC02C, 0xC02D, 0xC02E, 0xC02F, 0xC030, 0xC031, 0xC032)),
        ((8, 16, 0), (0xC09C, 0xC09D, 0xC09E, 0xC09F, 0xC0AC, 0xC0AD)),  # AES-CCM
        ((8, 8, 0), (0xC0A0, 0xC0A1, 0xC0A2, 0xC0A3, 0xC0AE, 0xC0AF)),  # AES-CCM-8
        ((0, 16, 0), (0xCCA8, 0xCCA9, 0xCCAA, 0xCCAC)),  # ChaCha20-Poly1305
        ((16, 20, 16), (0x002F, 0x0035, 0x0033, 0x0039, 0xC009, 0xC00A, 0xC013, 0xC014)),  # CBC-SHA
        ((16, 32, 16), (0x003C, 0x003D, 0x0067, 0x006B, 0xC023, 0xC027)),  # CBC-SHA256
        ((16, 48, 16), (0xC024, 0xC028)),  # CBC-SHA384
    )
    for suite in suites
}


# One of each shape that a record can take.
SUITES: Final = frozenset(
    [Suite(TLS_1_3, 0, tag, 0, False, size) for tag, size in _SUITES_1_3.values()]
    + [Suite(0x0303, *shape, etm, 0) for shape in _SUITES_1_2.values() for etm in (False, True)]
)


@cache
def get_suite(version: int, cipher_suite: int, *, encrypt_then_mac: bool) -> Suite | None:
    """Return the Suite of a ServerHello, None for one that is not known (its lengths cannot be judged)."""
    if version >= TLS_1_3:
        shape = _SUITES_1_3.get(cipher_suite)
        return Suite(version, 0, shape[0], 0, False, shape[1]) if shape else None
    lengths = _SUITES_1_2.get(cipher_suite)
    return Suite(version, *lengths, encrypt_then_mac, 0) if lengths and version == 0x0303 else None
