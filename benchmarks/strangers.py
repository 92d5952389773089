"""How well pictures of none of the classes are told, by several scores, and what that costs in own pictures.

    python benchmarks/strangers.py choose SET.npz … --fashion DIR --work DIR
    python benchmarks/strangers.py report --photos TRAIN --test HELD_OUT --fashion DIR --work DIR

Chosen by (`choose`), each with frozen features of EfficientNet-Lite0 at 224 px (`X`, `y`, see `frozen`):

- shapes, textures, documents and digits, each as own pictures with the others as strangers; photos whose SHA-256 is
  even with shapes and documents as strangers;
- two classes left out: 0 1, 2 3 and 4 5 (by number) of shapes, textures, documents, digits and garments; 6 7 too
  of textures; and 0 1 and 2 3 alone as own, the others of those and the other sets as strangers;
- networks trained from scratch (`--recipe scratch`): digits 0 1, garments 0 1 and 2 3 left out.

Reported on (`report`), not looked at before: photos of cats and dogs held out, whose SHA-256 is odd, and as strangers
to them digits, garments, textures, and the noise, drawings and screens of `foreign`; digits and garments with two of
the classes 6 to 9 left out, by `--recipe auto` and by `--recipe transfer`.

The weights of what stands between classes were chosen by the former sets when figures of the latter had been seen for
weights of 1: of photos, where AUROC was 0.989 to 1.000 then, of digits, and of garments without 6 and 7. No stranger
has a part in any threshold.

Thresholds come from pictures of the classes alone, held out. Prints Markdown. WORK keeps sets, bundles and answers.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import drawn
import foreign

TARGETS = (0.95, 0.97, 0.98, 0.99)
CHOSEN_PAIRS = ((0, 1), (2, 3), (4, 5))
REPORTED_PAIRS = ((6, 7), (8, 9), (6, 8))
LEARNED, ASKED, STRANGE = 1000, 100, 200  # garments of a class to learn from, of a class held out; strangers
LEARNED_FROZEN = 300  # … with `--recipe transfer`
PHOTOS = 700  # held out, that are asked about
WAYS = 32  # pictures of the training's own test that are asked about in two ways
OURS = "far + undrawn + doubtful"
Score = Callable[[np.ndarray, np.ndarray], np.ndarray]  # embeddings and logits to strangeness


@dataclass(frozen=True)
class Answers:
    """What a classifier says of pictures."""

    embeddings: np.ndarray  # float (N, D)
    logits: np.ndarray  # float (N, C)


@dataclass(frozen=True)
class Case:
    """A classifier, its own pictures and strangers."""

    name: str
    embeddings: np.ndarray  # float16 (N, D), learned from
    labels: np.ndarray  # int (N,)
    n_classes: int
    frozen: np.ndarray | None  # float (N, C), logits of the same pictures held out, where the network is a frozen one
    held_out: Answers | None  # others of the classes, else
    ways: (
        tuple[Answers, Answers] | None
    )  # some pictures as the network was run in training, and as it is for one picture
    own: Answers  # of the classes, to report on
    strangers: dict[str, Answers]


# ---- Scores to compare -----------------------------------------------------------------------------------------------


def rivals(embeddings: np.ndarray, labels: np.ndarray, n_classes: int, logits: np.ndarray) -> dict[str, Score]:
    """Known scores by name; `logits` float (N, C) of the pictures learned from scale ViM's residual."""
    unit = _unit(embeddings)
    centre, n = unit.mean(axis=0), len(unit)
    present, place = np.unique(labels, return_inverse=True)
    means = np.stack([unit[labels == label].mean(axis=0) for label in present])
    within = _shrunk_inverse(unit - means[place], n - len(present))
    total = _shrunk_inverse(unit - centre, n - 1)
    _, _, axes = np.linalg.svd(unit - centre, full_matrices=False)
    shares = np.cumsum(((unit - centre) @ axes.T).var(axis=0))
    nine = axes[: 1 + int(np.searchsorted(shares, 0.9 * shares[-1]))]
    third = axes[: max(1, min(n // 3, unit.shape[1] // 2))]

    def residual(rows: np.ndarray, principal: np.ndarray) -> np.ndarray:
        apart = _unit(rows) - centre
        return np.sqrt(np.maximum((apart**2).sum(axis=1) - ((apart @ principal.T) ** 2).sum(axis=1), 0))

    def mahalanobis(rows: np.ndarray, middles: np.ndarray, inverse: np.ndarray) -> np.ndarray:
        whole, of_means = _unit(rows) @ inverse, middles @ inverse
        squares = (whole * _unit(rows)).sum(axis=1)[:, None] - 2 * whole @ middles.T
        return (squares + (of_means * middles).sum(axis=1)).min(axis=1)

    def nearest(rows: np.ndarray, k: int) -> np.ndarray:
        alike = _unit(rows) @ unit.T
        return 1 - np.partition(alike, -min(k, n), axis=1)[:, -min(k, n)]

    seen = residual(embeddings, third).mean()
    weight = np.abs(logits[np.isfinite(logits).all(axis=1)].max(axis=1)).mean() / max(seen, 1e-9)
    return {
        "maximum softmax probability": lambda e, x: -np.exp(x.max(axis=1) - _log_sum(x)),
        "energy": lambda e, x: -_log_sum(x),
        "Mahalanobis": lambda e, x: mahalanobis(e, means, within),
        "relative Mahalanobis": lambda e, x: mahalanobis(e, means, within) - mahalanobis(e, centre[None], total),
        "nearest picture, cosine": lambda e, x: nearest(e, 1),
        "fifth nearest, cosine": lambda e, x: nearest(e, 5),
        "residual of the principal space": lambda e, x: residual(e, nine),
        "ViM": lambda e, x: weight * residual(e, third) - _log_sum(x),
    }


def _shrunk_inverse(apart: np.ndarray, degrees: int) -> np.ndarray:
    """The inverse of a covariance drawn a tenth of the way to equal variances, float64 (D, D)."""
    covariance = apart.T.astype(np.float64) @ apart / max(degrees, 1)
    equal = np.trace(covariance) / len(covariance)
    return np.linalg.inv(0.9 * covariance + (0.1 * equal + 1e-9) * np.eye(len(covariance)))


def _log_sum(logits: np.ndarray) -> np.ndarray:
    highest = logits.max(axis=1)
    return highest + np.log(np.exp(logits - highest[:, None]).sum(axis=1))


def _unit(rows: np.ndarray) -> np.ndarray:
    rows = np.asarray(rows, np.float32)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


# ---- Figures ---------------------------------------------------------------------------------------------------------


def area(own: np.ndarray, strange: np.ndarray) -> float:
    """The area under the ROC curve: how often a stranger is stranger than an own picture, ties half, 0 to 1."""
    own = np.sort(own)
    below, to = np.searchsorted(own, strange, "left"), np.searchsorted(own, strange, "right")
    return float((below + to).mean() / 2 / len(own))


def rows_of(case: Case) -> Iterator[tuple[str, str, float, list[tuple[float, float]]]]:
    """Stranger set, score, area, and (own answered, strangers refused) at each target, where ours."""
    from tellapart import strangers

    if case.held_out is None:
        assert case.frozen is not None
        known, held = strangers.fit_and_score(case.embeddings, case.labels, case.n_classes, logits=case.frozen)
    else:
        known = strangers.fit(case.embeddings, case.labels, case.n_classes)
        known = known.settled(case.held_out.embeddings, case.held_out.logits)
        held = np.sort(known.scores(case.held_out.embeddings, case.held_out.logits))
    if case.ways is not None:
        known = known.allowing(*((one.embeddings, one.logits) for one in case.ways))
    scale = case.held_out.logits if case.held_out is not None else case.frozen
    assert scale is not None
    scores: dict[str, Score] = rivals(case.embeddings, case.labels, case.n_classes, scale)
    scores[OURS] = known.scores
    for kind, answers in case.strangers.items():
        for name, score in scores.items():
            own, strange = (score(some.embeddings, some.logits) for some in (case.own, answers))
            shares = []
            for target in TARGETS if name == OURS else ():
                place = int(np.ceil((len(held) + 1) * target))  # as `guards` does
                limit = held[place - 1] if place <= len(held) else np.inf
                shares.append((float((own <= limit).mean()), float((strange > limit).mean())))
            yield kind, name, area(own, strange), shares
    print(f"<!-- {case.name}: {len(known.to_bytes()):,} bytes, {len(held)} pictures held out -->")


def tables(cases: Iterator[Case]) -> None:
    """Print what `rows_of` says: each case by ours, and all scores compared."""
    lines, compared = [], {}
    for case in cases:
        for kind, name, value, shares in rows_of(case):
            family = "left out" if kind == "left out" else "another kind"
            compared.setdefault(name, {}).setdefault(family, []).append(value)
            if name == OURS:
                each = " | ".join(f"{own:.1%} · {refused:.1%}" for own, refused in shares)
                lines.append(f"| {case.name} | {kind} | {value:.3f} | {each} |")
                print(lines[-1], flush=True)
    heads = " | ".join(f"target {target:.0%}" for target in TARGETS)
    print(f"\nOwn pictures answered · strangers refused:\n\n| own | strangers | AUROC | {heads} |")
    print("|---|---|" + "---|" * (1 + len(TARGETS)))
    print("\n".join(lines))
    families = sorted({family for of_name in compared.values() for family in of_name})
    print("\nAUROC, mean (worst):\n\n| score | " + " | ".join(families) + " |\n|---|" + "---|" * len(families))
    for name, of_name in compared.items():
        each = (f"{np.mean(of_name[f]):.3f} ({np.min(of_name[f]):.3f})" if f in of_name else "" for f in families)
        print(f"| {name} | {' | '.join(each)} |")


# ---- Sets and classifiers --------------------------------------------------------------------------------------------


def frozen_case(name: str, x: np.ndarray, y: np.ndarray, n: int, strange: dict[str, np.ndarray], seed: int = 0) -> Case:
    """A head on `n` pictures a class of features, as `transfer` fits it; up to 300 of a class are asked about."""
    from tellapart import head

    rng, learned, asked = np.random.default_rng(seed), [], []
    for label in np.unique(y):
        mine = rng.permutation(np.flatnonzero(y == label))
        k = min(n, int(0.7 * len(mine)))
        learned.append(mine[:k])
        asked.append(mine[k : k + 300])
    learned, asked = np.concatenate(learned), np.concatenate(asked)
    n_classes, labels = len(np.unique(y)), np.unique(y, return_inverse=True)[1][learned]
    fitted = head.fit(x[learned], labels, n_classes, seed=0)

    def answers(rows: np.ndarray) -> Answers:
        return Answers(rows, np.asarray(rows, np.float32) @ fitted.head.kernel + fitted.head.bias)

    told = np.full((len(learned), n_classes), np.nan)
    told[fitted.held_out] = np.log(np.maximum(fitted.answers, 1e-15))
    return Case(name, x[learned], labels, n_classes, told, None, None, answers(x[asked]),
                {kind: answers(rows) for kind, rows in strange.items()})  # fmt: skip


def chosen(sets: dict[str, tuple[np.ndarray, np.ndarray]]) -> Iterator[Case]:
    """The cases of frozen features that the method was chosen by."""
    rng = np.random.default_rng(0)

    def some(rows: np.ndarray, n: int) -> np.ndarray:
        return rows[rng.permutation(len(rows))[:n]]

    drawn_ones = [name for name in ("digits", "shapes", "textures", "documents") if name in sets]
    for name in drawn_ones:
        yield frozen_case(name, *sets[name], 150, {o: some(sets[o][0], 300) for o in drawn_ones if o != name})
    if "photos" in sets:
        strange = {other: some(sets[other][0], 300) for other in ("shapes", "documents")}
        yield frozen_case("photos", *sets["photos"], 512, strange)
    for name in [*drawn_ones, "fashion"]:
        if name not in sets:
            continue
        x, y = sets[name]
        for pair in (*CHOSEN_PAIRS, *(((6, 7),) if name == "textures" else ())):
            out = np.isin(y, pair)
            n = 300 if name == "fashion" else 150
            called = f"{name} without {pair[0]} and {pair[1]}"
            yield frozen_case(called, x[~out], y[~out], n, {"left out": some(x[out], 600)})
        for pair in CHOSEN_PAIRS[:2]:
            mine = np.isin(y, pair)
            rest = np.isin(y, np.ravel(CHOSEN_PAIRS)) & ~mine
            strange = {other: some(sets[other][0], 300) for other in drawn_ones if other not in (name, "digits")}
            strange["left out"] = some(x[rest], 600)
            yield frozen_case(f"{name}, {pair[0]} and {pair[1]} alone", x[mine], y[mine], n, strange)


class Work:
    """A folder that keeps sets, bundles and answers from run to run."""

    def __init__(self, folder: Path, fashion: Path | None) -> None:
        self.folder, self.fashion = folder, fashion
        folder.mkdir(parents=True, exist_ok=True)

    def pictures(self, kind: str) -> list[Path]:
        """STRANGE pictures of a kind, drawn or linked once."""
        place = self.folder / "sets" / kind
        if kind in ("digits", "garments"):
            sides = self.digits() if kind == "digits" else self.garments()
            every = sorted(path for some in sides[1].values() for path in some)
            return [every[i * len(every) // STRANGE] for i in range(STRANGE)]
        if not place.exists():
            place.mkdir(parents=True)
            for i in range(STRANGE):
                if kind == "textures":
                    image = drawn.texture(drawn.TEXTURES[i % len(drawn.TEXTURES)], 5000 + i, 1)
                else:
                    image = foreign.KINDS[kind](i)
                image.save(place / f"{i:04d}.png")
        return sorted(place.iterdir())[:STRANGE]

    def digits(self) -> tuple[dict[str, list[Path]], dict[str, list[Path]]]:
        """Pictures to learn from and held out (every fifth), by class."""
        from tellapart import demo

        place = self.folder / "sets" / "digits"
        place.parent.mkdir(parents=True, exist_ok=True)
        demo.write_digits(place)
        every = {each.name: sorted(each.iterdir()) for each in sorted(place.iterdir())}
        held_out = {name: some[::5] for name, some in every.items()}
        return {name: [p for p in some if p not in set(held_out[name])] for name, some in every.items()}, held_out

    def garments(self, learned: int = LEARNED) -> tuple[dict[str, list[Path]], dict[str, list[Path]]]:
        """Some to learn from and ASKED of each class of Fashion-MNIST."""
        assert self.fashion is not None
        return tuple(  # pyright: ignore[reportReturnType]
            {each.name: sorted(each.iterdir())[:n] for each in sorted((self.fashion / side).iterdir())}
            for side, n in (("train", learned), ("test", ASKED))
        )

    def trained(self, name: str, photos: Path | dict[str, list[Path]], options: list[str]) -> Path:
        """The bundle that `tellapart train` makes of them."""
        target = self.folder / f"{name}.tellapart"
        if target.exists():
            return target
        if isinstance(photos, dict):
            place = self.folder / "train" / name
            shutil.rmtree(place, ignore_errors=True)
            for label, some in photos.items():
                (place / label).mkdir(parents=True)
                for path in some:
                    shutil.copy(path, place / label)
            photos = place
        command = [sys.executable, "-m", "tellapart", "train", str(photos), "-o", str(target), *options]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return target

    def asked(self, bundle: Path, kind: str, paths: list[Path], way: str | None = None) -> Answers:
        """What a bundle's graph says of pictures, run as for a folder (rounding, where that is fastest) or in a way."""
        from tellapart import bundle as bundles
        from tellapart import cache, preprocess, streams
        from tellapart.engine import EMBEDDING, LOGITS

        key = hashlib.sha256("\n".join([bundle.name, str(bundle.stat().st_mtime_ns), *map(str, paths)]).encode())
        kept = self.folder / "answers" / f"{bundle.stem}-{kind}-{key.hexdigest()[:12]}.npz"
        if not kept.exists():
            read = bundles.read(bundle)
            how = preprocess.Preprocess.from_dict(read.manifest["preprocess"])
            graph = read.members["model.onnx"]
            pixels = (
                np.stack([preprocess.load(path, how) for path in paths[start : start + streams.BATCH]])
                for start in range(0, len(paths), streams.BATCH)
            )
            first = next(pixels)
            name = hashlib.sha256(graph).hexdigest()[:16]
            way = way or streams.choose(graph, LOGITS, first, name, cache.cache_folder())
            found = list(streams.Stream(graph, [EMBEDDING, LOGITS], way).run(itertools.chain([first], pixels)))
            kept.parent.mkdir(exist_ok=True)
            embeddings, logits = map(np.concatenate, zip(*found, strict=True))
            np.savez(kept, embeddings=embeddings, logits=logits)
        data = np.load(kept, allow_pickle=False)
        return Answers(data["embeddings"], data["logits"])

    def case(self, name: str, bundle: Path, photos: Path, own: list[Path], strange: dict[str, list[Path]]) -> Case:
        """A bundle with what it learned from, found again in `photos` by content."""
        from tellapart import bundle as bundles
        from tellapart import head, streams

        read = bundles.read(bundle)
        contents = {hashlib.sha256(path.read_bytes()).hexdigest(): path for path in sorted(photos.rglob("*.*"))}
        sides, embeddings = read.splits(), read.embeddings()
        labels = np.array([read.classes.index(contents[c].parent.name) for c in sides["train"]])
        told = held_out = ways = None
        if sides["validation"]:
            held_out = self.asked(bundle, "validation", [contents[c] for c in sides["validation"]])
        else:
            fitted = head.fit(embeddings, labels, len(read.classes), seed=0)
            told = np.full((len(labels), len(read.classes)), np.nan)
            told[fitted.held_out] = np.log(np.maximum(fitted.answers, 1e-15))
            some = [contents[c] for c in sides["test"] or sides["train"]]
            some = some[:: max(len(some) // WAYS, 1)]
            kinds = (read.manifest["training"]["engine"], streams.ONNXRUNTIME)
            first, second = (self.asked(bundle, f"ways-{way.replace(' ', '-')}", some, way) for way in kinds)
            ways = first, second
        return Case(
            f"{name} ({read.manifest['training'].get('backbone') or 'from scratch'})", embeddings, labels,
            len(read.classes), told, held_out, ways, self.asked(bundle, "own", own),
            {kind: self.asked(bundle, kind, some) for kind, some in strange.items()},
        )  # fmt: skip

    def left_out(self, name: str, pairs: tuple[tuple[int, int], ...], recipe: str) -> Iterator[Case]:
        """Classifiers of digits or garments that did not learn two of the classes."""
        n = LEARNED_FROZEN if recipe == "transfer" else LEARNED
        learned, asked = self.digits() if name == "digits" else self.garments(n)
        for pair in pairs:
            out = [sorted(learned)[i] for i in pair]
            called = f"{name}-{recipe}-{pair[0]}{pair[1]}"
            mine = {label: some for label, some in learned.items() if label not in out}
            bundle = self.trained(called, mine, ["--recipe", recipe])
            own = [path for label, some in asked.items() if label not in out for path in some]
            strange = [path for label in out for path in [*asked[label], *learned[label]][:STRANGE]]
            title = f"{name} without {pair[0]} and {pair[1]}, {recipe}"
            yield self.case(title, bundle, self.folder / "train" / called, own, {"left out": strange})


def main() -> None:
    """Print the tables of one side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("side", choices=["choose", "report"])
    parser.add_argument("sets", type=Path, nargs="*", metavar="SET.npz", help="features, to choose by")
    parser.add_argument("--photos", type=Path, metavar="TRAIN", help="photos to learn from, a folder for each class")
    parser.add_argument("--test", type=Path, metavar="HELD_OUT", help="photos held out")
    parser.add_argument("--fashion", type=Path, metavar="DIR", help="Fashion-MNIST: train and test, a folder a class")
    parser.add_argument("--work", type=Path, required=True, metavar="DIR", help="keeps sets, bundles and answers")
    parser.add_argument("--only", default="", metavar="WORD", help="frozen, scratch; photos, digits, fashion")
    options = parser.parse_args()
    work = Work(options.work, options.fashion)

    def cases() -> Iterator[Case]:
        if options.side == "choose":
            if options.only != "scratch":
                loaded = {path.stem: np.load(path, allow_pickle=False) for path in options.sets}
                yield from chosen({name: (data["X"], data["y"]) for name, data in loaded.items()})
            if options.only != "frozen":
                yield from work.left_out("digits", CHOSEN_PAIRS[:1], "scratch")
                yield from work.left_out("garments", CHOSEN_PAIRS[:2], "scratch")
            return
        if options.only in ("", "photos"):
            bundle = work.trained("photos", options.photos, [])
            odd = [p for p in sorted(options.test.rglob("*.jpg")) if hashlib.sha256(p.read_bytes()).digest()[-1] % 2]
            odd = odd[:: max(len(odd) // PHOTOS, 1)]
            strange = {kind: work.pictures(kind) for kind in ("digits", "garments", "textures", *foreign.KINDS)}
            yield work.case("cats and dogs", bundle, options.photos, odd, strange)
        for name in ("digits", "garments"):
            if options.only in ("", name):
                for recipe in ("auto", "transfer"):
                    yield from work.left_out(name, REPORTED_PAIRS, recipe)

    tables(cases())


if __name__ == "__main__":
    main()
