"""The networks of `keras.applications` by name: pixels to features, with weights that lie on this machine.

Keras itself is asked which file a network's weights are in, where it comes from and what it must hash to, so that this
is right for every version of Keras. Nothing is fetched unless the user says so. Each family wants its pixels scaled in
its own way (its `preprocess_input`); that scaling is put into the network, so that all here take pixels as they are.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tellapart import kerasmodels
from tellapart.errors import BackboneError, SettingsError, TellapartError
from tellapart.files import shown

if TYPE_CHECKING:
    import keras

INSTALLED = "efficientnet-lite2"  # what there is without a network


@dataclass(frozen=True, slots=True)
class Scaling:
    """What pixels, 0 to 255, are made before the network: scale * pixel + offset, in the order R, G, B."""

    scale: float | tuple[float, float, float]
    offset: float | tuple[float, float, float]
    bgr: bool = False  # whether the network's first convolution takes blue first


# As `keras.applications.imagenet_utils.preprocess_input` has them.
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's pixels from 0 to 1
INSIDE = Scaling(1.0, 0.0)  # the network scales for itself
TF = Scaling(1 / 127.5, -1.0)
TORCH = Scaling(
    (1 / (255 * DEVIATION[0]), 1 / (255 * DEVIATION[1]), 1 / (255 * DEVIATION[2])),
    (-MEAN[0] / DEVIATION[0], -MEAN[1] / DEVIATION[1], -MEAN[2] / DEVIATION[2]),
)
CAFFE = Scaling(1.0, (-123.68, -116.779, -103.939), bgr=True)


@dataclass(frozen=True, slots=True)
class Application:
    """A network of `keras.applications`."""

    name: str
    scaling: Scaling
    trained_px: int  # the size that its weights were trained at
    licence: str | None  # of its weights, where their makers say so


def _family(scaling: Scaling, licence: str | None, **trained_px: int) -> dict[str, Application]:
    return {name: Application(name, scaling, px, licence) for name, px in trained_px.items()}


APPLICATIONS = {
    **_family(TF, "Apache-2.0", MobileNet=224, MobileNetV2=224),
    **_family(INSIDE, "Apache-2.0", MobileNetV3Small=224, MobileNetV3Large=224),
    **_family(INSIDE, "Apache-2.0", EfficientNetB0=224, EfficientNetB1=240, EfficientNetB2=260, EfficientNetB3=300),
    **_family(INSIDE, "Apache-2.0", EfficientNetB4=380, EfficientNetB5=456, EfficientNetB6=528, EfficientNetB7=600),
    **_family(INSIDE, "Apache-2.0", EfficientNetV2B0=224, EfficientNetV2B1=240, EfficientNetV2B2=260),
    **_family(
        INSIDE, "Apache-2.0", EfficientNetV2B3=300, EfficientNetV2S=384, EfficientNetV2M=480, EfficientNetV2L=480
    ),
    **_family(INSIDE, "MIT", ConvNeXtTiny=224, ConvNeXtSmall=224, ConvNeXtBase=224, ConvNeXtLarge=224),
    **_family(INSIDE, "MIT", ConvNeXtXLarge=224),
    **_family(CAFFE, "MIT", ResNet50=224, ResNet101=224, ResNet152=224),
    **_family(TF, None, ResNet50V2=224, ResNet101V2=224, ResNet152V2=224),
    **_family(TORCH, "BSD-3-Clause", DenseNet121=224, DenseNet169=224, DenseNet201=224),
    **_family(TF, "MIT", InceptionV3=299, Xception=299),
    **_family(TF, "Apache-2.0", InceptionResNetV2=299, NASNetMobile=224, NASNetLarge=331),
    **_family(CAFFE, "CC-BY-4.0", VGG16=224, VGG19=224),
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """The file that Keras wants for a network."""

    name: str
    url: str
    digest: str | None  # SHA-256 or MD5, hex; Keras names none for the first MobileNets

    @property
    def path(self) -> Path:
        """Where Keras keeps it: in $KERAS_HOME, or else ~/.keras."""
        return Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser() / "models" / self.name


def build(
    application: Application, size_px: int, *, weights: Path | None = None, download: bool = False
) -> tuple[keras.Model, Path]:
    """The network at one size, and the file that its weights came from.

    Input: pixels, uint8 (B, S, S, 3). Output: features (B, D), the mean of its last map.

    Args:
        application: which network.
        size_px: side of its input.
        weights: a `.weights.h5` of the user's own for just this network; left out, ImageNet's.
        download: let Keras fetch ImageNet's weights where they are not in its cache.

    Raises:
        BackboneError: the weights are not there, or not for this network.
        SettingsError: the network takes no pictures of this size.
    """
    import keras
    from keras import layers

    scaling, files = application.scaling, []

    def get_file(name: str, url: str, **settings: Any) -> str:
        wanted = Wanted(name, url, settings.get("file_hash"))
        files.append(weights or _found(application, wanted, fetch if download else None))
        kerasmodels.check_hdf5(files[0])
        return str(files[0])

    pixels = keras.Input((size_px, size_px, 3), dtype="uint8", name="pixels")
    scaled = layers.Rescaling(_plain(scaling.scale), _plain(scaling.offset), name="scaling")(pixels)
    with _keras_asks(get_file) as fetch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the MobileNets say which size's weights they take; see `Wanted`
        try:
            # Also where the weights are the user's own: without "imagenet" EfficientNet leaves out a scaling.
            make = getattr(keras.applications, application.name)
            body = make(include_top=False, weights="imagenet", input_tensor=scaled)
        except TellapartError:
            raise
        except Exception as error:  # Keras' own, of the size or of the file, have no common base
            said = " ".join(str(error).split())[:300]
            if not files:
                raise SettingsError(
                    f"--size must suit {application.name}; of {size_px} px Keras says: {said} "
                    f"Try --size {default_px(application)}."
                ) from error
            raise BackboneError(
                f"{shown(files[0])} must hold the weights of {application.name}(include_top=False); Keras says: "
                f"{said}. Give the file of this network."
            ) from error
    if not files:
        raise BackboneError(
            f"Keras must say which file {application.name} needs; this version, {keras.__version__}, does not. "
            f"Take --backbone {INSTALLED}."
        )
    if scaling.bgr:
        _blue_first(body)
    features = layers.GlobalAveragePooling2D(name="features")(body.outputs[0])
    return keras.Model(pixels, features, name=body.name.replace(".", "_")), files[0]


def default_px(application: Application) -> int:
    """The multiple of 32 nearest to the size that the weights were trained at, at most 512."""
    return min(round(application.trained_px / 32) * 32, 512)


def _plain(value: float | tuple[float, ...]) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _blue_first(body: keras.Model) -> None:
    """Let a network that was trained on B, G, R take R, G, B: its first convolution's kernel is turned round."""
    from keras import layers

    first = next(layer for layer in body.layers if isinstance(layer, layers.Conv2D))
    kernel, *bias = first.get_weights()
    first.set_weights([kernel[:, :, ::-1], *bias])


def _found(application: Application, wanted: Wanted, fetch: Callable[..., Any] | None) -> Path:
    """The file, whole; BackboneError says how to get it."""
    path = wanted.path
    whole = path.is_file() and _is_whole(path, wanted.digest)
    if not whole and fetch is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with contextlib.redirect_stdout(sys.stderr):
                fetch(
                    wanted.name,
                    wanted.url,
                    cache_subdir="models",
                    cache_dir=str(path.parent.parent),
                    file_hash=wanted.digest,
                )
        except Exception as error:  # Keras raises bare ones
            raise BackboneError(
                f"{wanted.url} must be within reach for --download; Keras says: {' '.join(str(error).split())[:200]}. "
                f"{_by_hand(wanted)}"
            ) from error
        whole = path.is_file() and _is_whole(path, wanted.digest)
    if whole:
        return path
    if path.exists():
        raise BackboneError(
            f"{shown(path)} must have the digest {wanted.digest}, as Keras has it; it has another: it is cut short or "
            f"of another version. Add --download to let Keras fetch it again. {_by_hand(wanted)}"
        )
    raise BackboneError(
        f"The ImageNet weights of {application.name} must be on this machine; there is no {shown(path)}. "
        f"Add --download to let Keras fetch them. {_by_hand(wanted)}"
    )


def _by_hand(wanted: Wanted) -> str:
    digest = f" ({'MD5' if len(wanted.digest) == 32 else 'SHA-256'} {wanted.digest})" if wanted.digest else ""
    return (
        f"Without a network here: fetch {wanted.url} elsewhere, and put it as {wanted.name}{digest} into "
        f"{shown(wanted.path.parent)}. Or take --backbone {INSTALLED}, which is installed."
    )


def _is_whole(path: Path, digest: str | None) -> bool:
    if digest is None:
        return True
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5" if len(digest) == 32 else "sha256").hexdigest() == digest


@contextlib.contextmanager
def _keras_asks(answer: Callable[..., str]) -> Iterator[Callable[..., Any]]:
    """Let `answer` stand in for Keras' way of getting a file, which is handed out; nothing else can be fetched."""
    from keras.src.utils import file_utils

    def refused(url: str, *_: Any, **__: Any) -> None:
        raise BackboneError(f"Nothing is fetched unasked; Keras wanted {url}. Add --download.")

    kept, retrieve = file_utils.get_file, file_utils.urlretrieve

    def fetch(*args: Any, **settings: Any) -> Any:
        file_utils.urlretrieve = retrieve
        try:
            return kept(*args, **settings)
        finally:
            file_utils.urlretrieve = refused

    file_utils.get_file, file_utils.urlretrieve = answer, refused
    try:
        yield fetch
    finally:
        file_utils.get_file, file_utils.urlretrieve = kept, retrieve
