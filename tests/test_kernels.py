"""The fused kernels give what Keras' own operations give."""

import keras
import numpy as np
import pytest

from tellapart import kernels


@pytest.mark.parametrize("weight_decay", [None, 0.01])
def test_fused_adadelta_equals_keras_own(weight_decay: float | None) -> None:
    rng = np.random.default_rng(5)
    start = rng.normal(size=(7, 3)).astype("float32")
    gradients = [rng.normal(size=(7, 3)).astype("float32") for _ in range(6)]
    ends = []
    for optimizer in (
        kernels.adadelta(1.0, weight_decay),
        keras.optimizers.Adadelta(1.0, weight_decay=weight_decay),
    ):
        weights = keras.Variable(start.copy(), name="kernel")
        for gradient in gradients:
            optimizer.apply([keras.ops.convert_to_tensor(gradient)], [weights])
        ends.append([keras.ops.convert_to_numpy(each) for each in (weights, *optimizer.variables)])
    assert isinstance(kernels.adadelta(1.0), kernels.FusedAdadelta)
    for ours, theirs in zip(*ends, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7)


def test_adadelta_by_hand() -> None:
    """One step of Zeiler's algorithm 1 with rho 0.95, epsilon 1e-7 and a gradient of 2."""
    optimizer = kernels.adadelta(1.0)
    weights = keras.Variable(np.array([10.0], "float32"), name="kernel")
    optimizer.apply([keras.ops.convert_to_tensor(np.array([2.0], "float32"))], [weights])
    mean_square = 0.05 * 2.0**2
    step = np.sqrt(1e-7) / np.sqrt(mean_square + 1e-7) * 2.0
    assert float(keras.ops.convert_to_numpy(weights)[0]) == pytest.approx(10 - step, abs=1e-5)
