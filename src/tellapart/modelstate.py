"""All that changes in a Keras model while it is trained, as named arrays, and back: bit for bit.

These are its weights with the statistics of normalisations, the states of the generators in layers that draw (dropout
and the like), the optimizer's variables with its count of steps, and, within an epoch, what the metrics have added up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tellapart.checkpoints import Checkpoint, restored

MODEL, OPTIMIZER, METRICS = "model", "optimizer", "metrics"
N_METRICS = 4  # the sum and the number behind the loss and behind the accuracy (see `objectives.compile_model`)


def take(model: keras.Model, *, training: bool = True) -> dict[str, np.ndarray]:
    """The state of a compiled `model`; without `training` what it answers by alone."""
    trained: Any = model
    arrays = numbered(MODEL, _values(model.variables))
    if training:
        arrays |= numbered(OPTIMIZER, _values(trained.optimizer.variables))
        arrays |= numbered(METRICS, _values(model.metrics_variables))
    return arrays


def misfit(model: keras.Model, checkpoint: Checkpoint, *, training: bool = True, metrics: bool = True) -> str:
    """What of a checkpoint is not of this compiled and built `model`, as a clause; "" where all is."""
    trained: Any = model
    expected = numbered(MODEL, _values(model.variables))
    if training:
        expected |= numbered(OPTIMIZER, _values(trained.optimizer.variables))
    if training and metrics:
        expected |= numbered(METRICS, [np.zeros((), np.float32)] * N_METRICS)
    return unlike(checkpoint.arrays, expected)


def alike(arrays: Sequence[np.ndarray], like: Sequence[np.ndarray]) -> list[np.ndarray] | None:
    """Arrays of a checkpoint in the number formats of others; None where they are not as many, or of other shapes."""
    if len(arrays) != len(like):
        return None
    found = [restored(array, one) for array, one in zip(arrays, like, strict=True)]
    return [array for array in found if array is not None] if all(array is not None for array in found) else None


def unlike(arrays: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> str:
    """Which of the `expected` arrays is missing or of another shape or number format, as a clause; "" where none is."""
    for name, like in expected.items():
        if name not in arrays or restored(arrays[name], like) is None:
            return f"its {name} is not of this network"
    return ""


def n_bytes(model: keras.Model) -> int:
    """Bytes of the whole state of a built `model`."""
    trained: Any = model
    return sum(value.nbytes for value in _values([*model.variables, *trained.optimizer.variables])) + 2**16


def put(model: keras.Model, arrays: Mapping[str, np.ndarray], kinds: Sequence[str]) -> None:
    """Give a built `model` the state that `take` took; `kinds` are MODEL, OPTIMIZER, METRICS or some of them."""
    trained: Any = model
    variables = {MODEL: model.variables, OPTIMIZER: trained.optimizer.variables, METRICS: model.metrics_variables}
    for kind in kinds:
        for i, variable in enumerate(variables[kind]):
            value = restored(arrays[f"{kind}/{i:04}"], np.asarray(ops.convert_to_numpy(variable)))
            assert value is not None  # `misfit` has looked
            variable.assign(value)


def build_metrics(model: keras.Model) -> None:
    """Make the variables of a compiled model's metrics, which come with its first step else: now they can be put."""
    answer = np.zeros((1, model.outputs[0].shape[-1]), np.float32)
    model.compute_metrics(None, answer, answer)
    model.reset_metrics()


def build(model: keras.Model) -> None:
    """Make all that Keras makes of a compiled model by a look at the first batch, without one.

    On backends other than TensorFlow that look takes batches from the queue which the first epoch then lacks, and
    leaves others in it: of epoch 0, also where a training goes on in a later one.
    """
    trained: Any = model
    answer = np.zeros((1, model.outputs[0].shape[-1]), np.float32)
    trained.optimizer.build(model.trainable_variables)
    model.compute_loss(None, answer, ops.convert_to_tensor(answer))
    build_metrics(model)


def numbered(kind: str, values: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays by name, in their order."""
    return {f"{kind}/{i:04}": value for i, value in enumerate(values)}


def counted(kind: str, arrays: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """The inverse of `numbered`."""
    return [arrays[name] for name in sorted(arrays) if name.startswith(f"{kind}/")]


def _values(variables: Sequence[Any]) -> list[np.ndarray]:
    return [np.asarray(ops.convert_to_numpy(variable)) for variable in variables]


def architecture(model: keras.Model) -> list[Any]:
    """The layers of a network, with their settings and the shapes of their weights, as plain values.

    Their names are left out: Keras counts them on from network to network.
    """
    trained: Any = model
    every: Any = model._flatten_layers(include_self=False)
    layers = [
        [type(layer).__name__, _unnamed(layer.get_config()), [list(map(str, v.shape)) for v in layer.weights]]
        for layer in every
        if not isinstance(layer, keras.Model)
    ]
    optimizer = trained.optimizer if trained.compiled else None
    return [layers, None if optimizer is None else [type(optimizer).__name__, _unnamed(optimizer.get_config())]]


def _unnamed(config: Any) -> Any:
    """Settings as plain values, without names; what is no plain value as its type's name."""
    if isinstance(config, dict):
        return {str(key): _unnamed(value) for key, value in config.items() if key != "name"}
    if isinstance(config, list | tuple):
        return [_unnamed(value) for value in config]
    return config if config is None or isinstance(config, bool | int | float | str) else type(config).__name__
