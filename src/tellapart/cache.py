@dataclass(frozen=True, slots=True)
class StoreInfo:
    """One line of `listing`."""

    name: str  # the folder's name below pictures/
    size_bytes: int
    n_pictures: int  # 0 where `usable` is false
    size_px: int  # side of the pictures; 0 for the leftover of an unfinished run
    last_used: float  # seconds since the epoch
    usable: bool  # false: damaged, of another version, or unfinished; removed by the next run that meets it



def cache_folder(cache: str | Path | None = None) -> Path:
    """The given folder, or $TELLAPART_CACHE, or the platform's cache folder for tellapart. Creates nothing."""
    chosen = cache or os.environ.get("TELLAPART_CACHE") or platformdirs.user_cache_path("tellapart")
    return Path(chosen).expanduser()



def listing(cache: Path) -> list[StoreInfo]:
    """Everything of ours in the cache, the last used first."""
    infos = []
    for path in _entries(cache / "pictures"):
        size_bytes, last_used = _size_and_time(path)
        opened = _open(path) if _STORE_NAME.fullmatch(path.name) else None
        match = _STORE_NAME.fullmatch(path.name)
        infos.append(
            StoreInfo(
                name=path.name,
                size_bytes=size_bytes,
                n_pictures=len(opened.rows) if opened else 0,
                size_px=int(match["size"]) if match else 0,
                last_used=last_used,
                usable=opened is not None,
            )
        )
    return sorted(infos, key=lambda info: (-info.last_used, info.name))



def clear(cache: Path) -> int:
    """Remove all stores and leftovers; returns the bytes freed.

    Only files that this module wrote go, and the pictures/ folder once it is empty; never the cache folder
    itself. What another running process is building stays. Raises `OutputError` where the disk refuses.
    """
    folder = cache / "pictures"
    freed = 0
    for path in _entries(folder):
        if _STORE_NAME.fullmatch(path.name) or _is_stale(path):
            try:
                freed += _remove(path)
            except OSError as error:
                raise OutputError(
                    f"The cache must be removable; {shown(path)} gave: {error.strerror}. Close the programs that "
                    f"use it and check its permissions."
                ) from error
    with contextlib.suppress(OSError):  # not empty, or never there: it stays as it is
        folder.rmdir()
    return freed



@dataclass(frozen=True, slots=True, eq=False)
class _Opened:
    """One store on disk whose files agree with each other."""

    path: Path
    pixels: np.ndarray
    rows: dict[str, int]
    failures: dict[str, str]

    def covers(self, contents: Iterable[str]) -> bool:
        return all(content in self.rows or content in self.failures for content in contents)



@functools.cache
def _owner() -> str:
    """8 hex digits: where a process number means the same process as here (containers have their own)."""
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:  # not Linux
        namespace = ""
    return hashlib.sha256(f"{socket.gethostname()}\n{namespace}".encode()).hexdigest()[:8]



def _private_name(kind: str) -> str:
    return f".{kind}-{_owner()}-{os.getpid()}-{secrets.token_hex(4)}"



def _entries(folder: Path) -> list[Path]:
    """The folders that bear our names; links and everything else are left alone."""
    try:
        found = sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise _cannot_write(folder, error) from error
    return [
        path
        for path in found
        if (_STORE_NAME.fullmatch(path.name) or _LEFTOVER_NAME.fullmatch(path.name))
        and path.is_dir()
        and not path.is_symlink()
    ]



def _open(path: Path) -> _Opened | None:
    """The store in a folder, or None where it is gone, damaged, or of another version."""
    try:
        index = json.loads((path / _INDEX).read_bytes())
        n, height, width, channels = shape = tuple(index["shape"])
        contents, failures = index["contents"], index["failures"]
        if (
            index["version"] != STORE_VERSION
            or (path / _PIXELS).stat().st_size != index["bytes"]
            or index["bytes"] != n * height * width * channels
            or len(contents) != n
        ):
            return None
        # An empty file cannot be mapped.
        pixels = np.memmap(path / _PIXELS, np.uint8, "r", shape=shape) if n else np.empty(shape, np.uint8)
        pixels.flags.writeable = False
        rows = {content: row for row, content in enumerate(contents)}
        return _Opened(path, pixels, rows, dict(failures))
    except (OSError, ValueError, KeyError, TypeError):
        return None



def _open_or_remove(path: Path) -> _Opened | None:
    opened = _open(path)
    if opened is None:
        _remove_if_possible(path)
    return opened



def _size_and_time(path: Path) -> tuple[int, float]:
    """Bytes of our files in a folder, and when the folder was last used or written (seconds since the epoch)."""
    size, last = 0, 0.0
    for name in (_PIXELS, _INDEX, "."):
        try:
            stat = (path / name).stat()
        except OSError:  # missing in a damaged store, or removed by another process meanwhile
            continue
        size += stat.st_size if name != "." else 0
        # The index is touched at each use; the others only stand in for it where it is missing.
        last = max(last, stat.st_mtime)
        if name == _INDEX and not path.name.startswith("."):
            return size, stat.st_mtime
    return size, last



@contextlib.contextmanager
def _reporting(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _cannot_write(folder, error) from error



def _cannot_write(folder: Path, error: OSError) -> OutputError:
    if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
        return OutputError(
            f"The disk of the cache folder {shown(folder)} is full. Free some space, or choose another folder with "
            f"--cache DIR."
        )
    return OutputError(
        f"The cache folder must be readable and writable; {shown(folder)} gave: {error.strerror or error}. "
        f"Choose another with --cache DIR."
    )



def _remove(path: Path) -> int:
    """Remove our files of a store or a leftover, and its folder; returns the bytes freed."""
    size, _ = _size_and_time(path)
    ours = {_PIXELS, _INDEX}
    try:
        if not path.name.startswith(".") and {entry.name for entry in path.iterdir()} <= ours:
            # Out of sight in one step, so that no other process opens half of it.
            path = path.rename(path.parent / _private_name("removed"))
        for name in ours:
            (path / name).unlink(missing_ok=True)
    except FileNotFoundError:  # another process was quicker
        return 0
    with contextlib.suppress(OSError):  # somebody else's file in it: that stays, and so does its folder
        path.rmdir()
    return size



def _remove_if_possible(path: Path) -> None:
    """Housekeeping that may fail without harm: not ours to write, or (Windows) still mapped by a process."""
    with contextlib.suppress(OSError):
        _remove(path)



def _sweep(folder: Path) -> None:
    """Remove what crashed runs left behind."""
    for path in _entries(folder):
        if _is_stale(path):
            _remove_if_possible(path)



def _is_stale(path: Path) -> bool:
    """Whether a folder is the leftover of a run that cannot be alive any more."""
    match = _LEFTOVER_NAME.fullmatch(path.name)
    if not match:
        return False
    if match["owner"] == _owner() and not _is_alive(int(match["pid"])):
        return True
    return time.time() - _size_and_time(path)[1] > _LEFTOVER_AGE_S



def _is_alive(pid: int) -> bool:
    if os.name == "nt":  # os.kill would end the process there; age alone decides
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # somebody else's, alive
        return True
    return True



def _evict(folder: Path, *, keep: Path, limit_bytes: int) -> None:
    """Remove the stores not used for longest until the cache is within its limit."""
    stores = [(*_size_and_time(p), p) for p in _entries(folder) if _STORE_NAME.fullmatch(p.name)]
    total = sum(size for size, _, _ in stores)
    for size, _, path in sorted(stores, key=lambda store: store[1]):
        if total <= limit_bytes:
            return
        if path != keep:
            _remove_if_possible(path)
            total -= size



def _limit_from_environment() -> int:
    text = os.environ.get("TELLAPART_CACHE_LIMIT_GB", "").strip()
    if not text:
        return DEFAULT_LIMIT_BYTES
    try:
        limit = float(text) * 1e9
    except ValueError:
        limit = -1.0
    if not 0 <= limit < float("inf"):
        raise SettingsError(
            f"TELLAPART_CACHE_LIMIT_GB must be a number of gigabytes >= 0; got {text!r}. Set it to 20, or unset it."
        )
    return int(limit)


