"""The resize of sample programs against OpenCV's."""

import runpy

import numpy as np
import pytest

from tellapart import preprocess
from tellapart.export import sampletext

square = runpy.run_path(str(sampletext.FOLDER / "shared.py"))["square"]

SHAPES = [
    (1, 1), (1, 90), (3, 31), (32, 32), (64, 64), (64, 32), (96, 128), (448, 320), (33, 31), (31, 33),
    (20, 300), (300, 20), (77, 49), (480, 640), (49 * 32, 2 * 32),
]  # fmt: skip


@pytest.mark.parametrize("fit", preprocess.FITS)
@pytest.mark.parametrize("size", [8, 32, 50])
def test_square_is_what_the_model_sees_to_the_last_bit(size: int, fit: str) -> None:
    rng = np.random.default_rng(size)
    for shape in SHAPES:
        picture = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
        expected = preprocess.fit(picture, preprocess.Preprocess(size, fit))
        np.testing.assert_array_equal(square(picture, size, fit), expected, err_msg=f"{shape}")


def test_square_rounds_halves_as_opencv_does() -> None:
    pair = np.zeros((2, 2, 3), np.uint8)
    pair[0, 0] = 2, 6, 10  # means of 0.5, 1.5 and 2.5 over two by two pixels, which OpenCV rounds up
    assert square(np.tile(pair, (8, 8, 1)), 8, "squash")[0, 0].tolist() == [1, 2, 3]
    row = np.zeros((1, 2, 3), np.uint8)
    row[0, 0] = 1, 3, 5  # the same means over two pixels beside each other, which go to the even level
    assert square(np.tile(row, (8, 8, 1)), 8, "squash")[0, 0].tolist() == [0, 2, 2]
