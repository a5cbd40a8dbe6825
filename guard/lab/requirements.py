"""What the kernel household needs of the machine, each tried and not guessed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

_PROGRAMS = {
    "ip": "iproute2",
    "iptables-restore": "iptables",
    "ip6tables-restore": "iptables",
    "setpriv": "util-linux",
    "unshare": "util-linux",
    "sysctl": "procps",
}
_TRY_NAMESPACE = "ip link add wgtry0 type veth peer name wgtry1"
_TRY_RULE = "{table} -w -t mangle -A FORWARD -j NFQUEUE --queue-num 1 --queue-bypass"
_TRY_QUEUE = "from netfilterqueue import NetfilterQueue as Q; q = Q(); q.bind(1, print); q.unbind()"
_TRIES = (
    ("network namespaces", ("sh", "-c", _TRY_NAMESPACE)),
    ("the NFQUEUE target for iptables", ("sh", "-c", _TRY_RULE.format(table="iptables"))),
    ("the NFQUEUE target for ip6tables", ("sh", "-c", _TRY_RULE.format(table="ip6tables"))),
    ("a netfilter queue (python package netfilterqueue)", (sys.executable, "-c", _TRY_QUEUE)),
)
_TRY_S = 30.0


def find_missing() -> str | None:
    """Return the first thing that this machine cannot give, None when it can give all."""
    if os.geteuid() != 0:
        return "root"
    for program, package in _PROGRAMS.items():
        if shutil.which(program) is None:
            return f"{program} (apt install {package})"
    for name, command in _TRIES:
        try:
            done = subprocess.run(
                ("unshare", "--net", *command), capture_output=True, timeout=_TRY_S, check=False
            )
        except subprocess.TimeoutExpired:
            return name
        if done.returncode != 0:
            return name
    return None
