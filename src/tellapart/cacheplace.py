"""Where the cache folder is."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def cache_folder(cache: str | Path | None = None) -> Path:
    """The given folder, or $TELLAPART_CACHE, or the platform's own for tellapart. Creates nothing."""
    chosen = cache or os.environ.get("TELLAPART_CACHE") or platformdirs.user_cache_path("tellapart")
    return Path(chosen).expanduser()
