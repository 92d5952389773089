// Elements without markup: whatever comes from outside goes in as text.

export const $ = (id) => document.getElementById(id);

/** An element. `props` are its properties (`className`, `onclick` …), or attributes where it has none of the name. */
export function el(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined) continue;
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((each) => each !== null && each !== undefined));
  return element;
}

/** Hands a file to the user under a name. */
export function save(blob, name) {
  const url = URL.createObjectURL(blob);
  el("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

let waiting = "";
let timer = 0;

/** Says something to those who hear the page; what comes within half a second replaces it. */
export function announce(text) {
  waiting = text;
  if (timer) return;
  timer = setTimeout(() => {
    $("live").textContent = waiting;
    timer = 0;
  }, 500);
}
