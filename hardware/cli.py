"""The sensing side's commands: ``wakeguard sense``, and ``wakeguard mute-led --calibrate``.

A fault ends as everywhere: one line on stderr, exit status 2.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import click

from hardware.config import DEFAULT_PATH, load_setup
from hardware.errors import HardwareError

SCRIPTED = "scripted"


class Fault(click.ClickException):
    """A HardwareError on its way to the command line."""

    exit_code = 2

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the line."""
        click.echo(f"wakeguard: {self.message}", err=True)


@contextlib.contextmanager
def faults() -> Iterator[None]:
    """Turn a HardwareError into a Fault."""
    try:
        yield
    except HardwareError as error:
        raise Fault(str(error)) from None


@click.command()
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    default=DEFAULT_PATH,
    show_default=True,
    help="The one configuration; its [sense] is read.",
)
@click.option("--device", help="Which Echo; needed when there are several.")
@click.option("--record", type=click.Path(path_type=Path), metavar="FILE", help="Write the events to FILE.")
@click.option("--pin", metavar=SCRIPTED, type=click.Choice([SCRIPTED]), help="Take the lamp from --script.")
@click.option("--microphone", metavar="NAME", help="This ALSA device, or play this WAV file.")
@click.option(
    "--script",
    metavar="FILE",
    help="Steps `[SECONDS] lit|unlit|broken|play`, one a line; - is stdin.  [default: unlit, 2 play]",
)
@click.option("--accelerated", is_flag=True, help="Do not wait: write what would happen to --record.")
def sense(
    config_path: Path,
    device: str | None,
    record: Path | None,
    pin: str | None,
    microphone: str | None,
    script: str | None,
    *,
    accelerated: bool,
) -> None:
    """Watch the mute LED and listen for the wake word, and tell the gate, until SIGTERM or Ctrl-C.

    Audio is never stored, logged or sent.
    """
    logging.basicConfig(format="wakeguard sense: %(message)s", level=logging.INFO, stream=sys.stderr)
    with faults():
        from hardware.live import Choices, rehearse, run

        setup = load_setup(config_path, device)
        choices = Choices(record, microphone, script, scripted=pin == SCRIPTED)
        if accelerated:
            click.echo(rehearse(setup, choices))
        else:
            run(setup, choices)


@click.command()
@click.option("--config", "config_path", type=click.Path(path_type=Path), default=DEFAULT_PATH)
@click.option("--device")
def calibrate(config_path: Path, device: str | None) -> None:
    """Lead a person through placing the light sensor; fails when another colour than red trips it."""
    from hardware.calibrate import calibrate as lead
    from hardware.gpio import GpioLamp

    with faults():
        settings = load_setup(config_path, device).sense.mute_led
        lamp = GpioLamp(settings, lambda _lit, _t: None)
        try:
            lead(lamp, ask=_ask, say=click.echo, wait=time.sleep)
        finally:
            lamp.close()
    click.echo("calibrated: only the mute lamp's red and an open wire read as muted")


def _ask(text: str) -> None:
    click.echo(text)
    click.prompt("    Then press Enter", default="", show_default=False, prompt_suffix="")
