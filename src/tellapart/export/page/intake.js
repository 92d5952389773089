// Pictures in: chosen, pasted, or dropped, also in folders.

const at = (id) => document.getElementById(id);

// `add` is given lists of files.
export function listen(add) {
  at("choose").addEventListener("change", (event) => {
    add([...event.target.files]);
    event.target.value = "";
  });

  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length > 0) event.preventDefault();
    add(files);
  });

  let inside = 0; // dragenter less dragleave
  for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
    document.addEventListener(kind, (event) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      if (kind === "dragenter") inside += 1;
      else if (kind === "dragleave") inside -= 1;
      else if (kind === "drop") inside = 0;
      at("over").hidden = inside === 0;
      if (kind === "drop") dropped(event.dataTransfer).then(add);
    });
  }
}

// Files, and those in folders, without what systems put there.
async function dropped(transfer) {
  const items = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (items.length === 0) return [...transfer.files];
  const files = [];
  for (const item of items) await walk(item, "", files);
  return files;
}

async function walk(item, folder, files) {
  if (item.isFile) {
    const file = await new Promise((done, fail) => item.file(done, fail));
    if (folder !== "") {
      if (/^\.|^thumbs\.db$|^desktop\.ini$/i.test(file.name)) return;
      if (!/^image\//.test(file.type) && !/\.(jpe?g|jfif|png|gif|webp|bmp|tiff?|avif|hei[cf])$/i.test(file.name)) return;
      file.path = folder + file.name;
    }
    files.push(file);
    return;
  }
  const reader = item.createReader();
  for (;;) {
    const some = await new Promise((done, fail) => reader.readEntries(done, fail));
    if (some.length === 0) return;
    for (const each of some.sort((a, b) => a.name.localeCompare(b.name))) await walk(each, `${folder}${item.name}/`, files);
  }
}
