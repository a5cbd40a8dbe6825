"""``wakeguard explain``: why a packet or a connection of a capture got its verdict."""

from __future__ import annotations

import json
import sys
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

import click

from guard.errors import CaptureError

if TYPE_CHECKING:
    from guard.explain.story import Explanation, Story
    from guard.explain.witness import Witness

NAMES_SHOWN = 3  # of connections, where one name fits several or none


@click.command()
@click.argument("capture", type=click.Path(path_type=Path))
@click.option("--device", required=True, help="MAC or IP address of the Echo (or its name in a recording).")
@click.option("--events", type=click.Path(path_type=Path), help="Sensor events, JSON lines.")
@click.option("--frame", type=click.IntRange(min=1), help="Tell of this frame, numbered from 1.")
@click.option("--flow", help="Tell of this connection: its name, or a part of it that no other has.")
@click.option("--mode", type=click.Choice(["monitor", "enforce"]), help="Default: monitor.")
@click.option(
    "--policy", type=click.Choice(["strict", "balanced"]), help="Default: a recording's own, else strict."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of tables.")
@click.option("--picture", type=click.Path(path_type=Path), help="Draw the timeline as a PNG as well.")
def explain(
    capture: Path,
    device: str,
    events: Path | None,
    frame: int | None,
    flow: str | None,
    mode: str | None,
    policy: str | None,
    *,
    as_json: bool,
    picture: Path | None,
) -> None:
    """Tell why packets of a capture get their verdicts."""
    from guard.capture import Capture
    from guard.cli.offline import make_replay, require_device, run_replay
    from guard.explain.witness import Witness

    if frame is not None and flow is not None:
        raise click.UsageError("--frame and --flow exclude each other")
    if picture is not None:
        from guard.explain.picture import require_matplotlib

        require_matplotlib()
    packets, run = make_replay(capture, device, events, mode=mode, policy=policy)
    start_ns = next((time_ns for _, time_ns, *_ in Capture(capture)), 0)
    witness = Witness(run, start_ns=start_ns, frame=frame)
    damage: CaptureError | None = None
    try:
        run_replay(run, packets)
    except CaptureError as error:
        if not run.totals.upstream:
            raise
        damage = error
    require_device(run, capture, device)
    explanation = witness.explanation
    explanation.occasions.sort(key=lambda occasion: occasion.at)  # an interaction's end is noticed later
    stories = list(explanation.stories.values())
    if frame is not None:
        _require_frame(witness, frame, run.totals.frames, capture)
        look = explanation.look
        stories = [explanation.stories[look.flow]] if look is not None else []
    elif flow is not None:
        stories = [_find_story(stories, flow)]
    if picture is not None:
        from guard.explain.picture import draw

        draw(explanation, stories, picture)
    if as_json:
        from guard.explain.mapping import make_mapping

        click.echo(json.dumps(make_mapping(explanation, stories, steps=frame is None), indent=1))
    else:
        _print(explanation, stories, one=flow is not None)
    if damage is not None:
        raise damage


def _print(explanation: Explanation, stories: list[Story], *, one: bool) -> None:
    from rich.console import Console

    from guard.cli.offline import PIPE_COLUMNS
    from guard.explain.show import print_flow, print_look, print_summary

    console = Console(width=None if sys.stdout.isatty() else PIPE_COLUMNS, highlight=False, markup=False)
    look = explanation.look
    if look is not None:
        print_look(explanation, console)
        print_flow(explanation, stories[0], console, around=look.frame)
    elif one:
        print_flow(explanation, stories[0], console)
    else:
        print_summary(explanation, stories, console)


def _require_frame(witness: Witness, frame: int, frames: int, capture: Path) -> None:
    """Raise CaptureError, naming the nearest, when the device has no such frame that the gate sees."""
    if witness.explanation.look is not None:
        return
    near = " and ".join(str(number) for number in (witness.before, witness.after) if number is not None)
    what = f"is not an IP packet of {witness.explanation.device}" if frame <= frames else "is not there"
    raise CaptureError(f"{capture}: frame {frame} of {frames} {what}; the nearest of its packets: {near}")


def _find_story(stories: list[Story], text: str) -> Story:
    """Return the connection that bears the name, or the only one with that in its name."""
    names = {story.name: story for story in stories}
    if text in names:
        return names[text]
    found = [name for name in names if text in name]
    if len(found) == 1:
        return names[found[0]]
    near = found or get_close_matches(text, names, NAMES_SHOWN, cutoff=0.0)
    told = ", ".join(f"'{name}'" for name in near[:NAMES_SHOWN])
    more = f" and {len(near) - NAMES_SHOWN} more" if len(near) > NAMES_SHOWN else ""
    fits = f"fits {len(found)} connections" if found else "is no connection of this device; nearest"
    raise CaptureError(f"--flow {text!r} {fits}: {told}{more}. Name one of them")
