"""What the dashboard asks, row by row, and how it is drawn. ``$__range`` is Grafana's to fill in."""

from __future__ import annotations

from typing import Final

from tests.monitoring.panel import Panel, Query, Row
from tests.monitoring.promql import DEVICE, RATE, happened, of_the_gate, quantile, refused

JUSTIFICATIONS: Final = {
    "not_justified": ("while muted", "red"),
    "justified": ("no wake word", "orange"),
    "expected": ("beyond what a wake word allows", "yellow"),
}

ROWS: Final = (
    Row(
        "What was refused, and what would have justified it",
        (
            Panel(
                "Refused",
                "stat",
                (Query(refused("[$__range]"), "{{justification}}", instant=True),),
                "Packets of application data refused in the time shown, by what justified them. "
                "In monitor: that enforce would have refused.",
                width=12,
                height=6,
                decimals=0,
                steps=((None, "green"), (1, "orange")),
            ),
            Panel(
                "Mode",
                "stat",
                (Query("max by (mode) (wakeguard_mode) == 1", "{{mode}}", instant=True),),
                "In monitor the gate reports; in enforce it refuses.",
                width=3,
                height=6,
                steps=((None, "blue"),),
                names=True,
            ),
            Panel(
                "Microphones",
                "stat",
                (
                    Query(
                        f"max by (device, state) (wakeguard_mute_state{{{DEVICE}}}) == 1",
                        "{{device}} {{state}}",
                        instant=True,
                    ),
                ),
                "The mute state of each Echo as its lamp tells it. Unknown counts as muted.",
                width=5,
                height=6,
                steps=((None, "blue"),),
                names=True,
            ),
            Panel(
                "Wake words",
                "stat",
                (
                    Query(
                        f'sum(increase(wakeguard_sensor_events_total{{{DEVICE},type="wake"}}[$__range]))',
                        "heard",
                        instant=True,
                    ),
                    Query(
                        f"sum(increase(wakeguard_unheard_wakes_total{{{DEVICE}}}[$__range]))",
                        "not heard",
                        instant=True,
                    ),
                ),
                "Heard by the sensor; and bursts of speech as after a wake word, without one that it heard.",
                width=4,
                height=6,
                decimals=0,
                steps=((None, "blue"),),
            ),
            Panel(
                "Refused packets",
                "timeseries",
                (
                    Query(
                        "sum by (justification) "
                        f'(rate(wakeguard_refused_packets_total{{{DEVICE},justification!=""}}{RATE}))',
                        "{{justification}}",
                    ),
                ),
                "Application data refused, by what justified it.",
                unit="pps",
                stacked=True,
                bars=True,
            ),
            Panel(
                "Refused since the gate's start, by reason",
                "bargauge",
                (
                    Query(
                        "sort_desc(sum by (reason) "
                        f'(wakeguard_packets_total{{{DEVICE},direction="upstream",verdict="refuse"}}))',
                        "{{reason}}",
                        instant=True,
                    ),
                ),
                "The raw counters: whole packets, as the gate counted them.",
                decimals=0,
                steps=((None, "orange"),),
            ),
        ),
    ),
    Row(
        "What happened when",
        (
            Panel(
                "Mute, wake words and refusals",
                "state-timeline",
                (
                    Query(
                        f'2 * sum by (device) (wakeguard_mute_state{{{DEVICE},state="muted"}})'
                        f' + sum by (device) (wakeguard_mute_state{{{DEVICE},state="unknown"}})',
                        "{{device}}: microphone",
                        mapping={0: ("open", "green"), 1: ("unknown", "yellow"), 2: ("muted", "red")},
                    ),
                    Query(
                        happened("wakeguard_sensor_events_total", ',type="wake"'),
                        "{{device}}: wake word",
                        mapping={0: ("no", "transparent"), 1: ("heard", "blue")},
                    ),
                    Query(
                        f"max by (device) (wakeguard_interaction_active{{{DEVICE}}})",
                        "{{device}}: interaction",
                        mapping={0: ("no", "transparent"), 1: ("open", "light-blue")},
                    ),
                    Query(
                        happened("wakeguard_refused_packets_total", ',justification!=""'),
                        "{{device}}: refusals",
                        mapping={0: ("no", "transparent"), 1: ("refused", "orange")},
                    ),
                    Query(
                        happened("wakeguard_unheard_wakes_total"),
                        "{{device}}: wake not heard",
                        mapping={0: ("no", "transparent"), 1: ("not heard", "purple")},
                    ),
                    Query(
                        f"max by (device) (wakeguard_paused{{{DEVICE}}})",
                        "{{device}}: paused",
                        mapping={0: ("no", "transparent"), 1: ("paused", "yellow")},
                    ),
                    Query(
                        'max(wakeguard_mode{mode="enforce"})',
                        "mode",
                        mapping={0: ("monitor", "transparent"), 1: ("enforce", "dark-green")},
                    ),
                ),
                "What the sensor said and what the gate did, over the traffic below.",
                width=24,
                height=10,
            ),
            Panel(
                "Packets of the Echos, by class",
                "timeseries",
                (
                    Query(
                        "sum by (class) "
                        f'(rate(wakeguard_packets_total{{{DEVICE},direction="upstream"}}{RATE}))',
                        "{{class}}",
                    ),
                ),
                "Everything that the Echos sent, whatever became of it.",
                unit="pps",
                stacked=True,
            ),
            Panel(
                "Application data, by what justified it and what became of it",
                "timeseries",
                (
                    Query(
                        "sum by (justification, verdict) "
                        f'(rate(wakeguard_bytes_total{{{DEVICE},class="app_data"}}{RATE}))',
                        "{{justification}}: {{verdict}}",
                    ),
                ),
                "Bytes, IP headers included.",
                unit="Bps",
                stacked=True,
                colours=(("not_justified", "red"), ("justified", "orange"), ("expected", "green")),
            ),
        ),
    ),
    Row(
        "Waiting",
        (
            Panel(
                "Time to a verdict",
                "timeseries",
                (
                    Query(quantile(0.5), "half of the packets below"),
                    Query(quantile(0.9), "nine in ten"),
                    Query(quantile(0.99), "99 in 100"),
                ),
                "From taking a packet to the answer about it. Waiting for a wake word is not in it.",
                unit="s",
            ),
            Panel(
                "Time to a verdict, all of it",
                "heatmap",
                (
                    Query(
                        f"sum by (le) (increase(wakeguard_verdict_duration_seconds_bucket{RATE}))",
                        "{{le}}",
                        heatmap=True,
                    ),
                ),
                "One packet in 10 ms is timed.",
                unit="s",
            ),
            Panel(
                "Packets that wait for a wake word",
                "timeseries",
                (
                    Query(f"sum by (device) (wakeguard_held_packets{{{DEVICE}}})", "{{device}}"),
                    Query(
                        "sum by (outcome) "
                        f"(increase(wakeguard_held_packets_settled_total{{{DEVICE}}}{RATE}))",
                        "{{outcome}} since the point before",
                    ),
                ),
                "Held in the kernel's queue until the word is heard or the time is over.",
            ),
            Panel(
                "What had left of a voice before it was refused",
                "bargauge",
                (
                    Query(
                        f"sum by (le) (wakeguard_voice_before_refusal_bytes_bucket{{{DEVICE}}})",
                        "up to {{le}} bytes",
                        instant=True,
                        heatmap=True,
                    ),
                ),
                "Voices refused since the gate's start, by the bytes that had left of them.",
                decimals=0,
                steps=((None, "orange"),),
            ),
        ),
    ),
    Row(
        "What can leave without a wake word",
        (
            Panel(
                "At most in an hour, by budget",
                "bargauge",
                (
                    Query(
                        f'sort_desc(max by (part) (wakeguard_bound_bytes{{{DEVICE},kind="unexplained"}}))',
                        "{{part}}",
                        instant=True,
                    ),
                ),
                "Payload bytes of one Echo that the policy lets pass without a wake word, whatever it does.",
                unit="bytes",
                steps=((None, "blue"),),
            ),
            Panel(
                "Left of each budget",
                "timeseries",
                (
                    Query(
                        f"min by (budget) (wakeguard_budget_left_ratio{{{DEVICE}}})",
                        "{{budget}}",
                    ),
                ),
                "Of the Echo that has the least. At 0, what follows is judged as application data.",
                unit="percentunit",
                top=1.0,
            ),
        ),
    ),
    Row(
        "Health",
        (
            Panel(
                "Sensors",
                "state-timeline",
                (
                    Query(
                        f"max by (device) (wakeguard_sensor_hears{{{DEVICE}}})",
                        "{{device}}: microphone at work",
                        mapping={0: ("deaf", "red"), 1: ("listens", "green")},
                    ),
                    Query(
                        f"max by (device) (wakeguard_sensor_age_seconds{{{DEVICE}}} < bool 3)",
                        "{{device}}: heard from",
                        mapping={0: ("lost", "red"), 1: ("alive", "green")},
                    ),
                ),
                "A sensor silent for 3 s is lost: the mute state is then unknown, which counts as muted.",
            ),
            Panel(
                "Kernel's queue",
                "timeseries",
                (
                    Query("sum(wakeguard_queue_waiting_packets)", "waiting"),
                    Query(
                        f"sum by (cause) (increase(wakeguard_queue_lost_packets_total{RATE}))",
                        "lost: {{cause}}",
                    ),
                    Query(
                        f"sum(increase(wakeguard_kernel_passed_packets_total{{{DEVICE}}}{RATE}))",
                        "passed without asking",
                    ),
                    Query(
                        f"sum(increase(wakeguard_kernel_refused_packets_total{{{DEVICE}}}{RATE}))",
                        "refused without asking",
                    ),
                ),
                "Packets in it, with those that wait for a wake word; packets it lost; what the kernel "
                "decided without asking.",
            ),
            Panel(
                "Failures and resets",
                "timeseries",
                (
                    Query(f"sum by (failure) (increase(wakeguard_failures_total{RATE}))", "{{failure}}"),
                    Query(
                        f"sum by (outcome) (increase(wakeguard_resets_total{RATE}))",
                        "resets {{outcome}}",
                    ),
                    Query(
                        "sum by (cause) "
                        f"(increase(wakeguard_sensor_datagrams_rejected_total{{{DEVICE}}}{RATE}))",
                        "sensor datagrams {{cause}}",
                    ),
                ),
                "What has a name when it goes wrong, and the resets sent to far ends of refused connections.",
            ),
            Panel(
                "Connections",
                "timeseries",
                (
                    Query(f"sum by (device) (wakeguard_flows{{{DEVICE}}})", "{{device}}"),
                    Query(
                        f"sum by (device) (wakeguard_condemned_flows{{{DEVICE}}})",
                        "{{device}}: condemned",
                    ),
                ),
                "Flows in the gate's table.",
            ),
            Panel(
                "Processor",
                "timeseries",
                (Query(of_the_gate(f"rate(process_cpu_seconds_total{RATE})"), "{{instance}}"),),
                "Of one core.",
                width=8,
                unit="percentunit",
            ),
            Panel(
                "Memory",
                "timeseries",
                (Query(of_the_gate("process_resident_memory_bytes"), "{{instance}}"),),
                "Of the gate's process.",
                width=8,
                unit="bytes",
            ),
            Panel(
                "Gate",
                "table",
                (
                    Query("max by (instance, version, build) (wakeguard_build_info)", instant=True),
                    Query(
                        f"max by (instance, device, policy) (wakeguard_policy_info{{{DEVICE}}})",
                        instant=True,
                    ),
                    Query("max by (instance) (wakeguard_uptime_seconds)", instant=True),
                ),
                "Version, policies and the time since it was started, in seconds.",
                width=8,
            ),
        ),
    ),
)

PANELS: Final = tuple(panel for row in ROWS for panel in row.panels)
