"""The command line: one lazy group.

This file knows each command's name, its one-line help and where it lives. It imports none of them
until one is called, so that ``wakeguard --help`` and ``wakeguard status`` start at once on a Pi. It
also knows how a fault ends: one line on stderr, exit status 2.
"""

from __future__ import annotations

import errno
import importlib
import os
import sys
from collections.abc import Sequence
from typing import NamedTuple

import click

from guard import __version__
from guard.errors import WakeguardError

EXIT_FAULT = 2  # also click's status for a wrong option: the caller mends both by hand
EXIT_PIPE = 1
FULL = (errno.ENOSPC, errno.EDQUOT)
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it


class CommandRow(NamedTuple):
    """Where a command lives (``module:attribute``) and what it is for."""

    target: str
    summary: str


COMMANDS: dict[str, CommandRow] = {
    "setup": CommandRow("guard.cli.setup:setup", "Put the gate onto this machine, in monitor."),
    "doctor": CommandRow(
        "guard.cli.setup:doctor", "Check that all is well, and say what to do where it is not."
    ),
    "uninstall": CommandRow("guard.cli.setup:uninstall", "Take everything of Wakeguard off this machine."),
    "run": CommandRow("guard.cli.live:run", "Run the gate."),
    "status": CommandRow("guard.cli.live:status", "Show what the running gate sees and does."),
    "mode": CommandRow("guard.cli.live:mode", "Show or switch the mode of the running gate."),
    "policy": CommandRow("guard.cli.owner:policy", "Show or change an Echo's policy."),
    "pause": CommandRow("guard.cli.owner:pause", "Let everything of an Echo pass for a while."),
    "resume": CommandRow("guard.cli.owner:resume", "End a pause before its time."),
    "log": CommandRow("guard.cli.journal:log", "Show what was refused, heard and switched."),
    "tail": CommandRow("guard.cli.journal:tail", "Follow the journal as it is written."),
    "why": CommandRow("guard.cli.journal:why", "Explain an entry of the journal, such as a refusal."),
    "mute-led": CommandRow("guard.cli.live:mute_led", "Show the mute state, its age and its source."),
    "sense": CommandRow("hardware.cli:sense", "Watch the mute LED and listen for the wake word."),
    "event": CommandRow("guard.cli.live:event", "Send a wake, mute or unmute event by hand."),
    "reload": CommandRow("guard.cli.live:reload", "Have the running gate read its configuration again."),
    "off": CommandRow("guard.cli.live:off", "Take the gate out of the way."),
    "rules": CommandRow("guard.cli.firewall:rules", "Render, apply, check or remove the firewall rules."),
    "replay": CommandRow("guard.cli.offline:replay", "Judge the packets of a capture."),
    "explain": CommandRow("guard.cli.explain:explain", "Tell why packets get their verdicts."),
    "devices": CommandRow("guard.cli.offline:devices", "List who is in a capture."),
    "dataset": CommandRow("guard.cli.learning:dataset", "Make tables from captures."),
    "train": CommandRow("guard.cli.learning:train", "Train a voice model on captures."),
    "evaluate": CommandRow("guard.cli.learning:evaluate", "Score a voice model on datasets."),
    "lab": CommandRow("guard.cli.lab:lab", "Try the gate on a simulated household."),
}


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the table's order."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command; None when there is no such name."""
        row = COMMANDS.get(cmd_name)
        if row is None:
            return None
        module, _, attribute = row.target.partition(":")
        command = getattr(importlib.import_module(module), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{row.target} is not a click command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that is called; one that is not there is answered with the nearest."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            from guard.remedies import suggest

            ctx.fail(f'no command "{name}"; {suggest(name, list(COMMANDS))}')
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table's own summaries, so that help imports nothing."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, row.summary) for name, row in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="wakeguard %(version)s")
def group() -> None:
    """Keep an Amazon Echo from sending what no wake word explains."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status; faults become one line on stderr."""
    try:
        result = group.main(args=arguments, prog_name="wakeguard", standalone_mode=False)
        sys.stdout.flush()
    except WakeguardError as error:
        return _report(str(error))
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        _close_output()  # the reader went away (`| head`)
        return EXIT_PIPE
    except OSError as error:
        if error.errno in FULL:
            _close_output()
            return _report(f"{error.filename or 'the output'}: {error.strerror}; make room and try again")
        if error.filename is None:
            raise
        return _report(f"{error.filename}: {error.strerror}; check the path and its permissions")
    return result if isinstance(result, int) else 0


def _close_output() -> None:
    """Let nothing more be written: the interpreter's own last flush must not complain either."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _report(message: str) -> int:
    click.echo(f"wakeguard: {message}", err=True)
    return EXIT_FAULT
