"""`tune`: try recipes on a folder of pictures, one after the other, and keep the one that validation prefers."""

from __future__ import annotations

import dataclasses
import functools
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn, Unpack

from tellapart import (
    beginning,
    candidates,
    decoders,
    doctor,
    outputs,
    plans,
    recipefile,
    refuge,
    studies,
    studyfile,
    tunings,
)
from tellapart.backbones import BACKBONES
from tellapart.beginning import Options
from tellapart.catalog import Catalog
from tellapart.classifier import PathLike
from tellapart.config import SCRATCH, TRANSFER, Transfer, budget_s, checked_seed
from tellapart.errors import InputError, OutputError, SettingsError
from tellapart.files import counted, shown
from tellapart.progress import Progress
from tellapart.sampling import FIRST, FIRST_OF_CLASS
from tellapart.space import Space
from tellapart.studies import Record
from tellapart.trialrun import END_S, Run
from tellapart.tunings import Tuned

BOTH = "both"
OPEN = ("auto", TRANSFER.name, SCRATCH.name, BOTH)  # which recipes may be tuned
BUDGET = "10m"  # where nothing is said of time or number
MOST_BYTES = 2**23  # of a file that a study wrote
FIXED = ("backbone", "size", "epochs", "flip")  # settings that a user may set for all trials
OF_SCRATCH = ("epochs", "flip")


def tune(
    photos: PathLike,
    *,
    output: PathLike | None = None,
    also: Sequence[PathLike] = (),
    study: PathLike | None = None,
    recipe: str = "auto",
    budget: str | float | None = None,
    trials: int | None = None,
    seed: int | None = None,
    cache: PathLike | None = None,
    resume: bool = False,
    force: bool = False,
    progress: Progress | bool = True,
    **options: Unpack[Options],
) -> Tuned:
    """Try recipes on a folder of pictures and keep the one that gets most validation pictures right.

    The first trial is what `train` does by itself. The test pictures, those that `train` with the same seed will judge
    by, are not looked at. The best trial is taken where it is to be expected that new pictures find it better than the
    default too; else the default.

    Args:
        photos: as in `train`.
        output: where to write the recipe, TOML; left out, nothing is written.
        also: what the caller will write besides; looked at now, so that no refusal comes after the work.
        study: the file of the trials, SQLite. One that is there is gone on with: several processes may work on it.
        recipe: "transfer", "scratch", "both", or "auto": what `train` would take, and both where it compares them.
        budget: the time to use, "30m" or a number of seconds, from now to the end; what others used before on the same
            study counts. Left out, as many as `trials` says, or else ten minutes.
        trials: how many trials there are to be in all.
        seed: of the splits, of what is tried, and of every training; it goes into the recipe.
        cache: the folder for decoded pictures and features.
        resume: go on with the study that was made for `output`, where `study` names none.
        force: replace `output`, and a study that was made for it.
        progress: as in `train`.
        options: how the pictures are read, as in `train`, and `backbone`, `size`, `epochs` and `flip`, which are the
            same in all trials then.

    Returns:
        What was found. After Ctrl-C it is the best so far, and `interrupted` says so.

    Raises:
        InputError: the pictures cannot be used, or there was no time for a single trial.
        SettingsError: a setting is unknown or out of its range, or the study is of others.
        OutputError: something cannot be written.
        MissingPackageError: Optuna or Keras is not installed.
    """
    start = time.monotonic()
    studyfile.check()
    reading, settings = beginning.parted(options)
    fixed: Any = {name: value for name, value in settings.items() if value is not None}
    if unknown := [name for name in fixed if name not in FIXED]:
        raise SettingsError(f"--{unknown[0].replace('_', '-')} is what tune looks for; got it as well. Leave it out.")
    if fixed.get("backbone", TRANSFER.backbone) not in BACKBONES:
        raise SettingsError(
            f"--backbone must be one of {', '.join(BACKBONES)} for tune; got {fixed['backbone']!r}. Leave it out, or "
            f"take tellapart train."
        )
    if recipe not in OPEN:
        raise SettingsError(f"--recipe must be one of {', '.join(OPEN)}; got {recipe!r}.")
    if trials is not None and trials < 1:
        raise SettingsError(f"--trials must be 1 or more; got {trials}. Try --trials 20.")
    seed = checked_seed(seed or 0)
    seconds = budget_s(budget if budget is not None or trials is not None else BUDGET)
    place = _study_place(photos, output, study, resume=resume, force=force)
    with beginning.told(progress) as said:
        decoders.begin()
        catalog = beginning.scan(photos, reading, said, cache)
        with refuge.writable(cache, said.note) as usable:
            folder = beginning.folder(usable)
            open_ = _open(catalog, recipe, fixed, seed=seed, cache=folder)
            field = _field(catalog, open_, seed=seed, cache=folder, said=said)
            many = max(FIRST, FIRST_OF_CLASS * len(catalog.classes))
            fields = {str(plans.FIELDS.get(name, name)): value for name, value in fixed.items()}
            space = Space(
                {name: choice.recipe for name, choice in open_.items()}, fields, looks_open=len(field.train) > many
            )
            counts = {
                "train": len(field.train),
                "validation": len(field.validation),
                "left_alone": field.n_left_alone,
            }
            said.note(
                f"{counts['train']:,} pictures to learn from, {counts['validation']:,} to judge trials by; "
                f"{counted(field.n_left_alone, 'test picture')} left alone."
            )
            if resume and study is None and not place.exists():
                said.note(f"There is nothing to resume: {shown(place)} is not there. It starts afresh.")
            asked = {
                "pictures": catalog.fingerprint,
                "seed": seed,
                "recipes": [*open_],
                "settings": {name: str(value) for name, value in sorted(fields.items())},
                "defaults": {name: choice.recipe.as_dict() for name, choice in open_.items()},
                "validation": counts["validation"],
            }
            first = [space.default(name) for name in open_]
            with studies.opened(place, asked, first, seed=seed) as under_way:
                for path in (*([] if output is None else [output]), *also):
                    outputs.check(path, force=force or owns(path, under_way.id))
                end = None if seconds is None else start + seconds - under_way.used_s() - END_S
                run = Run(under_way, space, field, seed, folder, said, end, trials, seconds)
                if place.exists() and run.n_done():
                    said.note(f"{shown(place)} has {counted(run.n_done(), 'trial')} already; this goes on with it.")
                why, interrupted = run.all()
                records = tuple(under_way.records())
                found = tunings.best(records, seed=seed)
                if found is None:
                    _nothing(records, interrupted)
                top, default, gain = found
                under_way.beat()
                tuned = Tuned(
                    photos=str(photos),
                    fingerprint=catalog.fingerprint,
                    study=str(place),
                    study_id=under_way.id,
                    seed=seed,
                    records=records,
                    best=top,
                    default=default,
                    gain=gain,
                    counts=counts,
                    workers=under_way.n_workers(),
                    seconds=under_way.used_s(),
                    budget_s=seconds,
                    why_ended=why,
                    interrupted=interrupted,
                )
    return tuned if output is None else _written(tuned, str(output), force=force)


def owns(path: PathLike, study_id: str) -> bool:
    """Whether a file was written from a study, by its id: it may be replaced by what is newer."""
    try:
        with open(path, "rb") as file:
            return study_id.encode() in file.read(MOST_BYTES)
    except OSError:
        return False


def written(path: PathLike, study_id: str, write: Callable[..., None], *, force: bool) -> None:
    """Write a file by `write(force=…)`; one of the same study is replaced, also where it appears meanwhile."""
    try:
        write(force=force or owns(path, study_id))
    except OutputError:
        if not owns(path, study_id):
            raise
        write(force=True)


def study_of(output: PathLike) -> str:
    """The study of a recipe's file, where nobody names one."""
    text = os.fspath(output)
    return f"{text.removesuffix(recipefile.ENDING)}.study"


def _study_place(
    photos: PathLike, output: PathLike | None, study: PathLike | None, *, resume: bool, force: bool
) -> Path:
    """The file of the trials, checked."""
    if study is not None:
        return Path(study)
    place = Path(study_of(output) if output is not None else f"{Path(os.path.abspath(photos)).name}.study")
    if not os.path.lexists(place) or resume:
        return place
    if not force:
        raise OutputError(
            f"{shown(place)} exists already, the trials of an earlier tuning. Add --resume to go on with them, or "
            f"--force to begin anew."
        )
    studyfile.remove(place)
    return place


def _open(catalog: Catalog, recipe: str, fixed: dict[str, Any], *, seed: int, cache: Path) -> dict[str, plans.Choice]:
    """What each recipe that is open does by default, the one that `train` would take first."""

    def chosen(name: str) -> plans.Choice:
        other = OF_SCRATCH if name == TRANSFER.name else ("backbone",) if name == SCRATCH.name else ()
        mine: Any = {key: value for key, value in fixed.items() if recipe != BOTH or key not in other}
        return beginning.choose(catalog, name, mine, seed=seed, cache=cache)

    first = chosen("auto" if recipe == BOTH and not fixed else TRANSFER.name if recipe == BOTH else recipe)
    names = [first.recipe.name]
    if recipe == BOTH or first.rival is not None:
        names = [names[0], *(name for name in (SCRATCH.name, TRANSFER.name) if name != names[0])]
    return {name: first if name == names[0] else chosen(name) for name in names}


def _field(
    catalog: Catalog, open_: dict[str, plans.Choice], *, seed: int, cache: Path, said: Progress
) -> candidates.Field:
    """The pictures to try recipes on, without those that a training with any of the recipes would test on."""
    readings = []
    for choice in open_.values():
        some = beginning.first(catalog, choice, seed=seed, short=False, whole=False)
        glance = doctor.glance(catalog, some, cache=cache, seed=seed, progress=said)
        if not readings:
            for line in (*catalog.notes, *glance.lines()):
                said.note(line)
        readings.append((glance.catalog, isinstance(choice.recipe, Transfer)))
    grouped = max((each for each, _ in readings), key=lambda each: sum(one.group is not None for one in each.entries))
    return candidates.divided(grouped, readings, seed=seed)


def _nothing(records: tuple[Record, ...], interrupted: bool) -> NoReturn:
    """Say why there is no trial to take."""
    if interrupted:
        raise KeyboardInterrupt
    failed = next((each.why for each in records if each.state == studies.FAILED and each.why != studies.NO_TIME), None)
    if failed:
        raise InputError(f"A trial must be through; none is. The first one ended so: {failed}")
    raise InputError("There must be time for one trial at least; there was none. Take a longer --budget.")


def _written(tuned: Tuned, output: str, *, force: bool) -> Tuned:
    """With the recipe's file written; one of the same study is replaced."""
    tuned = dataclasses.replace(tuned, written=output)
    write = functools.partial(outputs.write_text, output, tunings.text(tuned, output))
    written(output, tuned.study_id, write, force=force)
    return tuned
