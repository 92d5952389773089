"""Pictures to a folder of explanations, one PNG each, with nothing in it overwritten unasked."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tellapart import contents, copies, outputs
from tellapart.bundle import Bundle
from tellapart.errors import PictureError, SettingsError
from tellapart.explain import Explainer
from tellapart.explanations import Explanation, explained, thumbnail
from tellapart.files import shown, walk
from tellapart.predict import Predictor, Question
from tellapart.progress import Progress


@dataclass(frozen=True, slots=True)
class Written:
    """What became of one picture."""

    path: str
    explanation: Explanation | None  # None where it could not be read
    heat_map: str | None  # the PNG
    places: dict[str, str]  # content hash of a near training picture -> its file, where that was found
    error: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: one element of `explain --json`."""
        if self.explanation is None:
            empty = dict.fromkeys(("label", "probability", "answer", "heat_map"))
            return {"path": self.path, **empty, "nearest": [], "deletion": None, "error": self.error}
        values = self.explanation.as_dict()
        for each in values["nearest"]:
            each["path"] = self.places.get(each["content"])
        return values | {"heat_map": self.heat_map}


class Folder:
    """Explains pictures, one by one, into a folder."""

    def __init__(
        self,
        bundle: Bundle,
        folder: str | os.PathLike[str],
        *,
        label: str | None = None,
        photos: str | os.PathLike[str] | None = None,
        deletion: bool = False,
        force: bool = False,
        progress: Progress | None = None,
    ) -> None:
        """Check what is asked for; the folder is made when the first picture is written.

        Args:
            bundle: the model.
            folder: for the PNGs; new or empty, unless `force` is set, which lets files of the same name be replaced.
            label: the class to explain; by default each picture's most probable one.
            photos: a folder in which the near training pictures are looked for, to be shown.
            deletion: test each heat map.
            progress: is told how far the reading of `photos` has come.

        Raises:
            SettingsError: `label` is none of the model's classes.
            OutputError: the folder cannot take the pictures.
        """
        if label is not None and label not in bundle.classes:
            some = ", ".join(shown(name) for name in bundle.classes[:20])
            more = f" and {len(bundle.classes) - 20:,} more" if len(bundle.classes) > 20 else ""
            raise SettingsError(
                f"--label must be one of the model's classes ({some}{more}); got {shown(label)!r}. Name one of them."
            )
        self.folder = os.fspath(folder)
        outputs.check_folder(self.folder, force=force)
        self._force, self._label, self._deletion = force, label, deletion
        self._predictor, self._explainer = Predictor(bundle), Explainer(bundle)
        self._taken: set[str] = set()
        self._files = {} if photos is None else by_content(photos, progress or Progress())

    def explain(self, questions: Iterable[Question]) -> Iterator[Written]:
        """Explain each picture and write it. One that cannot be read has its error instead.

        Raises:
            OutputError: a picture cannot be written. What was written before stays.
        """
        for question in questions:
            # What is answered and what is explained are read one after the other, and must be the same picture.
            content = None if question.error else next(contents.hash_all([question.path], None))[0]
            question = dataclasses.replace(question, content=content or "")
            answer = next(iter(self._predictor.answers([question])))
            if answer.error is not None:
                yield Written(question.path, None, None, {}, answer.error)
                continue
            try:
                one = explained(
                    self._explainer,
                    answer,
                    question.path,
                    self._predictor.preprocess,
                    label=self._label,
                    deletion=self._deletion,
                    content=question.content,
                )
            except PictureError as error:  # it changed meanwhile
                yield Written(question.path, None, None, {}, error.reason)
                continue
            places = {each.content: self._files[each.content] for each in one.nearest if each.content in self._files}
            yield Written(question.path, one, self._save(one, places), places)

    def _save(self, one: Explanation, places: dict[str, str]) -> str:
        small = {content: thumbnail(path) for content, path in places.items()}
        near: dict[str, np.ndarray] = {content: pixels for content, pixels in small.items() if pixels is not None}
        with outputs.reported(self.folder):
            os.makedirs(self.folder, exist_ok=True)
        target = os.path.join(self.folder, self._name(one.path))
        with outputs.atomic(target, force=self._force) as file:
            one.image(near).save(file, "PNG", optimize=True)
        return target

    def _name(self, path: str) -> str:
        """A name that every system can have and no other picture of this run has."""
        stem = os.path.splitext(os.path.basename(os.path.abspath(path)))[0]
        (safe,) = copies.folder_names([stem]).values()
        for _, name in copies.numbered(f"{safe}.png"):
            if copies.folded(name) not in self._taken:
                self._taken.add(copies.folded(name))
                return name
        raise AssertionError("numbers have no end")


def by_content(photos: str | os.PathLike[str], progress: Progress) -> dict[str, str]:
    """The pictures below a folder by the hash of their bytes."""
    paths = [found.path for found in walk(photos) if found.reason is None]
    hashes = contents.hash_all(paths, lambda done, total: progress.update("Reading", done, total))
    return {content: path for path, (content, _) in zip(paths, hashes, strict=True) if content is not None}
