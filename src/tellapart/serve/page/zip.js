// A ZIP archive, made here: APPNOTE.TXT 6.3.10, without compression, for pictures are compressed already.

const MOST_BYTES = 4_000_000_000; // above it the format has other fields
const UTF8 = 0x0800; // names are in UTF-8
const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let k = 0; k < 8; k++) c = c & 1 ? (c >>> 1) ^ 0xedb88320 : c >>> 1;
  return c;
});

function crc32(bytes) {
  let c = 0xffffffff;
  for (const byte of bytes) c = TABLE[(c ^ byte) & 0xff] ^ (c >>> 8);
  return (c ^ 0xffffffff) >>> 0;
}

/** Numbers as little-endian bytes, from [value, width in bytes]. */
function packed(...fields) {
  const bytes = [];
  for (const [value, width] of fields) for (let i = 0; i < width; i++) bytes.push(Math.floor(value / 256 ** i) % 256);
  return new Uint8Array(bytes);
}

/** The date and time of a file, as MS-DOS has them. */
function stamp(milliseconds) {
  const at = new Date(milliseconds);
  const date = (Math.max(at.getFullYear() - 1980, 0) << 9) | ((at.getMonth() + 1) << 5) | at.getDate();
  return [(at.getHours() << 11) | (at.getMinutes() << 5) | (at.getSeconds() >> 1), date];
}

/** A Blob of an archive of [{file, name}], the names with "/" between folders; null where it would be too large. */
export async function zipped(files) {
  const total = files.reduce((sum, { file }) => sum + file.size, 0);
  if (total > MOST_BYTES || files.length > 65_000) return null;
  const [parts, directory] = [[], []];
  let at = 0;
  for (const { file, name } of files) {
    const title = new TextEncoder().encode(name);
    const crc = crc32(new Uint8Array(await file.arrayBuffer()));
    const [time, date] = stamp(file.lastModified ?? Date.now());
    const common = [
      [20, 2],
      [UTF8, 2],
      [0, 2],
      [time, 2],
      [date, 2],
      [crc, 4],
      [file.size, 4],
      [file.size, 4],
      [title.length, 2],
      [0, 2],
    ];
    const head = packed([0x04034b50, 4], ...common);
    parts.push(head, title, file);
    directory.push(packed([0x02014b50, 4], [20, 2], ...common, [0, 2], [0, 2], [0, 2], [0, 4], [at, 4]), title);
    at += head.length + title.length + file.size;
  }
  const size = directory.reduce((sum, each) => sum + each.length, 0);
  const end = packed([0x06054b50, 4], [0, 2], [0, 2], [files.length, 2], [files.length, 2], [size, 4], [at, 4], [0, 2]);
  return new Blob([...parts, ...directory, end], { type: "application/zip" });
}

/** One part of a path that every system can have. */
function safe(part) {
  const plain = part.replaceAll(/[\u0000-\u001f\u007f<>:"/\\|?*]/g, "_").replace(/^[. ]+|[. ]+$/g, "");
  return /^(con|prn|aux|nul|com\d|lpt\d)?$/i.test(plain.split(".")[0]) ? `_${plain}` : plain;
}

/** Pictures under the names of folders, each path once: [{file, name}] from [{file, name, folder}]. */
export function inFolders(pictures) {
  const taken = new Set();
  return pictures.map(({ file, name, folder }) => {
    const [, stem, ending] = /^(.*?)(\.[^.]*)?$/.exec(safe(name.split("/").at(-1)));
    let path = "";
    for (let n = 1; !path || taken.has(path.toLowerCase()); n++)
      path = `${safe(folder)}/${stem}${n > 1 ? `-${n}` : ""}${ending ?? ""}`;
    taken.add(path.toLowerCase());
    return { file, name: path };
  });
}
