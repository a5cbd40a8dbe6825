"""A snapshot of a gate that has something to tell of everything."""

from __future__ import annotations

from guard.status import (
    VERSION,
    BoundStatus,
    BudgetStatus,
    DeviceState,
    GateStatus,
    HistogramStatus,
    HoldStatus,
    PacketCount,
    QueueStatus,
    SensorStatus,
)


def make_count(**changes: object) -> PacketCount:
    fields: dict[str, object] = {
        "direction": "upstream",
        "packet_class": "app_data",
        "justification": "not_justified",
        "verdict": "refuse",
        "scope": "flow",
        "reason": "muted",
        "after_virtual_reset": False,
        "packets": 3,
        "bytes": 300,
    }
    return PacketCount(**{**fields, **changes})  # type: ignore[arg-type]  # any field may be changed


def make_status() -> GateStatus:
    kitchen = DeviceState(
        name="kitchen",
        policy="balanced",
        mute="muted",
        mute_age_s=2.5,
        mute_source="led",
        closed="muted",
        interaction_left_s=1.5,
        interaction_cause="answer",
        interaction_bytes=1000.0,
        interactions=4,
        flows=2,
        condemned_flows=1,
        holds=HoldStatus(packets=3, bytes=300, released=7, refused=2),
        bound=BoundStatus(
            unexplained={"dns": 10.0, "endpoint 192.0.2.0/24:80": 1.0, "endpoint 198.51.100.0/24:80": 2.0},
            local={"mdns": 5.0},
            explained={"interaction": 7.0},
        ),
        sensor=SensorStatus(age_s=0.5, hears=False, accepted=7, rejected={"forged": 1, "flood": 0}),
        packets=(
            make_count(),
            make_count(scope="packet", packets=2, bytes=200),
            make_count(packet_class="ack", justification=None, reason="budget_exhausted", packets=6),
            make_count(
                direction="downstream",
                packet_class=None,
                justification=None,
                verdict="accept",
                scope=None,
                reason="downstream",
                packets=1,
                bytes=40,
            ),
        ),
        events={"mute": 2, "wake": 4, "voice": 0, "alive": 60},
        unheard_wakes=1,
        voice_leaked=HistogramStatus(bounds=(0.0, 512.0), counts=(3, 2, 1), sum=2000.0),
        budgets={
            "dns": BudgetStatus(left=250.0, size=1000.0, unit="bytes"),
            "control": BudgetStatus(left=0.0, size=0.0, unit="bytes"),
        },
        model="voice-v1",
        paused_left_s=30.0,
        passed_by_kernel=12,
        refused_by_kernel=13,
    )
    return GateStatus(
        version=VERSION,
        gate_version="0",
        pid=1,
        mode="enforce",
        policy="strict",
        period_scale=1.0,
        uptime_s=10.0,
        recording="off",
        failures={"queue_full": 5, "sensor_lost": 0},
        resets={"sent": 3, "limited": 0, "failed": 0},
        queue=QueueStatus(number=1789, waiting=0, lost={"queue_full": 5, "socket_full": 0}),
        verdict_times=HistogramStatus(bounds=(1e-05, 0.001), counts=(5, 3, 1), sum=0.0125),
        devices=(kitchen,),
    )
