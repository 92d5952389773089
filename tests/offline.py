"""Every try to reach beyond this machine, noted by Python itself, whoever makes it and whoever catches the refusal.

`watch` works in its own process. `everywhere` has every Python process that is started from here watch as well, and
`alone` takes the network away from this process and its children, where the kernel then counts what they try.
"""

from __future__ import annotations

import ctypes
import ipaddress
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

NEW_USERS, NEW_NETWORK = 0x10000000, 0x40000000  # CLONE_NEWUSER, CLONE_NEWNET of <sched.h>
OWN = {"", "localhost", socket.gethostname().lower()}
SITE = "import sys; sys.path.insert(0, {tests!r}); import offline; sys.path.pop(0); offline.into({notes!r})\n"


def outside(event: str, arguments: tuple[Any, ...]) -> str | None:
    """Where an event of Python's audit (PEP 578) would lead to; None where that is this machine, or nowhere."""
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = arguments[1]
        if not isinstance(address, tuple):  # a path of this machine, or what is connected already
            return None
        host = address[0]
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        host = arguments[0]
    elif event == "socket.getnameinfo":
        host = arguments[0][0]
    else:
        return None
    host = host.decode() if isinstance(host, bytes) else host or ""
    try:
        found = ipaddress.ip_address(host.split("%")[0])
    except ValueError:
        return None if host.lower() in OWN else f"{event} {host}"
    local = found.is_loopback or found.is_unspecified or str(found) in _own_addresses()
    return None if local else f"{event} {host}"


def _own_addresses() -> set[str]:
    """This machine's, by its name; asking for them is an event too, which its own name allows."""
    try:
        return {str(each[4][0]) for each in socket.getaddrinfo(socket.gethostname(), None)}
    except OSError:
        return set()


def watch(note: Callable[[str], object]) -> None:
    """Refuse every try from now on, and note it: a sentence that is caught somewhere stays noted."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event.startswith("socket.") and (said := outside(event, arguments)):
            note(said)
            raise ConnectionRefusedError(f"No road to anywhere: {said}")

    sys.addaudithook(hook)


def into(notes: str) -> None:
    """Watch this process; what it tries is added to a file, a line each."""

    def note(said: str) -> None:
        with open(notes, "a") as file:
            file.write(f"{said} by {sys.orig_argv!r:.200}\n")

    watch(note)


def everywhere(notes: Path, folder: Path) -> dict[str, str]:
    """The environment with which every Python process that is started watches, and notes into a file."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(SITE.format(tests=str(Path(__file__).parent), notes=str(notes)))
    return {"PYTHONPATH": os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])}


def alone() -> bool:
    """Take the network away from this process: it keeps a loopback of its own. False where the system forbids it."""
    if sys.platform != "linux":
        return False
    library = ctypes.CDLL(None, use_errno=True)
    if library.unshare(NEW_NETWORK) and library.unshare(NEW_USERS | NEW_NETWORK):  # root needs no new users
        return False
    import fcntl
    import struct

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:  # ip link set lo up
        fcntl.ioctl(control, 0x8914, struct.pack("16sh14x", b"lo", 0x1 | 0x40))
    return True


def tries() -> int:
    """How often the kernel was asked for a road that this network does not have, by any program in it.

    So counts a datagram to a port of the loopback where nobody listens: a system's own name server may have its there.
    """
    found = 0
    lines = Path("/proc/self/net/snmp").read_text().splitlines()
    for kind, counter in (("Ip:", "OutNoRoutes"), ("Udp:", "NoPorts")):
        names, values = (line.split() for line in lines if line.startswith(kind))
        found += int(dict(zip(names, values, strict=True))[counter])
    for line in Path("/proc/self/net/snmp6").read_text().splitlines():
        name, value = line.split()
        found += int(value) if name in ("Ip6OutNoRoutes", "Udp6NoPorts") else 0
    return found
