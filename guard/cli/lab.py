"""``wakeguard lab``: the gate at work in a simulated household."""

from __future__ import annotations

from pathlib import Path

import click

_SITUATIONS = ("microphone_mute", "no_wake_word", "normal_conversation", "music_stream", "spoken_word")


@click.command()
@click.option(
    "--situation",
    "names",
    multiple=True,
    type=click.Choice(_SITUATIONS),
    help="Walk only this one; repeatable.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
@click.option(
    "--keep-record",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep what the gate recorded (packets and events) in this directory.",
)
@click.option(
    "--without-kernel", is_flag=True, help="Simulate in one process even where the kernel could do it."
)
@click.option(
    "--capture",
    type=click.Path(path_type=Path, file_okay=False),
    help="Instead: record a household with real periods as household.pcapng and household.jsonl.",
)
@click.pass_context
def lab(
    context: click.Context,
    *,
    names: tuple[str, ...],
    as_json: bool,
    keep_record: Path | None,
    without_kernel: bool,
    capture: Path | None,
) -> None:
    """Run two simulated Echos and their cloud through the real gate.

    Walks the four situations in monitor and then in enforce, and one more with the real wake-word detector.
    Shows what was sent, what the gate said and what the cloud received. Everything happens in network
    namespaces that are removed again; without root it happens in one process. Exit status 1 when a promise
    was not kept.
    """
    from guard.lab import show

    screen = show.Screen(as_json=as_json)
    names = names or _SITUATIONS
    if capture is not None:
        if without_kernel or keep_record is not None or as_json:
            raise click.UsageError("--capture goes with --situation alone")
        show.capture(screen, names, capture)
        return
    if without_kernel and keep_record is not None:
        raise click.UsageError("--keep-record needs the gate itself: leave out --without-kernel")
    kept = show.walk(screen, names, record=keep_record, without_kernel=without_kernel)
    context.exit(0 if kept else 1)
