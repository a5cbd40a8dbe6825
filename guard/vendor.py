"""Whose network card it is, by the first three bytes of its MAC.

Amazon's prefixes stand here, so that an Echo is recognised everywhere (IEEE MA-L registry as shipped by
Wireshark 4.0). Everyone else's are looked up in the registry that Debian's ``ieee-data`` or Wireshark
left on this machine, if any.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

AMAZON = "Amazon"
UNKNOWN = "unknown"
RANDOMISED = "randomised"
LOCALLY_ADMINISTERED = 0x02  # bit of the first byte: no vendor gave this address

_AMAZON_REGISTRY = """
    007147 00bb3a 00f361 00fc8b 0812a5 0857fb 086ae5 087c39 08849d 089115 0891a3 08a6bc 08c224 0c43f9 0c47c9
    0cdc91 0cee99 1009f9 109693 10ae60 10bf67 10ce02 140ac5 149138 1848be 18742e 1c12b0 1c4d66 1c93c4 1cfe2b
    20a171 20beb8 20fe00 244ce3 24ce33 2824c9 2873f6 28ef01 2c71ff 3425be 34afb3 34d270 38f73d 3c5cc4 3ce441
    40a2db 40a9cf 40b4cd 40f6bc 440049 443d54 444201 44650d 446d7f 44b4b2 44d5cc 4843dd 485f2d 48785e 48b423
    4c1744 4c53fd 4cefc0 5007c3 50d45c 50dce7 50f5da 589a3e 58a8e8 58e488 5c415a 5c8b6b 6813f3 6837e9 6854fd
    689a87 68b691 68dbf5 68f63b 6c0c9a 6c5697 6c999d 7070aa 7458f3 747548 74a7ea 74ab93 74c246 74d423 74d637
    74e20c 74ecb2 786c84 78a03f 78e103 7c6166 7c6305 7cd566 7cedc6 800cf9 806d71 842859 84d6d0 8871e5 901195
    90235b 90395f 90a822 90f82e 943a91 945afc 98226e 98ccf3 9cc8e9 a002dc a0d0dc a0d2b1 a40801 a8ca77 a8e621
    ac416a ac63be acccfc b0739c b08ba8 b0cfcb b0f7c4 b0fc0d b47c9c b4b742 b4e454 b85f98 c08d51 c091b9 c095cf
    c49500 c86c3d cc9ea2 ccf735 d4910f d8be65 d8fbd6 dc54d7 dc91bf dca0d0 e0cb1d e0f728 e84c4a e8d87e ec0de4
    ec2beb ec8ac4 eca138 f0272d f02f9e f04f7c f08173 f0a225 f0d2f1 f0f0a4 f4032a f854b8 f8fce1 fc492d fc65de
    fca183 fca667 fcd749 fce9d8
"""
AMAZON_PREFIXES = frozenset(_AMAZON_REGISTRY.split())

# Both list one prefix a line: "F0:D2:F1<TAB>AmazonTe<TAB>Amazon Technologies Inc."
REGISTRIES = (Path("/usr/share/wireshark/manuf"), Path("/usr/share/ieee-data/manuf"))


def get_vendor(mac: str) -> str:
    """Return the vendor of a colon-separated MAC, ``unknown`` when nothing here knows it."""
    prefix = mac[:8].replace(":", "").lower()
    if prefix in AMAZON_PREFIXES:
        return AMAZON
    if int(prefix[:2], 16) & LOCALLY_ADMINISTERED:
        return RANDOMISED
    return _read_registry().get(prefix, UNKNOWN)


@cache
def _read_registry() -> dict[str, str]:
    vendors: dict[str, str] = {}
    for path in REGISTRIES:
        try:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        for line in lines:
            fields = line.split("\t")
            prefix = fields[0].strip().replace(":", "").lower()
            if len(prefix) == 6 and len(fields) > 1:
                vendors.setdefault(prefix, fields[-1].strip())
    return vendors
