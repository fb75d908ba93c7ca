"""Which addresses may be called (invariants S15, S16)."""

from __future__ import annotations

import pytest

from stepwell.errors import ConfigurationError
from stepwell.runtime.reach import EVERYWHERE, Reach, parse_network

PUBLIC = ["8.8.8.8", "1.1.1.1", "100.63.255.255", "100.128.0.1", "172.15.0.1", "172.32.0.1", "192.169.0.1", "11.0.0.1"]
PUBLIC_6 = ["2606:4700::1111", "2a00:1450:4001:80f::200e", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1"]
PRIVATE = ["127.0.0.1", "127.255.0.9", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1"]
PRIVATE_6 = ["::1", "fc00::1", "fd12:3456::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::10.0.0.1", "::10.0.0.1"]
PRIVATE_6_TO_4 = ["2002:7f00:1::1", "2002:a00:1::", "::ffff:0:10.0.0.1"]
METADATA = ["169.254.169.254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::", "169.254.170.2"]
METADATA_ELSEWHERE = ["fd00:ec2::254", "100.100.100.200", "192.0.0.192", "168.63.129.16", "fd20:ce::254"]
NOWHERE = ["0.0.0.0", "0.1.2.3", "::", "169.254.1.1", "fe80::1", "fe80::1%eth0", "fec0::1", "224.0.0.1", "ff02::1"]
RESERVED = [
    "255.255.255.255",
    "240.0.0.1",
    "192.0.2.1",
    "198.18.0.1",
    "203.0.113.9",
    "2001:db8::1",
    "2001::1",
    "100::1",
]
NOT_ADDRESSES = ["", "localhost", "127.1", "2130706433", "0x7f.0.0.1", "0177.0.0.1", "1.2.3.4.5", "10.0.0.1 "]


@pytest.mark.parametrize("address", [*PUBLIC, *PUBLIC_6])
def test_what_is_public_may_be_called(address: str) -> None:
    assert Reach().objection(address) is None


@pytest.mark.parametrize("address", [*PRIVATE, *PRIVATE_6, *PRIVATE_6_TO_4])
def test_what_is_private_needs_permission(address: str) -> None:
    assert Reach().objection(address) is not None
    assert Reach(private=True).objection(address) is None


@pytest.mark.parametrize("address", [*METADATA, *METADATA_ELSEWHERE, *NOWHERE, *RESERVED, *NOT_ADDRESSES])
def test_permission_for_private_networks_opens_no_other(address: str) -> None:
    assert Reach().objection(address) is not None
    assert Reach(private=True).objection(address) is not None


def test_a_network_that_is_listed_is_open_and_its_neighbours_are_not() -> None:
    reach = Reach(networks=(parse_network("10.1.0.0/16"), parse_network("fd00::/64"), parse_network("169.254.170.2")))

    assert reach.objection("10.1.2.3") is None
    assert reach.objection("::ffff:10.1.2.3") is None
    assert reach.objection("fd00::7") is None
    assert reach.objection("169.254.170.2") is None
    assert reach.objection("10.2.0.1") == "10.2.0.1 is in a private network"
    assert reach.objection("fd00:0:0:1::7") is not None
    assert reach.objection("169.254.169.254") is not None


@pytest.mark.parametrize("address", [*PRIVATE, *METADATA, *NOWHERE])
def test_a_development_server_may_call_anything(address: str) -> None:
    assert EVERYWHERE.objection(address) is None


@pytest.mark.parametrize("text", ["10.1.0.0/8", "10.0.0.0/33", "shop.internal", ""])
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="is no network"):
        parse_network(text)
