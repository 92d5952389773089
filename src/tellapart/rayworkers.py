"""Workers of a Ray cluster: each an actor that holds what its job needs, fed block by block by Ray Data.

Ray Data starts the actors, keeps few blocks under way however many there are, gives results in the order asked, and has
the blocks of a worker that ended done again by others. So a block is done once as far as anybody sees, and what a
killed worker costs is the block that it was at. Without an address a Ray of this machine alone is started for the run:
it listens on the loopback only and ends with the run. Nothing here is loaded unless Ray is asked for, and nothing is
reported to Ray's makers.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tellapart import jobs, raysession
from tellapart.errors import ClusterError, SettingsError, TellapartError
from tellapart.files import shown
from tellapart.jobs import Columns, Done, Job

if TYPE_CHECKING:
    import pyarrow as pa

LOCAL, RAY = "local", "ray"  # engines
WINDOW = 4096  # blocks that Ray Data is given at once, at least: their names are held in memory until they are done
WINDOW_A_WORKER = 256  # and so many for each worker, beside which the start of the workers takes no time
TRIES = 6  # of a block at which its worker ended: by then it is the block that ends them
NUMBER = "number of the block"  # a column, while it is on its way
WRONG = b"wrong"  # in the metadata of a table that a worker gives instead of its answer


class RayWorkers:
    """As many workers as a cluster has room for, or as were asked for."""

    def __init__(self, workers: int, cores: int, note: Callable[[str], None]) -> None:
        """`workers` of so many cores each; `note` is told what a person should know. Ray is connected already."""
        self.n_workers, self.cores = workers, cores
        self._note = note

    def run(self, job: Job, blocks: Iterable[Columns]) -> Iterator[Done]:
        """See `jobs.Workers.run`."""
        left, n = iter(blocks), max(WINDOW, WINDOW_A_WORKER * self.n_workers)
        while window := list(itertools.islice(left, n)):
            yield from self._window(job, window)

    def _window(self, job: Job, blocks: list[Columns]) -> Iterator[Done]:
        import ray
        from ray import data, exceptions

        n = min(self.n_workers, len(blocks))
        # It outlives workers and, where it ends with its node, begins anew elsewhere.
        tally = ray.remote(_Tally).options(num_cpus=0, max_restarts=-1, max_task_retries=-1).remote(TRIES)
        task = {"job": job, "cores": self.cores, "versions": jobs.versions(), "folder": _folder(), "tally": tally}
        asked = data.from_blocks([_numbered(_table(block), i) for i, block in enumerate(blocks)])
        blocks.clear()
        done = asked.map_batches(
            _Worker,
            fn_constructor_kwargs=task,
            batch_size=None,
            batch_format="pyarrow",
            zero_copy_batch=True,
            compute=data.ActorPoolStrategy(min_size=1, max_size=n, initial_size=n),
            num_cpus=self.cores,
        )
        try:
            tables: Any = done.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)
            for table in tables:
                told = table.schema.metadata or {}
                if WRONG in told:
                    raise ClusterError(told[WRONG].decode())
                if not len(table):
                    continue
                yield Done(_columns(table), told[b"worker"].decode())
            again = ray.get(tally.again.remote())
        except exceptions.RayError as error:
            raise ClusterError(_why(error)) from error
        if again:
            self._note(f"{'A' if again == 1 else f'{again} times a'} worker ended midway; another took over its block.")


class _Tally:
    """Counts how often each block was begun: Ray Data has one whose worker ended begun again without end."""

    def __init__(self, tries: int) -> None:
        self._tries, self._begun = tries, Counter[int]()

    def begin(self, block: int) -> bool:
        """Whether it may be begun once more."""
        self._begun[block] += 1
        return self._begun[block] <= self._tries

    def again(self) -> int:
        """How often a block was begun that had been begun before."""
        return self._begun.total() - len(self._begun)


class _Worker:
    """What runs in an actor."""

    def __init__(
        self, job: Job, cores: int, versions: Mapping[str, str | None], folder: str | None, tally: Any
    ) -> None:
        self._name, self._wrong, self._tally = _name(), "", tally
        try:
            self._do = _ready(self._name, job, cores, versions, folder)
        except TellapartError as error:
            self._wrong = str(error)

    def __call__(self, table: pa.Table) -> pa.Table:
        try:
            if self._wrong:
                raise ClusterError(self._wrong)
            self._begin(table.column(NUMBER)[0].as_py())
            made = _table(self._do(_columns(table.drop_columns(NUMBER))))
        except TellapartError as error:
            made = _table({"wrong": [b""]}).replace_schema_metadata({WRONG: str(error).encode()})
        return made.replace_schema_metadata({**(made.schema.metadata or {}), b"worker": self._name.encode()})

    def _begin(self, block: int) -> None:
        import ray

        if not ray.get(self._tally.begin.remote(block)):
            raise ClusterError(
                "Workers must live through every block of pictures, and one after the other ended at the same one, as "
                "where memory is short. Take fewer --workers, or find out on one machine which picture it is."
            )


def _ready(name: str, job: Job, cores: int, versions: Mapping[str, str | None], folder: str | None) -> jobs.Doing:
    """Make a worker ready for its job, where it can do it as the others do."""
    differing = [
        f"{package} {here or 'missing'} instead of {versions.get(package) or 'none'}"
        for package, here in jobs.versions().items()
        if here != versions.get(package)
    ]
    if differing:
        raise ClusterError(
            f"Every worker must have the packages of the machine that asks, for the same answers; {name} has "
            f"{', '.join(differing)}. Install the same ones there."
        )
    if folder is not None:
        with contextlib.suppress(OSError):  # not here: then no path that begins there is seen, which is said
            os.chdir(folder)
    if job.seen and not any(os.path.lexists(path) for path in job.seen):
        raise ClusterError(
            f"Every worker must see the pictures; {name} does not see {shown(job.seen[0])}. Put them into a folder "
            f"that all machines have under the same path, or where all can fetch them, like s3://."
        )
    return jobs.opened(job, cores)


def _name() -> str:
    """This worker for people: machine, node and process."""
    import ray

    return f"{ray.util.get_node_ip_address()}/{ray.get_runtime_context().get_node_id()[:6]}/{os.getpid()}"


def _folder() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # it is gone
        return None


@contextlib.contextmanager
def at_work(
    engine: str,
    *,
    address: str | None = None,
    workers: int | None = None,
    cores: int | None = None,
    note: Callable[[str], None] = lambda text: None,
) -> Iterator[RayWorkers | None]:
    """Have what can be done elsewhere done by Ray's workers, see `jobs`; nothing changes with the engine "local".

    Args:
        engine: "local" or "ray".
        address: of a Ray cluster: "auto" on one of its nodes, or "host:port"; None for a Ray of this machine alone.
        workers: how many; None for as many as there are cores for.
        cores: of each worker, 1 where it is None.
        note: is told in a sentence what happened to workers.

    Raises:
        SettingsError: another engine, or a number out of its range.
        MissingPackageError: Ray is not installed.
        ClusterError: the cluster cannot be reached or has no room.
    """
    if engine not in (LOCAL, RAY):
        raise SettingsError(f"--engine must be {LOCAL} or {RAY}; got {engine!r:.100}.")
    if engine == LOCAL:
        for option, value in (("--address", address), ("--workers", workers), ("--worker-cores", cores)):
            if value is not None:
                raise SettingsError(f"{option} goes with a cluster. Add --engine ray, or leave {option} out.")
        yield None
        return
    for option, value in (("--workers", workers), ("--worker-cores", cores)):
        if value is not None and value < 1:
            raise SettingsError(f"{option} must be a whole number from 1 on; got {value}.")
    raysession.check_installed()
    with raysession.connected(address):
        found = RayWorkers(*_room(address, workers, cores or 1), note)
        with jobs.given_to(found):
            yield found


def _room(address: str | None, workers: int | None, cores: int) -> tuple[int, int]:
    """How many workers, of how many cores each."""
    import ray

    found = int(ray.cluster_resources().get("CPU", 0))
    if workers is None:
        workers = found // cores
    # A cluster may get more nodes once they are asked for; one machine doesn't.
    if workers < 1 or (address is None and workers * cores > found):
        raise SettingsError(
            f"--workers times --worker-cores must be from 1 to the {found} cores that there are; got "
            f"{max(workers, 1)} x {cores}. Take fewer."
        )
    return workers, cores


def _why(error: Exception) -> str:
    """What Ray says of a job that failed, in one line."""
    said = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (
        f"The workers must be able to do their job; Ray says: {(said or [type(error).__name__])[-1][:300]}. Every node "
        f"must have tellapart installed, in the same version, and enough memory for its workers; Ray's logs say more."
    )


# Blocks as tables


def _table(columns: Columns) -> pa.Table:
    """Columns as an Arrow table. Arrays of several axes are lists of a fixed length, with their shapes beside them."""
    import pyarrow as pa

    made: dict[str, Any] = {}
    shapes: dict[str, list[int]] = {}
    for name, values in columns.items():
        if isinstance(values, list):
            made[name] = pa.array(values, pa.binary())
        elif values.ndim == 1:
            made[name] = pa.array(values)
        else:
            shapes[name] = [*values.shape[1:]]
            flat = pa.array(np.ascontiguousarray(values).reshape(-1))
            made[name] = pa.FixedSizeListArray.from_arrays(flat, int(np.prod(values.shape[1:])))
    return pa.table(made).replace_schema_metadata({b"shapes": json.dumps(shapes).encode()})


def _numbered(table: pa.Table, number: int) -> pa.Table:
    return table.append_column(NUMBER, [[number] * len(table)])


def _columns(table: pa.Table) -> Columns:
    """What `_table` was made of."""
    import pyarrow as pa

    shapes = json.loads((table.schema.metadata or {}).get(b"shapes", b"{}"))
    found: dict[str, np.ndarray | list[bytes]] = {}
    for name in table.column_names:
        column = table.column(name).combine_chunks()
        if pa.types.is_binary(column.type):
            found[name] = column.to_pylist()
        elif name in shapes:
            found[name] = column.flatten().to_numpy(zero_copy_only=False).reshape(len(table), *shapes[name])
        else:
            found[name] = column.to_numpy(zero_copy_only=False)
    return found
