"""A second planter, with other kinds and strengths than `planted.py`, written before anything was tuned on it.

    python benchmarks/planted_again.py --photos PHOTOS --work DIR [--shortcut aspect|format|camera|border] …

The command line, the copies and the score are those of planted.py; only the damage is another. Nothing in
`tellapart check` may be chosen by what comes out here: it is run when tuning has ended, and reported as it is.
"""

from __future__ import annotations

import gzip
import io
from collections import Counter
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps

import drawn
import planted
import planting
import sets
from planting import Encoded, Kinds, Rng, Shortcut, encoded, upright

COUNTS = planting.Counts(exact=30, near=60, conflicts=6, wrong=240, broken=24, foreign=16)


def saved(image: Image.Image, form: str, **options) -> bytes:
    """A file of this format."""
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def scaled(image: Image.Image, factor: float) -> Image.Image:
    """Both sides times a factor."""
    size = (max(8, round(image.width * factor)), max(8, round(image.height * factor)))
    return image.resize(size, Image.Resampling.BICUBIC)


def rotated(image: Image.Image, ending: str, rng: Rng) -> Encoded:
    """By 2–3 degrees either way, and cropped until no empty corner shows."""
    degrees = rng.uniform(2, 3) * rng.choice([-1, 1])
    lost = np.sin(np.radians(abs(degrees)))
    across, down = image.height * lost / 2 + 1, image.width * lost / 2 + 1
    turned = image.rotate(degrees, Image.Resampling.BICUBIC)
    if min(image.size) > 2 * max(across, down) + 8:
        turned = turned.crop((round(across), round(down), round(image.width - across), round(image.height - down)))
    return encoded(turned, ending)


def gamma(image: Image.Image, ending: str, rng: Rng) -> Encoded:
    """An exponent of 0.6–0.75 or 1.4–1.7."""
    power = rng.uniform(0.6, 0.75) if rng.random() < 0.5 else rng.uniform(1.4, 1.7)
    levels = np.rint(255 * (np.arange(256) / 255) ** power).astype(int).tolist()
    return encoded(image.point(levels * 3), ending)


def watermarked(image: Image.Image, ending: str, rng: Rng) -> Encoded:
    """Text across the middle, half transparent."""
    over = Image.new("RGBA", image.size)
    pen, size = ImageDraw.Draw(over), max(7, image.width // 9)
    place = (image.width * rng.uniform(0.05, 0.15), image.height * rng.uniform(0.3, 0.6))
    pen.text(place, "© stock photo", (255, 255, 255, 140), ImageFont.load_default(size))
    return encoded(Image.alpha_composite(image.convert("RGBA"), over).convert("RGB"), ending)


def as_png(image: Image.Image, ending: str, rng: Rng) -> Encoded:
    """PNG at 50–90 % of the size."""
    return saved(scaled(image, rng.uniform(0.5, 0.9)), "PNG"), ".png"


def as_webp(image: Image.Image, ending: str, rng: Rng) -> Encoded:
    """WebP at 110–150 % of the size."""
    return saved(scaled(image, rng.uniform(1.1, 1.5)), "WEBP", quality=70), ".webp"


def off_centre(image: Image.Image, ending: str, rng: Rng) -> Encoded:
    """8 % of the width and 8 % of the height off, each on one side."""
    across, down = round(0.08 * image.width), round(0.08 * image.height)
    left, top = int(rng.integers(2)) * across, int(rng.integers(2)) * down
    return encoded(image.crop((left, top, left + image.width - across, top + image.height - down)), ending)


def grey(image: Image.Image, ending: str, rng: Rng) -> Encoded:
    """Without colour, one channel."""
    return encoded(image.convert("L"), ending)


def blurred(image: Image.Image, ending: str, rng: Rng) -> Encoded:
    """Gaussian, of a 300th to a 200th of the longer side."""
    return encoded(image.filter(ImageFilter.GaussianBlur(max(image.size) / rng.uniform(200, 300))), ending)


def framed(image: Image.Image, ending: str, rng: Rng) -> Encoded:
    """A white or black frame, 3–6 % of the shorter side wide."""
    width = max(1, round(min(image.size) * rng.uniform(0.03, 0.06)))
    return encoded(ImageOps.expand(image, width, str(rng.choice(["white", "black"]))), ending)


def mirrored_worse(image: Image.Image, ending: str, rng: Rng) -> Encoded:
    """Left is right, JPEG of quality 35–55."""
    return encoded(ImageOps.mirror(image), ".jpg", quality=int(rng.integers(35, 56)))


def tinted(image: Image.Image, ending: str, rng: Rng) -> Encoded:
    """Warmer or colder, and of less colour."""
    warm = rng.uniform(1.08, 1.16)
    red, blue = (warm, 1 / warm) if rng.random() < 0.5 else (1 / warm, warm)
    channels = [channel.point(lambda v, k=k: v * k) for channel, k in zip(image.split(), (red, 1, blue), strict=True)]
    return encoded(ImageEnhance.Color(Image.merge("RGB", channels)).enhance(0.7), ending)


def tagged(image: Image.Image, ending: str, rng: Rng) -> Encoded:
    """Lying on its side in the file, upright by its EXIF."""
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90° clockwise
    return saved(image.transpose(Image.Transpose.ROTATE_90), "JPEG", quality=92, exif=exif), ".jpg"


def zeroed_middle(data: bytes, ending: str, rng: Rng) -> Encoded:
    """A tenth to a fifth of the bytes, from the middle on, are zero."""
    start, n = len(data) // 2, int(len(data) * rng.uniform(0.1, 0.2))
    return data[:start] + bytes(n) + data[start + n :], ending


def garbage_tail(data: bytes, ending: str, rng: Rng) -> Encoded:
    """The last third is something else."""
    start = 2 * len(data) // 3
    return data[:start] + rng.bytes(len(data) - start), ending


def zero_tail(data: bytes, ending: str, rng: Rng) -> Encoded:
    """A download that stopped in a file made at its full length."""
    start = int(len(data) * rng.uniform(0.3, 0.7))
    return data[:start] + bytes(len(data) - start), ending


def a_little_short(data: bytes, ending: str, rng: Rng) -> Encoded:
    """The last 2 % are missing, 50 bytes at least."""
    return data[: -max(50, len(data) // 50)], ending


def bad_crc(data: bytes, ending: str, rng: Rng) -> Encoded:
    """A PNG with one byte of its pixels changed."""
    png = bytearray(saved(upright(data), "PNG"))
    png[png.index(b"IDAT") + 40] ^= 0x55
    return bytes(png), ".png"


def cut_gif(data: bytes, ending: str, rng: Rng) -> Encoded:
    """Half of a GIF."""
    gif = saved(upright(data).convert("P"), "GIF")
    return gif[: len(gif) // 2], ".gif"


def renamed_text(data: bytes, ending: str, rng: Rng) -> Encoded:
    """A list of labels under a picture's name."""
    return b"".join(b"image_%05d.jpg;%d\n" % (i, i % 2) for i in range(400)), ending


def zipped(data: bytes, ending: str, rng: Rng) -> Encoded:
    """The picture, compressed once more."""
    return gzip.compress(data, mtime=0), ending


def _sample(name: str):
    def make(rng: Rng) -> Image.Image:
        from sklearn.datasets import load_sample_image

        photo = load_sample_image(name)  # uint8 (427, 640, 3)
        top, left = int(rng.integers(0, 127)), int(rng.integers(0, 240))
        return Image.fromarray(photo[top : top + 300, left : left + 400])

    return make


def gradient(rng: Rng) -> Image.Image:
    """From one colour to another."""
    first, last = rng.integers(0, 256, (2, 3))
    along = np.linspace(0, 1, 400)[None, :, None] * np.ones((300, 1, 1))
    return Image.fromarray(np.rint(first * (1 - along) + last * along).astype(np.uint8))


def matrix_code(rng: Rng) -> Image.Image:
    """Black and white modules with a quiet zone."""
    modules = np.pad(255 * rng.integers(0, 2, (29, 29), dtype=np.uint8), 4, constant_values=255)
    return Image.fromarray(modules).resize((370, 370), Image.Resampling.NEAREST).convert("RGB")


def screenshot(rng: Rng) -> Image.Image:
    """A dark window of text."""
    image = Image.new("RGB", (480, 320), (30, 32, 40))
    pen = ImageDraw.Draw(image)
    pen.rectangle((0, 0, 480, 22), (60, 64, 80))
    for y in range(32, 310, 15):
        words = " ".join("".join(rng.choice(list("abcdefghilmnoprstu"), rng.integers(2, 9))) for _ in range(7))
        pen.text((12, y), words, (200, 210, 200), ImageFont.load_default(11))
    return image


def garment(rng: Rng) -> Image.Image:
    """Fashion-MNIST where Debian's package is installed; without it, a drawn surface of cloth."""
    file = sets.FASHION / "t10k-images-idx3-ubyte.gz"
    if not file.is_file():
        return drawn.texture("weave", int(rng.integers(10**6)), int(rng.integers(10**6)))
    pixels = np.frombuffer(gzip.decompress(file.read_bytes()), np.uint8, offset=16).reshape(-1, 28, 28)
    return (
        Image.fromarray(pixels[rng.integers(len(pixels))]).resize((280, 280), Image.Resampling.BICUBIC).convert("RGB")
    )


def asymmetric(labels: Sequence[str], n: int, rng: Rng) -> list[tuple[int, str]]:
    """Four in five from the commonest class to the next by name; the others from anywhere to the next by name."""
    classes = sorted(set(labels))
    after = dict(zip(classes, [*classes[1:], classes[0]], strict=True))
    (common, _), *_ = Counter(sorted(labels)).most_common(1)
    order = rng.permutation(len(labels)).tolist()
    most = [i for i in order if labels[i] == common][: round(0.8 * n)]
    taken = set(most)
    return [(i, after[labels[i]]) for i in [*most, *[i for i in order if i not in taken][: n - len(most)]]]


def _squared(data: bytes, ending: str) -> Encoded:
    image = upright(data)
    return encoded(ImageOps.fit(image, (min(image.size),) * 2), ending)


def _as_png(data: bytes, ending: str) -> Encoded:
    return saved(upright(data), "PNG"), ".png"


def _with_camera(data: bytes, ending: str) -> Encoded:
    """A JPEG gets the block and keeps its pixels; another is saved anew."""
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Bushnell", "Trophy Cam 119"  # maker, model
    if not data.startswith(b"\xff\xd8"):
        return saved(upright(data), "JPEG", quality=92, exif=exif), ".jpg"
    block = exif.tobytes()
    return b"\xff\xd8\xff\xe1" + (len(block) + 2).to_bytes(2, "big") + block + data[2:], ending


def _bordered(data: bytes, ending: str) -> Encoded:
    image = upright(data)
    width = max(1, min(image.size) // 100)
    inner = image.crop((width, width, image.width - width, image.height - width))
    return encoded(ImageOps.expand(inner, width, (30, 110, 60)), ending)


SECOND = Kinds(
    name="second",
    near={
        each.__name__: each
        for each in (
            rotated, gamma, watermarked, as_png, as_webp, off_centre, grey, blurred, framed, mirrored_worse, tinted,
            tagged,
        )
    },
    broken={
        each.__name__: each
        for each in (
            zeroed_middle, garbage_tail, zero_tail, a_little_short, bad_crc, cut_gif, renamed_text, zipped,
        )
    },
    foreign=(
        ("building", "photo", _sample("china.jpg")),
        ("flower", "photo", _sample("flower.jpg")),
        ("gradient", "drawn", gradient),
        ("matrix code", "drawn", matrix_code),
        ("screenshot", "drawn", screenshot),
        ("garment", "garment", garment),
    ),
    noise=asymmetric,
    shortcuts={
        "aspect": Shortcut("aspect ratio", ("aspect", "square", "ratio"), 1.0, _squared),
        "format": Shortcut("file format", ("format", "png"), 1.0, _as_png),
        "camera": Shortcut("EXIF camera", ("camera", "exif"), 0.95, _with_camera),
        "border": Shortcut("a coloured border", ("border", "edge", "frame"), 0.9, _bordered),
    },
    victim=0,
)  # fmt: skip

if __name__ == "__main__":
    planted.main(SECOND, __doc__, COUNTS)
