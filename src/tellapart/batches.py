"""Batches of stored pictures for Keras: the successor of ``flow_from_directory``.

Every batch is a pure function of (seed, epoch, place in the epoch), so a resumed run sees what an
uninterrupted one would have seen, and the number of threads changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import keras
import numpy as np

from tellapart.augment import Augmentation, permutation, vary
from tellapart.devices import Spread
from tellapart.errors import SettingsError

LABEL_MODES = ("int", "binary", "one_hot")


class Batches(keras.utils.PyDataset):
    """Pictures and labels in batches, for `fit`, `evaluate` and `predict` of any Keras model.

    Yields (pixels, labels): pixels uint8 (B, size_px, size_px, 3), RGB, 0-255, not rescaled (rescaling is
    the model's own first layer); labels as `label_mode` says. B is `batch_size`, or less in the last batch.

    Args:
        pixels: uint8 (M, S, S, 3), a store's pixels; only read.
        rows: int64 (N,), the row of `pixels` of each picture.
        labels: int64 (N,), 0 to C - 1, the place of each picture's class in `class_names`.
        class_names: C names, in the order of the model's outputs.
        paths: N, the file of each picture.
        batch_size: >= 1.
        seed: any integer; decides the order of each epoch and the augmentation.
        size_px: side of the yielded pictures, >= 1.
        augmentation: what happens to the pictures in training; None takes them as they are, shrunk to
            `size_px` as `preprocess.fit` does where they are stored larger.
        shuffle: True takes the pictures in another order each epoch; False in the order of `paths`, always:
            for validation, test and prediction, where answers are matched with files.
        label_mode: "int": int32 (B,); "binary": float32 (B, 1), 0 or 1, two classes only;
            "one_hot": float32 (B, C).
        workers, max_queue_size: as in `keras.utils.PyDataset`: threads that prepare batches ahead. With a single
            one Keras hands the batches to tf.data's own threads, whose tuning holds up the start of an epoch by
            seconds (benchmarks/feed.py); from two on it uses a queue of its own.
        spread: the devices that share each batch: only the rows of this process's own are made and yielded, as
            `Spread.share` has it.

    The epoch is 0 at first. Within `fit` it goes up at the end of each epoch; `set_epoch` sets it, as a
    resumed run must. A plain loop (``for pixels, labels in batches``) is followed by `on_epoch_end` or
    `set_epoch` where the next one should differ.

    Give `fit` ``shuffle=False``: the pictures are shuffled here, and Keras would change the order of the
    batches once more, by Python's global generator, so that a run could not be repeated.

    Raises `SettingsError` for arguments that do not fit each other.
    """

    def __init__(
        self,
        pixels: np.ndarray,
        rows: np.ndarray,
        labels: np.ndarray,
        *,
        class_names: Sequence[str],
        paths: Sequence[str],
        batch_size: int = 32,
        seed: int = 0,
        size_px: int,
        augmentation: Augmentation | None = None,
        shuffle: bool = True,
        label_mode: str = "int",
        workers: int = 2,
        max_queue_size: int = 10,
        spread: Spread | None = None,
    ) -> None:
        super().__init__(workers=workers, use_multiprocessing=False, max_queue_size=max_queue_size)
        # Plain views: taking rows of np.memmap itself is slow.
        self._pixels = np.asarray(pixels)
        self._rows = np.asarray(rows, dtype=np.int64)
        self._labels = np.asarray(labels, dtype=np.int64)
        self._class_names, self._paths = tuple(class_names), tuple(paths)
        self._batch_size, self._seed, self._size_px = batch_size, seed, size_px
        self._augmentation, self._shuffle, self._label_mode = augmentation, shuffle, label_mode
        self._check()
        self._epoch = 0
        self._spread = spread
        self._begun = False
        self._first = 0  # batch with which the present epoch begins: not 0 where a resumed run goes on within it
        self._sides_px: tuple[int, ...] = ()  # of the pictures in each epoch, where it is not `size_px` in all
        self._looked_at = False  # whether an epoch has begun; before that Keras looks at some batches for their shapes
        self._order: tuple[int, np.ndarray] = (-1, self._rows)  # (epoch, its order), worked out at first use
        # Pictures are warped one at a time on the threads that prepare batches; OpenCV's own would only fight
        # with these and with the backend's for the same cores.
        cv2.setNumThreads(1)

    def _check(self) -> None:
        n, n_classes = len(self._rows), len(self._class_names)
        if self._pixels.dtype != np.uint8 or self._pixels.ndim != 4 or self._pixels.shape[3] != 3:
            raise SettingsError(f"pixels must be uint8 (M, S, S, 3); got {self._pixels.dtype} {self._pixels.shape}.")
        if not n == len(self._labels) == len(self._paths) or self._rows.ndim != 1 or self._labels.ndim != 1:
            raise SettingsError(
                f"rows, labels and paths must have one entry for each picture; got {self._rows.shape}, "
                f"{self._labels.shape} and {len(self._paths)}."
            )
        if n == 0:
            raise SettingsError("rows must name at least one picture; got none.")
        if self._rows.min() < 0 or self._rows.max() >= len(self._pixels):
            raise SettingsError(
                f"rows must be in the range [0, {len(self._pixels)}); got {self._rows.min()} to {self._rows.max()}."
            )
        if len(set(self._class_names)) != n_classes:
            raise SettingsError(f"class_names must differ from each other; got {list(self._class_names)}.")
        if self._labels.min() < 0 or self._labels.max() >= n_classes:
            raise SettingsError(
                f"labels must be in the range [0, {n_classes}), the places in class_names; got "
                f"{self._labels.min()} to {self._labels.max()}."
            )
        if self._batch_size < 1 or self._size_px < 1:
            raise SettingsError(f"batch_size and size_px must be >= 1; got {self._batch_size} and {self._size_px}.")
        if self._label_mode not in LABEL_MODES:
            raise SettingsError(f"label_mode must be one of {LABEL_MODES}; got {self._label_mode!r}.")
        if self._label_mode == "binary" and n_classes != 2:
            raise SettingsError(f'label_mode "binary" must have 2 classes; got {n_classes}. Try "int" or "one_hot".')

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the model's outputs."""
        return self._class_names

    @property
    def class_indices(self) -> dict[str, int]:
        """Class name -> its label, 0 to C - 1."""
        return {name: i for i, name in enumerate(self._class_names)}

    @property
    def paths(self) -> tuple[str, ...]:
        """The file of each picture; with `shuffle=False` also the order in which they are yielded."""
        return self._paths

    @property
    def labels(self) -> np.ndarray:
        """int64 (N,), the label of each of `paths`."""
        return self._labels

    @property
    def epoch(self) -> int:
        """The epoch whose batches are yielded now, from 0."""
        return self._epoch

    def set_epoch(self, epoch: int, first: int = 0) -> None:
        """Yield the batches of this epoch from now on; those before `first` are left out, of this epoch alone."""
        if not 0 <= first < self.n_batches:
            raise SettingsError(f"first must be in the range [0, {self.n_batches}); got {first}.")
        self._epoch, self._first = epoch, first
        self._begun = False
        self._looked_at = True

    def set_sides(self, sides_px: Sequence[int]) -> None:
        """Yield pictures of another side in each epoch, and of `size_px` in those after.

        Call it before `fit`, and `set_epoch` as each epoch begins. Keras learns that sides vary from the first two
        batches that it looks at, so where there is but one all pictures are of `size_px`.
        """
        self._sides_px = tuple(sides_px) if len(self) > 1 and len({*sides_px, self._size_px}) > 1 else ()
        self._looked_at = False

    def on_epoch_begin(self) -> None:
        """Called by Keras."""
        self._begun = True

    def on_epoch_end(self) -> None:
        """Go on to the next epoch. Called by Keras."""
        # Keras also calls this before the first epoch, to reset; that is not the end of one.
        if self._begun:
            self.set_epoch(self._epoch + 1)

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        self._begun = self._looked_at = True
        for i in range(len(self)):
            yield self[i]

    @property
    def n_batches(self) -> int:
        """Batches in a whole epoch, the last, smaller one included."""
        return -(-len(self._rows) // self._batch_size)

    def __len__(self) -> int:
        """Batches in the present epoch: all of them, or those from its first one on (see `set_epoch`)."""
        return self.n_batches - self._first

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Batch `index` of the present epoch, 0 <= index < len(self)."""
        if not 0 <= index < len(self):
            raise IndexError(f"index must be in the range [0, {len(self)}); got {index}.")
        epoch, index = self._epoch, index + self._first
        chosen = self._epoch_order(epoch)[index * self._batch_size : (index + 1) * self._batch_size]
        side = self._side(epoch, index)

        def made(part: slice) -> tuple[np.ndarray, np.ndarray]:
            some = chosen[part]
            return self._take(self._rows[some], some, epoch, side), self._encode(self._labels[some])

        if self._spread is None:
            return made(slice(None))
        # With a third array, which is the model's alone to read.
        shared: Any = self._spread.share(len(chosen), made, short=len(chosen) < self._batch_size)
        return shared

    def _side(self, epoch: int, index: int) -> int:
        """The side of the pictures of a batch, px."""
        if self._sides_px and not self._looked_at:
            return (min(self._sides_px), max(*self._sides_px, self._size_px))[index % 2]
        return self._sides_px[epoch] if epoch < len(self._sides_px) else self._size_px

    def _epoch_order(self, epoch: int) -> np.ndarray:
        if not self._shuffle:
            return np.arange(len(self._rows))
        known, order = self._order
        if known != epoch:
            order = permutation(len(self._rows), seed=self._seed, epoch=epoch)
            self._order = (epoch, order)  # one assignment, so that other threads see both or neither
        return order

    def _take(self, rows: np.ndarray, chosen: np.ndarray, epoch: int, out_px: int) -> np.ndarray:
        return vary(
            self._pixels,
            self._augmentation,
            seed=self._seed,
            epoch=epoch,
            indices=chosen,
            out_px=out_px,
            rows=rows,
        )

    def _encode(self, labels: np.ndarray) -> np.ndarray:
        if self._label_mode == "int":
            return labels.astype(np.int32)  # not int64, which JAX takes only with a warning
        if self._label_mode == "binary":
            return labels[:, None].astype(np.float32)
        return (labels[:, None] == np.arange(len(self._class_names))).astype(np.float32)

    def __repr__(self) -> str:
        fields: dict[str, Any] = {
            "pictures": len(self._rows),
            "classes": len(self._class_names),
            "batch_size": self._batch_size,
            "size_px": self._size_px,
        }
        return f"Batches({', '.join(f'{key}={value}' for key, value in fields.items())})"
