"""The backbone that a user names, whatever it comes from, as the one thing that features and bundles need of it.

There are the EfficientNet-Lite networks that are installed, the networks of `keras.applications`, and files of the
user's own. The first have a fast road that needs no Keras (`backbones`); the others are built in Keras here, and their
graph is exported once and kept in the cache folder.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import hashlib
import importlib.metadata
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tellapart import applications, backbones, cache, graphcheck, kerasfile, kerasmodels, outputs
from tellapart.applications import APPLICATIONS
from tellapart.backbones import BACKBONES, Backbone, Head
from tellapart.config import TRANSFER, check_size
from tellapart.errors import BackboneError, OutputError, SettingsError
from tellapart.files import shown

if TYPE_CHECKING:
    import keras

GRAPH_VERSION = 1  # to be raised when the export changes what it makes
EXPORTERS = ("keras", "tf2onnx")


class Writer(Protocol):
    """What turns a head into a file."""

    def write(self, head: Head) -> bytes:
        """The backbone with `head` as a `.keras` file."""
        ...


@dataclass(frozen=True, slots=True)
class Network:
    """A pretrained network at one size: pixels, uint8 (B, S, S, 3), to features, float32 (B, D)."""

    name: str  # without folders
    fingerprint: str  # SHA-256 of the file that its weights are in
    licence: str | None  # of its weights, where known
    size_px: int  # S
    n_features: int  # D
    graph: Callable[[Path, Head | None], bytes]  # cache folder and head to ONNX, see `backbones.graph`
    model: Callable[[], keras.Model]  # the features as a Keras model of its own
    writer: Callable[[], AbstractContextManager[Writer]]

    @property
    def slug(self) -> str:
        """Its name in a file's name."""
        return re.sub(r"[^a-z0-9]+", "_", self.name.lower())[:60]

    def as_dict(self) -> dict[str, Any]:
        """What a bundle says of where its features come from."""
        return {"name": self.name, "sha256": self.fingerprint, "licence": self.licence}


def find(name: str, size_px: int | None = None, *, download: bool = False) -> Network:
    """The network that a user names.

    Args:
        name: one of `backbones.BACKBONES` or of `applications.APPLICATIONS`; the path of a `.keras` file; or, as
            `NAME:path/to/x.weights.h5`, a name of the latter with weights of the user's own.
        size_px: side of its input; left out, the one that suits it.
        download: let Keras fetch ImageNet's weights where they are not on this machine.

    Raises:
        SettingsError: the name is unknown, or the size does not suit.
        BackboneError, MissingPackageError: the weights are not as they should be, or not there.
    """
    if name in BACKBONES:
        check_size(size_px)
        return _installed(BACKBONES[name], size_px or TRANSFER.size_px)
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", name):
        raise SettingsError(
            f"--backbone must be a name or a file of this machine; got the address {name!r:.200}. "
            f"Fetch the file, look at where it comes from, and give its path."
        )
    whose, colon, file = name.partition(":")
    if name in APPLICATIONS or (colon and whose in APPLICATIONS):
        check_size(size_px)
        return _application(APPLICATIONS[whose], Path(file) if colon else None, size_px, download)
    if not _is_path(name):
        raise SettingsError(_unknown(name))
    if colon and name.lower().endswith(".weights.h5") and not Path(name).exists():
        raise SettingsError(_unknown(whose))
    return _own(Path(name), size_px)


def needs_keras(name: str | None) -> bool:
    """Whether `find` will have to build a network in Keras."""
    return bool(name) and name not in BACKBONES and (name.partition(":")[0] in APPLICATIONS or Path(name).exists())


def _unknown(name: str) -> str:
    known = [*BACKBONES, *APPLICATIONS]
    lower = {each.lower(): each for each in known}
    near = difflib.get_close_matches(name.lower(), lower, n=1)
    hint = f"Did you mean {lower[near[0]]}?" if near else f"Of Keras there are {', '.join(APPLICATIONS)}."
    return (
        f"--backbone must be one of {', '.join(BACKBONES)}, a name of keras.applications or the path of a .keras file; "
        f"got {name!r:.200}. {hint}"
    )


def _is_path(name: str) -> bool:
    return "/" in name or "\\" in name or Path(name).suffix != "" or Path(name).exists()


def _installed(backbone: Backbone, size_px: int) -> Network:
    return Network(
        name=backbone.name,
        fingerprint=backbone.source.sha256,
        licence=backbone.licence,
        size_px=size_px,
        n_features=backbone.n_features,
        graph=lambda _, head: backbones.graph(backbone, size_px, head),
        model=lambda: backbones.network(backbone, size_px),
        writer=lambda: kerasfile.Writer(backbone.name, size_px),
    )


def _application(
    application: applications.Application, weights: Path | None, size_px: int | None, download: bool
) -> Network:
    if weights is not None:
        _check_weights(application.name, weights)
    model, file = applications.build(
        application, size_px or applications.default_px(application), weights=weights, download=download
    )
    if weights is None:
        return _built(application.name, model, file, application.licence)
    return _built(f"{application.name}:{weights.name}", model, file, None)


def _check_weights(name: str, weights: Path) -> None:
    if not weights.name.lower().endswith(".weights.h5"):
        raise SettingsError(
            f"--backbone {name}:FILE must name weights alone, a .weights.h5 file; got {shown(weights)}. "
            f"Save them with model.save_weights('NAME.weights.h5')."
        )
    kerasmodels.check_file(weights, ".weights.h5")


def _own(path: Path, size_px: int | None) -> Network:
    if path.name.lower().endswith(".weights.h5"):
        raise SettingsError(
            f"--backbone must say whose weights these are; got {shown(path)} alone. Give it as "
            f"MobileNetV2:{shown(path)}, with the name of its network in keras.applications."
        )
    if path.suffix.lower() != ".keras" and not path.is_dir():
        raise SettingsError(
            f"--backbone must be a .keras file; got {shown(path)}. Other files of models can run their author's code, "
            f"or hold no network. Save it with Keras 3: model.save('NAME.keras')."
        )
    kerasmodels.check_file(path, ".keras")
    return _built(path.name, kerasmodels.extractor(path, size_px), path, None)


def _built(name: str, model: keras.Model, file: Path, licence: str | None) -> Network:
    with file.open("rb") as opened:
        fingerprint = hashlib.file_digest(opened, "sha256").hexdigest()
    size_px = int(model.inputs[0].shape[1])
    return Network(
        name=name,
        fingerprint=fingerprint,
        licence=licence,
        size_px=size_px,
        n_features=int(model.outputs[0].shape[-1]),
        graph=functools.partial(_graph, model, _key(name, fingerprint, size_px)),
        model=lambda: model,
        writer=lambda: contextlib.nullcontext(_Writer(model)),
    )


@dataclass(frozen=True, slots=True)
class _Writer:
    """Writes in this process, where Keras and the network are already."""

    body: keras.Model

    def write(self, head: Head) -> bytes:
        """The backbone with `head` as a `.keras` file."""
        from tellapart import graphs

        return graphs.keras_file(backbones.with_head(self.body, head))


def _key(name: str, fingerprint: str, size_px: int) -> str:
    versions = [importlib.metadata.version(each) for each in EXPORTERS]
    parts = repr((GRAPH_VERSION, name, fingerprint, size_px, versions))
    return hashlib.sha256(parts.encode()).hexdigest()[:32]


def _graph(model: keras.Model, key: str, folder: Path, head: Head | None) -> bytes:
    """The graph from the cache, or exported and kept there."""
    from tellapart import graphs

    graph = cache.recall_graph(folder, key)
    if graph is None:
        try:
            graph = graphs.features_to_onnx(model)
        except Exception as error:  # what the exporter raises of a layer that it does not know has no common base
            raise BackboneError(
                f"A backbone must be a network that Keras can export to ONNX; it says: "
                f"{' '.join(str(error).split())[:300]}. Replace the layer that it names."
            ) from error
        try:
            graphcheck.check(graph)
        except ValueError as error:
            raise BackboneError(
                f"A backbone must be bounded in memory and work; of {model.inputs[0].shape[1]} px "
                f"{' '.join(str(error).split())[:300]}. Give a smaller --size, or another backbone."
            ) from error
        with contextlib.suppress(OSError, OutputError):  # without it the next run exports anew
            path = cache.graph_path(folder, key, graph)
            path.parent.mkdir(parents=True, exist_ok=True)
            with outputs.atomic(path, force=True) as file:
                file.write(graph)
    return graph if head is None else graphs.with_head(graph, head)
