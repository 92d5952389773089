"""A graph and a batch to outputs: graphs written by hand, so that every output is known."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tellapart.engine import Engine
from tellapart.errors import BundleError

SIDE = 4
WEIGHTS = np.stack([np.ones(SIDE * SIDE * 3), np.arange(SIDE * SIDE * 3)], axis=1).astype(np.float32)
OUTPUTS = {"logits": ["b", 2], "embedding": ["b", SIDE * SIDE * 3], "feature_map": ["b", SIDE, SIDE, 3]}


def graph(
    *, input_type: int = TensorProto.UINT8, shape: tuple = ("b", SIDE, SIDE, 3), outputs: dict | None = None
) -> onnx.ModelProto:
    """The pixels as the feature map, flattened as the embedding, times WEIGHTS as the logits."""
    nodes = [
        helper.make_node("Cast", ["pixels"], ["feature_map"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["feature_map"], ["embedding"]),
        helper.make_node("MatMul", ["embedding", "weights"], ["logits"]),
    ]
    given = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in (outputs or OUTPUTS).items()
    ]
    made = helper.make_graph(
        nodes,
        "by hand",
        [helper.make_tensor_value_info("pixels", input_type, shape)],
        given,
        [numpy_helper.from_array(WEIGHTS, "weights")],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


@pytest.mark.parametrize("n", [1, 7])
@pytest.mark.parametrize("threads", [None, 1])
def test_outputs_are_those_of_the_graph(n: int, threads: int | None) -> None:
    engine = Engine(graph().SerializeToString(), threads=threads)
    assert (engine.size_px, engine.n_classes) == (SIDE, 2)
    batch = np.random.default_rng(3).integers(0, 256, (n, SIDE, SIDE, 3), dtype=np.uint8)
    outputs = engine.run(batch)
    flat = batch.reshape(n, -1).astype(np.float64)
    np.testing.assert_array_equal(outputs.embedding, flat)
    np.testing.assert_allclose(outputs.logits, flat @ WEIGHTS, rtol=1e-6)
    assert outputs.logits.dtype == outputs.embedding.dtype == np.float32
    np.testing.assert_array_equal(engine.feature_map(batch), batch)


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (b"", "can open"),
        (b"not a graph", "can open"),
        (graph().SerializeToString()[:200], "can open"),
        (graph(input_type=TensorProto.FLOAT).SerializeToString(), "one input, uint8"),
        (graph(outputs={"logits": ["b", 2]}).SerializeToString(), r"outputs logits, embedding, feature_map; got \['l"),
        (graph(outputs=dict(reversed(OUTPUTS.items()))).SerializeToString(), "must have the outputs"),
    ],
    ids=["empty", "text", "cut short", "float input", "one output", "another order"],
)
def test_what_is_no_such_graph_is_refused_in_one_line(made: bytes, says: str) -> None:
    with pytest.raises(BundleError, match=says) as error:
        Engine(made)
    assert "\n" not in str(error.value)


def test_logits_must_have_a_row_a_picture() -> None:
    model = graph()
    model.graph.node.append(helper.make_node("ReduceSum", ["embedding"], ["all"], keepdims=0))
    model.graph.node[2].output[0] = "unused"
    model.graph.node[3].output[0] = "logits"
    del model.graph.output[0].type.tensor_type.shape.dim[:]
    with pytest.raises(BundleError, match=r"float32 \(B, C\); got tensor\(float\) \[\]"):
        Engine(model.SerializeToString())


@pytest.mark.parametrize("folder", [".", "..", "sub"])
def test_a_graph_cannot_have_files_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    """ONNX may name files to take weights from; a bundle's graph from somewhere must not reach into the disk."""
    (tmp_path / "here" / "sub").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    Path(folder, "private.bin").write_bytes(WEIGHTS.tobytes())
    model = graph()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=f"{folder}/private.bin")
    with pytest.raises(BundleError, match="can open"):
        Engine(model.SerializeToString())
