"""Files that were fetched from servers, or unpacked, on this disk for a while: a bounded folder in the cache.

It consists of generations, folders with rising numbers. New files go into the last one; when that is an eighth of the
limit a new one begins, and the oldest goes. What is used again gets its name in the last one too, so that it stays
longest. No list is kept and nothing is counted but the last generation: of a million files no memory is needed, and any
number of processes may work in it at once. A file that is in use goes only when seven eighths of the limit have come
after it.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import hashlib
import os
import re
import secrets
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from tellapart import leftovers, tempfolders
from tellapart.cacheplace import cache_folder
from tellapart.errors import OutputError, SettingsError

GENERATIONS = 8
DEFAULT_LIMIT_BYTES = 20 * 10**9
LIMIT = "TELLAPART_SPOOL_LIMIT_GB"
NAME = "spool"  # of the folder in the cache folder

_GENERATION = re.compile(r"g(\d{8})")


def limit_from_environment() -> int:
    """$TELLAPART_SPOOL_LIMIT_GB in bytes, or the default of 20 GB. Raises SettingsError."""
    text = os.environ.get(LIMIT, "").strip()
    try:
        limit = float(text) * 1e9 if text else DEFAULT_LIMIT_BYTES
    except ValueError:
        limit = -1.0
    if not 0 < limit < float("inf"):
        raise SettingsError(f"{LIMIT} must be a number of gigabytes > 0; got {text!r}. Set it to 20, or unset it.")
    return int(limit)


class Spool:
    """The folder; any number of threads may use it."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        """Make the folder, or a private one where that cannot be."""
        self.limit_bytes = limit_bytes
        self.folder = _writable(folder)
        self._lock = threading.Lock()
        self._numbers = self._generations() or [1]
        self._last_bytes = self._begin(self._numbers[-1])

    def had(self, key: str) -> str | None:
        """The file of a key, None where it is not there."""
        name = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
        for number in reversed(self._numbers):
            path = self._path(number, name)
            try:
                size = os.stat(path).st_size
            except OSError:
                continue
            if number == self._numbers[-1]:
                return path
            with contextlib.suppress(OSError):  # a file system without links: then it stays where it is
                newer = self._path(self._numbers[-1], name)
                os.link(path, newer)
                self._grown(size)
                return newer
            return path
        return None

    def kept(self, key: str, fill: Callable[[BinaryIO], None]) -> str:
        """The file of a key; where it is not there, `fill` writes it. Raises what that raises, and OutputError."""
        if (path := self.had(key)) is not None:
            return path
        name = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
        for _ in range(GENERATIONS):
            number = self._numbers[-1]
            temporary = self._path(number, leftovers.temporary(name))
            try:
                try:
                    file = open(temporary, "xb")  # noqa: SIM115 - closed below
                except FileNotFoundError:
                    self._renew()
                    continue
                except OSError as error:
                    raise self._refused(error) from error
                with file:
                    fill(_Reported(file, self))  # pyright: ignore[reportArgumentType]
                    size = file.tell()
                path = self._path(number, name)
                try:
                    os.replace(temporary, path)
                except FileNotFoundError:
                    self._renew()
                    continue
                except OSError as error:
                    raise self._refused(error) from error
            finally:
                with contextlib.suppress(OSError):  # it has its name
                    os.unlink(temporary)
            self._grown(size)
            return path
        raise self._refused(FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)))

    def _renew(self) -> None:
        """Look which generations there are: other processes have gone on without this one, or cleared the cache."""
        with self._lock:
            with contextlib.suppress(OSError):  # then what follows says why
                self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._numbers = self._generations()[-GENERATIONS:] or [1]
            self._last_bytes = self._begin(self._numbers[-1])

    def _grown(self, n_bytes: int) -> None:
        """Count what has come; begin a new generation where the last one is full, and let the oldest go."""
        with self._lock:
            self._last_bytes += n_bytes
            if self._last_bytes < self.limit_bytes / GENERATIONS:
                return
            self._numbers = [*self._generations(), max([*self._numbers, *self._generations()]) + 1]
            self._last_bytes = self._begin(self._numbers[-1])
            going, self._numbers = self._numbers[:-GENERATIONS], self._numbers[-GENERATIONS:]
        for number in going:
            shutil.rmtree(self.folder / _name(number), ignore_errors=True)

    def _begin(self, number: int) -> int:
        """Make a generation's folder; how many bytes are in it already."""
        folder = self.folder / _name(number)
        try:
            folder.mkdir(exist_ok=True)
            leftovers.sweep(folder)
            with os.scandir(folder) as entries:
                return sum(entry.stat().st_size for entry in entries)
        except FileNotFoundError:  # one of the files went meanwhile, or another process took the folder away
            return 0
        except OSError as error:
            raise self._refused(error) from error

    def _generations(self) -> list[int]:
        try:
            names = os.listdir(self.folder)
        except OSError as error:
            raise self._refused(error) from error
        return sorted(int(found[1]) for name in names if (found := _GENERATION.fullmatch(name)))

    def _path(self, number: int, name: str) -> str:
        return os.path.join(self.folder, _name(number), name)

    def _refused(self, error: OSError) -> OutputError:
        return OutputError(
            f"What is fetched from elsewhere must be kept in {self.folder} for a while; "
            f"{error.strerror or type(error).__name__}. Make room, or name another folder by $TELLAPART_CACHE."
        )


class _Reported:
    """A file whose refusals are those of this disk, not of the server that is read."""

    def __init__(self, file: BinaryIO, spool: Spool) -> None:
        self._file, self._spool = file, spool
        self.seek, self.tell, self.truncate = file.seek, file.tell, file.truncate

    def write(self, data: bytes) -> int:
        try:
            return self._file.write(data)
        except OSError as error:
            raise self._spool._refused(error) from error


def clear(cache: Path) -> int:
    """Remove all that is kept in a cache folder; the bytes freed."""
    folder, freed = cache / NAME, 0
    with contextlib.suppress(OSError):  # never there, or gone meanwhile
        for name in os.listdir(folder):
            if _GENERATION.fullmatch(name):
                with contextlib.suppress(OSError), os.scandir(folder / name) as entries:
                    freed += sum(entry.stat().st_size for entry in entries)
                shutil.rmtree(folder / name, ignore_errors=True)
        folder.rmdir()
    return freed


def _name(number: int) -> str:
    return f"g{number:08}"


def _writable(folder: Path) -> Path:
    """The folder, made and tried; a private one for this process where it cannot be written."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = folder / leftovers.temporary(secrets.token_hex(4))
        probe.touch()
        probe.unlink()
        return folder
    except OSError:
        made = contextlib.ExitStack()
        atexit.register(made.close)
        return made.enter_context(tempfolders.private("spool"))


_lock = threading.Lock()
_cache: Path | None = None
_spool: Spool | None = None


def keep_in(cache: Path) -> None:
    """Let what is fetched be kept in another cache folder than the usual one, from now on."""
    global _cache, _spool
    with _lock:
        if cache != _cache:
            _cache, _spool = cache, None


def current() -> Spool:
    """The one in use, made when it is first needed. Raises OutputError, SettingsError."""
    global _spool
    with _lock:
        if _spool is None:
            _spool = Spool((_cache or cache_folder()) / NAME, limit_from_environment())
        return _spool
