"""What a file is by its name and by its first bytes: the formats of pictures that are read, and names for others."""

from __future__ import annotations

PICTURE_EXTENSIONS = frozenset(  # lower case, with the dot
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".gif", ".webp", ".bmp", ".dib"}
    | {".tif", ".tiff", ".avif", ".avifs", ".heic", ".heif", ".hif"}
)
_BMP_HEADER_SIZES = frozenset({12, 16, 40, 52, 56, 64, 108, 124})
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})

_NOT_PICTURES = (
    (b"<!doctype html", "HTML"),
    (b"<html", "HTML"),
    (b"<head", "HTML"),
    (b"<!--", "HTML"),
    (b"<?xml", "XML"),
    (b"%pdf", "PDF"),
    (b"%!ps", "PostScript"),
    (b"pk\x03\x04", "a zip archive"),
    (b"\x1f\x8b", "gzip"),
    (b"version https://git-lfs", "a Git LFS pointer; run `git lfs pull`"),
    (b"{", "JSON"),
)
_OTHER_PICTURES = (
    (b"<svg", "SVG"),
    (b"8bps", "Photoshop"),
    (b"\0\0\0\x0cjp  ", "JPEG 2000"),
    (b"\0\0\0\x0cjxl ", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\1\0", "ICO"),
)


def sniff(head: bytes) -> str | None:
    """Name the format of a file by its first bytes (32 or more); None where it is none that is read here."""
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):  # the latter two: BigTIFF
        return "TIFF"
    # Two letters are weak evidence, so the size of the second header must be one that exists.
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADER_SIZES:
        return "BMP"
    if head[4:8] == b"ftyp":
        return _sniff_iso_media(head)
    return None


def _sniff_iso_media(head: bytes) -> str | None:
    """AVIF or HEIC by the brands of the `ftyp` box (ISO/IEC 14496-12, 23008-12), or None, as for a video."""
    size = min(int.from_bytes(head[:4], "big"), len(head))
    major = head[8:12]
    brands = {major} | {head[at : at + 4] for at in range(16, size - 3, 4)}
    if major in {b"avif", b"avis"} or (major in {b"mif1", b"msf1", b"miaf"} and brands & {b"avif", b"avis"}):
        return "AVIF"
    if major in _HEIC_BRANDS | {b"mif1", b"msf1"}:
        return "HEIC"
    return None


def describe_unknown(head: bytes) -> str:
    """Say why a file whose first bytes `sniff` does not know is not read, as a `PictureError` has it."""
    if not head:
        return "empty file (0 bytes)"
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n").lower()
    for prefix, name in _NOT_PICTURES:
        if start.startswith(prefix):
            return f"not a picture: it begins like {name}"
    for prefix, name in _OTHER_PICTURES:
        if start.startswith(prefix) or head.lower().startswith(prefix):
            return f"a kind of picture that is not read here ({name}); save it as PNG or JPEG"
    if head[4:8] == b"ftyp":
        return "not a picture: it begins like a video (MP4 or MOV)"
    if not head.strip(b"\0"):
        return "not a picture: it begins with zero bytes only"
    return f"not a picture: unknown first bytes {head[:8].hex(' ')}"
