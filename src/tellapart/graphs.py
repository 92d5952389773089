"""A Keras model to one ONNX graph for the engine.

The graph takes uint8 pictures (B, S, S, 3) and gives logits (B, C), the embedding (B, D: what the last dense
layer sees) and the last feature map (B, H, W, K). It is float32 whatever the training precision was. The
conversion is Keras' own exporter, which folds batch normalisation; here stands what the bundle asks beyond it. Where
Keras runs on another backend than TensorFlow, a process of its own does it there.
"""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

from tellapart import kerasclasses, kernels, tempfolders
from tellapart.backbones import Head
from tellapart.engine import EMBEDDING, FEATURE_MAP, LOGITS, Engine
from tellapart.errors import InputError, MissingPackageError

OPSET = 18
NO_DATE = "1980-01-01@00:00:00"  # in place of when a network was saved; as Keras writes it
SHARED = "shared_object_id"  # Keras' key for what several layers share


def in_float32(model: keras.Model, size_px: int | None = None) -> keras.Model:
    """The same network with the same weights, of standard layers, all in float32; without optimizer state.

    With `size_px` the copy takes pictures of that side.
    """

    def as_float32(layer: keras.Layer) -> keras.Layer:
        config = layer.get_config()
        if "dtype" in config and not isinstance(layer, layers.InputLayer):
            config["dtype"] = "float32"
        return kernels.plain(layer).from_config(config)

    pixels = None if size_px is None else keras.Input((size_px, size_px, 3), dtype="uint8", name="pixels")
    return _copy(model, as_float32, pixels)


def of_any_size(model: keras.Model) -> keras.Model:
    """The same network with the same weights for pictures of any side: functional, without layers that need one."""
    pixels = keras.Input((None, None, 3), dtype="uint8", name="pixels")
    return _copy(model, lambda layer: layer.__class__.from_config(layer.get_config()), pixels)


def _copy(model: keras.Model, made_anew: Callable[[keras.Layer], keras.Layer], pixels: Any) -> keras.Model:
    compiled, model.compiled = model.compiled, False  # Keras would compile the copy as well
    try:
        copy = keras.models.clone_model(model, input_tensors=pixels, clone_function=made_anew, recursive=pixels is None)
    finally:
        model.compiled = compiled
    copy.set_weights(model.get_weights())
    _settle(copy)
    return copy


def _settle(copy: keras.Model) -> None:
    """Let normalisations of pixels take up the weights that they were given: Keras' compute by values of their own."""
    for layer in copy._flatten_layers(include_self=False):
        if isinstance(layer, layers.Normalization):
            layer.finalize_state()


def check(model: Any, n_classes: int) -> None:
    """Whether `model` can be trained, exported and explained.

    Raises:
        InputError: it is no Sequential or functional Keras model, takes no square pictures of three channels, does
            not end in a dense layer with one column a class (or one sigmoid for two classes), or has layers with which
            its bundle could not be opened again.
    """
    if not isinstance(model, keras.Model) or not getattr(model, "inputs", None):
        raise InputError(
            f"A network must be a built Sequential or functional keras.Model, so that it loads anywhere without "
            f"its author's code; got {type(model).__name__}. Give it a keras.Input and standard layers."
        )
    shape = tuple(model.inputs[0].shape)
    if len(model.inputs) != 1 or len(shape) != 4 or shape[1] is None or shape[1] != shape[2] or shape[3] != 3:
        raise InputError(
            f"A network must take one square RGB picture, (None, S, S, 3); got {shape}. "
            f"Begin it with keras.Input((S, S, 3))."
        )
    dense = last_dense(model)
    if len(model.outputs) != 1 or len(model.outputs[0].shape) != 2:
        raise InputError(
            f"A network must give one answer a picture, (None, {n_classes}); got "
            f"{', '.join(str(tuple(output.shape)) for output in model.outputs)}. Flatten or pool before the last Dense."
        )
    units = dense.units
    if units != n_classes and not (units == 1 and n_classes == 2):
        raise InputError(
            f"The last Dense layer must have one unit a class; there are {n_classes} classes, and it has {units}. "
            f"Make it Dense({n_classes})."
        )
    expected, closing = "sigmoid" if units == 1 else "softmax", _closing(model)
    if closing not in ([], [expected]):
        raise InputError(
            f"The last Dense layer must give logits, or probabilities by one {expected}; got "
            f"{' and '.join(closing)} after Dense({units}). Use {expected}, or no activation."
        )
    for layer in model._flatten_layers(include_self=False):
        if not kernels.plain(layer).__module__.startswith("keras.src.") or isinstance(layer, layers.Lambda):
            raise InputError(
                f"A network must have Keras' own layers only, no Lambda, so that it loads anywhere without its "
                f"author's code; got {type(layer).__name__} {layer.name!r}. Build it of standard layers."
            )
    if strange := kerasclasses.strange(_described(model)):
        raise InputError(
            f"A network must be made of what its bundle is opened with again, the common ones of Keras' own layers and "
            f"operations; got {strange}. Put one that tellapart.kerasclasses names, as Conv2D or Dense, in its place."
        )


def _described(model: keras.Model) -> Any:
    """A network's description as it will be saved: of standard layers, without what it was compiled with."""
    compiled, model.compiled = model.compiled, False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Keras warns of functions without a name, which are refused
            description = keras.saving.serialize_keras_object(model)
    finally:
        model.compiled = compiled
    waiting = [description]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if value.get("module") == kernels.__name__:
                value |= {"module": "keras.layers", "registered_name": None}
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
    return description


def last_dense(model: keras.Model) -> layers.Dense:
    """The dense layer that a network ends in, be it followed by an activation; InputError where there is none."""
    last = _ending(model)[-1]
    if not isinstance(last, layers.Dense):
        raise InputError(
            f"A network must end in a Dense layer with one unit a class; got {type(last).__name__} {last.name!r}. "
            f"End it so."
        )
    return last


def ends_in_logits(model: keras.Model) -> bool:
    """Whether the answers of `model` are logits (True) or probabilities (False)."""
    return not _closing(model)


def feature_tensor(model: keras.Model) -> Any:
    """What the closing Dense layer sees, be that followed by an activation; the answer itself where there is none."""
    last = _ending(model)[-1]
    return last.input if isinstance(last, layers.Dense) else model.outputs[0]


def at_size(model: keras.Model, output: Any, size_px: int, *, taken: Sequence[str] = ()) -> keras.Model:
    """A copy of `model` up to `output`: pixels, uint8 (B, S, S, 3), in, every layer in float32 and not compiled.

    `model` takes (None, None, None, 3) or just this size. Layers whose name is `taken` get another one.
    """
    as_float = layers.Rescaling(1.0, name="as_float")

    def renamed(layer: Any) -> Any:
        config = layer.get_config()
        if "dtype" in config and not isinstance(layer, layers.InputLayer):
            config["dtype"] = "float32"
        if config.get("name") in taken:
            config["name"] += "_inside"
        return layer.__class__.from_config(config)

    def call(layer: Any, *args: Any, **settings: Any) -> Any:
        if args and getattr(args[0], "dtype", None) == "uint8":
            args = (as_float(args[0]), *args[1:])
        return layer(*args, **settings)

    body = keras.Model(model.inputs[0], output)
    pixels = keras.Input((size_px, size_px, 3), dtype="uint8", name="pixels")
    copy = keras.models.clone_model(
        body, input_tensors=pixels, clone_function=renamed, call_function=call, recursive=True
    )
    copy.set_weights(body.get_weights())
    _settle(copy)
    return copy


def _ending(model: keras.Model) -> list[Any]:
    """The layers that a network ends in, from its last one back to the first that is no activation."""
    ending: list[Any] = [model.layers[-1]]
    while isinstance(ending[-1], (layers.Softmax, layers.Activation)):
        source: Any = ending[-1].input
        ending.append(source._keras_history.operation)
    return ending


def _closing(model: keras.Model) -> list[str]:
    """The names of the activations that stand between the last dense layer's product and the answer."""
    names = []
    for layer in reversed(_ending(model)):
        name: Any = "softmax" if isinstance(layer, layers.Softmax) else keras.activations.serialize(layer.activation)
        names.append(name if isinstance(name, str) else str(name["registered_name"]))
    return [name for name in names if name != "linear"]  # a linear one is how mixed precision gets back to float32


def three_outputs(model: keras.Model) -> keras.Model:
    """`model` with the outputs logits, embedding and feature map.

    A closing softmax or sigmoid is taken off, whether it is an activation of the last dense layer or a layer of
    its own. One sigmoid of z becomes the two logits [0, z].
    """
    model = _rescaling(model)
    last = last_dense(model)
    weights = last.get_weights()
    if last.units == 1:
        weights = [np.concatenate([np.zeros_like(each), each], axis=-1) for each in weights]
    linear = layers.Dense(
        weights[0].shape[-1], use_bias=last.use_bias, dtype="float32", name=_free("dense_of_logits", model)
    )
    logits = linear(last.input)
    linear.set_weights(weights)
    embedding = layers.Flatten(dtype="float32", name=_free("flat_embedding", model))(last.input)
    feature_map = _map(model, last.input)
    three = keras.Model(model.inputs[0], [logits, embedding, feature_map])
    # Said outright: left open, layers that vary pictures at random would do so in the graph.
    pixels = keras.Input(tuple(model.inputs[0].shape[1:]), dtype=model.inputs[0].dtype)
    return keras.Model(pixels, three(pixels, training=False))


def _rescaling(model: keras.Model) -> keras.Model:
    """`model`, or where it normalises pixels by statistics a copy that rescales them, which is the same.

    Keras' layer computes by values that are no weights: the exporter takes them for further inputs of the graph.
    """

    def leaves(of: keras.Model) -> list[Any]:
        every = [each for each in of._flatten_layers(include_self=False) if not isinstance(each, keras.Model)]
        return [each for each in every if not isinstance(each, layers.InputLayer)]

    if not any(_is_plain_normalisation(layer) for layer in leaves(model)):
        return model

    def changed(layer: Any) -> Any:
        if not _is_plain_normalisation(layer):
            return layer.__class__.from_config(layer.get_config())
        mean, variance = (np.asarray(keras.ops.convert_to_numpy(each)).ravel() for each in (layer.mean, layer.variance))
        spread = np.maximum(np.sqrt(variance), keras.backend.epsilon())
        pair: Any = (spread, mean) if layer.invert else (1 / spread, -mean / spread)
        scale, offset = pair
        return layers.Rescaling(scale.tolist(), offset.tolist(), dtype="float32", name=layer.name)

    copy = keras.models.clone_model(model, clone_function=changed, recursive=True)
    for old, new in zip(leaves(model), leaves(copy), strict=True):
        if not _is_plain_normalisation(old):
            new.set_weights(old.get_weights())
    _settle(copy)
    return copy


def _is_plain_normalisation(layer: Any) -> bool:
    """Whether a layer normalises each channel, or all of them, by its statistics."""
    return isinstance(layer, layers.Normalization) and layer.axis in ((), (-1,), (3,))


def _map(model: keras.Model, tensor: Any) -> Any:
    """The last value before `tensor` that has places; of a network of dense layers it is the picture."""
    found = _last_map(tensor)
    if found is not None:
        return found
    return layers.Rescaling(1.0, dtype="float32", name=_free("picture_as_map", model))(model.inputs[0])


def _free(name: str, model: keras.Model) -> str:
    """A name that no layer of `model` has. Keras' own would be that of a layer which came from a file."""
    taken = {layer.name for layer in model._flatten_layers()}
    while name in taken:
        name += "_"
    return name


def _last_map(tensor: Any) -> Any:
    """The last value before `tensor` that has places, (B, H, W, K), and is not the picture itself; None if none."""
    waiting = [tensor]
    while waiting:
        tensor = waiting.pop(0)
        operation, node, _ = tensor._keras_history
        if isinstance(operation, layers.InputLayer):
            continue
        if len(tensor.shape) == 4 and None not in tensor.shape[1:]:
            return tensor
        waiting.extend(operation._inbound_nodes[node].input_tensors)
    return None


def to_onnx(model: keras.Model) -> bytes:
    """The graph of a float32 `model` (see the head of this module) as the bytes of one ONNX file."""
    return _exported(three_outputs(model), [LOGITS, EMBEDDING, FEATURE_MAP])


def features_to_onnx(model: keras.Model) -> bytes:
    """The graph of a float32 `model` that gives features (B, D), in the bytes of one ONNX file.

    Input: `pixels`, uint8 (B, S, S, 3). Outputs: `embedding` and `feature_map`.
    """
    model = _rescaling(model)
    features = model.outputs[0]
    flat = layers.Flatten(dtype="float32", name=_free("flat_embedding", model))(features)
    two = keras.Model(model.inputs[0], [flat, _map(model, features)])
    pixels = keras.Input(tuple(model.inputs[0].shape[1:]), dtype="uint8")
    return _exported(keras.Model(pixels, two(pixels, training=False)), [EMBEDDING, FEATURE_MAP])


def with_head(graph: bytes, head: Head) -> bytes:
    """A graph of `features_to_onnx` with a head: its outputs are what a bundle asks for."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load_from_string(graph)
    names = ("answer_kernel", "answer_bias")
    for name, value in zip(names, (head.kernel, head.bias), strict=True):
        model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value, np.float32), name))
    model.graph.node.append(helper.make_node("Gemm", [EMBEDDING, *names], [LOGITS], "answer"))
    logits = helper.make_tensor_value_info(LOGITS, TensorProto.FLOAT, ["batch", len(head.bias)])
    model.graph.output.insert(0, logits)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


def _exported(model: keras.Model, outputs: list[str]) -> bytes:
    """The graph of a float32 `model` with the names of its outputs."""
    if keras.backend.backend() != "tensorflow":
        return _exported_apart(model, outputs)
    import onnx

    size = tuple(model.inputs[0].shape[1:])
    model(np.zeros((1, *size), dtype="uint8"))  # Keras exports only what was called once
    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)  # what it does not know is known here, or found below
    with tempfolders.private() as folder, warnings.catch_warnings():
        # The exporter looks for a name that numpy has taken out.
        warnings.filterwarnings("ignore", "In the future `np.object`", FutureWarning)
        path = Path(folder, "model.onnx")
        signature = [keras.InputSpec(shape=(None, *size), dtype="uint8", name="pixels")]
        with kernels.exporting():
            model.export(path, format="onnx", verbose=False, opset_version=OPSET, input_signature=signature)
        exported = onnx.load(path)
    _without_erfc(exported.graph)
    _rename(exported.graph, outputs)
    onnx.checker.check_model(exported, full_check=True)
    return exported.SerializeToString()


def _exported_apart(model: keras.Model, outputs: list[str]) -> bytes:
    """The same from a process of its own, where Keras runs on TensorFlow: the exporter of other backends is another."""
    environment = dict(os.environ, KERAS_BACKEND="tensorflow", TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1")
    with tempfolders.private() as folder:
        network, graph = folder / "model.keras", folder / "model.onnx"
        network.write_bytes(keras_file(model))
        command = [sys.executable, "-m", __name__, str(network), str(graph), *outputs]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode:
            raise MissingPackageError(
                f"Keras must be able to export a network by TensorFlow, also where it trains on another backend; its "
                f"process ended with status {done.returncode}: {' '.join(done.stderr.split())[-300:]}. "
                f"Run: pip install --upgrade 'tellapart[train]'"
            )
        return graph.read_bytes()


def main(network: str, graph: str, *outputs: str) -> None:
    """Export the network of a file that this package has just written: see `_exported_apart`."""
    model = keras.models.load_model(network, compile=False)
    assert isinstance(model, keras.Model)
    Path(graph).write_bytes(_exported(model, list(outputs)))


def keras_file(model: keras.Model) -> bytes:
    """The network as a `.keras` file; it was never compiled, so there is no optimizer state in it.

    The same network gives the same bytes: no time is in it, and what Keras names by addresses in memory, the objects
    that several layers share, is numbered.
    """
    file = io.BytesIO()
    with tempfolders.private() as folder:
        path = Path(folder, "model.keras")
        model.save(path)
        with zipfile.ZipFile(path) as saved, zipfile.ZipFile(file, "w") as archive:
            for name in saved.namelist():
                content = saved.read(name)
                if name == "metadata.json":
                    content = json.dumps({**json.loads(content), "date_saved": NO_DATE}).encode()
                if name == "config.json":
                    content = json.dumps(_numbered(json.loads(content), {})).encode()
                archive.writestr(zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0)), content)
    return file.getvalue()


def _numbered(value: Any, numbers: dict[int, int]) -> Any:
    """A saved network's description with its shared objects numbered from 1 in the order of their appearance."""
    if isinstance(value, list):
        return [_numbered(each, numbers) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        key: numbers.setdefault(each, len(numbers) + 1)
        if key == SHARED and isinstance(each, int)
        else _numbered(each, numbers)
        for key, each in value.items()
    }


def tempered(model: keras.Model, temperature: float) -> keras.Model:
    """A copy in float32 whose logits are divided by a temperature: by the weights of its last dense layer."""
    copy = in_float32(model)
    last = last_dense(copy)
    last.set_weights([weights / temperature for weights in last.get_weights()])
    return copy


def check_export(model: keras.Model) -> None:
    """Raise InputError unless `model` can become a graph that the engine opens: tried, with the weights it has now."""
    try:
        Engine(to_onnx(in_float32(model)))
    except Exception as error:  # what the exporter raises of a layer that it does not know has no common base
        raise InputError(
            f"A network must be one that Keras can export to ONNX; it says: {' '.join(str(error).split())[:300]}. "
            f"Replace the layer that it names."
        ) from error


def _without_erfc(graph: Any) -> None:
    """1 - erf in place of erfc, which TensorFlow's GELU asks for and ONNX does not have."""
    from onnx import helper, numpy_helper

    found = [node for node in graph.node if node.op_type == "Erfc"]
    if not found:
        return
    nodes = []
    for node in graph.node:
        if node.op_type == "Erfc":
            erf = f"{node.output[0]}/erf"
            nodes.append(helper.make_node("Erf", list(node.input), [erf]))
            nodes.append(helper.make_node("Sub", ["erfc/one", erf], list(node.output)))
        else:
            nodes.append(node)
    graph.initializer.append(numpy_helper.from_array(np.array(1, np.float32), "erfc/one"))
    del graph.node[:]
    graph.node.extend(nodes)


def _rename(graph: Any, outputs: list[str]) -> None:
    """Name the outputs, and every other value by its place: the same network gives the same bytes in every run."""
    names = {value.name: name for value, name in zip(graph.output, outputs, strict=True)}
    names |= {value.name: "pixels" for value in graph.input}
    first_use = {name: i for i, name in reversed(list(enumerate(n for node in graph.node for n in node.input)))}
    weights = sorted(graph.initializer, key=lambda tensor: first_use.get(tensor.name, len(first_use)))
    names |= {tensor.name: f"weights_{i}" for i, tensor in enumerate(weights)}
    for i, node in enumerate(graph.node):
        for j, name in enumerate(node.output):
            names.setdefault(name, f"value_{i}_{j}")
        node.name = f"{node.op_type.lower()}_{i}"
    names[""] = ""  # an optional input that is left out
    for node in graph.node:
        node.input[:] = [names[name] for name in node.input]
        node.output[:] = [names[name] for name in node.output]
    for value in (*weights, *graph.input, *graph.output):
        value.name = names[value.name]
    del graph.initializer[:]
    graph.initializer.extend(weights)
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    del graph.value_info[:]
    graph.name, graph.doc_string = "tellapart", ""


if __name__ == "__main__":
    main(*sys.argv[1:])
