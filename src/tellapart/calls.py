"""What the first process of a training asks of the others: trainings to take part in, and to end.

A call is plain values, with arrays beside them where it needs some. Pictures are named by their way below the folder of
pictures, which each host may have at another place, and by their content.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tellapart.errors import InputError
from tellapart.files import shown
from tellapart.hosts import Team

END, NETWORK, TOP = "end", "network", "top"
File = tuple[str, str]  # path, content hash


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One, as it came."""

    what: str  # NETWORK, TOP or END
    values: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]

    def files(self, team: Team, name: str) -> list[File]:
        """Files of the call, with paths below this host's folder of pictures."""
        return [
            (path if os.path.isabs(path) else os.path.join(team.photos, path), content)
            for path, content in self.values[name]
        ]


def make(team: Team, what: str, values: Mapping[str, Any], arrays: Mapping[str, np.ndarray] | None = None) -> None:
    """Ask all others for it; unless it is the end, wait until all are ready for it.

    Raises:
        HostsError: one is not, and says why.
    """
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **dict(arrays or {}))
    team.tell({"what": what, **values}, content.getvalue())
    if what != END:
        team.ready()


def heard(team: Team) -> Call:
    """Wait for the next one, in another process than the first."""
    values, content = team.tell()
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return Call(values.pop("what"), values, {name: arrays[name] for name in arrays.files})


def below(team: Team, files: Sequence[File]) -> list[File]:
    """Files with their paths below this host's folder of pictures, where they are below it; others in full."""
    root = os.path.join(team.photos, "")
    return [
        (path.removeprefix(root) if path.startswith(root) else os.path.abspath(path), content)
        for path, content in files
    ]


def check_same(files: Sequence[File], *failures: Mapping[str, str]) -> None:
    """Raise InputError where this host cannot read a picture that host 0 can; failures are by content hash."""
    for path, content in files:
        for some in failures:
            if content in some:
                raise InputError(
                    f"Every host must be able to read the pictures of host 0; {shown(path)} is not so here: "
                    f"{some[content]}. Give each host the same pictures."
                )


@contextlib.contextmanager
def readying(team: Team) -> Iterator[None]:
    """Tell all others whether the block went well, in another process than the first."""
    try:
        yield
    except Exception as error:
        team.ready(str(error) or type(error).__name__)
        raise
    team.ready()
