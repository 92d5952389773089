"""A trained classifier: answers, evaluates, saves."""

from __future__ import annotations

import csv
import dataclasses
import functools
import importlib
import importlib.util
import io
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypedDict, Unpack, overload

import numpy as np

from tellapart import (
    addresses,
    afar,
    divisions,
    explanations,
    files,
    jobs,
    kerasmodels,
    preprocess,
    rayworkers,
    rivals,
    slices,
)
from tellapart import bundle as bundles
from tellapart import catalog as catalogs
from tellapart.compare import Comparison
from tellapart.curves import History
from tellapart.errors import InputError, MissingPackageError, PictureError, SettingsError
from tellapart.evaluation import Evaluation
from tellapart.explain import Explainer
from tellapart.explanations import Explanation
from tellapart.files import shown
from tellapart.guards import Targets
from tellapart.marking import marked
from tellapart.predict import Prediction, Predictor, Question, questions
from tellapart.progress import Progress
from tellapart.sorting import Sorted, Sorter

if TYPE_CHECKING:
    import keras

    from tellapart.export.exporting import Exported

PathLike = str | os.PathLike[str]


class Reading(TypedDict, total=False):
    """How a folder of labelled pictures is read."""

    labels: PathLike | None  # a CSV of path and label; folders then mean nothing
    path_column: str | None  # its columns, where their names are unusual
    label_column: str | None
    split_column: str | None
    group: str | None  # a column; pictures with the same value there stay on one side of a split
    keep_conflicts: bool  # use a picture that stands in two classes in both, instead of in neither


class Classifier:
    """What `tellapart.train` and `tellapart.load` give.

    It answers by the bundle's own graph: no Keras is loaded unless `keras_model` is asked for.
    """

    def __init__(self, bundle: bundles.Bundle, evaluation: Evaluation | None = None) -> None:
        self.bundle = bundle
        self.evaluation = evaluation  # on the test split, right after training; None for a loaded bundle
        self.report: dict[str, Any] = {}  # plan, times and notes, right after training; empty for a loaded bundle
        self.predictor = Predictor(bundle)

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names, sorted."""
        return self.bundle.classes

    @property
    def size_px(self) -> int:
        """Side of the square that the network sees."""
        return self.predictor.preprocess.size_px

    @property
    def metrics(self) -> dict[str, Any]:
        """What was measured when it was trained: `test`, `validation` and `train`, each with its `accuracy`."""
        return dict(self.bundle.manifest["metrics"])

    @property
    def history(self) -> History:
        """The learning curves, one row an epoch: loss, accuracy, val_loss, val_accuracy, learning_rate.

        A list of dicts, which a notebook shows as a picture.
        """
        rows = csv.DictReader(io.StringIO(self.bundle.members["history.csv"].decode()))
        numbers = [{name: float(value) for name, value in row.items()} for row in rows]
        return History(numbers, self.bundle.manifest["training"].get("best_epoch"))

    @functools.cached_property
    def keras_model(self) -> keras.Model:
        """The network as a plain `keras.Model` of standard layers: uint8-range pixels (B, S, S, 3) in.

        Raises:
            MissingPackageError: Keras is not installed.
            BundleError: the file in the bundle has other layers than Keras' own harmless ones, or is damaged.
        """
        require_keras()
        return kerasmodels.of_bundle(self.bundle.members["model.keras"])

    def with_targets(
        self, *, sure: float | None = None, answer: float | None = None, coverage: float | None = None
    ) -> Classifier:
        """The same classifier, asked for other answers; its bundle stays as it is.

        Args:
            sure: the share of its answers, 0–1, that must be right: what is less probable becomes unknown.
            answer: or the share of pictures of its own kinds that it must answer.
            coverage: how often, 0–1, the `label_set` of an answer is to hold the right class.

        Raises:
            SettingsError: that cannot be promised, by the pictures that were held out when it was trained.
        """
        other = Classifier(self.bundle, self.evaluation)
        targets = None if sure is None and answer is None else Targets(sure, answer)
        other.predictor = Predictor(self.bundle, targets=targets, coverage=coverage)
        return other

    @overload
    def predict(self, pictures: str | np.ndarray) -> Prediction: ...
    @overload
    def predict(self, pictures: Sequence[PathLike]) -> list[Prediction]: ...
    def predict(self, pictures: PathLike | np.ndarray | Sequence[PathLike]) -> Prediction | list[Prediction]:
        """Answer one picture (a path, or pixels, uint8 (H, W, 3) RGB), or several (a folder, or a list of paths).

        A picture that cannot be read gives a Prediction with an `error`, not an exception. One that looks like none of
        the classes, or of which the model is not as sure as it must be (see `with_targets`), is `unknown`.
        """
        if isinstance(pictures, np.ndarray):
            return self._predict_pixels(pictures)
        if isinstance(pictures, str | os.PathLike):
            asked = list(questions([pictures]))
            answers = list(self.predictor.answers(asked))
            return answers if files.is_folder(addresses.given(os.fspath(pictures))) else answers[0]
        return list(self.predictor.answers(questions(pictures)))

    def _predict_pixels(self, pixels: np.ndarray) -> Prediction:
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
            raise SettingsError(
                f"Pixels must be uint8 (H, W, 3), RGB; got {pixels.dtype} {pixels.shape}. "
                f"Convert them, or give the picture's path."
            )
        square = preprocess.fit(pixels, self.predictor.preprocess)
        return self.predictor.predictions([""], square[None])[0]

    @functools.cached_property
    def explainer(self) -> Explainer:
        """What says where the network looked; opened when it is first asked for."""
        return Explainer(self.bundle)

    def explain(self, picture: PathLike | np.ndarray, label: str | None = None) -> Explanation:
        """Say where the network looked on a picture (a path, or pixels, uint8 (H, W, 3) RGB), and what it is like.

        Args:
            picture: the picture.
            label: the class to explain; by default the most probable one.

        Returns:
            An Explanation, which a notebook shows as a picture: a heat map, and the nearest training pictures.

        Raises:
            SettingsError: `label` is none of the classes, or the pixels are none.
            PictureError: the picture cannot be read.
        """
        if label is not None and label not in self.classes:
            raise SettingsError(
                f"label must be one of the model's classes ({_listed(self.classes)}); got {shown(label)!r}."
            )
        answer = self.predict(picture if isinstance(picture, np.ndarray) else os.fspath(picture))
        if answer.error is not None:
            raise PictureError(answer.error)
        source = picture if isinstance(picture, np.ndarray) else os.fspath(picture)
        return explanations.explained(self.explainer, answer, source, self.predictor.preprocess, label=label)

    def sort(self, pictures: PathLike | Sequence[PathLike], to: PathLike, *, force: bool = False) -> Sorted:
        """Answer pictures and copy each into a folder of its class: ``to/cats/x.jpg``.

        What the model declines goes to ``to/unknown``, what cannot be read as a picture to ``to/unreadable``. The
        originals stay as they are, and no file is overwritten: a name that is taken gets a number, ``x-2.jpg``. Class
        names that no folder can have everywhere are changed (see `Sorted.folders`). Memory does not grow with the
        number of pictures.

        Args:
            pictures: a file, a folder that is walked to the bottom, or several of these. Where `to` is in such a folder
                it is passed over.
            to: a folder, new or empty.
            force: let `to` hold something already.

        Raises:
            OutputError: `to` cannot take the copies, or `pictures` has a folder in it.
        """
        asked = [pictures] if isinstance(pictures, str | os.PathLike) else list(pictures)
        with Sorter(to, self.classes, asked=asked, force=force) as sorter:
            for answer in self.predictor.answers(questions(asked, leave_out=to)):
                sorter.add(answer)
        return sorter.result

    def evaluate(
        self,
        photos: PathLike,
        *,
        split: str | None = None,
        slice_by: Sequence[str] = (),
        progress: Progress | None = None,
        engine: str = rayworkers.LOCAL,
        address: str | None = None,
        workers: int | None = None,
        worker_cores: int | None = None,
        **reading: Unpack[Reading],
    ) -> Evaluation:
        """Answer every labelled picture of a folder, in any input layout, and compare.

        How parts of the pictures fared stands in the result's `slices`: by the folders below the classes, by the size
        of the files, by brightness, and by columns of the table `labels`.

        Args:
            photos: in any input layout. Where it has splits the test split is taken, or the one that `split` names;
                "all" takes every picture.
            split: "train", "validation", "test" or "all".
            slice_by: columns of `labels`; left out, all that have two to twenty different values.
            progress: is told how far it has come.
            engine: "local", or "ray": pictures are read and answered by workers of Ray; what comes of it is the same.
            address, workers, worker_cores: as in `tellapart.train`.
            reading: see `Reading`.

        Raises:
            InputError: no picture can be used, a class is not one of the model's, or there is no such split.
            ClusterError: the workers cannot do it.
        """
        said = progress or Progress()
        with rayworkers.at_work(engine, address=address, workers=workers, cores=worker_cores, note=said.note):
            return self._evaluate(photos, split, slice_by, said, reading)

    def _evaluate(
        self, photos: PathLike, split: str | None, slice_by: Sequence[str], said: Progress, reading: Reading
    ) -> Evaluation:
        if slice_by and reading.get("labels") is None:
            raise SettingsError("--slice names a column of a table of labels. Give the table with --labels.")
        catalog = catalogs.scan(
            photos,
            **reading,
            progress=lambda done, total: said.update("Reading", done, total),
        )
        entries, taken = _of_split(catalog, split)
        strange = sorted({entry.label for entry in entries} - set(self.classes))
        if strange:
            raise InputError(
                f"Every class of {shown(os.fspath(photos))} must be one of the model's "
                f"({_listed(self.classes)}); it also has {_listed(strange)}. Rename or take away these."
            )
        looks = divisions.Looks()
        asked = (Question(entry.path, content=entry.content) for entry in entries)
        crew = jobs.workers()
        if crew is None:
            answers = self.predictor.answers(asked, look=looks.look)
        else:
            answers = afar.answers(self.bundle, self.predictor, crew, asked, looks=looks)
        evaluation = marked(
            self.bundle,
            entries,
            said.counted("Answering", answers, len(entries)),
            skipped=[(s.path, s.reason) for s in catalog.skipped if taken in (None, "all") or s.split in (None, taken)],
            split=taken,
            notes=catalog.notes,
        )
        if not evaluation.n:
            skipped = evaluation.skipped
            example = f", e.g. {shown(skipped[0][0])}: {skipped[0][1]}" if skipped else ""
            raise InputError(
                f"None of the {len(skipped):,} pictures of {shown(os.fspath(photos))} could be read{example}. "
                f"Give pictures that open."
            )
        named = {f"{role}_column": reading.get(f"{role}_column") for role in ("path", "label", "split")}
        kinds = divisions.of(
            evaluation.paths, evaluation.labels.tolist(), catalog, looks, reading.get("labels"), slice_by, **named
        )
        right = evaluation.predicted == evaluation.labels
        return dataclasses.replace(evaluation, slices=slices.of(right, evaluation.labels, kinds))

    def compare(
        self,
        other: Classifier,
        photos: PathLike,
        *,
        split: str | None = None,
        progress: Progress | None = None,
        **reading: Unpack[Reading],
    ) -> Comparison:
        """Compare with another classifier on labelled pictures: this one is A, `other` is B.

        Both are asked about the same pictures in turn. Classes are matched by name; pictures of a class that not both
        know are left out and counted. The arguments are those of `evaluate`.

        Returns:
            `verdict` in words, `difference` with its interval, `p_value`, which pictures were `fixed` and `broken`,
            `per_class`, `losses`, `speed` and `size_bytes`.

        Raises:
            InputError: no picture can be used, fewer than two classes are shared, or there is no such split.
        """
        said = progress or Progress()
        catalog = catalogs.scan(photos, **reading, progress=lambda done, total: said.update("Reading", done, total))
        entries, taken = _of_split(catalog, split)
        here = (s for s in catalog.skipped if taken in (None, "all") or s.split in (None, taken))
        return rivals.run(
            (self.bundle, other.bundle),
            (self.predictor, other.predictor),
            entries,
            skipped=[(s.path, s.reason) for s in here],
            split=taken,
            notes=catalog.notes,
            progress=said,
        )

    def export(
        self,
        to: str,
        folder: PathLike,
        *,
        quantize: str | None = None,
        calibrate: PathLike | None = None,
        max_loss: float = 0.01,
        force: bool = False,
        progress: Progress | None = None,
        **reading: Unpack[Reading],
    ) -> Exported:
        """Write the model for another runtime, with what it needs there and a sample program.

        The folder gets its name only after its own program, in its own runtime and without this package, answered the
        golden pictures as this classifier does: preprocessing, probabilities, strangeness and thresholds (see
        `with_targets`).

        Args:
            to: "onnx", "openvino", "litert", "saved-model", "keras" or "web".
            folder: new or empty.
            quantize: "int8" makes the model smaller; not for "saved-model" and "keras".
            calibrate: with `quantize` a folder of labelled pictures: half show what values come, half judge.
            max_loss: with `quantize` how much accuracy, 0–1, may be lost on those that judge.
            force: replace an export that stands in `folder`.
            progress: is told how far it has come.
            reading: how `calibrate` is read, see `Reading`.

        Returns:
            `files` with their sizes, the `agreement` with this classifier, and what `quantized` it cost.

        Raises:
            ExportError: what was written does not answer as this classifier does, or loses too much.
            OutputError: the folder cannot be written, or holds something.
            MissingPackageError: the runtime is not installed.
            SettingsError: a setting is unknown, or not for this format.
        """
        from tellapart.export import exporting  # answering needs none of it

        return exporting.export(
            self.bundle,
            to,
            folder,
            quantize=quantize,
            calibrate=calibrate,
            max_loss=max_loss,
            aimed=self.predictor.guards,
            force=force,
            progress=progress,
            reading=reading,
        )

    def save(self, path: PathLike, *, force: bool = False) -> None:
        """Write the bundle. Raises OutputError where `path` exists and `force` is not set, or cannot be written."""
        bundles.write(self.bundle, path, force=force)

    def __repr__(self) -> str:
        accuracy = self.metrics.get("test", {}).get("accuracy")
        known = "not tested" if accuracy is None else f"test accuracy {accuracy:.1%}"
        return f"Classifier({len(self.classes)} classes: {_listed(self.classes)}; {self.size_px} px; {known})"


def load(path: PathLike) -> Classifier:
    """Open a bundle. Raises BundleError where it is none, is damaged, or is of another version."""
    return Classifier(bundles.read(path))


def require(module: str, name: str, extra: str) -> Any:
    """An optional package by its module; MissingPackageError names the extra that brings it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingPackageError(
            f"{name} must be installed for this ({error}). Run: pip install 'tellapart[{extra}]'"
        ) from error


def require_keras() -> Any:
    """Keras, without the page of hints with which TensorFlow greets."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if "keras" in sys.modules:
        return sys.modules["keras"]
    with _native_errors_held():
        try:
            keras = require("keras", "Keras with a backend", "train")
            if keras.backend.backend() != "tensorflow" and importlib.util.find_spec("tensorflow"):
                importlib.import_module("tensorflow")  # Keras would load it for the first batch, outside of this block
            return keras
        except ValueError as error:  # what Keras says of a backend that there is not
            raise SettingsError(
                f"Keras' backend must be tensorflow, jax or torch; its import says: {' '.join(str(error).split())}. "
                f"Set or unset KERAS_BACKEND."
            ) from error


@contextmanager
def _native_errors_held() -> Iterator[None]:
    """Hold back what libraries write to the process's standard error past Python; show it if they fail."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except Exception:
            held.seek(0)
            os.write(kept, held.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _of_split(catalog: catalogs.Catalog, split: str | None) -> tuple[list[catalogs.Entry], str | None]:
    there = [name for name in catalogs.SPLITS if any(entry.split == name for entry in catalog.entries)]
    if not there:
        if split not in (None, "all"):
            raise InputError(
                f"{shown(catalog.root)} must have split folders for --split {split}; it has none. Leave --split out."
            )
        return list(catalog.entries), None
    wanted = split or "test"
    if wanted == "all":
        return list(catalog.entries), "all"
    if wanted not in there:
        raise InputError(
            f"{shown(catalog.root)} must have a {wanted} split; it has {', '.join(there)}. "
            f"Name one of these with --split, or --split all."
        )
    return [entry for entry in catalog.entries if entry.split == wanted], wanted


def _listed(names: Sequence[str], most: int = 5) -> str:
    first = ", ".join(shown(name) for name in names[:most])
    return first if len(names) <= most else f"{first} and {len(names) - most:,} more"
