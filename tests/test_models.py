"""The networks are what they are said to be."""

import keras
import numpy as np
import pytest

from tellapart import config, graphs, models
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
def test_only_standard_layers_are_saved(recipe: config.Recipe) -> None:
    for layer in graphs.in_float32(models.build(recipe, 2)).layers:
        assert type(layer).__module__.startswith("keras.src.layers")


def test_scaling_is_inside_the_networks() -> None:
    pixels = np.stack([np.zeros((32, 32, 3)), np.full((32, 32, 3), 255)]).astype("uint8")
    for recipe, low, high in ((config.TUTORIAL, 0.0, 1.0), (config.SCRATCH, -127.5 / 64, 127.5 / 64)):
        model = models.build(recipe.override(size_px=32), 2)
        scaling = next(layer for layer in model.layers if type(layer).__name__ == "Rescaling")
        scaled = keras.ops.convert_to_numpy(scaling(pixels))
        assert (scaled[0].min(), scaled[0].max()) == pytest.approx((low, low))
        assert (scaled[1].min(), scaled[1].max()) == pytest.approx((high, high))


def test_the_tutorials_shapes_at_64_px() -> None:
    model = models.build(config.TUTORIAL, 2)
    assert [tuple(layer.output.shape[1:]) for layer in model.layers] == [
        (64, 64, 3), (62, 62, 32), (31, 31, 32), (29, 29, 64), (14, 14, 64), (12_544,), (128,), (128,), (1,),
    ]  # fmt: skip
    assert {layer.strides for layer in model.layers if type(layer).__name__ == "Conv2D"} == {(1, 1)}
    assert model.count_params() == 1_625_281


def test_the_tutorial_answers_probabilities() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    small = config.TUTORIAL.override(size_px=32, channels=(4,), dense=(4,))
    for dtype in ("float32", "mixed_bfloat16"):
        one = keras.ops.convert_to_numpy(models.build(small, 2, dtype=dtype)(pixels))
        assert (one.shape, one.dtype) == ((5, 1), np.float32)
        assert ((one > 0) & (one < 1)).all()
        several = keras.ops.convert_to_numpy(models.build(small, 4, dtype=dtype)(pixels))
        assert (several.shape, several.dtype) == ((5, 4), np.float32)
        np.testing.assert_allclose(several.sum(axis=1), 1, rtol=1e-5)


def test_the_residual_networks_weights_by_hand() -> None:
    model = models.build(config.SCRATCH.override(size_px=32, channels=(4, 8), dropout=0.3), 2)
    norm = 4  # numbers a channel: gamma, beta, mean, variance
    first = (3 * 3 * 3 * 4 + norm * 4) + (3 * 3 * 4 * 4 + norm * 4)
    second = (3 * 3 * 4 * 8 + norm * 8) + (3 * 3 * 8 * 8 + norm * 8)
    assert model.count_params() == first + second + (8 * 2 + 2)
    assert [layer.rate for layer in model.layers if type(layer).__name__ == "Dropout"] == [0.3]
    assert not any(layer.use_bias for layer in model.layers if type(layer).__name__ == "Conv2D")


def test_the_last_layer_sees_an_eighth_of_the_mean_of_the_last_map() -> None:
    model = models.build(config.SCRATCH.override(size_px=32, channels=(4, 8)), 2)
    last_map = next(layer.output for layer in reversed(model.layers) if len(layer.output.shape) == 4)
    both = keras.Model(model.inputs[0], [last_map, graphs.last_dense(model).input])
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    places, seen = (keras.ops.convert_to_numpy(each) for each in both(pixels))
    np.testing.assert_allclose(seen, places.mean(axis=(1, 2)) / 8, rtol=1e-5)


def test_each_stage_halves_the_picture() -> None:
    model = models.build(config.SCRATCH, 2)
    sums = [tuple(layer.output.shape[1:]) for layer in model.layers if type(layer).__name__ == "Add"]
    assert sums == [(32, 32, 32), (16, 16, 64), (8, 8, 128), (4, 4, 256)]


@pytest.mark.parametrize("recipe", [config.TUTORIAL, config.SCRATCH], ids=lambda recipe: recipe.name)
def test_the_same_seed_gives_the_same_first_weights(recipe: config.Recipe) -> None:
    made = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(seed)
        made.append(models.build(recipe.override(size_px=32, channels=(4, 8)), 2).get_weights()[0])
    assert np.array_equal(made[0], made[1])
    assert not np.array_equal(made[0], made[2])


@pytest.mark.parametrize("recipe", [config.TUTORIAL, config.SCRATCH])
def test_the_second_network_of_a_process_has_the_names_of_the_first(recipe: config.Recipe) -> None:
    first, second = models.build(recipe, 3), models.build(recipe, 3)
    names = [layer.name for layer in first.layers]
    assert [layer.name for layer in second.layers] == names
    assert len(set(names)) == len(names)
    assert "conv2d_1" in names
