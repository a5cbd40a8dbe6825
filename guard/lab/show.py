"""The lab on a terminal: progress while it walks, the report at the end."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from guard.core.verdict import Mode
from guard.errors import LabError
from guard.lab import requirements, virtual_time
from guard.lab.echo import BEAT_PERIOD_S, PING_PERIOD_S
from guard.lab.household import Household
from guard.lab.kernel_household import KernelHousehold
from guard.lab.report import print_report, to_json
from guard.lab.runner import Phase, Result, Runner, make_phases
from guard.lab.scenario import LATE_S, SITUATIONS, SPOKEN_WORD
from guard.lab.verdict import find_faults

PERIOD_SCALE = 0.05
_REFRESH_S = 0.25
_START_S = 3.0
_ENDS = (signal.SIGTERM, signal.SIGHUP)


class Screen:
    """Where the lab writes: people read stdout, or with ``as_json`` stderr while programs read stdout."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.console = Console(stderr=as_json)

    @contextmanager
    def progress(self, seconds: float) -> Iterator[Progress]:
        """Show a bar of ``seconds`` under the lines that are printed meanwhile."""
        columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
        with Progress(*columns, console=self.console, transient=True) as progress:
            progress.add_task("the lab", total=seconds)
            yield progress


def walk(screen: Screen, names: Sequence[str], *, record: Path | None, without_kernel: bool) -> bool:
    """Walk the situations in both modes and report; return whether every promise was kept."""
    missing = "--without-kernel was given" if without_kernel else requirements.find_missing()
    situations = SITUATIONS if missing else SITUATIONS | {SPOKEN_WORD.name: SPOKEN_WORD}
    phases = make_phases([situations[name] for name in names if name in situations], list(Mode))
    introduce(screen, phases, missing=missing, chosen=without_kernel)
    if missing is None:
        household = KernelHousehold(period_scale=PERIOD_SCALE, record=record)
        results = run_in_kernel(screen, household, phases)
    else:
        if record is not None:
            raise LabError(f"--keep-record needs the gate on the kernel's queue, and {missing} is missing")
        results = _simulate(screen, phases)
    faults = find_faults(results)
    if screen.as_json:
        click.echo(to_json(results, faults, kernel=missing is None, period_scale=PERIOD_SCALE))
    else:
        print_report(screen.console, results, faults)
    if missing is not None:
        screen.console.print(
            "\n[bold yellow]This was not the kernel:[/] one process, packets made by hand, virtual time."
        )
        if SPOKEN_WORD.name in names:
            screen.console.print("spoken_word was left out: its real detector hears in real time.")
    return not faults


def capture(screen: Screen, names: Sequence[str], directory: Path) -> None:
    """Walk the situations once in monitor, in real periods, and keep capture and events."""
    from guard.lab.capture import EVENTS_NAME, PACKETS_NAME, PAUSE_S, CapturedHousehold

    if (missing := requirements.find_missing()) is not None:
        raise LabError(f"a capture needs the kernel, and this machine cannot give the lab {missing}")
    phases = make_phases([SITUATIONS[name] for name in names if name in SITUATIONS], [Mode.MONITOR])
    household = CapturedHousehold(directory)
    seconds = get_seconds(phases, pause=PAUSE_S)
    screen.console.print(f"A household with real periods is recorded; it takes about {seconds:.0f} s.")
    run_in_kernel(screen, household, phases, pause=PAUSE_S, finish=household.save)
    for name in (PACKETS_NAME, EVENTS_NAME):
        screen.console.print(f"{directory / name}: {(directory / name).stat().st_size:,} bytes")


def introduce(screen: Screen, phases: Sequence[Phase], *, missing: str | None, chosen: bool) -> None:
    """Say what is about to happen, what is scaled, and what is missing."""
    tell = screen.console.print
    if chosen:
        tell("[bold]A household in one process[/] (--without-kernel): the engine without the kernel.")
    elif missing is not None:
        tell(f"[bold yellow]This machine cannot give the lab {missing}.[/]")
        tell("The same engine judges the same situations in one process instead; this is not the kernel.")
    else:
        tell("[bold]A household in network namespaces[/]: two simulated Echos, their cloud and")
        tell("the real gate between them. The machine's own firewall is not touched.")
        seconds = get_seconds(phases)
        tell(f"It takes about {seconds:.0f} s; Ctrl-C ends it at any time and leaves nothing behind.")
    tell(
        f"Periods are scaled by {PERIOD_SCALE} in Echo and gate (lab.period_scale): heartbeats\n"
        f"come every {PING_PERIOD_S * PERIOD_SCALE:g} and {BEAT_PERIOD_S * PERIOD_SCALE:g} s "
        f"instead of {PING_PERIOD_S:g} and {BEAT_PERIOD_S:g}.",
        highlight=False,
    )
    tell(f"The wake word is heard {LATE_S:g} s after the first audio packet, which waits for it.")
    tell("The policy is strict.\n")


def get_seconds(phases: Sequence[Phase], *, pause: float = 0.0) -> float:
    """Return how long a walk takes in real time."""
    return _START_S + sum(phase.situation.length + pause for phase in phases)


def run_in_kernel(
    screen: Screen,
    household: Household,
    phases: Sequence[Phase],
    *,
    pause: float = 0.0,
    finish: Callable[[], Awaitable[None]] | None = None,
) -> list[Result]:
    """Walk in real time with a bar on the screen; the household is gone afterwards, whatever happens.

    ``finish`` is awaited after a walk that came to its end, while the household still stands.
    """

    async def main(progress: Progress) -> list[Result]:
        start = time.monotonic()

        def tell(line: str) -> None:
            stamp = f"{time.monotonic() - start:6.1f} s"
            progress.console.print(f"{stamp}  {line}", highlight=False, markup=False)

        clock = asyncio.ensure_future(_move(progress, start))
        try:
            await household.start()
            results = await Runner(household, phases, tell=tell, pause=pause).run()
            if finish is not None:
                await finish()
            return results
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # once is enough: nothing may stop the cleaning
            clock.cancel()
            await household.stop()

    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, *_ENDS)}
    # A shell starts what it puts into the background with SIGINT ignored; the lab must be stoppable there.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in _ENDS:
        signal.signal(number, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        with screen.progress(get_seconds(phases, pause=pause)) as progress:
            return asyncio.run(main(progress))
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


async def _move(progress: Progress, start: float) -> None:
    while True:
        await asyncio.sleep(_REFRESH_S)
        progress.update(progress.task_ids[0], completed=time.monotonic() - start)


def _simulate(screen: Screen, phases: Sequence[Phase]) -> list[Result]:
    from guard.lab.simulation import SimulatedHousehold

    async def main() -> list[Result]:
        household = SimulatedHousehold(period_scale=PERIOD_SCALE)
        loop = asyncio.get_running_loop()
        start = loop.time()

        def tell(line: str) -> None:
            screen.console.print(f"{loop.time() - start:6.1f} s  {line}", highlight=False)

        await household.start()
        results = await Runner(household, phases, tell=tell).run()
        await household.stop()
        return results

    return virtual_time.run(main())
