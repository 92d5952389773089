"""Labelled picture folders for the benchmarks, from sources that need no download.

    python benchmarks/sets.py NAME -o DIR [--photos PHOTOS] [--half choose|figure] [--seed N]
                              [--each N] [--each-test N] [--test-share S]

Writes DIR/train/<class>/… and DIR/test/<class>/…; no picture is on both sides, nor another with the same bytes. A new
folder appears when it is complete; one that exists is refused. The same seed gives the same pictures.

    digits       scikit-learn's handwritten digits, 8×8, grey, 1,797
    fashion      Fashion-MNIST, 28×28, grey, 60,000 and 10,000, from Debian's package dataset-fashion-mnist
    patches      crops of the sample images that scikit-learn and scikit-image carry; the class is the image
    faces        scikit-image's 100 faces and 100 other crops of photos, 25×25, grey
    shapes       six drawn shapes among clutter        textures   eight drawn surfaces
    documents    six kinds of drawn pages

and of PHOTOS, a folder of class folders:

    photos       as they are                           few-N      N a class to learn from, the rest to test
    imbalanced   1:50, the test balanced               grey       without colour
    small        longer side 48 px                     large      12-megapixel JPEGs, a few hundred

Choosing (sizes, rates, recipes) and measuring must not see the same photos: `--half choose` takes the photos whose
SHA-256 is even, `--half figure` those whose is odd.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import importlib.util
import json
import os
import re
import secrets
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

import drawn

FASHION = Path("/usr/share/datasets/fashion-mnist")
GARMENTS = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle-boot")
RATIO = 50  # of the commonest class of `imbalanced` to its rarest
LARGE_PX = (4000, 3000)
SMALL_PX = 48
BLOCK_PX, PATCH_PX = 64, 48  # of `patches`: a block is all for training or all for the test
ENDINGS = {".jpg", ".jpeg", ".png"}


@dataclass(frozen=True)
class Wish:
    """What the command line asks for."""

    photos: Path | None
    half: str | None  # choose, figure, or None for all
    seed: int
    each: int | None  # training pictures a class at most
    each_test: int | None  # test pictures a class at most
    test_share: float  # of photos and of sets without a test side of their own, 0–1


@dataclass(frozen=True)
class Item:
    """One picture of a set: a file to take as it is, or pixels to save under the name's format."""

    side: str  # train or test
    label: str
    name: str
    content: Path | Image.Image


def digits(wish: Wish) -> Iterator[Item]:
    """Levels 0–16 become 0–255, as `tellapart demo` writes them."""
    from sklearn.datasets import load_digits

    data = load_digits()
    levels = np.rint(data.images * (255 / 16)).astype(np.uint8)
    pictures = {
        str(digit): [(f"{i:04d}.png", Image.fromarray(levels[i])) for i in np.flatnonzero(data.target == digit)]
        for digit in range(10)
    }
    yield from _divided(pictures, wish)


def fashion(wish: Wish) -> Iterator[Item]:
    """The published split; `--each` takes the first of each class."""
    if not FASHION.is_dir():
        sys.exit(
            f"Fashion-MNIST is not in {FASHION}. Install it: apt-get update && apt-get install -y dataset-fashion-mnist"
        )
    for side, stem, most in (("train", "train", wish.each), ("test", "t10k", wish.each_test)):
        pixels = _idx(FASHION / f"{stem}-images-idx3-ubyte.gz")
        labels = _idx(FASHION / f"{stem}-labels-idx1-ubyte.gz")
        counts = Counter()
        for i, label in enumerate(labels.tolist()):
            counts[label] += 1
            if most is None or counts[label] <= most:
                yield Item(side, GARMENTS[label], f"{i:05d}.png", Image.fromarray(pixels[i]))


def patches(wish: Wish) -> Iterator[Item]:
    """Crops of 48 px, turned by quarters, brightness and contrast varied; blocks of 64 px are split, not crops."""
    sources = _sample_images()
    for number, (label, path) in enumerate(sorted(sources.items())):
        image = np.asarray(Image.open(path).convert("RGB"))
        rows, columns = image.shape[0] // BLOCK_PX, image.shape[1] // BLOCK_PX
        blocks = [(r * BLOCK_PX, c * BLOCK_PX) for r in range(rows) for c in range(columns)]
        rng = np.random.default_rng([wish.seed, number])
        rng.shuffle(blocks)
        n_test = max(1, round(wish.test_share * len(blocks)))
        for side, some, n in (
            ("test", blocks[:n_test], wish.each_test or 50),
            ("train", blocks[n_test:], wish.each or 200),
        ):
            for i in range(n):
                top, left = some[i % len(some)] + rng.integers(0, BLOCK_PX - PATCH_PX + 1, 2)
                crop = image[top : top + PATCH_PX, left : left + PATCH_PX].astype(np.float32)
                crop = (crop - 128) * rng.uniform(0.7, 1.2) + 128 + rng.uniform(-30, 30)
                crop = np.rot90(np.clip(crop, 0, 255).astype(np.uint8), rng.integers(4))
                yield Item(side, label, f"{side}-{i:04d}.png", Image.fromarray(np.ascontiguousarray(crop)))


def faces(wish: Wish) -> Iterator[Item]:
    """The subset of "Labeled Faces in the Wild" that scikit-image carries, faces first."""
    data = np.load(_skimage() / "lfw_subset.npy", allow_pickle=False)
    pictures = {
        label: [(f"{i:03d}.png", Image.fromarray(np.rint(255 * np.clip(data[i], 0, 1)).astype(np.uint8))) for i in some]
        for label, some in (("face", range(100)), ("other", range(100, 200)))
    }
    yield from _divided(pictures, wish)


def shapes(wish: Wish) -> Iterator[Item]:
    """Six classes, 300 and 200 a class, JPEG."""
    yield from _drawn(drawn.SHAPES, drawn.shape, wish)


def textures(wish: Wish) -> Iterator[Item]:
    """Eight classes, 300 and 200 a class, JPEG."""
    yield from _drawn(drawn.TEXTURES, drawn.texture, wish)


def documents(wish: Wish) -> Iterator[Item]:
    """Six classes, 300 and 200 a class, JPEG."""
    yield from _drawn(drawn.DOCUMENTS, drawn.document, wish)


def photos(wish: Wish) -> Iterator[Item]:
    """The photos as they are."""
    yield from _divided(photographs(wish), wish)


def few(wish: Wish, n: int) -> Iterator[Item]:
    """`n` photos a class to learn from, the rest to test."""
    for number, (label, some) in enumerate(sorted(photographs(wish).items())):
        if len(some) <= n:
            sys.exit(f"few-{n} needs more than {n} photos in every class; {label} has {len(some)}. Take fewer.")
        order = np.random.default_rng([wish.seed, number]).permutation(len(some))
        for side, chosen in (("train", order[:n]), ("test", order[n:][: wish.each_test])):
            for i in chosen:
                yield Item(side, label, *some[i])


def imbalanced(wish: Wish) -> Iterator[Item]:
    """From class to class fewer to learn from, in an order drawn by the seed, to a fiftieth; the test is balanced."""
    items = list(_divided(photographs(wish), wish))
    classes = sorted({item.label for item in items})
    counts = Counter((item.side, item.label) for item in items)
    most = min(counts["train", label] for label in classes)
    n_test = min(counts["test", label] for label in classes)
    order = np.random.default_rng([wish.seed, len(classes)]).permutation(len(classes))
    steps = max(1, len(classes) - 1)
    limits = {classes[c]: max(2, round(most * RATIO ** (-rank / steps))) for rank, c in enumerate(order)}
    taken = Counter()
    for item in items:
        taken[item.side, item.label] += 1
        if taken[item.side, item.label] <= (n_test if item.side == "test" else limits[item.label]):
            yield item


def grey(wish: Wish) -> Iterator[Item]:
    """The photos without colour, one channel."""
    for item in photos(wish):
        yield _changed(item, _open(item.content).convert("L"))


def small(wish: Wish) -> Iterator[Item]:
    """The photos with a longer side of 48 px."""
    for item in photos(wish):
        image = _open(item.content).convert("RGB")
        image.thumbnail((SMALL_PX, SMALL_PX), Image.Resampling.LANCZOS, reducing_gap=3)
        yield _changed(item, image)


def large(wish: Wish) -> Iterator[Item]:
    """100 and 50 photos a class, enlarged to 12 megapixels, with a camera's noise."""
    limited = Wish(**{**vars(wish), "each": wish.each or 100, "each_test": wish.each_test or 50})
    for number, item in enumerate(photos(limited)):
        image = _open(item.content).convert("RGB")
        size = LARGE_PX if image.width >= image.height else LARGE_PX[::-1]
        tile = np.random.default_rng([wish.seed, number]).integers(-6, 7, (500, 500, 1), dtype=np.int16)
        pixels = np.asarray(image.resize(size, Image.Resampling.BICUBIC), np.int16)
        noise = np.tile(tile, (size[1] // 500 + 1, size[0] // 500 + 1, 1))[: size[1], : size[0]]
        yield _changed(item, Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8)))


SETS = {
    each.__name__: each
    for each in (digits, fashion, patches, faces, shapes, textures, documents, photos, imbalanced, grey, small, large)
}
OF_PHOTOS = {"photos", "imbalanced", "grey", "small", "large"}  # and few-N


def write(name: str, folder: Path, wish: Wish) -> dict[str, Counter]:
    """Write the set into a new folder; the number of pictures of each class, by side."""
    number = re.fullmatch(r"few-(\d+)", name)
    if name not in SETS and not (number and int(number[1])):
        sys.exit(f"There is no set {name!r}. There are: {', '.join(SETS)}, few-N.")
    if (name in OF_PHOTOS or number) and (wish.photos is None or not wish.photos.is_dir()):
        sys.exit(f"{name} is made of photos: give --photos FOLDER, which has one folder for each class.")
    if os.path.lexists(folder):
        sys.exit(f"{folder} exists. Name another folder with -o, or remove it.")
    counts: dict[str, Counter] = {"train": Counter(), "test": Counter()}
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.tmp")
    try:
        for item in few(wish, int(number[1])) if number else SETS[name](wish):
            place = temporary / item.side / item.label / item.name
            place.parent.mkdir(parents=True, exist_ok=True)
            _save(item.content, place)
            counts[item.side][item.label] += 1
        about = {**vars(wish), "photos": None if wish.photos is None else str(wish.photos.resolve())}
        # Hidden, so that no reader takes it for a picture.
        (temporary / ".set.json").write_text(json.dumps({"set": name, **about, "counts": counts}, indent=2) + "\n")
        temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return counts


def _save(content: Path | Image.Image, place: Path) -> None:
    if isinstance(content, Image.Image):
        content.save(place, **({"quality": 90} if place.suffix == ".jpg" else {}))
        return
    try:
        os.link(content, place)
    except OSError:  # another file system, or not ours to link
        shutil.copyfile(content, place)


def _idx(path: Path) -> np.ndarray:
    """An IDX file of bytes (http://yann.lecun.com/exdb/mnist): two zeros, type 8, the number of axes, their lengths."""
    data = gzip.decompress(path.read_bytes())
    axes = data[3]
    shape = np.frombuffer(data, ">u4", axes, 4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * axes).reshape(shape)


def photographs(wish: Wish) -> dict[str, list[tuple[str, Path]]]:
    """Names and files of each class, in the order of their SHA-256, of the half asked for, each content once."""
    assert wish.photos is not None  # `write` has seen to it
    found: dict[str, list[tuple[str, Path]]] = {}
    seen: set[str] = set()
    for folder in sorted(each for each in wish.photos.iterdir() if each.is_dir() and not each.name.startswith(".")):
        paths = (each for each in sorted(folder.rglob("*")) if each.suffix.lower() in ENDINGS and each.name[0] != ".")
        hashes = sorted((hashlib.sha256(each.read_bytes()).hexdigest(), each) for each in paths)
        for digest, path in hashes:
            odd = int(digest[-1], 16) % 2 == 1
            if digest in seen or (wish.half is not None and odd != (wish.half == "figure")):
                continue
            seen.add(digest)
            # The digest keeps apart the files of one name in folders below the class.
            found.setdefault(folder.name, []).append((f"{path.stem}-{digest[:8]}{path.suffix.lower()}", path))
    if not found:
        sys.exit(f"{wish.photos} has no folder with JPEG or PNG files in it. Give a folder of class folders.")
    return found


def _divided(pictures: dict[str, list[tuple[str, Path | Image.Image]]], wish: Wish) -> Iterator[Item]:
    """Draw the test side of each class, then the training side from what is left."""
    for number, (label, some) in enumerate(sorted(pictures.items())):
        order = np.random.default_rng([wish.seed, number]).permutation(len(some))
        n_test = max(1, round(wish.test_share * len(some)))
        for side, chosen, most in (("test", order[:n_test], wish.each_test), ("train", order[n_test:], wish.each)):
            for i in chosen[:most]:
                yield Item(side, label, *some[i])


def _drawn(names: Sequence[str], draw, wish: Wish) -> Iterator[Item]:
    n_train, n_test = wish.each or 300, wish.each_test or 200
    for label in names:
        for number in range(n_train + n_test):
            side = "train" if number < n_train else "test"
            yield Item(side, label, f"{label}-{number:04d}.jpg", draw(label, number, wish.seed))


def _open(content: Path | Image.Image) -> Image.Image:
    return content if isinstance(content, Image.Image) else Image.open(content)


def _changed(item: Item, image: Image.Image) -> Item:
    return Item(item.side, item.label, f"{Path(item.name).stem}.jpg", image)


def _skimage() -> Path:
    """The folder of the images that scikit-image carries; the package is not imported."""
    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.origin is None:
        sys.exit("This set needs the images that scikit-image carries. Install it: pip install scikit-image")
    return Path(spec.origin).parent / "data"


def _sample_images() -> dict[str, Path]:
    """Sample images of more than a few blocks, by name."""
    import sklearn.datasets

    theirs = Path(sklearn.datasets.__file__).parent / "images"
    names = (
        "astronaut.png", "brick.png", "camera.png", "cell.png", "chelsea.png", "coffee.png", "coins.png", "grass.png",
        "gravel.png", "hubble_deep_field.jpg", "ihc.png", "moon.png", "motorcycle_left.png", "page.png", "retina.jpg",
        "rocket.jpg", "text.png",
    )  # fmt: skip
    paths = [*(_skimage() / name for name in names), theirs / "china.jpg", theirs / "flower.jpg"]
    return {path.stem: path for path in paths if path.is_file()}


def main() -> None:
    """Write one set and say how many pictures it has."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", metavar="NAME", help=f"{', '.join(SETS)} or few-N")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="a new folder")
    parser.add_argument("--photos", type=Path, metavar="PHOTOS", help="a folder of class folders, for sets of photos")
    parser.add_argument("--half", choices=["choose", "figure"], help="of the photos, by their SHA-256 [default: all]")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--each", type=int, metavar="N", help="training pictures a class, at most")
    parser.add_argument("--each-test", type=int, metavar="N", help="test pictures a class, at most")
    parser.add_argument("--test-share", type=float, default=0.2, metavar="S", help="where the set has no test side")
    options = parser.parse_args()
    if not 0 < options.test_share < 1:
        parser.error(f"--test-share must be between 0 and 1; got {options.test_share}.")
    if min(n for n in (options.each, options.each_test, 1) if n is not None) < 1:
        parser.error("--each and --each-test must be at least 1.")
    wish = Wish(
        photos=options.photos,
        half=options.half,
        seed=options.seed,
        each=options.each,
        each_test=options.each_test,
        test_share=options.test_share,
    )
    counts = write(options.name, options.output, wish)
    for side, of_class in counts.items():
        each = ", ".join(f"{label} {n:,}" for label, n in sorted(of_class.items()))
        print(f"{options.output / side}: {of_class.total():,} pictures ({each})")


if __name__ == "__main__":
    main()
