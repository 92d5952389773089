// Pictures from the user: dropped, pasted, chosen, or a whole folder.

import { $ } from "./dom.js";

// As `tellapart predict` walks a folder; a file that is named itself is always sent.
const PICTURE = /\.(jpe?g|jpe|jfif|mpo|a?png|gif|webp|bmp|dib|tiff?|avifs?|hei[cf]|hif)$/i;

/**
 * Calls `take(files, passedOver)` with [{file, name}] and the names of what is no picture in a folder, and `tell(text)`
 * where something cannot be read.
 */
export function intake(take, tell) {
  const chosen = (input, whole) => {
    input.addEventListener("change", () => {
      const all = [...input.files].map((file) => ({
        file,
        name: file.webkitRelativePath || file.name,
        inFolder: whole,
      }));
      input.value = ""; // so that the same file can be chosen again
      give(all, take);
    });
  };
  for (const id of ["files", "shot"]) chosen($(id), false);
  chosen($("tree"), true);
  $("choose").addEventListener("click", () => $("files").click());
  $("zone").addEventListener("click", (event) => {
    if (!event.target.closest("button, input")) $("files").click();
  });
  $("folder").addEventListener("click", () => $("tree").click());
  $("folder").hidden = !("webkitdirectory" in $("tree")) || matchMedia("(pointer: coarse)").matches;

  const holds = (event) => event.dataTransfer?.types.includes("Files") && !document.querySelector("dialog#key[open]");
  let depth = 0;
  const veil = (shown) => {
    if (!shown) depth = 0;
    $("veil").hidden = !shown;
  };
  addEventListener("dragenter", (event) => {
    if (!holds(event)) return;
    event.preventDefault();
    depth += 1;
    veil(true);
  });
  addEventListener("dragleave", () => {
    depth -= 1;
    if (depth <= 0) veil(false);
  });
  addEventListener("dragover", (event) => {
    if (!holds(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
  });
  addEventListener("drop", async (event) => {
    if (!holds(event)) return;
    event.preventDefault();
    veil(false);
    try {
      give(await dropped(event.dataTransfer), take);
    } catch {
      tell("The browser could not read that folder. Choose its pictures instead.");
    }
  });
  addEventListener("paste", (event) => {
    if (event.target.matches?.("input[type=text], input[type=password]")) return;
    const files = [...(event.clipboardData?.files ?? [])];
    if (!files.length) return;
    event.preventDefault();
    // What was copied as pixels has no name of its own.
    give(
      files.map((file) => ({ file, name: file.name === "image.png" ? stamped("pasted", "png") : file.name })),
      take,
    );
  });
}

let last = "";
let repeats = 0;

/** A name for a picture that has none: what it is and when, each once. */
export function stamped(kind, ending) {
  const now = new Date();
  const two = (n) => String(n).padStart(2, "0");
  const date = `${now.getFullYear()}${two(now.getMonth() + 1)}${two(now.getDate())}`;
  const name = `${kind}-${date}-${two(now.getHours())}${two(now.getMinutes())}${two(now.getSeconds())}`;
  repeats = name === last ? repeats + 1 : 0;
  last = name;
  return `${name}${repeats ? `-${repeats + 1}` : ""}.${ending}`;
}

function give(all, take) {
  const hidden = ({ name }) => name.split("/").some((part) => part.startsWith("."));
  const passed = (one) => one.inFolder && (hidden(one) || !PICTURE.test(one.name));
  take(
    all.filter((one) => !passed(one)),
    all.filter(passed).map(({ name }) => name),
  );
}

/** Files and, to the bottom, folders, in the order of their names. */
async function dropped(transfer) {
  // Both lists are empty once this turn of the event loop is over.
  const entries = [...transfer.items]
    .filter((one) => one.kind === "file")
    .map((one) => [one.webkitGetAsEntry?.(), one.getAsFile()]);
  const found = [];
  for (const [entry, file] of entries) {
    if (entry?.isDirectory) await walk(entry, found);
    else if (file) found.push({ file, name: file.name, inFolder: false });
  }
  return found;
}

async function walk(folder, found) {
  const reader = folder.createReader();
  const entries = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject)); // a hundred at a time
    if (!some.length) break;
    entries.push(...some);
  }
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    if (entry.isDirectory) await walk(entry, found);
    else {
      const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
      found.push({ file, name: entry.fullPath.replace(/^\//, ""), inFolder: true });
    }
  }
}
