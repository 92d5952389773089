"""Which file below a folder a value of a table means."""

from __future__ import annotations

import os
import posixpath
import re
import unicodedata
from bisect import bisect_left
from collections.abc import Sequence

# A way down that stands for itself: no "..", no name that begins with a full stop, nothing that has two Unicode forms.
PLAIN = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9_. -]*/)*[A-Za-z0-9_-][A-Za-z0-9_.-]*").fullmatch
DRIVE = re.compile(r"[A-Za-z]:[\\/]").match


class Finder:
    """Which file below a folder a value of a table means, in O(log n) however deep the folders.

    Every file stands twice in a sorted list, its way from the folder turned round
    ("cat.jpg/2021/cats/"), so that all files that a name, or the last parts of a path, can mean are
    neighbours; once by its whole name and once without the extension.
    """

    MISSING = "no such file below PHOTOS"
    OUTSIDE = "outside PHOTOS"

    def __init__(self, root: str, paths: Sequence[str]) -> None:
        """Take files below `root`, each path beginning with `root` as given."""
        self.root = root
        self._bases = tuple(dict.fromkeys((os.path.abspath(root), os.path.realpath(root))))
        self._own_name = _form(os.path.basename(self._bases[0]))
        turned = [_turned(_form(os.path.relpath(path, root).replace(os.sep, "/"))) for path in paths]
        self._names = _Sorted(turned)
        self._stems = _Sorted([_without_extension(each) for each in turned])
        self._exact = {each: i for i, each in enumerate(turned)}  # what most rows name
        self._twice = len(self._exact) != len(turned)

    def find(self, value: str) -> tuple[int | None, str | None]:
        """Return the index of the one file that is meant, or None and the reason why there is none.

        A path from the folder down is taken first, then the last parts of a path (a file name at
        the least), then the same without an extension.
        """
        problem = None
        if PLAIN(value) and not self._twice and (index := self._exact.get(_turned(value))) is not None:
            return index, None
        # A backslash may be part of a name here, and is a separator in a table made on Windows.
        for form in dict.fromkeys((value, value.strip(), value.replace("\\", "/").strip())):
            index, problem = self._find(form)
            if index is not None:
                return index, None
        return None, problem

    def _find(self, value: str) -> tuple[int | None, str | None]:
        way = self.way(value)
        if way is None:
            return None, self.OUTSIDE
        turned = _turned(way)
        for listed in (self._names, self._stems):
            first, count, exact = listed.search(turned)
            if count == 1 or (exact and listed is self._names):
                return first, None
            if count > 1:
                return None, f"matches {count} files below PHOTOS"
        # "photos/cats/1.jpg" in a table that lies beside the folder photos
        if way.startswith(self._own_name + "/"):
            first, _, exact = self._names.search(_turned(way.removeprefix(self._own_name + "/")))
            if exact:
                return first, None
        return None, self.MISSING

    def way(self, value: str) -> str | None:
        """Return a value as a path from the folder down, with "/", NFC; None where it leads outside."""
        if PLAIN(value):
            return value
        if os.path.isabs(value):
            for base, path in ((b, p) for b in self._bases for p in (os.path.normpath(value), _real(value))):
                if path.startswith(base.rstrip(os.sep) + os.sep):
                    return _form(os.path.relpath(path, base).replace(os.sep, "/"))
            return None
        if value.startswith(("/", "\\\\")) or DRIVE(value):
            return None
        way = posixpath.normpath(value.replace(os.sep, "/"))
        return None if way == ".." or way.startswith("../") else _form(way)


class _Sorted:
    """Strings in order, each with where it stood."""

    def __init__(self, keys: Sequence[str]) -> None:
        self.order = sorted(range(len(keys)), key=keys.__getitem__)
        self.keys = [keys[i] for i in self.order]

    def search(self, key: str) -> tuple[int | None, int, bool]:
        """Return the first that begins with `key` (which ends in "/"), their count, and if it is `key`."""
        low = bisect_left(self.keys, key)
        high = bisect_left(self.keys, key[:-1] + "0", lo=low)  # "0" comes next after "/"
        if low == high:
            return None, 0, False
        alone = high - low == 1 or self.keys[low + 1] != key
        return self.order[low], high - low, self.keys[low] == key and alone


def _form(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _turned(way: str) -> str:
    return "/".join(reversed(way.split("/"))) + "/"


def _without_extension(turned: str) -> str:
    name, slash, rest = turned.partition("/")
    return os.path.splitext(name)[0] + slash + rest


def _real(path: str) -> str:
    try:
        return os.path.realpath(path)
    except (OSError, ValueError):  # a NUL, or a loop
        return path
