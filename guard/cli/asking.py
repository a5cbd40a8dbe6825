"""What the commands around a running gate have in common: the options, the question, the JSON."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from guard.config import Config

config_option = click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    default=Path("/etc/wakeguard/wakeguard.toml"),
    show_default=True,
    help="The gate's configuration.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def load(path: Path) -> Config:
    """Return the configuration in ``path``. ConfigError names the key and the remedy."""
    from guard.config import load_config

    return load_config(path)


def ask(config: Config, command: str, **fields: Any) -> Any:
    """Ask the running gate and return its result. ControlError names the remedy."""
    from guard.control import ask as ask_gate

    return ask_gate(config.control.socket, command, **fields)


def print_json(value: object) -> None:
    """Print ``value`` for programs."""
    import json

    click.echo(json.dumps(value, indent=2))
