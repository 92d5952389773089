"""`batches`: every picture once an epoch with its own label, as a pure function of (seed, epoch, index)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest

from tellapart.augment import CROP, TUTORIAL, Augmentation
from tellapart.batches import Batches
from tellapart.errors import SettingsError
from tellapart.preprocess import Preprocess, fit

NAMES = ("ant", "bee", "cat")


def coded(n: int, px: int = 12) -> np.ndarray:
    """Pictures of one colour each: (row, class = row % 3 times 100, 255 - row); no warp changes them."""
    pixels = np.empty((n, px, px, 3), np.uint8)
    for row in range(n):
        pixels[row] = (row, row % 3 * 100, 255 - row)
    pixels.flags.writeable = False
    return pixels


def made(n: int = 23, **settings) -> Batches:
    """Batches of n of n + 5 stored pictures, in an order of their own."""
    rows = (np.arange(n) * 11 + 3) % (n + 5)
    assert len(set(rows)) == n
    arguments = {
        "class_names": NAMES,
        "paths": [f"{row}.png" for row in rows],
        "batch_size": 5,
        "size_px": 12,
        **settings,
    }
    return Batches(coded(n + 5), rows, rows % 3, **arguments)


def same(one: Batches, other: Batches) -> bool:
    pairs = zip(one, other, strict=True)
    return all(np.array_equal(a, c) and np.array_equal(b, d) for (a, b), (c, d) in pairs)


AUGMENTATIONS = [None, Augmentation(), TUTORIAL, CROP]


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
@pytest.mark.parametrize("size_px", [12, 9])
@pytest.mark.parametrize("shuffle", [True, False])
def test_every_picture_comes_once_an_epoch_with_its_own_label(augmentation, size_px, shuffle):
    batches = made(augmentation=augmentation, size_px=size_px, shuffle=shuffle)
    assert len(batches) == 5
    orders = []
    for _ in range(3):
        seen = []
        for i, (pixels, labels) in enumerate(batches):
            assert pixels.shape == (5 if i < 4 else 3, size_px, size_px, 3)
            assert pixels.dtype == np.uint8
            assert labels.dtype == np.int32
            assert (pixels == pixels[:, :1, :1]).all()  # still of one colour
            assert (pixels[:, 0, 0, 1] == labels * 100).all()
            seen += pixels[:, 0, 0, 0].tolist()
        assert sorted(f"{row}.png" for row in seen) == sorted(batches.paths)
        orders.append(seen)
        batches.on_epoch_end()
    if shuffle:
        assert orders[0] != orders[1] != orders[2] != orders[0]
    else:
        assert [f"{row}.png" for row in orders[0]] == list(batches.paths)
        assert orders[0] == orders[1] == orders[2]


def varied(**settings) -> Batches:
    """Batches of noise, so that every augmentation shows."""
    pixels = np.random.default_rng(1).integers(0, 256, (20, 16, 16, 3), dtype=np.uint8)
    arguments = {
        "class_names": NAMES,
        "paths": [str(i) for i in range(20)],
        "batch_size": 8,
        "size_px": 12,
        "augmentation": CROP,
        **settings,
    }
    return Batches(pixels, np.arange(20), np.arange(20) % 3, **arguments)


def test_a_batch_is_a_pure_function_of_seed_epoch_and_index():
    batches = varied(seed=4)
    first = [batches[i] for i in range(3)]
    batches.set_epoch(1)
    second = [batches[i] for i in range(3)]
    other = varied(seed=4)
    other.set_epoch(1)
    for i in (2, 0, 1):
        assert np.array_equal(other[i][0], second[i][0])
        assert np.array_equal(other[i][1], second[i][1])
    other.set_epoch(0)
    with ThreadPoolExecutor(4) as pool:  # as Keras' workers do
        results = list(pool.map(lambda i: other[i % 3], range(30)))
    assert all(np.array_equal(result[0], first[i % 3][0]) for i, result in enumerate(results))
    assert same(batches, batches)


def test_epochs_and_seeds_differ_and_the_same_seed_does_not():
    assert same(varied(seed=4), varied(seed=4))
    assert not same(varied(seed=4), varied(seed=5))
    later = varied(seed=4)
    later.set_epoch(1)
    assert not same(varied(seed=4), later)


def test_the_augmentation_of_a_picture_does_not_depend_on_its_batch():
    def by_picture(batches: Batches) -> dict[str, bytes]:
        order = batches._epoch_order(0)
        pictures = np.concatenate([pixels for pixels, _ in batches])
        return {batches.paths[i]: picture.tobytes() for i, picture in zip(order, pictures, strict=True)}

    assert by_picture(varied()) == by_picture(varied(batch_size=3)) == by_picture(varied(shuffle=False))


def test_labels_in_every_mode():
    order = {"shuffle": False, "batch_size": 23}
    (_, numbers), (_, rows) = made(**order)[0], made(label_mode="one_hot", **order)[0]
    assert rows.dtype == np.float32
    assert rows.shape == (23, 3)
    assert np.array_equal(rows, np.eye(3, dtype=np.float32)[numbers])
    two = Batches(
        coded(4),
        np.arange(4),
        np.array([0, 1, 1, 0]),
        class_names=("no", "yes"),
        paths=list("abcd"),
        size_px=12,
        shuffle=False,
        label_mode="binary",
    )
    assert two[0][1].dtype == np.float32
    assert two[0][1].tolist() == [[0.0], [1.0], [1.0], [0.0]]


def test_without_augmentation_pictures_are_shrunk_as_preprocess_does():
    plain = varied(augmentation=None, shuffle=False, batch_size=20)
    expected = [fit(pixels, Preprocess(12)) for pixels in plain._pixels]
    assert np.array_equal(plain[0][0], expected)


def test_names_paths_and_indices():
    batches = made()
    assert batches.class_names == NAMES
    assert batches.class_indices == {"ant": 0, "bee": 1, "cat": 2}
    assert batches.paths[:3] == ("3.png", "14.png", "25.png")
    assert batches.labels[:3].tolist() == [0, 2, 1]
    for index in (-1, 5):
        with pytest.raises(IndexError, match=r"range \[0, 5\)"):
            batches[index]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"rows": np.arange(5)}, "one entry for each picture"),
        ({"paths": ["a"]}, "one entry for each picture"),
        ({"rows": np.array([0, 1, 2, 9])}, r"rows must be in the range \[0, 4\); got 0 to 9"),
        ({"labels": np.array([0, 1, 2, 3])}, r"labels must be in the range \[0, 3\).*got 0 to 3"),
        ({"labels": np.array([0, 1, 2, -1])}, "labels must be"),
        ({"rows": np.array([], int), "labels": np.array([], int), "paths": []}, "at least one picture"),
        ({"pixels": np.zeros((4, 12, 12, 3), np.float32)}, "pixels must be uint8"),
        ({"class_names": ("ant", "bee", "ant")}, "class_names must differ"),
        ({"batch_size": 0}, "batch_size and size_px must be >= 1; got 0 and 12"),
        ({"label_mode": "binary"}, '"binary" must have 2 classes; got 3'),
        ({"label_mode": "categorical"}, "label_mode must be one of"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(changed, message):
    arguments = {
        "pixels": coded(4),
        "rows": np.arange(4),
        "labels": np.array([0, 1, 2, 0]),
        "class_names": NAMES,
        "paths": list("abcd"),
        "size_px": 12,
        **changed,
    }
    with pytest.raises(SettingsError, match=message):
        Batches(**arguments)


@pytest.mark.parametrize("workers", [1, 2])
def test_in_keras_own_fit_and_predict(workers):
    asked = []

    class Recorded(Batches):
        def __getitem__(self, index):
            batch = super().__getitem__(index)
            asked.append((self.epoch, index, batch[0][:, 0, 0, 0].tolist()))
            return batch

    rows = np.arange(13)
    settings = {
        "class_names": NAMES,
        "paths": [str(r) for r in rows],
        "batch_size": 4,
        "size_px": 12,
        "workers": workers,
    }
    training = Recorded(coded(13), rows, rows % 3, **settings)
    validation = Batches(coded(13), rows, rows % 3, shuffle=False, **settings)
    model = keras.Sequential(
        [
            keras.Input((12, 12, 3), dtype="uint8"),
            keras.layers.Rescaling(1 / 255),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(3),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, metrics=["accuracy"])
    asked.clear()
    history = model.fit(training, validation_data=validation, epochs=2, shuffle=False, verbose=0)  # pyright: ignore[reportArgumentType]
    assert len(history.history["val_accuracy"]) == 2
    # Keras looks at two batches beforehand, for their shapes; then each epoch has every batch once. With two
    # workers they are asked for in turn, but recorded as they get ready.
    order = [entry[:2] for entry in asked[-8:]]
    assert (order if workers == 1 else sorted(order)) == [(e, i) for e in (0, 1) for i in range(4)]
    for epoch in (0, 1):
        assert sorted(row for e, _, rows in asked[-8:] if e == epoch for row in rows) == list(range(13))
    assert training.epoch == 2

    # The first channel of the mean colour tells the picture, so the answers show whose they are.
    teller = keras.Sequential([keras.Input((12, 12, 3)), keras.layers.GlobalAveragePooling2D()])
    answers = teller.predict(validation, verbose=0)  # pyright: ignore[reportArgumentType]
    assert answers[:, 0] == pytest.approx(np.array([float(path) for path in validation.paths]))


def test_pictures_of_another_side_in_each_epoch() -> None:
    batches = made(size_px=12, augmentation=CROP, seed=4)
    batches.set_sides((8, 10, 10))
    sides = []
    for epoch in range(5):
        batches.set_epoch(epoch)
        sides.append({pixels.shape[1:] for pixels, _ in batches})
    assert sides == [{(side, side, 3)} for side in (8, 10, 10, 12, 12)]
    batches.set_epoch(1)
    alone = made(size_px=10, augmentation=CROP, seed=4)
    alone.set_epoch(1)
    assert same(batches, alone)


def test_keras_learns_that_sides_vary_before_the_first_epoch() -> None:
    batches = made(size_px=12)
    batches.set_sides((8, 12))
    assert [batches[i][0].shape[1] for i in (0, 1)] == [8, 12]
    batches.set_epoch(0)
    assert [batches[i][0].shape[1] for i in (0, 1)] == [8, 8]


def test_a_single_batch_does_not_vary() -> None:
    batches = made(5, size_px=12)
    batches.set_sides((8, 12))
    batches.set_epoch(0)
    assert batches[0][0].shape[1] == 12
