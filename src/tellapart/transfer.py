"""A classifier on a frozen backbone: look at as many pictures as it takes, fit a head, put both into a bundle.

A good backbone needs few pictures of a class. So training pictures are looked at in rounds, each twice as large as
the one before it, and after each the head is fitted and judged on held-out pictures. The errors that are left fall
with about the fourth root of the number of pictures (a cautious reading of learning curves on frozen features); once
all remaining pictures together promise less than `Transfer.enough`, the rest is left alone, and the run says so.
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
    features,
    finetune,
    golden,
    judgement,
    metrics,
    networks,
    preprocess,
    provenance,
    strangers,
)
from tellapart import bundle as bundles
from tellapart import catalog as catalogs
from tellapart import head as heads
from tellapart.config import Transfer
from tellapart.engine import Engine
from tellapart.errors import InputError
from tellapart.evaluation import CROSS_VALIDATION, Evaluation
from tellapart.files import counted
from tellapart.looking import Looker, Sides, sides_of
from tellapart.preprocess import Preprocess
from tellapart.progress import Progress

FIRST, FIRST_OF_CLASS = 1024, 32  # pictures of the first round: at least so many, and so many of a class
POWER = 0.25  # errors fall with the number of pictures to this power, at best
CHUNK = 512  # pictures looked at between two looks at the clock, where there is a budget
FIRST_CHUNK = 64  # the first of them, which tells how fast it goes
END_S = 5.0  # to fit, judge, write and end, besides what grows with the number of pictures
TUNED_END_S = 2.0  # to write a network of other weights, besides
JUDGES = 0.1  # validation pictures of the user's own judge a fine-tuning from this share of the training pictures on
FIT_SHARE = 0.1  # time to fit, as a share of the time to look
TEST_SHARE = 0.3  # of the pictures that a budget allows, at most, for the test
ALONE = "the only one of its class: no model that has not seen it knows the class"
CHECKED = 16  # pictures that the finished graph answers too, to see how well it agrees with the features
BATCH = 8  # pictures that it sees at once

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
) -> Result:
    """Fit a head for the classes of `catalog` on the recipe's backbone, or on `network` where it is found already.

    `deadline` is when all must be done, on `time.monotonic`'s clock: as many pictures are looked at as it allows. With
    `k_fold` there is no test split: all pictures are looked at and learned from, and each is answered by another head,
    which learned from the other folds.

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
        if deadline is None:
            train, fitted, rounds = _learn(catalog, recipe, sides.train, look, seed=seed)
            asked = sides.test
        else:
            train, asked = _look_until(deadline, sides, look)
            fitted, round_ = _fit(catalog, train, look, seed=seed)
            rounds = [round_]
        crossed = None if k_fold is None else _crossed(catalog, train, look, k_fold, seed=seed, progress=progress)
        test, validation = look.at(asked, "test"), look.at(sides.validation, "validation")
        usable = catalogs.check_usable(catalog, look.failures)
        missing = sorted(set(usable.classes) - {catalog.entries[i].label for i in test}) if sides.test else []
        if missing:
            raise InputError(
                f"Every class must have a picture to test on; class '{catalogs.shown(missing[0])}' has none. "
                f"Add pictures that are not copies of each other."
            )
        installed = backbones.BACKBONES.get(network.name)  # only these are trained further
        good = deadline is None and rounds[-1]["val_accuracy"] >= finetune.GOOD
        all_looked_at = len(train) == len(sides.train) or deadline is None
        tuned, judged = finetune.Outcome(), []
        if installed and all_looked_at and recipe.fine_tune != "never" and not (good and recipe.fine_tune == "auto"):
            job = _job(train, validation, test, fitted, look, seed=seed)
            tuned = finetune.run(
                job,
                installed,
                how,
                look.extractor,
                wish=recipe.fine_tune,
                seed=seed,
                cache=cache,
                deadline=None if deadline is None else deadline - END_S - TUNED_END_S,
                progress=progress.update,
            )
            judged = [(*train, *validation)[i] for i in job.outside]
        head = tuned.head or fitted.head
        if tuned.tensors is None:
            graph = network.graph(cache, head)
        else:
            assert installed is not None  # nothing else is tuned
            graph = backbones.graph(installed, recipe.size_px, head, tensors=tuned.tensors)
        asked_of = {"train": train, "validation": validation, "test": test}
        if tuned.tensors is not None and not validation:
            asked_of["validation"] = judged
        if tuned.tensors is None:
            told = {side: _by_head(head, look.features(some)) for side, some in asked_of.items() if some}
        else:
            told = _asked(graph, how, look, asked_of, progress)
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
            some = _evenly(list(range(len(asked_of[side]))), CHECKED)
            exact = _exactly(graph, how, [catalog.entries[asked_of[side][i]].path for i in some])
            fast = told[side][0][some], told[side][1][some]
            judged_by = _judgement(told, asked_of, look, catalog.classes, fast, exact, seed=seed)
            keras_file = written.result()
        progress.update("Saving", 1, 1)
    skipped = sorted(
        [
            *((each.path, each.reason) for each in usable.skipped),
            *((catalog.entries[i].path, reason) for i, reason in sides.dropped),
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
        "pictures": {"train": len(train), "validation": len(validation), "test": len(test)},
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
        "training": {**record, "labels": look.labels(train).tolist()},  # of the embeddings, as places in `classes`
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


def first(catalog: catalogs.Catalog, seed: int) -> list[int]:
    """The entries that `run` looks at in any case: those that judge, and the first to be learned from."""
    sides = sides_of(catalog, seed)
    return [*sides.train[: max(FIRST, FIRST_OF_CLASS * len(catalog.classes))], *sides.validation, *sides.test]


def _learn(
    catalog: catalogs.Catalog, recipe: Transfer, order: list[int], look: Looker, *, seed: int
) -> tuple[list[int], heads.Fit, list[dict[str, float]]]:
    """Rounds of looking and fitting: the pictures used, the last fit, and a row a round."""
    n_classes, rounds, used, start = len(catalog.classes), [], [], 0
    order = order[: recipe.most or None]
    n = max(FIRST, FIRST_OF_CLASS * n_classes)
    while True:
        n = len(order) if n > 0.75 * len(order) else n  # a last small step would only cost time
        used += look.at(order[start:n], "training")
        start = n
        if n < len(order) and len(np.unique(look.labels(used))) < n_classes:
            n *= 2
            continue
        fitted, row = _fit(catalog, used, look, seed=seed)
        rounds.append({**row, "epoch": len(rounds) + 1})
        n_held_out = len(fitted.held_out)
        errors = (1 - row["val_accuracy"]) * n_held_out
        expected = (errors + 1) / (n_held_out + 2)  # what so few errors are evidence of (Laplace)
        if n >= len(order) or expected * (1 - (n / len(order)) ** POWER) < recipe.enough:
            return used, fitted, rounds
        n *= 2


def _look_until(deadline: float, sides: Sides, look: Looker) -> tuple[list[int], list[int]]:
    """The training pictures looked at in the time there is, and the test pictures that there is time left for."""
    start = time.monotonic()
    used = look.at(sides.train[:FIRST_CHUNK], "training")
    began = time.monotonic()  # what came before has the backbone's start in it
    used += look.at(sides.train[FIRST_CHUNK : 2 * FIRST_CHUNK], "training")
    done = min(2 * FIRST_CHUNK, len(sides.train))
    each_s = (time.monotonic() - began) / FIRST_CHUNK
    n_all = (deadline - END_S - start) / max(each_s, 1e-6)
    n_judges = len(sides.test) + len(sides.validation)
    test = sides.test
    if n_judges > TEST_SHARE * n_all:
        keep = max(int(TEST_SHARE * n_all) - len(sides.validation), len(set(look.labels(sides.test))))
        test = _evenly(sides.test, keep)
    while done < len(sides.train):
        each_s = (time.monotonic() - began) / (done - FIRST_CHUNK)
        left = deadline - END_S - time.monotonic() - each_s * (len(test) + len(sides.validation))
        n = min(CHUNK, int(left / (each_s * (1 + FIT_SHARE))))
        if n < 1:
            break
        used += look.at(sides.train[done : done + n], "training")
        done += n
    return used, test


def _evenly(indices: list[int], n: int) -> list[int]:
    """`n` of them, spread evenly."""
    return [indices[i * len(indices) // n] for i in range(min(n, len(indices)))]


def _fit(catalog: catalogs.Catalog, used: list[int], look: Looker, *, seed: int) -> tuple[heads.Fit, dict[str, float]]:
    """Fit the head to pictures that were looked at; a row of the learning curve."""
    start = time.perf_counter()
    catalogs.check_usable(catalog, look.failures)
    labels = look.labels(used)
    fitted = heads.fit(look.features(used), labels, len(catalog.classes), seed=seed, groups=look.groups(used))
    held_out = labels[fitted.held_out]
    return fitted, {
        "epoch": 1,
        "pictures": len(used),
        "accuracy": fitted.train_accuracy,
        "val_loss": metrics.log_loss(fitted.answers, held_out),
        "val_accuracy": metrics.accuracy(fitted.answers, held_out),
        "seconds": round(time.perf_counter() - start, 3),
    }


def _crossed(
    catalog: catalogs.Catalog, used: list[int], look: Looker, n_folds: int, *, seed: int, progress: Progress
) -> heads.Crossed:
    """What heads that did not learn from a picture say of it, for all that were looked at."""
    return heads.cross_validated(
        look.features(used),
        look.labels(used),
        len(catalog.classes),
        n_folds,
        seed=seed,
        groups=look.groups(used),
        progress=lambda done, total: progress.update("Cross-validating", done, total, "folds"),
    )


def _exactly(graph: bytes, how: Preprocess, paths: Sequence[str]) -> Told:
    """What the finished graph says of pictures without rounding."""
    pixels = np.stack([preprocess.load(path, how) for path in paths])
    engine, batches = Engine(graph), range(0, len(pixels), BATCH)
    outputs = [engine.run(pixels[start : start + BATCH]) for start in batches]
    return np.concatenate([each.logits for each in outputs]), np.concatenate([each.embedding for each in outputs])


def _job(
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
) -> dict[str, Told]:
    """What a tuned graph says of each side that has pictures."""
    every = [i for some in sides.values() for i in some]
    way = look.extractor.way
    assert way is not None
    logits, embedded = finetune.ask(
        graph, way, how, look.files(every), lambda done, total: progress.update("Evaluating", done, total)
    )
    ends = np.cumsum([len(some) for some in sides.values()])[:-1]
    parts = zip(sides, np.split(logits, ends), np.split(embedded, ends), strict=True)
    return {side: (rows, seen) for side, rows, seen in parts if len(rows)}


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
    rate = extractor.speed([(catalog.entries[i].path, catalog.entries[i].content) for i in sides.train[:FIRST_CHUNK]])
    n = sum(counts.values())
    return {
        "recipe": recipe.as_dict(),
        "reason": reason,
        "precision": extractor.way,
        "classes": list(catalog.classes),
        "pictures": counts,
        "skipped": [{"path": each.path, "reason": each.reason} for each in catalog.skipped],
        "notes": list(catalog.notes),
        "seconds": {"decode": 0.0, "train": round(n / rate, 1), "total": round((1 + FIT_SHARE) * n / rate + END_S, 1)},
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
