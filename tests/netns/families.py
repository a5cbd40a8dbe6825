"""The two families of addresses, for tests that hold for each."""

from __future__ import annotations

import socket

import pytest

FAMILIES = [socket.AF_INET, socket.AF_INET6]
families = pytest.mark.parametrize("family", FAMILIES, ids=["ipv4", "ipv6"])
