"""A bundle to a SavedModel or a LiteRT file, by a process of its own.

TensorFlow takes seconds to begin, greets with a page of hints and keeps much memory; and Keras must compute by it here,
whatever backend the person uses. What the process says is held back, and shown where it fails.

Both files hold one function, `serving_default`, from `pictures`, uint8, to `probabilities` (B, C), `logits` (B, C),
before the temperature, and `score` (B,), of strangeness, where the bundle has a way to tell; all float32.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tellapart import bundle as bundles
from tellapart import golden, kerasmodels, strangers, tempfolders
from tellapart.errors import ExportError
from tellapart.files import shown
from tellapart.preprocess import Preprocess, fit

SAVED_MODEL, LITERT = "saved-model", "litert"
SIGNATURE = "serving_default"  # what TensorFlow Serving looks for
SCOPE = "answer"  # of the operations behind the network
LAYERS = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED")
SPARED = (0, 2, 4, 8, 12, 16)  # first layers that stay float32: tried in this order
MOST_SPARED = 1 / 3  # of all layers
NEAR = 0.05  # of a probability of a golden picture: then no more layers are spared


def written(bundle: bundles.Bundle, kind: str, path: Path, squares: np.ndarray | None = None) -> None:
    """Write a bundle as a SavedModel, a folder, or as a LiteRT file; in int8 where there are `squares`.

    Args:
        bundle: the model.
        kind: SAVED_MODEL or LITERT.
        path: what is written.
        squares: for LITERT pictures that show what values come, uint8 (N, S, S, 3).

    Raises:
        ExportError: TensorFlow cannot write the network.
    """
    with tempfolders.private() as kept:
        bundles.write(bundle, Path(kept, "model.tellapart"))
        if squares is not None:
            np.save(Path(kept, "squares.npy"), squares)
        environment = {**os.environ, "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3", "TMPDIR": str(kept)}
        command = [sys.executable, "-m", __name__, kind, str(kept), str(path.absolute())]
        done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True)
    if done.returncode:
        said = [line for line in done.stderr.decode("utf-8", "replace").splitlines() if line.strip()][-1:]
        raise ExportError(
            f"TensorFlow must be able to write the network; its process ended with status {done.returncode}: "
            f"{shown(' '.join(said))[:300]}. Nothing was written. Try --to onnx."
        )


def main(kind: str, kept: str, path: str) -> None:
    """What the process does: `kept` is the folder with the bundle and the squares."""
    bundle = bundles.read(Path(kept, "model.tellapart"))
    import tensorflow as tf

    answers, variables = _answering(kerasmodels.of_bundle(bundle.members["model.keras"]), bundle)
    if kind == SAVED_MODEL:
        _save(answers, variables, bundle, path)
        return
    _save(answers, variables, bundle, str(Path(kept, "saved")), one_square=True)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(Path(kept, "saved")), signature_keys=[SIGNATURE])
    squares = Path(kept, "squares.npy")
    model = _in_int8(converter, np.load(squares), bundle) if squares.exists() else converter.convert()
    Path(path).write_bytes(model)


def _answering(network: Any, bundle: bundles.Bundle) -> tuple[Callable[[Any], dict[str, Any]], list[Any]]:
    """Squares, (B, S, S, 3), to outputs by name, in TensorFlow's operations; and the variables that these read."""
    import keras
    import tensorflow as tf

    from tellapart import graphs
    from tellapart.export import tfnodes

    last = graphs.last_dense(network)
    features = keras.Model(network.inputs, last.input)
    kernel, *bias = (weight.value for weight in last.weights)
    temperature = np.float32(bundle.manifest["temperature"])
    content = bundle.members.get(strangers.MEMBER)
    known = None if content is None else strangers.Strangers.from_bytes(content)

    def answers(squares: Any) -> dict[str, Any]:
        embedding = features(tf.cast(squares, tf.float32), training=False)
        with tf.name_scope(SCOPE):
            tempered = tf.matmul(embedding, kernel)  # the network in the bundle has its temperature in these weights
            for each in bias:
                tempered += each
            if tempered.shape[1] == 1:  # one sigmoid for two classes
                tempered = tf.concat([tf.zeros_like(tempered), tempered], axis=1)
            logits = tempered * temperature
            found = {"probabilities": tf.nn.softmax(tempered), "logits": logits, "embedding": embedding}
            return found if known is None else {**found, "score": tfnodes.strangeness(known, embedding, logits)}

    return answers, [variable.value for variable in network.variables]


def _save(
    answers: Callable[[Any], dict[str, Any]],
    variables: list[Any],
    bundle: bundles.Bundle,
    path: str,
    *,
    one_square: bool = False,
) -> None:
    """A SavedModel that takes pictures of any size, or `one_square` as it is and then gives no embedding."""
    import tensorflow as tf

    from tellapart.export import tfnodes

    how = Preprocess.from_dict(bundle.manifest["preprocess"])

    def whole(pictures: Any) -> dict[str, Any]:
        return answers(tfnodes.square(pictures, how.size_px, how.fit))

    def alone(pictures: Any) -> dict[str, Any]:
        return {name: value for name, value in answers(pictures).items() if name != "embedding"}

    shape = (1, how.size_px, how.size_px, 3) if one_square else (None, None, None, 3)
    taken = tf.TensorSpec(shape, tf.uint8, name="pictures")
    function = tf.function(alone if one_square else whole, input_signature=[taken], autograph=False)
    module: Any = tf.Module()
    module.weights = variables
    names = tf.constant([name.encode("utf-8", "surrogateescape") for name in bundle.classes])
    module.classes = tf.Variable(names, trainable=False)
    tf.saved_model.save(module, path, signatures={SIGNATURE: function})


def _in_int8(converter: Any, squares: np.ndarray, bundle: bundles.Bundle) -> bytes:
    """The network in int8, but for as many of its first layers as it takes, on whose rounding all others build.

    What stands behind the network stays in float32: 8 bits would not tell a score. The golden pictures help to set the
    ranges of values, since they go further than most pictures do.
    """
    import tensorflow as tf

    how, kept = Preprocess.from_dict(bundle.manifest["preprocess"]), golden.of(bundle)
    drawn = [fit(pixels, how) for pixels in kept.pictures]

    def shown_squares() -> Iterator[dict[str, np.ndarray]]:
        for square in (*squares, *drawn):
            yield {"pictures": square[None]}

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = shown_squares
    # Meant for finding what int8 harms: it is TensorFlow's way to leave operations as they are.
    debugger = tf.lite.experimental.QuantizationDebugger(converter=converter, debug_dataset=shown_squares)
    behind, rows = _operations(debugger.calibrated_model)
    layers = [i for i, (kind, names) in enumerate(rows) if kind in LAYERS and not behind.issuperset(names)]
    best, least = b"", np.inf
    for spared in (n for n in SPARED if n <= MOST_SPARED * len(layers)):
        ahead = rows[: layers[spared - 1] + 1] if spared else []
        left = sorted({*behind, *(name for _, names in ahead for name in names)})
        debugger.options = tf.lite.experimental.QuantizationDebugOptions(denylisted_nodes=left)
        model = debugger.get_nondebug_quantized_model()
        answers = tf.lite.Interpreter(model_content=model).get_signature_runner(SIGNATURE)
        told = np.concatenate([answers(pictures=square[None])["probabilities"] for square in drawn])
        apart = float(np.abs(told - kept.probabilities).max())
        if apart < least:
            best, least = model, apart
        if apart <= NEAR:
            break
    return best


def _operations(model: bytes) -> tuple[set[str], list[tuple[str, list[str]]]]:
    """Names of what stands behind the network in a LiteRT model, and of all operations, in order, kind and outputs."""
    import tensorflow as tf

    opened = tf.lite.Interpreter(model_content=model)
    names = {detail["index"]: detail["name"] for detail in opened.get_tensor_details()}
    behind = {detail["name"] for detail in opened.get_output_details()}
    behind |= {name for name in names.values() if any(part.startswith(f"{SCOPE}/") for part in name.split(";"))}
    rows = [
        (operation["op_name"], [names[i] for i in operation["outputs"] if i in names])
        for operation in opened._get_ops_details()  # there is no public way to their order
    ]
    return behind, rows


if __name__ == "__main__":
    main(*sys.argv[1:])
