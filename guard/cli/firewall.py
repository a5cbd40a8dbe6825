"""``wakeguard rules``: see, install, check and remove the firewall rules by hand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from guard.core.verdict import Mode
from guard.errors import ConfigError, NetfilterError

if TYPE_CHECKING:
    from guard.netfilter.ruleset import RulesetSpec

CONFIG_OPTION = click.option(
    "--config",
    "config_path",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("/etc/wakeguard/wakeguard.toml"),
    show_default=True,
    help="The gate's TOML file.",
)
MODE_OPTION = click.option(
    "--mode",
    type=click.Choice([mode.value for mode in Mode]),
    help="Instead of the mode in the file.",
)


@click.group()
def rules() -> None:
    """Render, apply, check or remove the firewall rules."""


@rules.command()
@CONFIG_OPTION
@MODE_OPTION
def render(config_path: Path, mode: str | None) -> None:
    """Print the rules of both families. Changes nothing and needs no rights."""
    from guard.netfilter import fence, ruleset

    spec = _read_spec(config_path, mode)
    try:
        spec = ruleset.resolve(spec)
    except NetfilterError as error:
        # The rules can be read on another machine than the gate's.
        click.echo(f"wakeguard: {error}; rendered as for a plain interface", err=True)
    for family, text in ruleset.render(spec).items():
        click.echo(f"# ---- {family} ----\n{text}", nl=False)
    if fenced := fence.render(spec):
        click.echo(f"# ---- bridge ----\n{fenced}", nl=False)


@rules.command(short_help="Install the rules in place of former ones.")
@CONFIG_OPTION
@MODE_OPTION
@click.option(
    "--boot",
    is_flag=True,
    help="Before the network is up: in the mode set last, and on whatever interface the devices will be.",
)
def apply(config_path: Path, mode: str | None, *, boot: bool) -> None:
    """Install the rules in place of former ones, in both families or in none."""
    from guard.netfilter import kernel, ruleset

    spec = _read_boot_spec(config_path, mode) if boot else _read_spec(config_path, mode)
    kernel.check_requirements(spec)
    ruleset.apply(spec)
    if boot:
        click.echo(f"Rules for mode {spec.mode} are in place until the gate starts.")
        return
    click.echo(f"Rules for mode {spec.mode} are in place (queue {spec.queue}, interface {spec.lan}).")
    if spec.mode is Mode.ENFORCE and kernel.read_statistics(spec.queue) is None:
        click.echo(f"No gate listens on queue {spec.queue} yet: until it does, the devices are offline.")


@rules.command()
@CONFIG_OPTION
@MODE_OPTION
def check(config_path: Path, mode: str | None) -> int:
    """Compare what is installed with the file. Exit status 1 when they differ."""
    from guard.netfilter import kernel, ruleset

    spec = _read_spec(config_path, mode)
    kernel.check_rights()
    differences = ruleset.check(spec)
    other = Mode.MONITOR if spec.mode is Mode.ENFORCE else Mode.ENFORCE
    if differences and mode is None and not ruleset.check(_read_spec(config_path, other)):
        differences = (
            f"The rules for mode {other} are in place, and the file says {spec.mode}: --mode {other}.",
        )
    for difference in differences:
        click.echo(difference)
    if differences:
        return 1
    click.echo(f"The rules for mode {spec.mode} are in place.")
    return 0


@rules.command(short_help="Remove every rule and chain of Wakeguard.")
@click.option(
    "--config", "config_path", type=click.Path(path_type=Path), help="Not read: removal needs no file."
)
def remove(config_path: Path | None) -> None:
    """Remove every rule and chain of Wakeguard, in whatever state they are."""
    del config_path  # accepted so that all four commands take the same options
    from guard.netfilter import kernel, ruleset

    kernel.check_rights()
    ruleset.remove()
    click.echo("No rule of Wakeguard is left.")


def _read_spec(config_path: Path, mode: str | None) -> RulesetSpec:
    from guard.config import load_config, ruleset_spec

    config = load_config(config_path)
    return ruleset_spec(config, Mode(mode) if mode else config.mode)


def _read_boot_spec(config_path: Path, mode: str | None) -> RulesetSpec:
    """Return the rules for a machine that starts: a mode that cannot be read counts as enforce."""
    from dataclasses import replace

    from guard.config import load_config, ruleset_spec
    from guard.state import StateDirectory

    config = load_config(config_path)
    try:
        stored = StateDirectory(Path(config.state.directory)).load_mode()
    except ConfigError as error:
        click.echo(f"wakeguard: {error}; closed until then", err=True)
        stored = Mode.ENFORCE
    return replace(ruleset_spec(config, Mode(mode) if mode else stored or config.mode), boot=True)
