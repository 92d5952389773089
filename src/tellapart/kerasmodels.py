"""A `.keras` file of the user's own as a feature extractor, opened without trusting it.

Keras' own loader has had holes: code in Lambda layers, imports named in the configuration, files named in HDF5. So the
archive is opened here, its configuration is walked against a list of classes before anything is made of it, and its
weights are read from a file that was looked through. The file format: https://keras.io/guides/serialization_and_saving
"""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tellapart.errors import BackboneError, SettingsError
from tellapart.files import shown

if TYPE_CHECKING:
    import keras

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
MAX_BYTES = {CONFIG: 50_000_000, METADATA: 1_000_000, WEIGHTS: 4_000_000_000}
MAX_NODES, MAX_GROUPS = 50_000, 64  # groups and tables in a file of weights, and groups in one another
MAX_DEPTH = 200  # of a configuration
MAX_FEATURES = 8192
MAX_FEATURE = 60_000.0  # features are kept as float16
OF_ANY_SIZE_PX = 224  # the size for a network that takes every size
SMALLEST_PX, LARGEST_PX = 32, 512
OURS = ("pixels", "as_float", "features", "answer")  # names of the layers that are put around it


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
# The module of a class in a configuration, and the classes of it that may be named.
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


def extractor(path: Path, size_px: int | None) -> keras.Model:
    """The network of a `.keras` file, cut where its features are.

    Where it ends in a Dense layer, with or without an activation, what that layer sees is the features; a last map
    (B, H, W, D) is averaged over its places; a last vector is taken as it is.

    Input: pixels, uint8 (B, S, S, 3). Output: features, float32 (B, D).

    Raises:
        BackboneError: it is no such file, has other layers than Keras' own, or gives no features.
        SettingsError: it takes no pictures of this size.
    """
    from keras import layers

    from tellapart import graphs

    model = load(path)
    name = shown(path)
    side = _side(model, name, size_px)
    tensor = graphs.feature_tensor(model)
    if len(tensor.shape) not in (2, 4):
        raise BackboneError(
            f"The network of {name} must end in a Dense layer, a map (None, H, W, D) or a vector (None, D); it gives "
            f"{tuple(tensor.shape)}. Add pooling to it."
        )
    body = graphs.at_size(model, tensor, side, taken=OURS)
    features = body.outputs[0]
    if len(features.shape) == 4:
        features = layers.GlobalAveragePooling2D(name="features")(features)
    n = features.shape[-1]
    if n is None or n > MAX_FEATURES:
        raise BackboneError(
            f"The network of {name} must give at most {MAX_FEATURES:,} features; it gives {n:,} at {side} px. "
            f"Put GlobalAveragePooling2D in the place of Flatten."
        )
    found = _keras().Model(body.inputs[0], features, name="backbone")
    noise = np.random.default_rng(0).integers(0, 256, (2, side, side, 3), dtype=np.uint8)
    seen = np.abs(_keras().ops.convert_to_numpy(found(noise, training=False)))
    if not seen.max() < MAX_FEATURE:  # NaN too
        raise BackboneError(
            f"The features of {name} must be numbers below {MAX_FEATURE:,.0f}; of pixels from 0 to 255 it gives "
            f"{seen.max():,.0f}. Put its scaling into it, as keras.layers.Rescaling(1 / 255)."
        )
    return found


def load(path: Path) -> keras.Model:
    """The model of a `.keras` file: functional or Sequential, Keras' own layers, not compiled.

    Raises:
        BackboneError: it is no such file.
    """
    check_file(path, ".keras")
    name = shown(path)
    with tempfile.TemporaryDirectory(prefix="tellapart-") as folder:
        weights = Path(folder, WEIGHTS)
        try:
            with zipfile.ZipFile(path) as archive:
                _check_members(archive, name)
                config = json.loads(archive.read(CONFIG))
                with archive.open(WEIGHTS) as source, weights.open("xb") as target:
                    _copy(source, target, archive.getinfo(WEIGHTS).file_size)
        except (zipfile.BadZipFile, ValueError, RecursionError, NotImplementedError, EOFError, OSError) as error:
            raise BackboneError(
                f"{name} must be a whole .keras file; {' '.join(str(error).split())[:200]}. Save it again with "
                f"model.save('NAME.keras')."
            ) from error
        check_config(config, name)
        check_hdf5(weights)
        try:
            model = _keras().saving.deserialize_keras_object(config, safe_mode=True)
            if not isinstance(model, _keras().Model) or not getattr(model, "inputs", None):
                raise TypeError("it is no built model")
            model.load_weights(weights)
        except Exception as error:  # what Keras raises of a configuration has no common base
            raise BackboneError(
                f"{name} must be a model that this Keras ({_keras().__version__}) can read; it says: "
                f"{' '.join(str(error).split())[:300]}. Save it again with this version."
            ) from error
    return model


def check_file(path: Path, ending: str) -> None:
    """Raise BackboneError unless a path is a regular file with this ending."""
    name = shown(path)
    if not path.exists():
        raise BackboneError(f"--backbone must name a file that exists; there is no {name}. Check the path.")
    if not path.is_file():
        raise BackboneError(f"--backbone must name a {ending} file; {name} is none. Save it with Keras 3 as one.")
    if not os.access(path, os.R_OK):
        raise BackboneError(f"--backbone must name a file that can be read; {name}: permission denied. Allow it.")


def check_config(config: Any, name: str) -> None:
    """Raise BackboneError unless every class that a model's configuration names is one of CLASSES.

    What the model was compiled with is taken out.
    """
    if not isinstance(config, dict) or config.get("class_name") not in MODELS.get(str(config.get("module")), ()):
        raise BackboneError(
            f"{name} must hold a functional or Sequential model; got "
            f"{config.get('class_name') if isinstance(config, dict) else type(config).__name__!s:.80}. "
            f"Build it of keras.Input and Keras' own layers."
        )
    waiting: list[tuple[Any, int]] = [(config, 0)]
    while waiting:
        value, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise BackboneError(f"The configuration of {name} must be at most {MAX_DEPTH} deep; it is deeper.")
        if isinstance(value, dict):
            value.pop("compile_config", None)
            if "class_name" in value:
                _check_class(value, name)
            waiting.extend((each, depth + 1) for each in value.values())
        elif isinstance(value, list):
            waiting.extend((each, depth + 1) for each in value)


def _check_class(value: dict[str, Any], name: str) -> None:
    kind, module, registered = value["class_name"], value.get("module"), value.get("registered_name")
    if isinstance(kind, str) and kind in MARKS and module is None and registered is None:
        return
    if kind == "function" and module in ("builtins", "keras.activations"):
        if isinstance(value.get("config"), str) and value["config"] in _activations():
            return
        kind = value.get("config")
    allowed = CLASSES.get(module, frozenset()) if isinstance(module, str) else frozenset()
    if not isinstance(kind, str) or kind not in allowed or registered not in (None, kind):
        raise BackboneError(
            f"A backbone must have Keras' own layers only, no Lambda and nothing custom, for such a file can run its "
            f"author's code; {name} has {kind!s:.80} of {module!s:.80}. Build it of standard layers."
        )


def check_hdf5(path: Path) -> None:
    """Raise BackboneError unless a file of weights keeps all its values in itself, and not too many.

    HDF5 can name other files: by external links, by external storage, by virtual tables.
    """
    import h5py

    name, total, nodes = shown(path), 0, 0
    try:
        with h5py.File(path, "r") as file:
            for item in _items(file):
                nodes += 1
                if isinstance(item, h5py.Dataset):
                    total += item.size * item.dtype.itemsize
                    if item.is_virtual or item.external:
                        raise BackboneError(f"{name} must keep its values in itself; {item.name!s:.80} is elsewhere.")
                if nodes > MAX_NODES or total > MAX_BYTES[WEIGHTS]:
                    raise BackboneError(
                        f"{name} must hold weights of at most {MAX_BYTES[WEIGHTS]:,} bytes; it has more."
                    )
    except BackboneError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise BackboneError(
            f"{name} must be a whole HDF5 file of weights; {' '.join(str(error).split())[:200]}. Get it again."
        ) from error


def _items(group: Any) -> Iterator[Any]:
    """Every group and table below `group`; BackboneError for a link to elsewhere."""
    import h5py

    waiting = [(group, 0)]
    while waiting:
        group, depth = waiting.pop()
        if depth > MAX_GROUPS:  # a group can hold itself
            raise BackboneError(
                f"A file of weights must be at most {MAX_GROUPS} groups deep; it is deeper. Save it again."
            )
        for key in group:
            if not isinstance(group.get(key, getlink=True), h5py.HardLink):
                raise BackboneError(f"A file of weights must have no links in it; {key!s:.80} is one. Save it again.")
            item = group[key]
            yield item
            if isinstance(item, h5py.Group):
                waiting.append((item, depth + 1))


def _check_members(archive: zipfile.ZipFile, name: str) -> None:
    members = archive.infolist()
    if sorted(member.filename for member in members) != sorted(MAX_BYTES):
        strange = [member.filename for member in members if member.filename not in MAX_BYTES]
        raise BackboneError(
            f"{name} must hold {', '.join(MAX_BYTES)}, each once, and nothing else; it "
            f"{f'also has {strange[0]!r:.80}' if strange else 'does not'}. Save it again with model.save('NAME.keras')."
        )
    for member in members:
        if member.file_size > MAX_BYTES[member.filename]:
            raise BackboneError(
                f"{member.filename} of {name} must be at most {MAX_BYTES[member.filename]:,} bytes; it has "
                f"{member.file_size:,}. Take a smaller network."
            )


def _copy(source: Any, target: Any, size: int) -> None:
    left = size
    while block := source.read(min(1 << 20, left + 1)):
        left -= len(block)
        if left < 0:
            raise zipfile.BadZipFile(f"{WEIGHTS} is longer than it says")
        target.write(block)


def _side(model: Any, name: str, size_px: int | None) -> int:
    """The side of the network's input."""
    shape = tuple(model.inputs[0].shape)
    if len(model.inputs) != 1 or len(model.outputs) != 1 or len(shape) != 4 or shape[1] != shape[2] or shape[3] != 3:
        raise BackboneError(
            f"The network of {name} must take one square RGB picture, (None, S, S, 3) or (None, None, None, 3), and "
            f"give one answer; it takes {shape}. Begin it with keras.Input((None, None, 3))."
        )
    if shape[1] is None:
        return size_px or OF_ANY_SIZE_PX
    if size_px not in (None, shape[1]):
        raise SettingsError(
            f"--size must be that of the network, {shape[1]}, or be left out; got {size_px}. Leave --size out."
        )
    if not SMALLEST_PX <= shape[1] <= LARGEST_PX:
        raise BackboneError(
            f"The network of {name} must take pictures of {SMALLEST_PX} to {LARGEST_PX} px; it takes {shape[1]}. "
            f"Take another one."
        )
    return shape[1]


def _activations() -> set[str]:
    activations = _keras().activations
    return {each for each in dir(activations) if not each.startswith("_")} - {"get", "serialize", "deserialize"}


def _keras() -> Any:
    import keras

    return keras
