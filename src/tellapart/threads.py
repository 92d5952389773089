"""The threads of numpy's linear algebra, in commands that answer pictures."""

from __future__ import annotations

import os


def leave_cores() -> None:
    """Let numpy do its sums on one thread, unless the user has said otherwise; before numpy is loaded.

    Its other threads wait by computing, while decoders and network need the cores.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
