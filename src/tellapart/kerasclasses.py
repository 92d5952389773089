"""The classes that a Keras model's saved description may name: Keras' own, of which none runs or reads what it is told.

A description, `config.json` in a `.keras` file, says for each of its objects a class and its module. What is not on
this list is neither opened nor, where somebody would train such a network, begun with.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


LAYERS = _names(
    "Activation Add AlphaDropout Average AveragePooling2D BatchNormalization CenterCrop Concatenate Conv2D "
    "Conv2DTranspose Cropping2D Dense DepthwiseConv2D Dot Dropout ELU EinsumDense Flatten GaussianDropout "
    "GaussianNoise GlobalAveragePooling2D GlobalMaxPooling2D GroupNormalization Identity InputLayer "
    "LayerNormalization LeakyReLU MaxPooling2D Maximum Minimum MultiHeadAttention Multiply Normalization PReLU Permute "
    "RandomBrightness RandomContrast RandomCrop RandomFlip RandomRotation RandomTranslation RandomZoom ReLU Rescaling "
    "Reshape Resizing SeparableConv2D Softmax SpatialDropout2D SpectralNormalization Subtract UnitNormalization "
    "UpSampling2D ZeroPadding2D"
)
MODELS = {"keras": _names("Functional Model Sequential"), "keras.src.models.functional": _names("Functional")}
# The module of a class, and the classes of it that may be named.
CLASSES = {
    "keras.layers": LAYERS,
    **MODELS,
    "keras": MODELS["keras"] | {"DTypePolicy"},
    "keras.dtype_policies": _names("DTypePolicy"),
    "keras.initializers": _names(
        "Constant GlorotNormal GlorotUniform HeNormal HeUniform Identity IdentityInitializer LecunNormal LecunUniform "
        "Ones Orthogonal OrthogonalInitializer RandomNormal RandomUniform TruncatedNormal VarianceScaling Zeros"
    ),
    "keras.regularizers": _names("L1 L2 L1L2 OrthogonalRegularizer"),
    "keras.constraints": _names("MaxNorm MinMaxNorm NonNeg UnitNorm"),
    "keras.src.ops.numpy": _names("Add Concatenate Divide Maximum Mean Minimum Multiply Reshape Subtract TrueDivide"),
    "keras.src.applications.convnext": _names("LayerScale"),
}
MARKS = _names("__keras_tensor__ __numpy__ __tuple__")  # plain values, no classes


def is_model(config: Any) -> bool:
    """Whether a description is that of a functional or Sequential model."""
    return isinstance(config, dict) and config.get("class_name") in MODELS.get(str(config.get("module")), ())


def strange(config: Any) -> str | None:
    """The first class in a model's description that is not on the list, in words; None where all are.

    What the model was compiled with is taken out: nobody needs it.
    """
    for value in _objects(config):
        kind, module, registered = value["class_name"], value.get("module"), value.get("registered_name")
        if isinstance(kind, str) and kind in MARKS and module is None and registered is None:
            continue
        if kind == "function" and module in ("builtins", "keras.activations"):
            if isinstance(value.get("config"), str) and value["config"] in _activations():
                continue
            kind = value.get("config")
        allowed = CLASSES.get(module, frozenset()) if isinstance(module, str) else frozenset()
        if not isinstance(kind, str) or kind not in allowed or registered not in (None, kind):
            return f"{kind!s:.80} of {module!s:.80}"
    return None


def _objects(config: Any) -> Iterator[dict[str, Any]]:
    """What names a class, in a description."""
    waiting = [config]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            value.pop("compile_config", None)
            if "class_name" in value:
                yield value
            waiting.extend(value.values())
        elif isinstance(value, (list, tuple)):
            waiting.extend(value)


def _activations() -> set[str]:
    from keras import activations

    return {each for each in dir(activations) if not each.startswith("_")} - {"get", "serialize", "deserialize"}
