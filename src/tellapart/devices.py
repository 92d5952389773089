"""Several devices that share each training step: every one computes its rows of the batch.

The engine is `keras.distribution.DataParallel` on JAX: weights stand on every device, gradients and the statistics of
normalisations are those of the whole batch, and masks of dropout are drawn for the whole batch. So a training on many
devices is the training on one, but for the order of sums.

Each process makes its own rows of a batch alone. Where the devices cannot share a batch evenly, the last of them get
rows that are cut off again before anything is computed, so that statistics, masks and means are those of the batch. A
network with normalisations is then computed by every device in full, and so is the last, smaller batch of each epoch:
variances over few pictures lose digits, and lose others where their sums are divided.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import numpy as np

from tellapart import hosts
from tellapart.errors import SettingsError

if TYPE_CHECKING:
    import keras


class Spread:
    """The devices of a training, of this process and of others."""

    def __init__(self, devices: Sequence[Any]) -> None:
        """`devices` are JAX's, of all processes, those of one process side by side."""
        import jax
        import keras

        names = [f"{device.platform}:{device.id}" for device in devices]
        self._distribution: Any = keras.distribution.DataParallel(devices=names, auto_shard_dataset=False)
        mine = [i for i, device in enumerate(devices) if device.process_index == jax.process_index()]
        self._mine = slice(mine[0], mine[-1] + 1)
        self.n = len(devices)

    @contextlib.contextmanager
    def scope(self) -> Iterator[None]:
        """What Keras makes within stands on all devices, and what it trains there is shared by them."""
        with self._distribution.scope():
            yield

    def share(
        self, n: int, make: Callable[[slice], Sequence[np.ndarray]], *, short: bool = False
    ) -> tuple[np.ndarray, ...]:
        """Rows of a batch for the devices of this process, as Keras wants them, for a model of `sharing`.

        Args:
            n: rows of the whole batch.
            make: gives some rows of every array.
            short: whether it is the last, smaller one of an epoch, which counts as uneven though it may be even.

        Returns:
            The arrays, and one more whose width tells how many rows of all devices together are to be cut off.
        """
        each = -(-(n + short) // self.n)  # a row more than there are is one to cut off
        start, stop = (min(place * each, n) for place in (self._mine.start, self._mine.stop))
        wanted = each * (self._mine.stop - self._mine.start)
        # Of a short batch the last devices may have no row: one is made, for its shape.
        arrays = [array[: stop - start] for array in make(slice(min(start, n - 1), max(stop, min(start, n - 1) + 1)))]
        filled = [np.concatenate([array, np.zeros((wanted - len(array), *array.shape[1:]), array.dtype)])
                  if len(array) < wanted else array for array in arrays]  # fmt: skip
        return *filled, np.zeros((wanted, 1 + each * self.n - n), np.uint8)

    def sharing(self, model: keras.Model, *, unevenly: bool = False) -> keras.Model:
        """The same network with the same layers, trained on batches of `share`.

        With `unevenly` a batch that cannot be shared evenly is shared all the same, else each device computes it all.
        """
        made: Any = _sharing()(model.inputs, model.outputs, name=model.name)
        made.whole = None if unevenly else self._whole
        return made

    def _whole(self, values: Any) -> Any:
        """Values within a step, on every device."""
        import keras

        layout = keras.distribution.TensorLayout([None] * len(values.shape), self._distribution.device_mesh)
        return keras.distribution.distribute_tensor(values, layout)

    def check(self, batch_size: int) -> None:
        """Raise SettingsError where the devices cannot share a batch of this size evenly, and so would not share it."""
        if batch_size % self.n:
            fitting = max(round(batch_size / self.n), 1) * self.n
            raise SettingsError(
                f"batch_size must be a multiple of the number of devices, {self.n}, so that each has as many pictures; "
                f"got {batch_size}. Try --batch-size {fitting}."
            )


@functools.cache
def _sharing() -> type[keras.Model]:
    import keras

    class Sharing(keras.Model):
        """Takes (inputs, labels, marks) of `Spread.share`."""

        whole: Callable[[Any], Any] | None = None

        def train_step(self, state: Any, data: Any) -> Any:
            return super().train_step(state, _cut(data, self.whole))  # pyright: ignore[reportCallIssue] - JAX's trainer

        def test_step(self, state: Any, data: Any) -> Any:
            return super().test_step(state, _cut(data, self.whole))  # pyright: ignore[reportCallIssue]

        # Before the first step Keras looks at a batch for its shapes, and takes the marks for weights.
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True) -> Any:
            return super().compute_loss(x, y, y_pred, None, training)

        def compute_metrics(self, x, y, y_pred, sample_weight=None) -> Any:
            return super().compute_metrics(x, y, y_pred, None)

    return Sharing


def _cut(data: tuple[Any, Any, Any], whole: Callable[[Any], Any] | None) -> tuple[Any, Any]:
    """A batch of all devices without the rows that only fill it up; what is left goes through `whole`."""
    inputs, labels, marks = data
    n = marks.shape[0] - (marks.shape[1] - 1)
    if n == marks.shape[0]:
        return inputs, labels
    return (inputs[:n], labels[:n]) if whole is None else (whole(inputs[:n]), whole(labels[:n]))


_SPREAD: ContextVar[Spread | None] = ContextVar("spread", default=None)


def spread() -> Spread | None:
    """The devices that share the steps of this training; None where there is one."""
    return _SPREAD.get()


def scope() -> contextlib.AbstractContextManager[None]:
    """What Keras makes within stands on all devices of this training."""
    present = spread()
    return contextlib.nullcontext() if present is None else present.scope()


@contextlib.contextmanager
def shared(wish: int | str | None) -> Iterator[Spread | None]:
    """Let the trainings within the block be shared by devices: `wish` of each process, or "auto" for all it has.

    Raises:
        SettingsError: there are fewer, or Keras does not run on JAX.
    """
    if wish is None:
        yield None
        return
    check_backend()
    import jax

    present = hosts.team()
    mine = jax.local_devices()
    n = len(mine) if wish == hosts.AUTO else int(wish)
    if n > len(mine):
        raise SettingsError(
            f"--devices must be at most the number of devices that JAX sees, {len(mine)} ({mine[0].platform}); "
            f"got {n}. Try --devices auto."
        )
    if present is not None:
        counts = present.gather(np.array(n, np.int32))
        present.ready("" if len({*counts.tolist()}) == 1 else f"it has {n} devices, and others another number of them")
    by_process: dict[int, list[Any]] = {}
    for device in jax.devices():
        by_process.setdefault(device.process_index, []).append(device)
    devices = [device for _, some in sorted(by_process.items()) for device in some[:n]]
    before = _SPREAD.set(Spread(devices) if len(devices) > 1 else None)
    try:
        yield _SPREAD.get()
    finally:
        _SPREAD.reset(before)


def check_backend() -> None:
    """Raise SettingsError unless Keras runs on JAX."""
    import keras

    if keras.backend.backend() != "jax":
        raise SettingsError(
            f"Many devices must be used by Keras on JAX; it runs on {keras.backend.backend()}. Run: "
            f"pip install 'tellapart[jax]', then set KERAS_BACKEND=jax."
        )
