"""The trials of a tuning that this process carries out, one after the other, until there is a reason to end."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tellapart import candidates, choices, interrupts, picking, studies, tunings
from tellapart.charts import percent
from tellapart.classifier import require_keras
from tellapart.config import Recipe, Transfer
from tellapart.files import counted
from tellapart.progress import Progress
from tellapart.space import Space
from tellapart.studies import GivenUp, Record, Study, Trial

END_S = 2.0  # to choose, and to write the recipe and the page
SHARE = 1 / 3  # of the time that is left, which a trial may take: one that is slow is not to cost all others
BEAT_S = 5.0  # between two notes of being at work


class _TimeUpError(Exception):
    """No time is left."""


class Run:
    """The trials of this process, one after the other."""

    def __init__(
        self,
        study: Study,
        space: Space,
        field: candidates.Field,
        seed: int,
        cache: Path,
        said: Progress,
        end: float | None,
        trials: int | None,
        budget: float | None,
    ) -> None:
        self._study, self._space, self._field, self._seed, self._cache = study, space, field, seed, cache
        self._said, self._end, self._trials, self._budget = said, end, trials, budget
        self._shortest_s = 0.0
        self._precision: str | None = None
        self._best = ""
        self._stop = interrupts.Held()

    def n_done(self) -> int:
        """Trials that need not be carried out again."""
        lost = (studies.DIED, studies.STOPPED, studies.NO_TIME)
        over = (studies.COMPLETE, studies.PRUNED, studies.FAILED)
        return sum(each.state in over and each.why not in lost for each in self._study.records())

    def all(self) -> tuple[str, bool]:
        """Carry out trials until there is a reason to end: the reason, as a clause, and whether it was Ctrl-C."""
        try:
            return self._all()
        except _TimeUpError:
            return "the time was up", False
        except KeyboardInterrupt:
            return "it was stopped", True

    def _all(self) -> tuple[str, bool]:
        with interrupts.held() as self._stop:  # Optuna is not made for exceptions at any place
            while not self._stop.is_set():
                self._study.bury()
                if self._trials is not None and self.n_done() >= self._trials:
                    return f"{counted(self._trials, 'trial')} were asked for", False
                if self._study.exhausted:
                    return "nothing new came up any more", False
                if self._end is not None and self._end - time.monotonic() < self._shortest_s:
                    return "the time was up", False
                record = self._study.one(self._carry_out, self._key)
                if record is not None:
                    self._tell(record)
        return "it was stopped", True

    def _key(self, asked: Any) -> dict[str, Any]:
        return self._space.recipe(asked).as_dict()

    def _carry_out(self, trial: Trial) -> float:
        recipe, start = self._space.recipe(trial.asked), time.monotonic()
        trial.kept["recipe"] = recipe.as_dict()
        if self._end is not None and start > self._end:
            raise _TimeUpError(studies.NO_TIME)
        latest = None
        if self._end is not None and not trial.default:
            latest = start + SHARE * (self._end - start)
        watched = _Watched(self._said, self._step(trial), self._end, latest, self._beat)
        n = len(self._field.validation)
        kind = 1 if isinstance(recipe, Transfer) else 0

        def watch(share: float, accuracy: float, loss: float) -> None:
            with self._stop.opened(False):
                trial.watch(share, picking.score(accuracy, loss, n), kind=kind)

        with choices.noted(), self._stop.opened():  # apart: what is measured for a trial is no part of a training
            judged = candidates.tried(
                self._field,
                self._in_format(recipe),
                seed=self._seed,
                cache=self._cache,
                progress=watched,
                watch=watch,
            )
        trial.kept |= tunings.kept(judged.answers, judged.log_loss, judged.cost, judged.detail)
        took = time.monotonic() - start
        self._shortest_s = min(took, self._shortest_s or took)
        return picking.Trial(trial.number, judged.answers, judged.log_loss, judged.cost).score

    def _beat(self) -> None:
        with self._stop.opened(False):
            self._study.beat()

    def _in_format(self, recipe: Recipe | Transfer) -> Recipe | Transfer:
        """A recipe with the number format that trains the default fastest here: looked up once, not for each trial."""
        if isinstance(recipe, Transfer) or recipe.precision != "auto":
            return recipe
        if self._precision is None:
            require_keras()
            from tellapart import speeds

            base = self._space.defaults[recipe.name]
            assert isinstance(base, Recipe)  # of the same kind
            n = len(self._field.train)
            self._precision = speeds.choose_precision(base, len(self._field.catalog.classes), n, self._cache)
        return recipe.override(precision=self._precision)

    def _step(self, trial: Trial) -> Callable[[str, int, int], None]:
        """What tells of the progress of a trial."""
        done_before, trials = self.n_done(), self._trials or 1

        def step(stage: str, done: int, total: int) -> None:
            detail = f"trial {trial.number + 1}: {stage.lower()} {done / max(total, 1):.0%}{self._best}"
            if self._end is None or self._budget is None:
                self._said.update("Tuning", min(done_before, trials), trials, detail)
            else:
                left = max(self._end + END_S - time.monotonic(), 0.0)
                self._said.update("Tuning", round(self._budget - left), round(self._budget), detail)

        return step

    def _tell(self, record: Record) -> None:
        """A line about a trial that has ended, and the best so far."""
        took = "" if record.seconds is None else f" in {record.seconds:.0f} s"
        what = tunings.described(record)
        if record.state == studies.COMPLETE:
            said = f"{percent(record.kept['accuracy'])} right, log-loss {record.kept['log_loss']:.3f}{took}"
        else:
            said = f"{'given up' if record.state == studies.PRUNED else 'failed'}{took}: {record.why}"
        self._said.note(f"Trial {record.number + 1}{', the default' if record.default else ''}: {what}: {said}.")
        through = [each for each in self._study.records() if each.state == studies.COMPLETE]
        if through:
            top = max(through, key=lambda each: tunings.judged(each).score)
            self._best = f"; best {percent(top.kept['accuracy'])}, trial {top.number + 1}"


class _Watched(Progress):
    """Looks at the clock whenever a trial tells how far it has come."""

    def __init__(
        self,
        said: Progress,
        step: Callable[[str, int, int], None],
        end: float | None,
        latest: float | None,
        beat: Callable[[], None],
    ) -> None:
        self._step, self._end, self._latest, self._beat = step, end, latest, beat
        self._beaten = time.monotonic()

    def update(self, stage: str, done: int, total: int, detail: str = "") -> None:
        """See `Progress.update`."""
        now = time.monotonic()
        if self._end is not None and now > self._end:
            raise _TimeUpError(studies.NO_TIME)
        if self._latest is not None and now > self._latest:
            raise GivenUp("too slow for the time that was left")
        if now - self._beaten > BEAT_S:
            self._beaten = now
            self._beat()
        self._step(stage, done, total)
