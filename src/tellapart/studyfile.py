"""The file of a study: made whole, opened with care, with what proposes settings and what gives trainings up.

Trainings are given up by the median of the others at the same point. Hyperband wants many trials that are short at
first; here there are a few dozen, and under one cycle of the rate a training shows late what it is worth.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tellapart import leftovers, outputs
from tellapart.classifier import require
from tellapart.errors import InputError, OutputError, SettingsError
from tellapart.files import because, shown

if TYPE_CHECKING:
    import optuna

NAME = "tellapart"  # of the study within its file
FORMAT = 1  # to be raised when what is kept changes its meaning
STARTUP = 8  # trials that are drawn at random, the defaults among them
PATIENT_STEPS = 2  # looks at a training, before which nothing is given up
FEWEST = 4  # trials through before one is given up
BEAT_S, SILENT_S = 5, 60  # between heartbeats; without one, a process is believed dead
WAIT_S = 60  # for another process that writes


def check() -> None:
    """Raise MissingPackageError where Optuna is not installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        require("optuna", "Optuna", "tune")
        require("sqlalchemy", "Optuna with its storage", "tune")


def remove(path: Path) -> None:
    """Remove a study. Raises InputError where the file is none, OutputError where it cannot be removed."""
    with quiet():
        study, storage = load(path, 0)
        assert study.user_attrs["id"]  # it is one
        storage.remove_session()
    with reported(path):
        path.unlink()


def make(place: Path, asked: Mapping[str, Any], defaults: Sequence[Mapping[str, Any]]) -> None:
    """Write a new file with the first trials in it; where another process was quicker, its file stays."""
    import optuna

    outputs.check(place, force=True)  # whether it can be there; if it is by now, it stays
    temporary = place.with_name(leftovers.temporary(place.name))
    try:
        with reported(place):
            storage = _storage(temporary)
            try:
                study = optuna.create_study(storage=storage, study_name=NAME, direction="maximize")
                study.set_user_attr("format", FORMAT)
                study.set_user_attr("id", secrets.token_hex(16))
                study.set_user_attr("asked", dict(asked))
                for i, values in enumerate(defaults):
                    study.enqueue_trial(dict(values), user_attrs={"default": i == 0})
            finally:
                storage.remove_session()
            outputs.claim(temporary, place)
    finally:
        with contextlib.suppress(OSError):  # it has its name; or the other's stays
            temporary.unlink()


def load(place: Path, seed: int) -> tuple[optuna.Study, optuna.storages.RDBStorage]:
    """The study in a file. Raises InputError where it is none."""
    import optuna
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    if not place.is_file():
        raise InputError(
            f"--study must be a file that tune wrote; {shown(place)} is no regular file. Name another one."
        )
    with open(place, "rb") as file:
        first = file.read(16)
    if first != b"SQLite format 3\0":
        raise InputError(f"--study must be a file that tune wrote; {shown(place)} is none. Name another one.")
    try:
        # A file of somebody else stays as it is.
        storage = _storage(place, heartbeat_interval=BEAT_S, grace_period=SILENT_S, skip_table_creation=True)
        study = optuna.load_study(
            study_name=NAME,
            storage=storage,
            sampler=sampler(seed),
            pruner=optuna.pruners.MedianPruner(
                n_startup_trials=FEWEST, n_warmup_steps=PATIENT_STEPS, n_min_trials=FEWEST - 1
            ),
        )
        if study.user_attrs.get("format") != FORMAT:
            raise KeyError("format")
        return study, storage
    except (SQLAlchemyError, StorageInternalError, KeyError, RuntimeError, AssertionError) as error:
        why = " ".join(str(error.__cause__ or error).split())[:150]
        raise InputError(
            f"--study must be a file that this version of tune wrote; {shown(place)} is none ({why}). Name another one."
        ) from error


def _storage(place: Path, **more: Any) -> optuna.storages.RDBStorage:
    """Optuna's storage in a file, which is open only while it is written or read: threads of heartbeats come and go."""
    import optuna
    from sqlalchemy.pool import NullPool

    engine = {"poolclass": NullPool, "connect_args": {"timeout": WAIT_S}}
    return optuna.storages.RDBStorage(url(place), engine_kwargs=engine, **more)


def check_same(study: optuna.Study, asked: Mapping[str, Any], place: Path) -> None:
    """Raise SettingsError where a study is of other pictures or settings."""
    theirs, ours = study.user_attrs.get("asked") or {}, json.loads(json.dumps(asked))
    names = sorted(name for name in {*theirs, *ours} if theirs.get(name) != ours.get(name))
    if not names:
        return
    told = "; ".join(f"{name} {_said(theirs.get(name))} then, {_said(ours.get(name))} now" for name in names)
    raise SettingsError(
        f"--study must be a study of the same pictures and settings; {shown(place)} is of others ({told}). "
        f"Name another file."
    )


def _said(value: Any) -> str:
    return "not given" if value is None else shown(str(value))[:60]


def url(path: Path) -> str:
    """The address of a file for SQLAlchemy, by way of Optuna, which fills in what stands in braces."""
    from sqlalchemy.engine import URL

    text = URL.create("sqlite", database=os.path.abspath(path)).render_as_string(hide_password=False)
    return text.replace("{", "{{").replace("}", "}}")


def sampler(seed: int) -> Any:
    """Optuna's tree-structured Parzen estimator, anew for each trial, by its number: resumed or not, the same."""
    from optuna.samplers import BaseSampler, TPESampler

    class Seeded(BaseSampler):
        def __init__(self) -> None:
            self._inner: Any = None

        def before_trial(self, study: Any, trial: Any) -> None:
            digest = hashlib.sha256(f"{seed} {trial.number}".encode()).digest()
            self._inner = TPESampler(
                n_startup_trials=STARTUP,
                multivariate=True,
                group=True,  # of settings that hang on others, each group has its own
                constant_liar=True,  # trials under way count, so that several processes try different things
                seed=int.from_bytes(digest[:4], "big"),
            )
            self._inner.before_trial(study, trial)

        def infer_relative_search_space(self, study: Any, trial: Any) -> Any:
            return self._inner.infer_relative_search_space(study, trial)

        def sample_relative(self, study: Any, trial: Any, search_space: Any) -> Any:
            return self._inner.sample_relative(study, trial, search_space)

        def sample_independent(self, study: Any, trial: Any, name: str, distribution: Any) -> Any:
            return self._inner.sample_independent(study, trial, name, distribution)

        def after_trial(self, study: Any, trial: Any, state: Any, values: Any) -> None:
            if self._inner is not None:  # None: another process's trial, failed here
                self._inner.after_trial(study, trial, state, values)

    return Seeded()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without what Optuna logs and warns of: what a person needs is said elsewhere."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"optuna(\..*)?")
        import optuna

        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        optuna.logging.set_verbosity(optuna.logging.CRITICAL)
        yield


@contextlib.contextmanager
def reported(place: Path) -> Iterator[None]:
    """What the disk or SQLite refuses, as an OutputError."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        cause = error.__cause__ if isinstance(error, StorageInternalError) and error.__cause__ else error
        why = " ".join(str(getattr(cause, "orig", None) or cause).split())[:200]
        raise OutputError(
            f"The study {shown(place)} could not be read or written: {why}. Name another file."
        ) from error
    except OSError as error:
        if error.filename is not None and os.fspath(place) not in str(error.filename):
            raise
        raise OutputError(
            f"The study {shown(place)} could not be written: {because(error)}. Name another file."
        ) from error
