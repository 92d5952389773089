"""A trained model to disk, elsewhere if it must be: hours of training do not go because one folder takes no file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from tellapart import leftovers
from tellapart.classifier import Classifier
from tellapart.errors import OutputError
from tellapart.files import shown


def save(
    classifier: Classifier, output: str | os.PathLike[str], *, force: bool, elsewhere: Iterable[str | os.PathLike[str]]
) -> None:
    """Save a model where it was asked for, else where that is possible.

    Args:
        classifier: the model.
        output, force: as for `Classifier.save`.
        elsewhere: folders to try then, before that for temporary files; made where they are missing.

    Raises:
        OutputError: it is not where it was asked for. The message says where it is.
    """
    try:
        classifier.save(output, force=force)
    except OutputError as error:
        stem = Path(output).stem[:50]
        places = dict.fromkeys(map(Path, (Path(output).parent, *elsewhere, *_temporary())))
        for folder in places:
            path = folder / f"{stem}-{leftovers.mark()}.tellapart"
            try:
                folder.mkdir(parents=True, exist_ok=True)
                classifier.save(path)
            except (OSError, OutputError):
                continue
            raise OutputError(
                f"{error} The model is not lost: it was saved as {shown(path)}. Move it from there."
            ) from error
        tried = ", ".join(shown(folder) for folder in places)
        raise OutputError(
            f"{error} No other place took the model either ({tried}), so that it is not saved. What the training kept "
            f"in the cache is still there: make room, then run the same command with --resume."
        ) from error


def _temporary() -> list[str]:
    """The folder for temporary files, where there is one that takes files."""
    try:
        return [tempfile.gettempdir()]
    except OSError:
        return []
