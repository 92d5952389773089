"""Names, numbers and times that tell files apart, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tellapart import ranks


def test_parts_of_names() -> None:
    assert ranks.parts("IMG_0012.jpg") == ("img_", 12)
    assert ranks.parts("2024-05-17 b.png") == ("", 17)
    assert ranks.parts("cat.jpg")[0] == "cat"
    assert math.isnan(ranks.parts("cat.jpg")[1])
    assert ranks.apart(np.array([1.0, 2, 3]), np.array([2.0, 4]), 2) == pytest.approx((1.5 + 3) / 6)
