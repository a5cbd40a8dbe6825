"""The fields of the firewall mark: apart from each other and from the user's bits."""

from __future__ import annotations

import pytest

from guard.netfilter import marks


def test_the_fields_share_no_bit_and_fill_the_mask() -> None:
    fields = (marks.UNJUDGED, marks.CONDEMNED, marks.DEVICE_MASK)
    assert sum(fields) == marks.MARK_MASK == 0xFF000000
    assert marks.UNJUDGED & marks.CONNMARK_MASK == 0


@pytest.mark.parametrize("number", [1, 2, 63])
def test_a_devices_mark_reads_back(number: int) -> None:
    mark = marks.make_upstream_mark(number) | 0x00ABCDEF
    assert marks.get_device(mark) == number
    assert marks.is_upstream(mark)
    assert mark & marks.ACCEPT_MASK == number << marks.DEVICE_SHIFT | 0x00ABCDEF
    assert not marks.is_upstream(mark & marks.ACCEPT_MASK)


def test_condemning_keeps_the_packet_unjudged_and_foreign_bits_as_they_are() -> None:
    condemned = marks.make_condemned_mark(0x01ABCDEF)
    assert condemned == 0xC1ABCDEF


@pytest.mark.parametrize("number", [0, -1, 64])
def test_numbers_that_do_not_fit_are_refused(number: int) -> None:
    with pytest.raises(ValueError, match=r"outside 1\.\.63"):
        marks.make_device_bits(number)
