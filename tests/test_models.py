"""The networks are what they are said to be."""

import keras
import numpy as np
import pytest

from tellapart import config, models
from tellapart.errors import SettingsError


def kinds(model: keras.Model) -> list[str]:
    return [type(layer).__name__ for layer in model.layers]


def test_the_tutorials_network_layer_by_layer() -> None:
    model = models.build(config.TUTORIAL, 2)
    rescaling, conv1, pool1, conv2, pool2, _, dense, dropout, answer = model.layers
    assert kinds(model) == [
        "Rescaling", "Conv2D", "MaxPooling2D", "Conv2D", "MaxPooling2D", "Flatten", "Dense", "Dropout", "Dense",
    ]  # fmt: skip
    assert rescaling.scale == 1 / 255
    for conv, filters in ((conv1, 32), (conv2, 64)):
        assert (conv.filters, conv.kernel_size, conv.padding, conv.activation.__name__) == (
            filters, (3, 3), "valid", "relu",
        )  # fmt: skip
    assert pool1.pool_size == pool2.pool_size == (2, 2)
    assert (dense.units, dense.activation.__name__, dropout.rate) == (128, "relu", 0.2)
    assert (answer.units, answer.activation.__name__) == (1, "sigmoid")
    # 3·3·3·32 + 32, 3·3·32·64 + 64, 14·14·64·128 + 128, 128 + 1
    assert model.count_params() == 896 + 18_496 + 1_605_760 + 129


def test_more_than_two_classes_end_in_softmax() -> None:
    answer = models.build(config.TUTORIAL, 5).layers[-1]
    assert (answer.units, answer.activation.__name__) == (5, "softmax")


def test_deeper_as_the_closing_advice_has_it() -> None:
    model = models.build(config.TUTORIAL.override(channels=(32, 64, 128), dense=(256,)), 2)
    assert kinds(model).count("Conv2D") == 3
    assert [layer.units for layer in model.layers if type(layer).__name__ == "Dense"] == [256, 1]


def test_too_many_convolutions_for_the_size() -> None:
    with pytest.raises(SettingsError, match="room for 5 convolutions"):
        models.build(config.TUTORIAL.override(size_px=32, channels=(8,) * 5), 2)


def test_residual_network_gives_float32_logits_of_any_sign() -> None:
    model = models.build(config.SCRATCH, 3, dtype="mixed_bfloat16")
    pixels = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), dtype=np.uint8)
    logits = keras.ops.convert_to_numpy(model(pixels))
    assert logits.shape == (5, 3)
    assert logits.dtype == np.float32
    assert model.layers[-1].activation.__name__ == "linear"


@pytest.mark.parametrize("recipe", [config.TUTORIAL, config.SCRATCH], ids=lambda recipe: recipe.name)
def test_only_standard_layers(recipe: config.Recipe) -> None:
    for layer in models.build(recipe, 2).layers:
        assert type(layer).__module__.startswith("keras.src.layers")
