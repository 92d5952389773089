// What a file is, by its first bytes, and why one is not a picture that can be read: the words of `tellapart predict`.

const HEAD = 4096;

const NOT_PICTURES = [
  ["<!doctype html", "HTML"],
  ["<html", "HTML"],
  ["<head", "HTML"],
  ["<!--", "HTML"],
  ["<?xml", "XML"],
  ["%pdf", "PDF"],
  ["%!ps", "PostScript"],
  ["pk\x03\x04", "a zip archive"],
  ["\x1f\x8b", "gzip"],
  ["{", "JSON"],
];

const OTHER_PICTURES = [
  ["<svg", "SVG"],
  ["8bps", "Photoshop"],
  ["\0\0\0\x0cjp  ", "JPEG 2000"],
  ["\0\0\0\x0cjxl ", "JPEG XL"],
  ["\xff\x0a", "JPEG XL"],
  ["\0\0\x01\0", "ICO"],
];

// A letter for each byte; what decoders call Latin-1 is another table.
function letters(buffer) {
  return String.fromCharCode(...new Uint8Array(buffer));
}

// The kind of a picture file, or throws an Error that says why it is none.
export async function kind(blob) {
  const head = letters(await blob.slice(0, HEAD).arrayBuffer());
  if (head === "") throw new Error("empty file (0 bytes)");
  if (head.startsWith("\xff\xd8\xff")) return "JPEG";
  if (head.startsWith("\x89PNG\r\n\x1a\n")) return "PNG";
  if (/^GIF8[79]a/.test(head)) return "GIF";
  if (head.startsWith("RIFF") && head.slice(8, 12) === "WEBP") return "WebP";
  if (/^(II[*+]\0|MM\0[*+])/.test(head)) return "TIFF";
  if (head.startsWith("BM") && [12, 16, 40, 52, 56, 64, 108, 124].includes(head.charCodeAt(14))) return "BMP";
  if (head.slice(4, 8) === "ftyp") {
    const size = new DataView(Uint8Array.from(head.slice(0, 4), (c) => c.charCodeAt(0)).buffer).getUint32(0);
    const brands = head.slice(8, Math.min(size, head.length));
    if (/avi[fs]/.test(brands)) return "AVIF";
    if (/he[iv][cxms]|m[is]f1/.test(brands)) return "HEIC";
    throw new Error("not a picture: it begins like a video (MP4 or MOV)");
  }
  const start = head.replace(/^\xef\xbb\xbf/, "").replace(/^[ \t\r\n]+/, "").toLowerCase();
  const other = OTHER_PICTURES.find(([begin]) => start.startsWith(begin) || head.toLowerCase().startsWith(begin));
  if (other) throw new Error(`a kind of picture that is not read here (${other[1]}); save it as PNG or JPEG`);
  const none = NOT_PICTURES.find(([begin]) => start.startsWith(begin));
  if (none) throw new Error(`not a picture: it begins like ${none[1]}`);
  if (/^\0*$/.test(head)) throw new Error("not a picture: it begins with zero bytes only");
  throw new Error("not a picture: its first bytes are those of none");
}

// Whether a JPEG or PNG file has its end; of other kinds that is not known here.
export async function ended(blob, type) {
  if (type === "PNG") {
    return letters(await blob.slice(-HEAD).arrayBuffer()).includes("IEND");
  }
  if (type !== "JPEG") return true;
  const bytes = new Uint8Array(await blob.arrayBuffer());
  return scanned(bytes);
}

// Walks the segments of a JPEG file (ITU T.81, annex B) to its first end of image.
function scanned(bytes) {
  let at = 2;
  while (at + 4 <= bytes.length) {
    if (bytes[at] !== 0xff) {
      at += 1; // stray bytes between segments
    } else if (bytes[at + 1] === 0xff || (bytes[at + 1] >= 0xd0 && bytes[at + 1] <= 0xd8) || bytes[at + 1] <= 1) {
      at += 1; // fill, restart, stuffing
    } else if (bytes[at + 1] === 0xd9) {
      return true;
    } else {
      const isScan = bytes[at + 1] === 0xda;
      at += 2 + ((bytes[at + 2] << 8) | bytes[at + 3]);
      if (isScan) {
        // Compressed data ends at a marker that is neither a stuffed byte nor a restart.
        while (
          at + 1 < bytes.length &&
          !(bytes[at] === 0xff && bytes[at + 1] !== 0 && !(bytes[at + 1] >= 0xd0 && bytes[at + 1] <= 0xd7))
        ) {
          at += 1;
        }
      }
    }
  }
  return bytes[at] === 0xff && bytes[at + 1] === 0xd9;
}
