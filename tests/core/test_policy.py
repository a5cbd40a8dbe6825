"""A policy read from its tables: each bad key names itself."""

from __future__ import annotations

import copy
import dataclasses
import tomllib
from collections.abc import Callable
from typing import Any

import pytest

from guard.core.policy import EXCEPTIONS, REFUSALS, STRICT, Policy, PolicyError
from guard.core.verdict import Justification, Reason, Verdict
from guard.rules import load_policy, rules_path

SHIPPED: dict[str, Any] = tomllib.loads(rules_path("policy.toml").read_text())
ROW = {"name": "x", "port": 4070, "network": "35.186.224.0/24", "per_hour": 4096, "burst": 1024}


def build(change: Callable[[dict[str, Any]], object], *rows: dict[str, Any]) -> Policy:
    tables = copy.deepcopy(SHIPPED)
    change(tables)
    return Policy.from_mapping(tables, {"endpoint": list(rows)} if rows else {})


def nothing(_: object) -> None:
    return None


def test_the_shipped_rules_can_be_read() -> None:
    assert build(nothing) == dataclasses.replace(load_policy(), voice=None)
    assert build(nothing, ROW).endpoints[0].port == 4070


def _numbers() -> list[tuple[str, str]]:
    return [
        (table, key)
        for table, rows in SHIPPED.items()
        for key, value in rows.items()
        if isinstance(value, int | float)
    ]


@pytest.mark.parametrize(("table", "key"), _numbers())
@pytest.mark.parametrize("value", [-1, "8", True, None, float("inf"), float("nan"), []])
def test_a_limit_that_is_no_number_names_itself(table: str, key: str, value: object) -> None:
    with pytest.raises(PolicyError, match=rf"^{table}\.{key}: "):
        build(lambda tables: tables[table].update({key: value}))


@pytest.mark.parametrize(("table", "key"), _numbers())
def test_a_missing_limit_names_itself(table: str, key: str) -> None:
    with pytest.raises(PolicyError, match=rf"^{table}\.{key}: "):
        build(lambda tables: tables[table].pop(key))


@pytest.mark.parametrize("table", SHIPPED)
def test_a_missing_table_and_an_unknown_key_name_themselves(table: str) -> None:
    with pytest.raises(PolicyError, match=f"^{table}: this table is missing"):
        build(lambda tables: tables.pop(table))
    with pytest.raises(PolicyError, match=f"^{table}: this table is missing"):
        build(lambda tables: tables.update({table: 5}))
    with pytest.raises(PolicyError, match=rf"^{table}\.surprise: is not known; use one of "):
        build(lambda tables: tables[table].update({"surprise": 1}))


def test_an_unknown_table_names_itself() -> None:
    with pytest.raises(PolicyError, match=r"^policy\.surprise: is not known"):
        build(lambda tables: tables.update({"surprise": {}}))


@pytest.mark.parametrize("name", SHIPPED["budgets"])
def test_a_bad_budget_names_itself(name: str) -> None:
    with pytest.raises(PolicyError, match=rf"^budgets\.{name}: this table is missing"):
        build(lambda tables: tables["budgets"].pop(name))
    with pytest.raises(PolicyError, match=rf"^budgets\.{name}\.burst: "):
        build(lambda tables: tables["budgets"][name].update(burst="much"))
    with pytest.raises(PolicyError, match=rf"^budgets\.{name}\.per_day: is not known"):
        build(lambda tables: tables["budgets"][name].update(per_day=1))


@pytest.mark.parametrize("reason", EXCEPTIONS)
@pytest.mark.parametrize("value", ["drop", "", 5, None, []])
def test_a_bad_exception_names_itself_and_the_remedy(reason: Reason, value: object) -> None:
    with pytest.raises(PolicyError, match=rf"^exceptions\.{reason}: use drop-packet, drop-flow, accept"):
        build(lambda tables: tables["exceptions"].update({str(reason): value}))
    with pytest.raises(PolicyError, match=rf"^exceptions\.{reason}: is missing"):
        build(lambda tables: tables["exceptions"].pop(str(reason)))


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"schedule": 5}, "heartbeats.schedule"),
        ({"schedule": [5]}, "heartbeats.schedule"),
        ({"schedule": [{"plaintext": 17}]}, "heartbeats.schedule.period_s"),
        ({"schedule": [{"plaintext": "x", "period_s": 1}]}, "heartbeats.schedule.plaintext"),
        ({"schedule": [{"plaintext": 17, "period_s": 1, "ping": "no"}]}, "heartbeats.schedule.ping"),
        ({"schedule": [{"plaintext": 17, "period_s": 1, "pong": 1}]}, "heartbeats.schedule.pong"),
        ({"inferred_lengths": 5}, "heartbeats.inferred_lengths"),
        ({"inferred_lengths": {"x": 0}}, "heartbeats.inferred_lengths.x"),
        ({"inferred_lengths": {"41": "a"}}, "heartbeats.inferred_lengths.41"),
        ({"inferred_lengths": {"41": 9}}, "heartbeats.inferred_lengths.41"),
        ({"inferred_lengths": {"41": -1}}, "heartbeats.inferred_lengths.41"),
    ],
)
def test_a_bad_schedule_names_its_key(change: dict[str, Any], key: str) -> None:
    with pytest.raises(PolicyError, match=f"^{key}: "):
        build(lambda tables: tables["heartbeats"].update(change))


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"port": "x"}, "endpoint.port"),
        ({"port": 0}, "endpoint.port"),
        ({"port": 70000}, "endpoint.port"),
        ({"network": "35.186.224.7/24"}, "endpoint.network"),
        ({"network": "nowhere"}, "endpoint.network"),
        ({"burst": None}, "endpoint.burst"),
        ({"per_hour": -1}, "endpoint.per_hour"),
        ({"address": "1.2.3.4"}, "endpoint.address"),
    ],
)
def test_a_bad_endpoint_names_its_key(change: dict[str, Any], key: str) -> None:
    with pytest.raises(PolicyError, match=f"^{key}: "):
        build(nothing, {**ROW, **change})


def test_endpoints_that_are_no_table() -> None:
    endpoints: dict[str, Any]
    for endpoints in ({"endpoint": 5}, {"endpoint": [5]}, {"endpoints": []}):
        with pytest.raises(PolicyError, match=r"^endpoint"):
            Policy.from_mapping(SHIPPED, endpoints)


def test_an_endpoint_without_a_network_is_any_ipv4_address() -> None:
    row = build(nothing, {key: value for key, value in ROW.items() if key != "network"}).endpoints[0]
    assert row.matches(bytes(12), 4070)
    assert not row.matches(bytes(12), 4071)
    assert not row.matches(bytes(36), 4070)


@pytest.mark.parametrize("scale", [0.0, -1.0, 1.5])
def test_a_scale_outside_its_range(scale: float) -> None:
    with pytest.raises(PolicyError, match=r"^period_scale: "):
        load_policy().scaled(scale)


def test_what_the_strict_policy_says() -> None:
    assert STRICT[Justification.NOT_JUSTIFIED] is Verdict.REFUSE
    assert STRICT[Justification.JUSTIFIED] is not Verdict.ACCEPT
    assert STRICT[Justification.EXPECTED] is Verdict.ACCEPT


def test_no_reason_is_both_an_exception_and_a_fixed_refusal() -> None:
    assert not set(EXCEPTIONS) & set(REFUSALS)
