"""Plants damage in a copy of a folder of labelled pictures, by a seed, and writes down what was planted.

`plant` is all that others need. What the damage looks like is given as `Kinds`: damage.py has the first planter's.
Originals are linked or copied, never changed. Names in the copy are numbers drawn at random, so that nothing is to be
learnt from a name or from an order.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import secrets
import shutil
import string
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

Rng = np.random.Generator
Encoded = tuple[bytes, str]  # a file and its ending, with the dot
Labels = Sequence[str]

ENDINGS = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff"}
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Counts:
    """How much is planted."""

    exact: int = 40  # copies, byte for byte
    near: int = 40  # changed copies, of each kind equally many
    conflicts: int = 4  # of the exact and of the near copies each: how many lie under another class
    wrong: int = 80  # pictures in another class's folder
    broken: int = 20  # files that take a picture's place
    foreign: int = 10  # pictures of something else, added


@dataclass(frozen=True)
class Shortcut:
    """A cue that gives one class away."""

    cue: str
    words: tuple[str, ...]  # one of them stands, in lower case, in a message that names the cue
    share: float  # of the class's pictures, 0–1
    change: Callable[[bytes, str], Encoded]  # file and ending -> the same with the cue


@dataclass(frozen=True)
class Kinds:
    """What the damage looks like. Each function draws from the generator that it is given."""

    name: str
    near: Mapping[str, Callable[[Image.Image, str, Rng], Encoded]]  # upright RGB, its ending -> the changed copy
    broken: Mapping[str, Callable[[bytes, str, Rng], Encoded]]  # a picture's file, its ending -> a file that is none
    foreign: Sequence[tuple[str, str, Callable[[Rng], Image.Image]]]  # kind, tag (see `avoid`), maker
    noise: Callable[[Labels, int, Rng], list[tuple[int, str]]]  # labels, how many -> (position, wrong label)
    shortcuts: Mapping[str, Shortcut]
    victim: int = -1  # of the classes by name: which one a shortcut is given to


def plant(
    photos: Path,
    to: Path,
    kinds: Kinds,
    *,
    seed: int = 0,
    n: int | None = None,
    counts: Counts | None = None,
    shortcut: str | None = None,
    splits: Sequence[float] = (),
    renamed: bool = False,
    avoid: Sequence[str] = (),
) -> dict[str, Any]:
    """Write the damaged copy to TO/pictures and the truth to TO/truth.json; returns the truth.

    photos: a folder of class folders. n: pictures taken of it, drawn at random; all by default.
    shortcut: a name of `kinds.shortcuts`, given to one class, `kinds.victim`; none by default.
    splits: shares of train, validation and test; none: class folders alone. Twins fall on any side.
    renamed: class folders a, b, … instead of the classes' names.
    avoid: tags of foreign pictures that would not be foreign here.

    The truth: `pictures`, each path below TO/pictures -> source (the photo it shows, the first by name of those with
    its bytes; "" for what shows none), class (its folder), true (its class), split, content (SHA-256, 16 digits);
    `exact` and `near`, a copy and what it is a copy of; `wrong_label`; `broken`; `foreign`; `shortcut`. TO appears
    when it is complete; one that exists is refused.
    """
    counts = counts or Counts()
    if os.path.lexists(to):
        sys.exit(f"{to} exists. Name another folder, or remove it.")
    to.parent.mkdir(parents=True, exist_ok=True)
    temporary = to.with_name(f".{to.name}.{secrets.token_hex(4)}.tmp")
    try:
        truth = _Planting(photos, temporary / "pictures", kinds, seed, n, counts, splits, renamed).run(shortcut, avoid)
        truth |= {"planter": kinds.name, "seed": seed, "photos": str(photos.resolve()), "counts": asdict(counts)}
        (temporary / "truth.json").write_text(json.dumps(truth, indent=1) + "\n")
        temporary.replace(to)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return truth


def upright(data: bytes) -> Image.Image:
    """Decoded, turned as its EXIF says, RGB."""
    return ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")


def encoded(image: Image.Image, ending: str, **options: Any) -> Encoded:
    """Saved as PNG where the ending is .png, else as JPEG, of quality 92 where no options are given."""
    file, png = io.BytesIO(), ending == ".png"
    image.save(file, **({"format": "PNG"} if png else {"format": "JPEG"} | (options or {"quality": 92})))
    return file.getvalue(), ".png" if png else ".jpg"


class _Planting:
    """One run: which photo gets what, then the writing."""

    def __init__(
        self,
        photos: Path,
        folder: Path,
        kinds: Kinds,
        seed: int,
        n: int | None,
        counts: Counts,
        splits: Sequence[float],
        renamed: bool,
    ) -> None:
        self.photos, self.folder, self.kinds, self.seed, self.counts, self.splits = (
            photos, folder, kinds, seed, counts, splits,
        )  # fmt: skip
        self.sources = _sources(photos, n, self._rng(0))
        self.classes = sorted({path.relative_to(photos).parts[0] for path in self.sources})
        letters = dict(zip(self.classes, string.ascii_lowercase, strict=False)) if renamed else {}
        self.named = {name: letters.get(name, name) for name in self.classes}
        n_all = len(self.sources) + counts.exact + counts.near + counts.foreign
        self.numbers = iter(self._rng(1).permutation(n_all).tolist())
        self.sides = self._rng(2)
        self.first: dict[str, str] = {}  # content of a photo -> the first photo that has it
        self.pictures: dict[str, dict[str, Any]] = {}

    def run(self, shortcut: str | None, avoid: Sequence[str]) -> dict[str, Any]:
        counts, kinds = self.counts, self.kinds
        labels = [self.named[path.relative_to(self.photos).parts[0]] for path in self.sources]
        wrong = dict(kinds.noise(labels, counts.wrong, self._rng(3))) if counts.wrong else {}
        free = [i for i in self._rng(4).permutation(len(labels)).tolist() if i not in wrong]
        n_twins = counts.exact + counts.near
        if len(free) < n_twins + counts.broken:
            sys.exit(f"{len(labels)} pictures are too few for the damage that is asked for.")
        twins, broken = free[:n_twins], free[n_twins : n_twins + counts.broken]
        victim = self.named[self.classes[kinds.victim]]
        cue = kinds.shortcuts[shortcut] if shortcut else None
        with_cue: list[str] = []
        broken_as = dict(zip(broken, _in_turn(kinds.broken, counts.broken), strict=True))
        truth: dict[str, Any] = {"classes": self.named, "wrong_label": [], "broken": [], "exact": [], "near": []}
        places: list[str] = []
        for i, (source, label) in enumerate(zip(self.sources, labels, strict=True)):
            rng, data, ending = self._rng(5, i), source.read_bytes(), source.suffix.lower()
            given, shown = wrong.get(i, label), self._source(source, data)
            if i in broken_as:
                data, ending = kinds.broken[broken_as[i]](data, ending, rng)
                places.append(self._write(data, ending, given, label, ""))
                truth["broken"].append({"path": places[-1], "kind": broken_as[i]})
                continue
            if cue and given == victim and rng.random() < cue.share:
                places.append(self._write(*cue.change(data, ending), given, label, shown))
                with_cue.append(places[-1])
            else:
                places.append(self._write(data, ending, given, label, shown, source))
            if i in wrong:
                truth["wrong_label"].append({"path": places[-1], "given": given, "true": label})
        for rank, kind in enumerate(["exact"] * counts.exact + _in_turn(kinds.near, counts.near)):
            i, rng = twins[rank], self._rng(6, rank)
            original, exact = places[i], rank < counts.exact
            data, ending = (self.folder / original).read_bytes(), Path(original).suffix
            conflict = (rank if exact else rank - counts.exact) < counts.conflicts and len(self.classes) > 1
            others = [each for each in self.named.values() if each != labels[i]]
            given = others[rng.integers(len(others))] if conflict else labels[i]
            if not exact:
                data, ending = kinds.near[kind](upright(data), ending, rng)
            copy = self._write(data, ending, given, labels[i], self.pictures[original]["source"])
            leak = self.pictures[copy]["split"] != self.pictures[original]["split"]
            case = {"copy": copy, "of": original, "kind": kind, "conflict": conflict, "leak": leak}
            truth["exact" if exact else "near"].append(case)
        truth["foreign"] = self._foreign(avoid)
        truth["shortcut"] = cue and {
            "cue": cue.cue, "words": list(cue.words), "class": victim, "n": len(with_cue), "share": cue.share,
        }  # fmt: skip
        return truth | {"splits": list(self.splits), "pictures": dict(sorted(self.pictures.items()))}

    def _foreign(self, avoid: Sequence[str]) -> list[dict[str, str]]:
        makers = {kind: make for kind, tag, make in self.kinds.foreign if tag not in avoid}
        (common, _), *_ = Counter(path.suffix.lower() for path in self.sources).most_common(1)
        planted = []
        for rank, kind in enumerate(_in_turn(makers, self.counts.foreign)):
            rng = self._rng(7, rank)
            given = list(self.named.values())[rng.integers(len(self.named))]
            planted.append({"path": self._write(*encoded(makers[kind](rng), common), given, "", ""), "kind": kind})
        return planted

    def _source(self, path: Path, data: bytes) -> str:
        name = path.relative_to(self.photos).as_posix()
        return self.first.setdefault(hashlib.sha256(data).hexdigest(), name)

    def _write(self, data: bytes, ending: str, given: str, true: str, source: str, link: Path | None = None) -> str:
        """Write or link one file; its path below the folder."""
        split = None
        if self.splits:
            split = SPLITS[int(self.sides.choice(len(self.splits), p=np.array(self.splits) / sum(self.splits)))]
        name = "/".join([*([split] if split else []), given, f"{next(self.numbers):06d}{ending}"])
        place = self.folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            if link is None:
                raise OSError
            os.link(link.resolve(), place)
        except OSError:  # changed, another file system, or not ours to link
            place.write_bytes(data)
        content = hashlib.sha256(data).hexdigest()[:16]
        self.pictures[name] = {"source": source, "class": given, "true": true, "split": split, "content": content}
        return name

    def _rng(self, *stage: int) -> Rng:
        return np.random.default_rng([self.seed, *stage])


def files(photos: Path) -> list[Path]:
    """The pictures below class folders, sorted."""
    return [
        path
        for path in sorted(photos.glob("*/**/*"))
        if path.suffix.lower() in ENDINGS and path.is_file() and not path.name.startswith(".")
    ]


def _sources(photos: Path, n: int | None, rng: Rng) -> list[Path]:
    """All pictures, or `n` of them drawn."""
    found = files(photos)
    if not found:
        sys.exit(f"{photos} has no folder with pictures in it. Give a folder of class folders.")
    if n is not None and n > len(found):
        sys.exit(f"--n must be at most the {len(found):,} pictures of {photos}; got {n:,}.")
    return found if n is None else [found[i] for i in sorted(rng.permutation(len(found))[:n].tolist())]


def _in_turn(kinds: Mapping[str, Any], n: int) -> list[str]:
    """`n` names, each kind as often as the next but for one."""
    names = list(kinds)
    return [names[i % len(names)] for i in range(n)] if n else []
