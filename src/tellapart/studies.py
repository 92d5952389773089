"""The trials of a tuning in one SQLite file, by Optuna: which settings come next, which trial is given up, who died.

Several processes may work on one file at once. A trial whose process has died is failed at once where that can be told
here, else when its heartbeat has been missing for a minute. The values of a trial are a function of the seed, of its
number and of the trials before it, so that a study that was stopped goes on as it would have.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tellapart import leftovers, studyfile
from tellapart.errors import TellapartError

if TYPE_CHECKING:
    import optuna

STEPS = 8  # looks at a training, evenly over its epochs
MOST_TWICE = 25  # times in a row that nothing new comes up, before there is nothing new
DIED, STOPPED, NO_TIME, TWICE = "its process died", "stopped", "the time was up", "the same as an earlier one"
COMPLETE, PRUNED, RUNNING, FAILED, WAITING = "complete", "pruned", "running", "failed", "waiting"
MOST_TEXT = 300


class _NothingNewError(TellapartError):
    """A trial that has been carried out before."""


class GivenUp(Exception):
    """A trial that is not worth going on with; the text says why."""


@dataclass(frozen=True, slots=True)
class Record:
    """One trial, as it stands in the file."""

    number: int
    state: str  # COMPLETE, PRUNED, RUNNING, FAILED or WAITING
    default: bool  # whether it is what `train` does by itself
    kept: Mapping[str, Any]  # what was kept of it, plain values; see `tuning`
    curve: tuple[tuple[float, float], ...]  # (share of the training, score) of each look
    seconds: float | None
    why: str  # why it failed or was given up


@dataclass(slots=True)
class Trial:
    """A trial under way."""

    number: int
    default: bool
    asked: Any  # what gives the values, see `space.Asked`
    kept: dict[str, Any] = field(default_factory=dict)
    _look: Callable[[int, float], bool] = lambda step, score: False
    _seen: set[int] = field(default_factory=set)

    def watch(self, share: float, score: float, *, kind: int = 0) -> None:
        """Take note of how a training of a kind fares; raises GivenUp where most others fared better at this point."""
        step = math.floor(share * STEPS + 1e-9)
        if step < 1 or step in self._seen:
            return
        self._seen.add(step)
        if self._look(100 * kind + step, score) and not self.default:
            raise GivenUp(f"behind most others after {step} of {STEPS} parts of the training")


class Study:
    """A study that this process works on."""

    def __init__(self, path: Path, study: optuna.Study, storage: optuna.storages.RDBStorage) -> None:
        self.path, self._study, self._storage = path, study, storage
        self.worker = leftovers.mark()
        self._begun = time.time()
        self._twice = 0

    @property
    def id(self) -> str:
        """32 hex digits that no other study has."""
        return str(self._study.user_attrs["id"])

    @property
    def exhausted(self) -> bool:
        """Whether nothing new has come up for long."""
        return self._twice >= MOST_TWICE

    def used_s(self) -> float:
        """For how long somebody has worked on it: seconds, of several at once those of one."""
        spans = sorted(value for name, value in self._study.user_attrs.items() if name.startswith("worker "))
        total, end = 0.0, -math.inf
        for begun, last in spans:
            total += max(last - max(begun, end), 0.0)
            end = max(end, last)
        return total

    def beat(self) -> None:
        """Note that this process works on it."""
        self._study.set_user_attr(f"worker {self.worker}", [self._begun, time.time()])

    def n_workers(self) -> int:
        """Processes that have worked on it."""
        return sum(name.startswith("worker ") for name in self._study.user_attrs)

    def records(self) -> list[Record]:
        """All trials but those that were nothing new, by number."""
        found = []
        for one in self._study.get_trials(deepcopy=False):
            attrs = one.user_attrs
            if attrs.get("why") == TWICE:
                continue
            seconds = attrs.get("seconds")
            curve = tuple(((step % 100) / STEPS, value) for step, value in sorted(one.intermediate_values.items()))
            found.append(
                Record(
                    number=one.number,
                    state=_STATES[one.state.name],
                    default=bool(attrs.get("default")),
                    kept=attrs.get("kept") or {},
                    curve=curve,
                    seconds=seconds if isinstance(seconds, int | float) else None,
                    why=str(attrs.get("why") or (DIED if one.state.name == "FAIL" else "")),
                )
            )
        return found

    def bury(self) -> None:
        """Fail the trials of processes that have died; the default is put up again where it was among them."""
        import optuna

        for one in self._study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
            owner, _, rest = str(one.user_attrs.get("worker", "")).partition("-")
            pid = rest.partition("-")[0]
            here = owner == leftovers.owner() and pid.isdigit()
            if here and not leftovers.is_alive(int(pid)):
                self._study.tell(one.number, state=optuna.trial.TrialState.FAIL, skip_if_finished=True)
        mine = [one for one in self._study.get_trials(deepcopy=False) if one.user_attrs.get("default")]
        again = (None, STOPPED, NO_TIME)  # what was no fault of its own
        if all(one.state.name == "FAIL" for one in mine) and mine[-1].user_attrs.get("why") in again:
            first = mine[0]
            params = first.system_attrs.get("fixed_params") or first.params
            self._study.enqueue_trial(params, user_attrs={"default": True})

    def one(self, objective: Callable[[Trial], float], key: Callable[[Any], Any]) -> Record | None:
        """Carry out the next trial; None where nothing new came up.

        Args:
            objective: makes a score of a trial, the higher the better. GivenUp ends it, and so does a TellapartError or
                the lack of memory: the study goes on. All else goes through.
            key: makes plain values of what gives the values: trials of equal ones are the same trial.
        """
        import optuna

        number = -1

        def carried_out(asked: optuna.Trial) -> float:
            nonlocal number
            number = asked.number
            asked.set_user_attr("worker", self.worker)
            kept = key(asked)
            asked.set_user_attr("key", kept)
            default = bool(asked.user_attrs.get("default"))
            if not default and self._is_known(asked.number, kept):
                asked.set_user_attr("why", TWICE)
                raise _NothingNewError
            start = time.monotonic()
            trial = Trial(asked.number, default, asked, _look=_looker(asked))
            try:
                value = objective(trial)
            except GivenUp as end:
                asked.set_user_attr("why", str(end))
                raise optuna.TrialPruned from end
            except BaseException as error:
                asked.set_user_attr("why", _why(error))
                raise
            finally:
                asked.set_user_attr("seconds", round(time.monotonic() - start, 2))
                asked.set_user_attr("kept", trial.kept)
                self.beat()
            return value

        try:
            with studyfile.quiet():
                self._study.optimize(carried_out, n_trials=1, catch=(TellapartError, MemoryError))
        except ValueError as error:  # somebody believed this process dead: its machine slept, say
            if "Cannot tell a" not in str(error):
                raise
        except optuna.exceptions.UpdateFinishedTrialError:
            pass
        found = next((one for one in self.records() if one.number == number), None)
        self._twice = self._twice + 1 if found is None else 0
        return found

    def _is_known(self, number: int, kept: Any) -> bool:
        """Whether an earlier trial that has not failed is the same."""
        earlier = (one for one in self._study.get_trials(deepcopy=False) if one.number < number)
        return any(one.user_attrs.get("key") == kept and one.state.name != "FAIL" for one in earlier)

    def close(self) -> None:
        """Let go of the file."""
        self._storage.remove_session()


_STATES = {"COMPLETE": COMPLETE, "PRUNED": PRUNED, "RUNNING": RUNNING, "FAIL": FAILED, "WAITING": WAITING}


def _looker(asked: optuna.Trial) -> Callable[[int, float], bool]:
    def look(step: int, score: float) -> bool:
        asked.report(score, step)
        return asked.should_prune()

    return look


def _why(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return STOPPED
    return " ".join(str(error).split())[:MOST_TEXT] or type(error).__name__


@contextlib.contextmanager
def opened(
    path: str | os.PathLike[str],
    asked: Mapping[str, Any],
    defaults: Sequence[Mapping[str, Any]],
    *,
    seed: int,
) -> Iterator[Study]:
    """The study in a file, made where there is none.

    Args:
        path: its file.
        asked: plain values: all that decides what a trial is. A file of others is refused.
        defaults: the values of the trials that come first; the first of them is the default.
        seed: of the values that are tried.

    Raises:
        SettingsError: the file is of another study.
        InputError: it is no such file.
        OutputError: it cannot be written.
    """
    studyfile.check()
    place = Path(path)
    with studyfile.quiet():
        if not os.path.lexists(place):
            studyfile.make(place, asked, defaults)
        study, storage = studyfile.load(place, seed)
    mine = Study(place, study, storage)
    try:
        studyfile.check_same(study, asked, place)
        with studyfile.reported(place), studyfile.quiet():
            mine.beat()
            mine.bury()
            yield mine
    finally:
        mine.close()
