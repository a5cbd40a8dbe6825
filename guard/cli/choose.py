"""What the owner wants of ``wakeguard setup``: from options, from what is there, by looking, by asking.

Whatever is found is only proposed; where nobody can be asked, what was found is taken and shown, and
nothing found is a fault that names the option to give.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from guard.config import load_config
from guard.errors import SetupError
from guard.netfilter import interface
from guard.setup.configuration import Choices, check_devices, parse_device
from guard.setup.discovery import Host, find_hosts, propose_names
from guard.setup.placement import NEEDS, Placement, guess_placement, read_installed
from guard.setup.places import CONFIG, Places

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True, slots=True)
class Wishes:
    """The options of the command line."""

    devices: tuple[str, ...]
    lan: str | None
    placement: str | None
    sense: bool
    force: bool


def choose(console: Console, wishes: Wishes, places: Places, *, ask: bool) -> Choices:
    """Return what is to be set up. SetupError names the option that is missing or wrong."""
    named = tuple(parse_device(text) for text in wishes.devices)
    path = places.at(CONFIG)
    if path.exists() and not named and wishes.lan is None and not wishes.force:
        config = load_config(path)
        devices = tuple((device.name, device.mac or "") for device in config.device)
        place = _choose_place(console, wishes, config.network.lan, places, ask=False)
        sense = wishes.sense or config.sensors is not None
        return Choices(devices, config.network.lan, place, sense)
    if named:
        check_devices(named)
    lan = wishes.lan
    if not named or lan is None:
        with console.status("Looking for Echos (neighbours, DHCP leases, mDNS) ..."):
            hosts = find_hosts(places.root)
        named = named or _choose_devices(console, hosts, ask=ask)
        check_devices(named)
        lan = lan or _find_lan(hosts, named, ask=ask)
    return Choices(named, lan, _choose_place(console, wishes, lan, places, ask=ask), wishes.sense)


def _choose_devices(console: Console, hosts: list[Host], *, ask: bool) -> tuple[tuple[str, str], ...]:
    """Return the Echos by name: all that were found, or those that the owner agrees to."""
    echos = [host for host in hosts if host.is_echo]
    names = propose_names(echos)
    for host in echos:
        known = ", ".join(
            [host.vendor, *host.addresses, *([f"on {host.interface}"] if host.interface else [])]
        )
        console.print(f"  found: {names[host.mac]}, {host.mac} ({known})", markup=False)
    if not ask:
        return tuple((names[host.mac], host.mac) for host in echos)
    chosen = [
        (str(click.prompt("  What shall it be called?", default=names[host.mac])), host.mac)
        for host in echos
        if click.confirm(f"Is {host.mac} an Echo that the gate shall guard?", default=True)
    ]
    while not chosen:
        text = click.prompt(
            "No Echo was found or taken. Give one as NAME=MAC (the Alexa app: device settings, About)"
        )
        try:
            chosen = [parse_device(text)]
        except SetupError as error:
            click.echo(str(error), err=True)
    return tuple(chosen)


def _find_lan(hosts: list[Host], named: tuple[tuple[str, str], ...], *, ask: bool) -> str:
    """Return the interface on which the named Echos were met."""
    macs = {mac for _name, mac in named}
    met = sorted({host.interface for host in hosts if host.mac in macs and host.interface})
    if len(met) == 1:
        return met[0]
    if ask:
        return str(
            click.prompt(
                "Which interface leads to the Echos? (`ip link` lists them)",
                default=met[0] if met else "wlan0",
            )
        )
    where = f"they were met on {', '.join(met)}" if met else "none of the Echos was met on any"
    raise SetupError(
        f"the interface towards the Echos is not known ({where}): give it with --lan, such as --lan wlan0"
    )


def _choose_place(console: Console, wishes: Wishes, lan: str, places: Places, *, ask: bool) -> Placement:
    """Return where the machine stands: as said, as it was set up before, else by the interface."""
    if places.is_this_machine:
        interface.get_kind(lan)  # is there one?
    if wishes.placement is not None:
        return Placement(wishes.placement)
    installed = read_installed(places)
    if installed is not None:
        return installed
    if not places.is_this_machine:
        raise SetupError(
            "with --root the place cannot be told: give it with --placement access-point, bridge or router"
        )
    guess = guess_placement(lan)
    if not ask:
        return guess
    for place, needs in NEEDS.items():
        console.print(f"  {place}: {needs.summary}", markup=False)
    return Placement(
        click.prompt(
            "Where does this machine stand?",
            type=click.Choice([place.value for place in Placement]),
            default=guess.value,
        )
    )
