"""The only opener of pictures: bytes of any common format to upright uint8 RGB (H, W, 3), size-limited.

What holds for every picture that comes out of `decode` and `read`:

- The bytes decide what a file is, never its name.
- Upright: the EXIF orientation 1-8 (EXIF 2.32, tag 0x0112) is applied. A damaged EXIF block counts as none.
- Animations and multi-page files give their first frame.
- Transparency lies over white.
- More than 8 bits a sample are scaled, never clipped. Unsigned 16 bits lose their low byte, 12-bit TIFF its
  low 4 bits. 32-bit integers within 0-65535 count as 16-bit, floats within 0-1 as 0-1; any others are
  stretched from their smallest to their largest finite value. NaN becomes the lower end, an infinity the end
  it stands for.
- CMYK is converted by its embedded profile where that is usable, else by the plain formula. Profiles of RGB
  and grey are left alone, for speed and by the field's habit: pretrained weights saw pictures read like this.

JPEG has two roads: the fast one (simplejpeg), and the tolerant one (Pillow) for what the fast one refuses:
CMYK, and harmless irregularities such as stray bytes. Both are libjpeg-turbo with the accurate DCT and smooth
upsampling, and the tests hold them to the same pixels. A truncated file is refused on both.

What would be made up is refused: a decoder that fills missing rows, scans or blocks with grey or black says nothing of
it, so `wholeness` looks. What no decoder can tell is damage that leaves the data well-formed: AVIF, HEIC and the fax
compressions of TIFF have no count and no checksum of what there should be.

Limits: a file of `MAX_FILE_BYTES`; `MAX_PIXELS`, by the header, before anything is decoded; a JPEG of 500 scans. All
this takes `MEMORY_BYTES` at most, 2.2 GB, of which the process that opens pictures for others (`decoders`) is given no
more. The largest pictures with transparency take 0.9 GB, of floats 1.4 GB.

Everything here may be called from many threads at once; the decoders release the GIL.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import logging
import os
import re
import stat
import warnings
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from tellapart import archives, exif, samples, wholeness
from tellapart.addresses import is_place
from tellapart.archives import Piece
from tellapart.errors import PictureError
from tellapart.kinds import describe_unknown, sniff

if TYPE_CHECKING:
    from PIL import ImageFile

MAX_PIXELS = 120_000_000  # width x height that is still opened; 360 MB as RGB
MAX_FILE_BYTES = 512 * 2**20
MEMORY_BYTES = 256 * 2**20 + 16 * MAX_PIXELS  # that decoding one may take, see above
VERSION = 2  # of what is opened and what comes out; another number means that files are opened again

_MIN_SCALED_PX = 8  # below it the scales k/8 can round to the same size, and the two roads could differ
_HEAD_BYTES = 4096  # enough for the brands of AVIF and HEIC, which stand in a list of any length

# Pillow's opener of each format. They are called directly, not through `Image.open`: nothing but these is
# ever tried (no EPS, no plugin of another package), and the size limit is ours alone. Pillow's global
# MAX_IMAGE_PIXELS only warns up to its double, and could be made an error only by state shared with the host.
_OPENERS = {
    "JPEG": ("PIL.JpegImagePlugin", "JpegImageFile"),
    "PNG": ("PIL.PngImagePlugin", "PngImageFile"),
    "GIF": ("PIL.GifImagePlugin", "GifImageFile"),
    "WEBP": ("PIL.WebPImagePlugin", "WebPImageFile"),
    "BMP": ("PIL.BmpImagePlugin", "BmpImageFile"),
    "TIFF": ("PIL.TiffImagePlugin", "TiffImageFile"),
    "AVIF": ("PIL.AvifImagePlugin", "AvifImageFile"),
    "HEIC": ("pi_heif.as_plugin", "HeifImageFile"),
}


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One decoded picture."""

    pixels: np.ndarray  # uint8 (H, W, 3), RGB, 0-255, upright, C-contiguous, writable
    format: str  # "JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF" or "HEIC"
    width_px: int  # of the file, upright, before scaled decoding; 1 or more
    height_px: int  # likewise


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """Read a regular file of at most `MAX_FILE_BYTES`; never waits on a FIFO, a socket or a device.

    Symbolic links are followed. What lies on a server or in an archive is read as `places` has it. Raises PictureError
    where there is nothing to read, or it may not be read.
    """
    if is_place(path):
        return _of_place(os.fspath(path))
    try:
        # Looked at before it is opened, because opening a device can do something; and again after, because
        # the file may have been exchanged. O_NONBLOCK keeps even an exchanged FIFO from blocking.
        _refuse_irregular(os.stat(path))
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        with open(os.open(path, flags), "rb", buffering=0) as file:
            status = os.fstat(file.fileno())
            _refuse_irregular(status)
            if status.st_size > MAX_FILE_BYTES:
                raise PictureError(f"{status.st_size / 2**20:.0f} MB, over the limit of {MAX_FILE_BYTES // 2**20} MB")
            data = file.readall()
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        raise PictureError(os_reason(error, path)) from error
    if len(data) > MAX_FILE_BYTES:  # it grew, or its size is not told
        raise PictureError(f"over the limit of {MAX_FILE_BYTES // 2**20} MB")
    return data


def _of_place(path: str) -> bytes:
    from tellapart import places

    try:
        return places.read(path, MAX_FILE_BYTES)
    except OSError as error:
        if error.errno == errno.ECANCELED:  # the run was stopped: that is no fault of the picture
            raise
        raise PictureError(os_reason(error, path)) from error


def read_piece(piece: Piece) -> bytes:
    """The bytes of a picture that stand in a file with others. Raises PictureError where they are not there."""
    try:
        return archives.read(piece)
    except OSError as error:
        raise PictureError(os_reason(error, piece.file)) from error


def _refuse_irregular(status: os.stat_result) -> None:
    if stat.S_ISREG(status.st_mode):
        return
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket"}
    kind = kinds.get(stat.S_IFMT(status.st_mode), "a device")
    raise PictureError(f"not a regular file ({kind})")


def os_reason(error: OSError | ValueError, path: str | os.PathLike[str]) -> str:
    """Why a file cannot be read, as a `PictureError` has it."""
    if isinstance(error, FileNotFoundError):
        return "a symbolic link to nothing" if os.path.islink(path) else "no such file"
    if isinstance(error, PermissionError):
        return "no permission to read it"
    if isinstance(error, OSError) and error.errno == errno.ELOOP:
        return "symbolic links that go in a circle"
    if isinstance(error, OSError) and error.errno == errno.EFBIG and error.strerror:
        return error.strerror
    if "\0" in os.fsdecode(path):  # each Python says it in other words
        return "no file has a null character in its path"
    message = error.strerror if isinstance(error, OSError) else str(error)
    return f"cannot be read: {_one_line(message or type(error).__name__)}"


def read(path: str | os.PathLike[str], *, at_least_px: int | None = None) -> Picture:
    """`read_bytes`, then `decode`."""
    return decode(read_bytes(path), at_least_px=at_least_px)


def decode(data: bytes, *, at_least_px: int | None = None) -> Picture:
    """Decode the bytes of a picture file.

    With `at_least_px` a JPEG may come out smaller than it is, at 1/2, 1/4 or 1/8, which is several times as
    fast: both sides of `pixels` are still `at_least_px` or more, or the full size. No other format is scaled.

    Raises PictureError, whatever is wrong with the bytes; more than `MAX_PIXELS` are refused by the header,
    before anything is decoded.
    """
    format = sniff(data[:_HEAD_BYTES])
    if format is None:
        raise PictureError(describe_unknown(data[:_HEAD_BYTES]))
    at_least_px = None if at_least_px is None else max(at_least_px, _MIN_SCALED_PX)
    try:
        picture = _decode_jpeg_fast(data, at_least_px) if format == "JPEG" else None
        return picture or _decode_with_pillow(data, format, at_least_px)
    except PictureError:
        raise
    except Exception as error:  # the one seam where anything may come: hostile files raise all there is
        raise PictureError(_decode_reason(error, format, data)) from error


_TRUNCATED = re.compile(r"truncated|unexpected end|premature end|requires a buffer|incomplete checksum", re.I)
_NOT_READ = re.compile(r"unknown pixel mode|cannot handle|unsupported|not supported", re.I)


def _decode_reason(error: Exception, format: str, data: bytes) -> str:
    message = _one_line(str(error))
    # WebP's decoder does not say why it fails, but its header tells the length of the file.
    short = format == "WEBP" and len(data) < 8 + int.from_bytes(data[4:8], "little")
    if short or _TRUNCATED.search(message):
        return "truncated: the file ends before the picture does"
    if isinstance(error, MemoryError):
        return f"{format} that needs more memory than there is"
    if not re.search("[a-z]{2}", message):  # as of a KeyError, whose message is the key
        message = f"{type(error).__name__} {message}".strip()
    kind = "damaged " if not _NOT_READ.search(message) else "a kind that is not read here of "
    return f"{kind}{format}: {message}"


def _one_line(message: str) -> str:
    line = " ".join("".join(c if c.isprintable() else " " for c in message).split())
    return line if len(line) <= 200 else line[:199] + "…"


def _check_size(width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise PictureError(f"no pixels: {width}×{height}")
    if width * height > MAX_PIXELS:
        megapixels = -(-width * height // 10**6)  # rounded up: never "120, over the limit of 120"
        limit = MAX_PIXELS // 10**6
        raise PictureError(f"{width}×{height} = {megapixels} megapixels, over the limit of {limit}")


# --- JPEG, the fast road


def _decode_jpeg_fast(data: bytes, at_least_px: int | None) -> Picture | None:
    """Decode by simplejpeg, or return None where it refuses and Pillow has to decide.

    simplejpeg refuses whatever libjpeg warns of. What means that pixels are missing is refused here, for Pillow would
    fill them up: the data end early, also where zeros or an end marker were put behind them; blocks are damaged or lost
    between two restart markers; scans are missing.
    """
    import simplejpeg

    try:
        header = simplejpeg.decode_jpeg_header(data)
    except (ValueError, RuntimeError) as error:
        _refuse_missing_blocks(data, "RGB", str(error))
        return None
    height, width, colours = int(header[0]), int(header[1]), header[2]
    _check_size(width, height)
    if missing := wholeness.of_scans(data):
        raise PictureError(missing)
    if colours in {"CMYK", "YCCK"}:  # simplejpeg knows nothing of profiles and of Adobe's inverted inks
        _refuse_missing_blocks(data, "CMYK")
        return None
    scale = _dct_scale(width, height, at_least_px)
    wanted = (-(-height // scale), -(-width // scale), 3)
    try:
        # Of libjpeg's scales k/8 it takes the smallest that gives this size: 1/scale, from 8 pixels on.
        pixels = simplejpeg.decode_jpeg(
            data, "RGB", min_height=wanted[0] if scale > 1 else 0, min_width=wanted[1] if scale > 1 else 0
        )
    except (ValueError, RuntimeError) as error:
        _refuse_missing_blocks(data, "RGB", str(error))
        return None
    if pixels.shape != wanted:  # as in lossless JPEG, which cannot be scaled
        return None
    return _upright(pixels, "JPEG", width, height, exif.orientation(exif.of_jpeg(data)))


def _refuse_missing_blocks(data: bytes, colours: str, warning: str = "") -> None:
    """Refuse a JPEG of which libjpeg makes up blocks, which Pillow would not tell; `warning` is its first one."""
    import simplejpeg

    missing = wholeness.of_scans(data)
    if not missing and "extraneous bytes" not in warning:
        missing = wholeness.of_warning(warning)
    if not missing and not warning.lower().endswith("0xd9"):  # behind a harmless one there may be another
        plain = wholeness.plain_jpeg(data)
        with contextlib.suppress(ValueError, RuntimeError):  # without a header Pillow says what is wrong
            height, width = simplejpeg.decode_jpeg_header(plain)[:2]
            _check_size(int(width), int(height))
            try:
                simplejpeg.decode_jpeg(plain, colours)
            except (ValueError, RuntimeError) as error:
                missing = wholeness.of_warning(str(error))
    if missing:
        raise PictureError(missing)


def _dct_scale(width: int, height: int, at_least_px: int | None) -> int:
    """The divisor 8, 4, 2 or 1, by the rule of Pillow's `draft`, so that both roads give the same size."""
    if at_least_px is None:
        return 1
    ratio = min(width, height) // at_least_px
    return next((scale for scale in (8, 4, 2) if ratio >= scale), 1)


def _upright(pixels: np.ndarray, format: str, width: int, height: int, orientation: int) -> Picture:
    """A Picture of what was decoded, turned as `orientation` says; width and height are those of the file."""
    if orientation >= 5:
        pixels, width, height = pixels.swapaxes(0, 1), height, width
    if orientation in {3, 4, 7, 8}:
        pixels = pixels[::-1]
    if orientation in {2, 3, 6, 7}:
        pixels = pixels[:, ::-1]
    return Picture(np.ascontiguousarray(pixels), format, width, height)


# --- every format, by Pillow


def _decode_with_pillow(data: bytes, format: str, at_least_px: int | None) -> Picture:
    with opened(data, format) as image:
        width, height = image.size
        _check_size(width, height)
        if format == "JPEG" and at_least_px is not None:
            image.draft(None, (at_least_px, at_least_px))
        if format == "TIFF":
            _refuse_missing_strips(image)
            tags: Any = getattr(image, "tag_v2", {})
            if tags.get(259) == 7 and (missing := wholeness.of_tiff_jpeg(data, tags)):
                raise PictureError(missing)
        image.load()
        if format == "PNG" and _may_lack_rows(image) and (missing := wholeness.of_png(data)):
            raise PictureError(missing)
        if format != "JPEG":  # a GIF's first frame and a HEIC's data may be larger than their header says
            width, height = image.size
            _check_size(width, height)
        pixels = samples.to_rgb(image, data)
        # Read after loading: in PNG the block may follow the picture. Pillow turns TIFF, libheif turns HEIC.
        turned = format in {"TIFF", "HEIC"}
        orientation = 1 if turned else exif.orientation(exif.of_pillow(image.info))
    return _upright(pixels, format, width, height, orientation)


def opened(data: bytes, format: str) -> ImageFile.ImageFile:
    """Pillow's picture of some bytes whose `format` is what `sniff` says: its header is read, no pixel decoded.

    Raises PictureError where the format needs an extra, and whatever Pillow raises of damaged bytes.
    """
    _hush_pillow()
    module, name = _OPENERS[format]
    try:
        opener: type[ImageFile.ImageFile] = getattr(importlib.import_module(module), name)
    except ImportError as error:
        if format != "HEIC":
            raise
        raise PictureError("HEIC needs the extra: pip install 'tellapart[heic]'") from error
    return opener(BytesIO(data))


def _refuse_missing_strips(image: ImageFile.ImageFile) -> None:
    """Refuse a TIFF whose strips end before its rows do: Pillow would silently leave the rest black."""
    reach = sorted(max((tile.extents or (0, 0, 0, 0))[side] for tile in image.tile) for side in (2, 3))
    # both sorted, because the size is already that of the picture turned upright, and the tiles are not
    if any(have < wanted for have, wanted in zip(reach, sorted(image.size), strict=True)):
        raise PictureError("damaged TIFF: strips of the picture are missing")


def _may_lack_rows(image: ImageFile.ImageFile) -> bool:
    """Whether Pillow may have had no data for the last rows of a PNG: they are 0 then."""
    return bool(image.info.get("interlace")) or not any(image.crop((0, image.height - 1, *image.size)).tobytes())


_PILLOW_HUSHED = ("ignore", None, UserWarning, re.compile(r"PIL\."), 0)
_PILLOW_LOG = logging.NullHandler()


def _hush_pillow() -> None:
    """Have Pillow's UserWarnings ignored, those about damaged tags and chunks, and no others.

    A line on stderr for each damaged tag helps nobody, and where warnings are errors it would make readable
    pictures unreadable. `warnings.catch_warnings` swaps the filters of the whole process and must not be used
    in threads, so one narrow filter is put in front, and stays. Pillow's log goes only where somebody has
    asked for it: without a handler Python would print its errors.
    """
    if not warnings.filters or warnings.filters[0] != _PILLOW_HUSHED:
        warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
    logging.getLogger("PIL").addHandler(_PILLOW_LOG)  # adds it once
