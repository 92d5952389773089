"""A graph is looked through before a runtime sees it: what this package writes passes, and each bound is one."""

from __future__ import annotations

import tracemalloc

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from hostilebundles import graph, ints
from tellapart import graphcheck, graphfile


def test_what_is_known_of_a_good_graph() -> None:
    found = graphcheck.values(graph().SerializeToString())
    batch = found["pixels"].shape[0]
    assert {name: value.shape[1:] for name, value in found.items() if value.shape[0] == batch} == {
        "pixels": (16, 16, 3), "cast": (16, 16, 3), "floats": (3, 16, 16), "pooled": (3, 4, 4),
        "feature_map": (4, 4, 3), "embedding": (3,), "logits": (2,),
    }  # fmt: skip
    assert found["floats"].elements == 768
    assert found["weights"].constant


def test_values_that_this_package_adds_to_a_file_are_no_second_graph() -> None:
    file = graphfile.exposed(graph().SerializeToString(), ["pooled"])
    graphcheck.check(file)
    with pytest.raises(ValueError, match="several graphs"):
        graphcheck.check(graphfile.exposed(file, ["floats"]))


def test_no_cut_and_no_changed_byte_of_a_graph_is_an_error_of_another_kind() -> None:
    """Whatever the bytes are: they pass, or it is said what is wrong with them."""
    file, n_refused = graph().SerializeToString(), 0
    for i in range(len(file)):
        changed = bytearray(file)
        changed[i] ^= 0xFF if i % 2 else 0x08
        for bad in (file[:i], bytes(changed)):
            try:
                graphcheck.check(bad)
            except ValueError:
                n_refused += 1
    assert n_refused > len(file)


def _with(**bounds: int) -> None:
    graphcheck.check(graph([helper.make_node("Relu", ["floats"], ["inner"])]).SerializeToString())


@pytest.mark.parametrize(
    ("bound", "enough", "says"),
    [
        # The largest value is the picture, 3 × 16 × 16.
        ("MOST_VALUE", 768, "at most 767 numbers a picture"),
        # At once: the picture in floats and what Relu makes of it; the cast one is done with.
        ("MOST_LIVE", 1536, "it needs 1,536 numbers a picture at once"),
        # Values of 768, 768, 768, 48, 48, 3 and 2; 48 windows of 16; 48 for the mean; 3 × 2 for the product.
        ("MOST_WORK", 3 * 768 + 2 * 48 + 3 + 2 + 48 * 16 + 48 + 3 * 2, "multiplications a picture"),
        ("MOST_NODES", 7, "it has 7 nodes"),
        ("MOST_CONSTANTS", 1, "1 constants"),
    ],
)
def test_each_bound_is_the_last_number_that_passes(monkeypatch, bound: str, enough: int, says: str) -> None:
    monkeypatch.setattr(graphcheck, bound, enough)
    if bound == "MOST_LIVE":
        monkeypatch.setattr(graphcheck, "MOST_FOLDED", 0)
    _with()
    monkeypatch.setattr(graphcheck, bound, enough - 1)
    with pytest.raises(ValueError, match=says):
        _with()


def test_what_hangs_on_no_input_is_counted_apart(monkeypatch) -> None:
    made = graph([helper.make_node("Expand", ["weights", "n"], ["more"])], [ints("n", 50, 3, 2)]).SerializeToString()
    monkeypatch.setattr(graphcheck, "MOST_FOLDED", 300)
    graphcheck.check(made)
    monkeypatch.setattr(graphcheck, "MOST_FOLDED", 299)
    with pytest.raises(ValueError, match="it makes 300 constants out of others; there may be 299"):
        graphcheck.check(made)


@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
@pytest.mark.parametrize("raw", [True, False])
def test_a_number_that_is_none_is_found_in_every_way_to_write_it(kind: str, raw: bool) -> None:
    values = np.ones((3, 2), kind)
    for bad, ok in ((1.0, True), (np.nan, False), (np.inf, False), (-np.inf, False)):
        values[1, 1] = bad
        tensor = numpy_helper.from_array(values, "weights")
        if not raw:
            tensor = helper.make_tensor("weights", tensor.data_type, (3, 2), values.ravel().tolist())
        made = graph()
        made.graph.initializer[0].CopyFrom(tensor)
        if ok:
            graphcheck.check(made.SerializeToString())
        else:
            with pytest.raises(ValueError, match="constant weights must hold numbers; some are infinite"):
                graphcheck.check(made.SerializeToString())


def test_large_weights_whose_sum_overflows_are_numbers_all_the_same() -> None:
    made = graph()
    made.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.full((3, 2), 3e38, np.float32), "weights"))
    graphcheck.check(made.SerializeToString())


def _side(model: onnx.ModelProto):
    return model.graph.input[0].type.tensor_type.shape.dim[1]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda m: m.graph.initializer[0].dims.__setitem__(0, 4), "must hold 8 numbers by its shape; it holds 6"),
        (lambda m: m.graph.initializer[0].float_data.append(1.0), "holds its numbers in two ways"),
        (lambda m: m.graph.initializer[0].dims.__setitem__(0, -3), "a shape that cannot be"),
        (lambda m: m.graph.initializer[0].dims.extend([1] * 7), "a shape that cannot be"),
        (lambda m: m.graph.initializer.append(TensorProto(name="x", data_type=1, dims=[2**31, 0])), "that cannot be"),
        (lambda m: setattr(m.graph.initializer[0], "data_type", TensorProto.STRING), "must be of numbers"),
        (lambda m: m.graph.initializer.append(m.graph.initializer[0]), "two values of it are called weights"),
        (lambda m: m.graph.node[0].attribute.append(m.graph.node[0].attribute[0]), "the attribute to twice"),
        (lambda m: setattr(m.graph.node[0].attribute[0], "type", onnx.AttributeProto.INTS), "not of the type"),
        (lambda m: setattr(m.graph.node[0].attribute[0], "ref_attr_name", "x"), "must not have"),
        (lambda m: m.graph.node[0].output.append("more"), "it has 2 outputs; there may be 1"),
        (lambda m: m.training_info.add(), "must not have a part|field 20"),
        (
            lambda m: m.graph.input[0].type.tensor_type.shape.dim[1].ClearField("dim_value"),
            "must have a shape, all but",
        ),
        (
            lambda m: setattr(m.graph.input[0].type.tensor_type.shape.dim[1], "dim_value", 10**9),
            "a side|numbers a picture",
        ),
        (lambda m: m.graph.input[0].type.sequence_type.elem_type.SetInParent(), "no tensor's"),
        (lambda m: m.graph.value_info.append(m.graph.output[0]), None),
        (lambda m: m.ClearField("graph"), "it has no graph"),
        (lambda m: setattr(m.opset_import[0], "domain", "ai.onnx.ml"), "does not say of which opset it is"),
        (lambda m: m.graph.initializer.add(data_type=1, dims=[0]), "a value of it has no name"),
        (lambda m: setattr(m.graph.initializer[0], "data_location", 1), "stands in another file"),
        (lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", 8), "must be of numbers; it is of type 8"),
        (lambda m: m.graph.input[0].type.tensor_type.shape.dim.extend([_side(m)] * 6), "has 10 dimensions"),
        (lambda m: m.graph.node[0].input.extend(["pixels"] * 1000), "over 1,000 inputs or outputs"),
        (lambda m: m.graph.node[-1].output.append("n" * 2001), "must be a text of at most 2,000 bytes"),
        (lambda m: m.graph.node[0].attribute[0].ints.append(1), "not of the type that it says"),
        (lambda m: m.graph.node[0].attribute.add(name="value", type=4), "no value of the attribute value"),
        (lambda m: m.graph.initializer.add(name="w", data_type=7, dims=[1], float_data=[1]), "not of its type"),
        (lambda m: m.graph.initializer.add(name="w", data_type=11, dims=[1], float_data=[1]), "not of its type"),
        (lambda m: m.graph.initializer.add(name="w", data_type=1, dims=[1], int32_data=[1]), "not of its type"),
        (lambda m: m.graph.initializer.add(name="w", data_type=6, dims=[1], int64_data=[1]), "not of its type"),
        (
            lambda m: m.graph.initializer.add(name="w", data_type=7, dims=[2**20 + 1], int64_data=[0] * (2**20 + 1)),
            "over 1,048,576 numbers in a list",
        ),
    ],
)
def test_what_is_not_by_the_letter_is_refused(change, says: str | None) -> None:
    made = graph()
    change(made)
    if says is None:
        graphcheck.check(made.SerializeToString())
        return
    with pytest.raises(ValueError, match=says):
        graphcheck.check(made.SerializeToString())


def _added(place: int, message: bytes) -> bytes:
    """The good graph with one part more, which need not be one that onnx would write."""
    return graph().SerializeToString() + graphfile.tag(graphfile.MODEL_GRAPH, graphfile.tag(place, message))


def _attribute(*parts: bytes) -> bytes:
    return _added(graphfile.GRAPH_NODE, graphfile.tag(graphfile.NODE_ATTRIBUTE, b"".join(parts)))


def _number(place: int, value: int) -> bytes:
    return graphfile.varint(place << 3 | graphfile.VARINT) + graphfile.varint(value)


@pytest.mark.parametrize(
    ("file", "says"),
    [
        # type 2 is an integer, in field 3; type 4 a tensor, in field 5
        (_attribute(graphfile.tag(1, b"axis"), _number(20, 2), _number(3, 1), _number(3, 0)), "two values of the"),
        (_attribute(graphfile.tag(1, b"value"), _number(20, 4), _number(5, 1)), "a number where it must be a message"),
        (_attribute(_number(1, 7), _number(20, 2), _number(3, 1)), "a name in it must be a text"),
        (
            _added(graphfile.GRAPH_INITIALIZER, _number(1, 1) + _number(2, 1) + 2 * graphfile.tag(9, bytes(4))),
            "its bytes are not as many as numbers need",
        ),
    ],
)  # fmt: skip
def test_what_stands_twice_or_in_anothers_place_is_refused(file: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        graphcheck.check(file)


def test_a_long_list_of_numbers_is_refused_before_it_is_made() -> None:
    """Of 8 MB of zeros Python would make a list of 64 MB."""
    message = _number(2, 7) + graphfile.tag(graphfile.TENSOR_DIMS, bytes(2**23))
    file = _added(graphfile.GRAPH_INITIALIZER, message)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="over 1,048,576 numbers in a list"):
            graphcheck.check(file)
        assert tracemalloc.get_traced_memory()[1] < 40 * 2**20
    finally:
        tracemalloc.stop()


def test_the_largest_network_of_keras_is_within_the_bounds_of_work_and_memory() -> None:
    """ConvNeXtXLarge (Liu et al. 2022) at 480 px: each block 7 × 7 by channel, then to four times as many and back."""
    work, side, before = 0, 480 // 4, 3
    # GELU needs its input and two values made of it, beside what the block began with.
    assert 3.25 * side**2 * 4 * 256 < graphcheck.MOST_LIVE
    for blocks, channels in ((3, 256), (3, 512), (27, 1024), (3, 2048)):
        window = 16 if before == 3 else 4
        work += side**2 * (window * before * channels + blocks * (49 * channels + 2 * 4 * channels**2))
        side, before = side // 2, channels
    assert 2.7e11 < work < 0.9 * graphcheck.MOST_WORK  # a tenth for what is done number by number


def test_a_value_that_is_made_is_held_to_the_same_bound_as_the_picture(monkeypatch) -> None:
    file = graph([helper.make_node("Concat", ["floats", "floats"], ["more"], axis=3)]).SerializeToString()
    monkeypatch.setattr(graphcheck, "MOST_VALUE", 2 * 768)
    graphcheck.check(file)
    monkeypatch.setattr(graphcheck, "MOST_VALUE", 2 * 768 - 1)
    with pytest.raises(ValueError, match="it would give 1,536 numbers a picture"):
        graphcheck.check(file)
