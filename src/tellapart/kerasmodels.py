"""A `.keras` file of the user's own as a feature extractor, opened without trusting it.

Keras' own loader has had holes: code in Lambda layers, imports named in the configuration, files named in HDF5. So the
archive is opened here, its configuration is walked against a list of classes before anything is made of it, and its
weights are read from a file that was looked through. The file format: https://keras.io/guides/serialization_and_saving
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from tellapart import jsontext, kerasclasses, tempfolders, zipmembers
from tellapart.errors import BackboneError, BundleError, SettingsError
from tellapart.files import shown
from tellapart.zipmembers import Limit

if TYPE_CHECKING:
    import keras

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
LIMITS = {
    CONFIG: Limit(20_000_000, ratio=100),
    METADATA: Limit(1_000_000, ratio=100),
    WEIGHTS: Limit(1_800_000_000, ratio=4),  # weights hardly shrink
}
MAX_BYTES = sum(limit.bytes for limit in LIMITS.values())
MAX_NODES, MAX_GROUPS = 50_000, 64  # groups and tables in a file of weights, and groups in one another
MAX_DEPTH = 200  # of a configuration
MAX_FEATURES = 8192
SPARE_BYTES = 1_000_000  # what layers keep beside weights, as the state of a random generator
MAX_FEATURE = 60_000.0  # features are kept as float16
OF_ANY_SIZE_PX = 224  # the size for a network that takes every size
SMALLEST_PX, LARGEST_PX = 32, 512
OURS = ("pixels", "as_float", "features", "answer")  # names of the layers that are put around it


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
    with path.open("rb") as file:
        return _model(file, path.stat().st_size, shown(path))


def of_bundle(content: bytes) -> keras.Model:
    """The model in the bytes of a bundle's `.keras` file, as `load` has it. Raises BundleError."""
    try:
        return _model(io.BytesIO(content), len(content), "The bundle's model.keras")
    except BackboneError as error:
        raise BundleError(str(error)) from error


def _model(file: BinaryIO, n_bytes: int, name: str) -> keras.Model:
    """The one way from a `.keras` file to a model: looked through, its sizes found, and only then made."""
    with tempfolders.private() as folder:
        weights = Path(folder, WEIGHTS)
        try:
            members = zipmembers.listed(file, n_bytes)
            _check_members(members, name)
            zipmembers.checked(members, LIMITS, MAX_BYTES)
            config = jsontext.read(zipmembers.content(file, members[CONFIG]), most_deep=MAX_DEPTH)
            weights.write_bytes(zipmembers.content(file, members[WEIGHTS]))
        except ValueError as error:
            raise BackboneError(
                f"{name} must be a whole .keras file; {' '.join(str(error).split())[:200]}. Save it again with "
                f"model.save('NAME.keras')."
            ) from error
        check_config(config, name)
        n_bytes = check_hdf5(weights)
        try:
            model = _built(config, n_bytes, name)
            model.load_weights(weights)
            numbers = model.get_weights()
        except BackboneError:
            raise
        except Exception as error:  # what Keras raises of a configuration has no common base
            raise BackboneError(
                f"{name} must be a model that this Keras ({_keras().__version__}) can read; it says: "
                f"{' '.join(str(error).split())[:300]}. Save it again with this version."
            ) from error
        if not all(np.isfinite(each).all() for each in numbers if each.dtype.kind == "f"):
            raise BackboneError(f"The weights of {name} must be numbers; some are infinite or none (NaN). Save others.")
    return model


def _built(config: dict[str, Any], n_bytes: int, name: str) -> keras.Model:
    """The model of a configuration; no weights are made before they are known to be no more than the file has.

    A configuration of a hundred bytes can ask for a layer of terabytes.
    """
    from keras.src.backend.common import global_state

    keras = _keras()
    try:
        with keras.StatelessScope(initialize_variables=False):
            model = keras.saving.deserialize_keras_object(config, safe_mode=True)
            if not isinstance(model, keras.Model) or not getattr(model, "inputs", None):
                raise TypeError("it is no built model")
            asked = sum(math.prod(variable.shape) for variable in model.variables)
        if 2 * asked > n_bytes + SPARE_BYTES:  # a weight has two bytes or more
            raise BackboneError(
                f"{name} must have its weights in it; its layers ask for {asked:,} numbers, and it has {n_bytes:,} "
                f"bytes of them. Save it again with model.save('NAME.keras')."
            )
        with keras.StatelessScope():
            pass  # at its end Keras makes the weights that wait
    finally:
        global_state.set_global_attribute("uninitialized_variables", [])
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
    """Raise BackboneError unless a model's configuration names classes of `kerasclasses` alone.

    What the model was compiled with is taken out.
    """
    if not kerasclasses.is_model(config):
        raise BackboneError(
            f"{name} must hold a functional or Sequential model; got "
            f"{config.get('class_name') if isinstance(config, dict) else type(config).__name__!s:.80}. "
            f"Build it of keras.Input and Keras' own layers."
        )
    if strange := kerasclasses.strange(config):
        raise BackboneError(
            f"A backbone must have Keras' own layers only, no Lambda and nothing custom, for such a file can run its "
            f"author's code; {name} has {strange}. Build it of standard layers."
        )


def check_hdf5(path: Path) -> int:
    """How many bytes of values a file of weights has. Raises BackboneError unless all are in it, as they are.

    HDF5 can name other files: by external links, by external storage, by virtual tables. It can promise values that it
    does not have, or pack them to little.
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
                if nodes > MAX_NODES or total > LIMITS[WEIGHTS].bytes:
                    raise BackboneError(
                        f"{name} must hold weights of at most {LIMITS[WEIGHTS].bytes:,} bytes; it has more."
                    )
                if isinstance(item, h5py.Dataset):
                    _check_table(item, name)
    except BackboneError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise BackboneError(
            f"{name} must be a whole HDF5 file of weights; {' '.join(str(error).split())[:200]}. Get it again."
        ) from error
    return total


def _check_table(table: Any, name: str) -> None:
    """Raise BackboneError unless the values of a table stand in the file, one after the other, and are plain."""
    if table.dtype.hasobject or table.dtype.kind not in "fiubSV":
        raise BackboneError(f"{name} must hold numbers; {table.name!s:.80} holds {table.dtype}. Save it again.")
    if table.chunks is not None or table.id.get_create_plist().get_nfilters():
        raise BackboneError(f"{name} must hold its values as they are; {table.name!s:.80} is packed. Save it again.")
    if table.id.get_storage_size() != table.size * table.dtype.itemsize:
        raise BackboneError(f"{name} must hold its values itself; those of {table.name!s:.80} are not there.")


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


def _check_members(members: Mapping[str, zipmembers.Member], name: str) -> None:
    if members.keys() != LIMITS.keys():
        strange = [member for member in members if member not in LIMITS]
        raise BackboneError(
            f"{name} must hold {', '.join(LIMITS)}, each once, and nothing else; it "
            f"{f'also has {strange[0]!r:.80}' if strange else 'does not'}. Save it again with model.save('NAME.keras')."
        )


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


def _keras() -> Any:
    import keras

    return keras
