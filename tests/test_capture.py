"""Reading captures: formats, clocks, link layers, damage."""

from __future__ import annotations

import gzip
import os
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guard.capture import Capture, Frame
from guard.errors import CaptureError
from guard.link import NOT_IP, get_locator
from tests.capture_files import (
    ECHO_MAC,
    EPOCH_NS,
    GATEWAY_MAC,
    MICROSECONDS,
    NANOSECONDS,
    block,
    enhanced,
    ethernet,
    interface,
    obsolete,
    option,
    pcap,
    section,
    simple,
    tcp,
    udp,
)

FRAMES = [ethernet(tcp(b"x" * size)) for size in (0, 1, 2, 3, 700)]
TIMES = [EPOCH_NS + step * 1_000_000 for step in range(len(FRAMES))]


def read(data: bytes, folder: Path) -> list[Frame]:
    path = folder / "capture"
    path.write_bytes(data)
    return list(Capture(path))


def read_until_damage(data: bytes, folder: Path) -> tuple[list[Frame], str | None]:
    path = folder / "capture"
    path.write_bytes(data)
    frames: list[Frame] = []
    try:
        for frame in Capture(path):
            frames.append(frame)  # noqa: PERF402  # what came before the error must stay
    except CaptureError as error:
        return frames, str(error)
    return frames, None


def small_pcapng() -> bytes:
    parts = [section(), interface()]
    parts += [enhanced(frame, time // 1000) for time, frame in zip(TIMES, FRAMES, strict=True)]
    return b"".join(parts)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("magic", "digits"), [(MICROSECONDS, 6), (NANOSECONDS, 9)])
def test_pcap_is_read_in_both_byte_orders_and_resolutions(
    tmp_path: Path, order: str, magic: int, digits: int
) -> None:
    frames = read(pcap(zip(TIMES, FRAMES, strict=True), order=order, magic=magic), tmp_path)
    assert [frame[0] for frame in frames] == [1, 2, 3, 4, 5]
    assert [frame[1] for frame in frames] == TIMES
    assert [frame[3] for frame in frames] == FRAMES
    assert {frame[2].digits for frame in frames} == {digits}
    assert {frame[2].link_type for frame in frames} == {1}


@pytest.mark.parametrize("make", [small_pcapng, lambda: pcap(zip(TIMES, FRAMES, strict=True))])
def test_gzip_is_told_by_its_magic(tmp_path: Path, make: Callable[[], bytes]) -> None:
    data = make()
    plain = [frame[3] for frame in read(data, tmp_path)]
    assert [frame[3] for frame in read(gzip.compress(data), tmp_path)] == plain
    half = len(data) // 2  # two members, as `cat a.gz b.gz` or pigz make, and padding behind
    members = gzip.compress(data[:half]) + gzip.compress(data[half:]) + bytes(512)
    assert [frame[3] for frame in read(members, tmp_path)] == plain


def test_snap_length_keeps_the_length_on_the_wire(tmp_path: Path) -> None:
    header = pcap([])
    data = header + struct.pack("<IIII", 1, 2, 60, 1514) + bytes(60)
    ((_number, time_ns, _interface, captured, wire_bytes, _flags),) = read(data, tmp_path)
    assert (time_ns, len(captured), wire_bytes) == (1_000_002_000, 60, 1514)


@pytest.mark.parametrize("order", ["<", ">"])
def test_every_packet_block_of_pcapng_is_read(tmp_path: Path, order: str) -> None:
    ticks = EPOCH_NS // 1000
    data = b"".join(
        [
            section(order),
            interface(order=order),
            block(0x0BAD, b"unknown block", order),
            enhanced(FRAMES[0], ticks, order=order),
            block(5, bytes(12), order),
            simple(FRAMES[4], order=order),
            obsolete(FRAMES[1], ticks + 1, order=order),
            block(4, bytes(8), order),
        ]
    )
    frames = read(data, tmp_path)
    assert [(frame[0], frame[1], frame[3]) for frame in frames] == [
        (1, EPOCH_NS, FRAMES[0]),
        (2, EPOCH_NS, FRAMES[4]),  # it has no time of its own
        (3, EPOCH_NS + 1000, FRAMES[1]),
    ]


def test_simple_blocks_are_cut_at_the_snap_length(tmp_path: Path) -> None:
    data = section() + interface(snap=60) + simple(FRAMES[4][:60], wire_bytes=len(FRAMES[4]))
    ((*_rest, captured, wire_bytes, _flags),) = read(data, tmp_path)
    assert (captured, wire_bytes) == (FRAMES[4][:60], len(FRAMES[4]))


def test_sections_of_both_byte_orders_follow_each_other(tmp_path: Path) -> None:
    data = b"".join(
        section(order) + interface(link_type, order=order) + enhanced(frame, 7_000_000, order=order)
        for order, link_type, frame in (("<", 1, FRAMES[0]), (">", 101, FRAMES[1]), ("<", 0, FRAMES[2]))
    )
    frames = read(data, tmp_path)
    assert [(frame[0], frame[2].link_type, frame[3]) for frame in frames] == [
        (1, 1, FRAMES[0]),
        (2, 101, FRAMES[1]),
        (3, 0, FRAMES[2]),
    ]


@pytest.mark.parametrize(
    ("resolution", "offset_seconds", "ticks", "time_ns", "digits"),
    [
        (None, 0, 1_500_000, 1_500_000_000, 6),
        (9, 0, 1_500_000_001, 1_500_000_001, 9),
        (3, 0, 1500, 1_500_000_000, 3),
        (0, 0, 15, 15_000_000_000, 0),
        (12, 0, 1_500_000_000_999, 1_500_000_000, 9),
        (0x80 | 10, 0, 1536, 1_500_000_000, 9),
        (6, 1_000_000, 1, 1_000_000_000_001_000, 6),
        (6, -1, 1_500_000, 500_000_000, 6),
    ],
)
def test_clocks_of_pcapng_interfaces(
    tmp_path: Path, resolution: int | None, offset_seconds: int, ticks: int, time_ns: int, digits: int
) -> None:
    options = b"" if resolution is None else option(9, bytes([resolution]))
    if offset_seconds:
        options += option(14, struct.pack("<q", offset_seconds))
    options += option(0, b"")
    (frame,) = read(section() + interface(options=options) + enhanced(FRAMES[0], ticks), tmp_path)
    assert (frame[1], frame[2].digits) == (time_ns, digits)


def test_interfaces_have_their_own_clock_link_type_and_name(tmp_path: Path) -> None:
    data = b"".join(
        [
            section(),
            interface(101, options=option(2, b"kitchen") + option(9, b"\x09") + option(0, b"")),
            interface(1),
            enhanced(FRAMES[0], 5, interface_id=1),
            enhanced(FRAMES[1], 5, options=option(1, b"hi!") + option(2, b"\x02\0\0\0") + option(0, b"")),
        ]
    )
    first, second = read(data, tmp_path)
    assert (first[1], first[2].link_type, first[2].name, first[5]) == (5000, 1, "", 0)
    assert (second[1], second[2].link_type, second[2].name, second[5]) == (5, 101, "kitchen", 2)


@pytest.mark.parametrize("make", [small_pcapng, lambda: pcap(zip(TIMES, FRAMES, strict=True))])
def test_truncated_at_every_byte_what_precedes_is_read(tmp_path: Path, make: Callable[[], bytes]) -> None:
    data = make()
    ends: list[int] = []  # where each frame is complete
    whole = read(data, tmp_path)
    frames: list[Frame] = []
    for cut in range(len(data) + 1):
        frames, error = read_until_damage(data[:cut], tmp_path)
        assert frames_equal(frames, whole[: len(frames)])
        if not ends or len(frames) > len(ends) - 1:
            ends.append(cut)
        at_boundary = error is None
        assert at_boundary == (cut >= 24 and is_boundary(data, cut)), cut
    assert len(frames) == len(FRAMES)
    assert len(ends) == len(FRAMES) + 1  # each frame came as soon as its last byte was there


def frames_equal(left: list[Frame], right: list[Frame]) -> bool:
    return [frame[:2] + frame[3:] for frame in left] == [frame[:2] + frame[3:] for frame in right]


def is_boundary(data: bytes, cut: int) -> bool:
    if data[:4] == b"\x0a\x0d\x0d\x0a":
        at = 0
        while at < cut:
            at += struct.unpack_from("<I", data, at + 4)[0]
    else:
        at = 24
        while at < cut:
            at += 16 + struct.unpack_from("<I", data, at + 8)[0]
    return at == cut


def test_truncated_gzip_gives_every_frame_that_is_whole(tmp_path: Path) -> None:
    frames = [(EPOCH_NS + step, ethernet(tcp(os.urandom(900)))) for step in range(400)]
    packed = gzip.compress(pcap(frames))
    found, error = read_until_damage(packed[: len(packed) // 2], tmp_path)
    assert 150 < len(found) < 250
    assert error is not None
    assert f"after frame {len(found)}: the gzip data end too early" in error


def test_corrupt_gzip_gives_every_frame_before_the_damage(tmp_path: Path) -> None:
    frames = [(EPOCH_NS + step, ethernet(tcp(os.urandom(900)))) for step in range(400)]
    packed = bytearray(gzip.compress(pcap(frames)))
    half = len(packed) // 2
    packed[half : half + 64] = bytes(64)
    found, error = read_until_damage(bytes(packed), tmp_path)
    assert error is not None
    assert "damaged after frame" in error
    assert len(found) > 150


DAMAGED = {
    "file header": (pcap([])[:20], "its file header is cut short"),
    "huge frame": (pcap([]) + struct.pack("<IIII", 1, 1, 1 << 30, 1 << 30) + bytes(99), "claims 1073741824"),
    "no interface": (section() + enhanced(FRAMES[0], 1), "names interface 0, which nothing describes"),
    "no magic": (section()[:8] + bytes(20), "no byte-order magic"),
    "length zero": (section() + struct.pack("<II", 6, 0) + bytes(8), "claims 0 bytes"),
    "huge block": (section() + struct.pack("<II", 9, 1 << 31) + bytes(8), "claims 2147483648 bytes"),
    "lengths differ": (section() + struct.pack("<III", 9, 12, 16), "two lengths"),
    "frame beyond its block": (
        section() + interface() + block(6, struct.pack("<IIIII", 0, 0, 0, 64, 64) + bytes(8)),
        "claims 64 bytes, more than its block holds",
    ),
    "short packet block": (section() + interface() + block(6, bytes(8)), "block is too short"),
    "short interface": (section() + block(1, bytes(4)), "interface description is too short"),
    "long option": (section() + interface(options=struct.pack("<HH", 2, 999)), "option is longer"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_named(tmp_path: Path, name: str) -> None:
    data, expected = DAMAGED[name]
    frames, error = read_until_damage(data, tmp_path)
    assert frames == []
    assert error is not None
    assert expected in error
    assert "\n" not in error


def test_what_is_no_capture_is_named(tmp_path: Path) -> None:
    for data, expected in (
        (b"", "is empty"),
        (b"GIF89a", "not a pcap or pcapng capture"),
        (b"\n", "not a pcap"),
    ):
        frames, error = read_until_damage(data, tmp_path)
        assert frames == []
        assert error is not None
        assert expected in error
    packed, error = read_until_damage(gzip.compress(b"hello"), tmp_path)
    assert packed == []
    assert error is not None
    assert "not a pcap" in error


def test_files_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="does not exist"):
        Capture(tmp_path / "nothing.pcap")
    with pytest.raises(CaptureError, match="is a directory"):
        Capture(tmp_path)
    with pytest.raises(CaptureError, match="cannot be opened"):
        Capture(Path("nul\0byte"))


def test_file_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret.pcap"
    path.write_bytes(pcap([]))

    def refuse(*_arguments: object) -> None:  # the real refusal never comes to root
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(CaptureError, match="may not be read by this user"):
        list(Capture(path))


MAGICS = st.sampled_from(
    [b"", pcap([]), pcap([], order=">"), section(), section() + interface(), small_pcapng()]
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(head=MAGICS, tail=st.binary(max_size=400), packed=st.booleans())
def test_any_bytes_end_in_frames_or_a_capture_error(
    tmp_path: Path, head: bytes, tail: bytes, packed: bool
) -> None:
    data = gzip.compress(head + tail) if packed else head + tail
    frames, error = read_until_damage(data, tmp_path)
    assert [frame[0] for frame in frames] == list(range(1, len(frames) + 1))
    assert error is None or "\n" not in error


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_flipped_bytes_end_in_frames_or_a_capture_error(tmp_path: Path, data: st.DataObject) -> None:
    capture = bytearray(data.draw(st.sampled_from([small_pcapng(), gzip.compress(small_pcapng())])))
    for _ in range(data.draw(st.integers(1, 4))):
        capture[data.draw(st.integers(0, len(capture) - 1))] = data.draw(st.integers(0, 255))
    read_until_damage(bytes(capture), tmp_path)


def test_memory_stays_flat(tmp_path: Path) -> None:
    path = tmp_path / "large.pcap.gz"
    frame = ethernet(tcp(bytes(1000)))
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(pcap([]))
        once = pcap([(EPOCH_NS, frame)])[24:]
        for _ in range(40):
            file.write(once * 1000)
    tracemalloc.start()
    count = sum(1 for _ in Capture(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 40_000
    assert peak < 4 << 20


IPV4 = udp(b"four")
IPV6 = udp(b"six", source="2001:db8::2", destination="2001:db8::1")
SLL_HEAD = struct.pack("!HHH", 0, 1, 6) + ECHO_MAC + bytes(2)
SLL2_TAIL = struct.pack("!HIHBB", 0, 3, 1, 0, 6) + ECHO_MAC + bytes(2)


@pytest.mark.parametrize(
    ("link_type", "frame", "source", "packet"),
    [
        (1, ethernet(IPV4), ECHO_MAC, IPV4),
        (1, ethernet(IPV6), ECHO_MAC, IPV6),
        (1, ethernet(IPV4, tags=[0x8100]), ECHO_MAC, IPV4),
        (1, ethernet(IPV6, tags=[0x88A8, 0x8100]), ECHO_MAC, IPV6),
        (1, ethernet(bytes(28), ethertype=0x0806), ECHO_MAC, None),
        (1, ethernet(bytes(28), ethertype=38), ECHO_MAC, None),
        (1, ethernet(IPV4, tags=[0x8100])[:15], ECHO_MAC, None),
        (1, GATEWAY_MAC, b"", None),
        (0, b"\x02\0\0\0" + IPV4, b"", IPV4),
        (0, b"\0\0\0\x02" + IPV4, b"", IPV4),
        (0, b"\x1e\0\0\0" + IPV6, b"", IPV6),
        (0, b"\x07\0\0\0" + IPV6, b"", None),
        (0, b"\x02", b"", None),
        (108, b"\0\0\0\x18" + IPV6, b"", IPV6),
        (101, IPV4, b"", IPV4),
        (228, IPV4, b"", IPV4),
        (229, IPV6, b"", IPV6),
        (113, SLL_HEAD + b"\x08\x00" + IPV4, ECHO_MAC, IPV4),
        (113, SLL_HEAD + b"\x81\x00\0\x01\x86\xdd" + IPV6, ECHO_MAC, IPV6),
        (113, SLL_HEAD + b"\x08\x06" + bytes(28), ECHO_MAC, None),
        (113, SLL_HEAD, b"", None),
        (276, b"\x86\xdd" + SLL2_TAIL + IPV6, ECHO_MAC, IPV6),
        (276, b"\x81\x00" + SLL2_TAIL + b"\0\x01\x08\x00" + IPV4, ECHO_MAC, IPV4),
        (276, b"\x08\x06" + SLL2_TAIL + bytes(28), ECHO_MAC, None),
        (276, b"\x08\x00" + SLL2_TAIL[:9], b"", None),
    ],
)
def test_link_layers(link_type: int, frame: bytes, source: bytes, packet: bytes | None) -> None:
    found, _destination, offset = get_locator(link_type)(frame)
    assert (None if offset == NOT_IP else frame[offset:]) == packet
    assert found == source


@pytest.mark.parametrize(("link_type", "name"), [(127, "radiotap"), (189, "USB"), (4711, "no name known")])
def test_other_link_types_are_named(link_type: int, name: str) -> None:
    with pytest.raises(CaptureError, match=rf"link type {link_type} .*{name}"):
        get_locator(link_type)
