"""A classifier on a frozen backbone: look at as many pictures as it takes, fit a head, put both into a bundle.

How many pictures that are is decided by `sampling`.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tellapart import (
    backbones,
    calibration,
    choices,
    features,
    finetune,
    golden,
    graphanswers,
    judgement,
    metrics,
    networks,
    provenance,
    sampling,
    strangers,
)
from tellapart import bundle as bundles
from tellapart import catalog as catalogs
from tellapart import head as heads
from tellapart.attempts import Attempt
from tellapart.config import Transfer
from tellapart.errors import InputError
from tellapart.evaluation import CROSS_VALIDATION, Evaluation
from tellapart.files import counted
from tellapart.looking import Looker, sides_of
from tellapart.preprocess import Preprocess
from tellapart.progress import Progress

TUNED_END_S = 2.0  # to write a network of other weights, besides
JUDGES = 0.1  # validation pictures of the user's own judge a fine-tuning from this share of the training pictures on
ALONE = "the only one of its class: no model that has not seen it knows the class"
CHECKED = 16  # pictures that the finished graph answers too, to see how well it agrees with the features

Told = tuple[np.ndarray, np.ndarray]  # of a side's pictures: logits, float32 (N, C), and embeddings, float16 (N, D)


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """A finished classifier and how it fared."""

    bundle: bundles.Bundle
    evaluations: dict[str, Evaluation]  # "train"; "validation" or CROSS_VALIDATION; "test" unless there are few
    counts: dict[str, int]  # pictures used, by side
    record: dict[str, Any]  # the bundle's record of the training
    reason: str  # in a sentence, what was done and why


def run(
    catalog: catalogs.Catalog,
    recipe: Transfer,
    *,
    seed: int,
    cache: Path,
    progress: Progress,
    deadline: float | None = None,
    network: networks.Network | None = None,
    k_fold: int | None = None,
    attempt: Attempt | None = None,
) -> Result:
    """Fit a head for the classes of `catalog` on the recipe's backbone, or on `network` where it is found already.

    `deadline` is when all must be done, on `time.monotonic`'s clock: as many pictures are looked at as it allows. With
    `k_fold` there is no test split: all pictures are looked at and learned from, and each is answered by another head,
    which learned from the other folds. What is trained of the backbone goes on from where `attempt` has come.

    Raises:
        InputError: what opens is not enough to train on.
        BackboneError, MissingPackageError: the backbone's weights are not as they should be, or not there.
    """
    start = time.perf_counter()
    network, how = network or networks.find(recipe.backbone, recipe.size_px), Preprocess(recipe.size_px)
    sides = sides_of(catalog, seed, whole=k_fold is not None)
    if k_fold is not None:  # the folds are judged by heads alone: a tuned network would need to be tuned for each
        recipe = dataclasses.replace(recipe, most=0, enough=0.0, fine_tune="never")
    with network.writer() as writer:
        look = Looker(catalog, features.Extractor(network, cache), progress)
        in_time = deadline is not None or choices.given(sampling.LOOKED_AT) is not None
        if not in_time:
            train, fitted, rounds = sampling.in_rounds(catalog, recipe, sides.train, look, seed=seed)
            asked = sides.test
        else:
            train, asked = sampling.in_time(deadline, sides, look, cache)
            fitted, round_ = sampling.fit(catalog, train, look, recipe.strength, seed=seed)
            rounds = [round_]
        strength = recipe.strength
        crossed = (
            None if k_fold is None else _crossed(catalog, train, look, k_fold, strength, seed=seed, progress=progress)
        )
        test, validation = look.at(asked, "test"), look.at(sides.validation, "validation")
        usable = catalogs.check_usable(catalog, look.failures)
        missing = sorted(set(usable.classes) - {catalog.entries[i].label for i in test}) if sides.test else []
        if missing:
            raise InputError(
                f"Every class must have a picture to test on; class '{catalogs.shown(missing[0])}' has none. "
                f"Add pictures that are not copies of each other."
            )
        installed = backbones.BACKBONES.get(network.name)  # only these are trained further
        good = not in_time and rounds[-1]["val_accuracy"] >= finetune.GOOD
        all_looked_at = len(train) == len(sides.train) or not in_time
        tuned, judged = finetune.Outcome(), []
        if installed and all_looked_at and recipe.fine_tune != "never" and not (good and recipe.fine_tune == "auto"):
            job = job_of(train, validation, test, fitted, look, seed=seed)
            tuned = finetune.run(
                job,
                installed,
                how,
                look.extractor,
                wish=recipe.fine_tune,
                seed=seed,
                cache=cache,
                deadline=None if deadline is None else deadline - sampling.END_S - TUNED_END_S,
                progress=progress.update,
                keeper=None if attempt is None else attempt.keeper("fine-tuning"),
                rate=recipe.fine_tune_rate,
            )
            judged = [(*train, *validation)[i] for i in job.outside]
        head = tuned.head or fitted.head
        if tuned.tensors is None:
            graph = network.graph(cache, head)
        else:
            assert installed is not None  # nothing else is tuned
            graph = backbones.graph(installed, recipe.size_px, head, tensors=tuned.tensors)
        gone: dict[int, str] = {}  # entries that nothing can be asked about any more, and why
        asked_of = {"train": train, "validation": validation, "test": test}
        if tuned.tensors is not None and not validation:
            asked_of["validation"] = judged
        if tuned.tensors is None:
            told = {side: _by_head(head, look.features(some)) for side, some in asked_of.items() if some}
        else:
            told, gone = _asked(graph, how, look, asked_of, progress)
        seen = told["train"][1]
        if "validation" not in told:
            side = "validation" if test else CROSS_VALIDATION
            held_out = fitted if crossed is None else crossed
            asked_of[side] = [train[i] for i in held_out.held_out]
            # By heads that did not see them.
            told[side] = np.log(np.maximum(held_out.answers, 1e-30)), seen[held_out.held_out]
        progress.update("Saving", 0, 1)
        judges = "validation" if "validation" in told else CROSS_VALIDATION
        hot = calibration.temperature(told[judges][0], look.labels(asked_of[judges]))
        with ThreadPoolExecutor(1) as pool:  # Keras writes meanwhile; its own answers are the calibrated ones too
            written = pool.submit(writer.write, *_parts(head.tempered(hot), tuned))
            side = "test" if test else "train"
            some = sampling.evenly(list(range(len(asked_of[side]))), CHECKED)
            again = graphanswers.exactly(graph, how, look.files([asked_of[side][i] for i in some]))
            exact, there = (again.logits, again.embeddings), [some[i] for i in again.rows]
            fast = told[side][0][there], told[side][1][there]
            judged_by = _judgement(told, asked_of, look, catalog.classes, fast, exact, seed=seed)
            keras_file = written.result()
        progress.update("Saving", 1, 1)
    skipped = sorted(
        [
            *((each.path, each.reason) for each in usable.skipped),
            *((catalog.entries[i].path, reason) for i, reason in (*sides.dropped, *gone.items())),
        ]
    )

    if crossed is not None:
        alone = sorted(set(range(len(train))) - set(crossed.held_out.tolist()))
        skipped = sorted([*skipped, *((catalog.entries[train[i]].path, ALONE) for i in alone)])

    def evaluation(side: str) -> Evaluation:
        logits, embedded = told[side]
        labels, probabilities = look.labels(asked_of[side]), judged_by.probabilities(logits)
        if side == CROSS_VALIDATION:  # these pictures set the temperature, and are not to judge it
            n = len(labels)
            turns = np.arange(n) * heads.FOLDS // n if crossed is None else crossed.folds
            probabilities = calibration.by_turns(logits, labels, turns)
        return Evaluation(
            classes=catalog.classes,
            probabilities=probabilities,
            labels=labels,
            paths=tuple(catalog.entries[i].path for i in asked_of[side]),
            skipped=tuple(skipped) if side in ("test", CROSS_VALIDATION) else (),
            split=side,
            notes=catalog.notes,
            declined=judged_by.declined(logits, embedded),
            folds=crossed.folds if crossed is not None and side == CROSS_VALIDATION else np.zeros(0, np.int64),
        )

    order = ("train", "validation", CROSS_VALIDATION, "test")
    evaluations = {side: evaluation(side) for side in order if side in told}
    unused = len(sides.train) - len(train) - sum(i in look.unreadable for i in sides.train)
    unjudged = len(sides.test) - len(test) - sum(i in look.unreadable for i in sides.test)
    record = {
        "epochs": 0,
        "backbone": network.name,
        "engine": look.extractor.way,
        "strength": fitted.strength,
        "precision": "float32",
        "pictures": {
            "train": len(train),
            "validation": sum(i not in gone for i in validation),
            "test": sum(i not in gone for i in test),
        },
        "unused": unused + unjudged,  # readable as far as known, not looked at
        "skipped": len(skipped),
        "agreement": float(np.abs(metrics.softmax(exact[0]) - metrics.softmax(fast[0])).max()),
        "fine_tuned": tuned.record or None,
        "interrupted": tuned.interrupted,
        "seconds": round(time.perf_counter() - start, 3),
    }
    manifest = {
        "classes": list(catalog.classes),
        "preprocess": how.as_dict(),
        **judged_by.as_dict(),
        "metrics": {side: each.record() for side, each in evaluations.items()},
        "training": {
            **provenance.timeless(record),
            "labels": look.labels(train).tolist(),
        },  # of the embeddings, as places in `classes`
        "provenance": provenance.record(catalog.fingerprint, recipe.as_dict(), seed) | {"backbone": network.as_dict()},
    }
    bundle = bundles.make(
        manifest,
        graph=graph,
        keras_file=keras_file,
        splits={
            side: [catalog.entries[i].content for i in indices]
            for side, indices in (("train", train), ("validation", validation), ("test", test))
        },
        history_csv=_csv(rounds),
        embeddings=seen,
        guarding=judged_by.members,
    )
    reason = _reason(recipe, evaluations, train, unused, unjudged, deadline)
    if tuned.reason:
        reason = f"{reason} {tuned.reason}."
    return Result(golden.kept(bundle), evaluations, record["pictures"], record, reason)


def _crossed(
    catalog: catalogs.Catalog,
    used: list[int],
    look: Looker,
    n_folds: int,
    strength: float | None,
    *,
    seed: int,
    progress: Progress,
) -> heads.Crossed:
    """What heads that did not learn from a picture say of it, for all that were looked at."""
    return heads.cross_validated(
        look.features(used),
        look.labels(used),
        len(catalog.classes),
        n_folds,
        seed=seed,
        groups=look.groups(used),
        strength=strength,
        progress=lambda done, total: progress.update("Cross-validating", done, total, "folds"),
    )


def job_of(
    train: list[int], validation: list[int], test: list[int], fitted: heads.Fit, look: Looker, *, seed: int
) -> finetune.Job:
    """Who learns and who judges in fine-tuning: the user's own validation pictures where there are enough."""
    every = [*train, *validation]
    labels, values = look.labels(every), look.features(train)
    n_classes = fitted.head.kernel.shape[1]
    if len(validation) >= max(finetune.FEW, JUDGES * len(train)):
        inside, outside = np.arange(len(train)), np.arange(len(train), len(every))
        head = fitted.head
    else:
        inside, outside = next(heads.folds(labels[: len(train)], look.groups(train), seed, single=True))
        head = heads.learn(values[inside], labels[inside], n_classes, fitted.strength)
    answers = heads.probabilities(head, look.features([every[i] for i in outside]))
    others = len(test) + len(every) - len(inside) - len(outside)
    return finetune.Job(look.files(every), labels, inside, outside, head, answers, others)


def _parts(head: backbones.Head, tuned: finetune.Outcome) -> tuple[Any, ...]:
    """What a writer is to write: the head, and the weights of the backbone where they are not its own any more."""
    return (head,) if tuned.tensors is None else (head, tuned.tensors)


def _by_head(head: backbones.Head, seen: np.ndarray) -> Told:
    return heads.logits(head, seen), seen


def _judgement(
    told: dict[str, Told],
    sides: dict[str, list[int]],
    look: Looker,
    classes: tuple[str, ...],
    fast: Told,
    exact: Told,
    *,
    seed: int,
) -> judgement.Judgement:
    """Temperature and guards by pictures that were held out, once or by turns; `fast` is rounded, `exact` is not."""
    side = "validation" if "validation" in told else CROSS_VALIDATION
    (logits, seen), (_, embeddings) = told[side], told["train"]
    train, judges = sides["train"], set(sides[side])
    labels = look.labels(train)
    apart = np.array([i not in judges for i in train])
    if len(np.unique(labels[apart])) == len(classes):  # who judges did not teach
        known = strangers.fit(embeddings[apart], labels[apart], len(classes), seed=seed).settled(seen, logits)
        scores = known.scores(seen, logits)
    else:
        by_place = np.full((len(train), len(classes)), np.nan)
        place = {i: at for at, i in enumerate(train)}
        by_place[[place[i] for i in sides[side]]] = logits
        known, scores = strangers.fit_and_score(
            embeddings, labels, len(classes), logits=by_place, groups=look.groups(train), seed=seed
        )
    known = known.allowing((fast[1], fast[0]), (exact[1], exact[0]))
    return judgement.judge(logits, look.labels(sides[side]), classes, known=known, scores=scores)


def _asked(
    graph: bytes, how: Preprocess, look: Looker, sides: dict[str, list[int]], progress: Progress
) -> tuple[dict[str, Told], dict[int, str]]:
    """What a tuned graph says of each side that has pictures; entries that are gone leave `sides`, with their reasons.

    Raises:
        InputError: nothing of a side is left.
    """
    every, way = [i for some in sides.values() for i in some], look.extractor.way
    assert way is not None
    answers = graphanswers.quickly(
        graph, way, how, look.files(every), lambda done, total: progress.update("Evaluating", done, total)
    )
    told, end = {}, 0
    for side, some in sides.items():
        start, end = end, end + len(some)
        these = (answers.rows >= start) & (answers.rows < end)
        if some and not these.any():
            raise graphanswers.moved(look.files(some)[0][0], answers.lost[start])
        if some:
            told[side] = answers.logits[these], answers.embeddings[these]
            sides[side] = [every[i] for i in answers.rows[these]]
    return told, {every[i]: reason for i, reason in answers.lost.items()}


def _reason(
    recipe: Transfer,
    evaluations: dict[str, Evaluation],
    train: Sequence[int],
    unused: int,
    unjudged: int,
    deadline: float | None,
) -> str:
    judged = evaluations.get("validation") or evaluations[CROSS_VALIDATION]
    said = (
        f"A classifier on what a pretrained {recipe.backbone} sees at {recipe.size_px} px: "
        f"{judged.accuracy:.1%} of {counted(judged.n, 'held-out picture')} right"
    )
    if unused and deadline is None:
        said += (
            f" after {counted(len(train), 'training picture')}; the other {unused:,} promised less than "
            f"{100 * recipe.enough:g} points more and were not looked at (a longer --budget looks at them)"
        )
    elif unused:
        said += f" after {counted(len(train), 'training picture')}; there was no time for the other {unused:,}"
    if unjudged:
        said += f", and none for {counted(unjudged, 'test picture')}"
    return f"{said}."


def forecast(
    catalog: catalogs.Catalog, recipe: Transfer, reason: str, *, cache: Path, network: networks.Network | None = None
) -> dict[str, Any]:
    """What `run` will do: its recipe and counts, and how long and how large, measured on a few pictures."""
    sides = sides_of(catalog, seed=0)
    counts = {"train": len(sides.train), "validation": len(sides.validation), "test": len(sides.test)}
    network = network or networks.find(recipe.backbone, recipe.size_px)
    extractor = features.Extractor(network, cache)
    tried = [catalog.entries[i] for i in sides.train[: sampling.FIRST_CHUNK]]
    rate = extractor.speed([(entry.path, entry.content) for entry in tried])
    n = sum(counts.values())
    total_s = (1 + sampling.FIT_SHARE) * n / rate + sampling.END_S
    return {
        "recipe": recipe.as_dict(),
        "reason": reason,
        "precision": extractor.way,
        "classes": list(catalog.classes),
        "pictures": counts,
        "skipped": [{"path": each.path, "reason": each.reason} for each in catalog.skipped],
        "notes": list(catalog.notes),
        "seconds": {"decode": 0.0, "train": round(n / rate, 1), "total": round(total_s, 1)},
        "disk_bytes": {
            "cache": 2 * n * network.n_features,
            "bundle": 2 * extractor.graph_bytes + 2 * len(sides.train) * network.n_features,
        },
    }


def _csv(rounds: list[dict[str, float]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rounds[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rounds)
    return text.getvalue()
