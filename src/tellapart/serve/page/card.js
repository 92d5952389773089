// One picture among many, with its answer.

import { bars } from "./bars.js";
import { el } from "./dom.js";
import { markControl } from "./marks.js";
import { percent, sentence, sureness } from "./words.js";

const FIRST = 3; // classes that a card shows

/** The answer in a few words: what a card and its reader say. */
export function headline(item) {
  if (item.kind === "unanswered") return "No answer";
  if (item.kind === "unreadable") return item.tooLarge ? "Too large" : "Not readable";
  if (item.kind === "waiting") return item.state === "asking" ? "Looking …" : "Waiting …";
  return item.kind === "unknown" ? "Unknown" : item.prediction.label;
}

/** What stands below the headline. */
export function explained(item) {
  if (item.state === "failed") return sentence(item.problem);
  if (item.kind === "unknown") return sentence(item.prediction.reason);
  if (item.kind === "waiting") return "";
  return `${percent(item.prediction.probability)}, ${sureness(item.prediction.probability)}`;
}

export function nearestClass(item) {
  const [name, share] = item.ranked[0];
  return el(
    "p",
    { className: "nearest-class" },
    "Of its classes, ",
    el("bdi", { textContent: name }),
    ` is nearest (${percent(share)}).`,
  );
}

export class Card {
  /**
   * @param {object} parts session, item, classes
   * @param {(item: object) => void} open shows the item in full
   * @param {(item: object) => void} again asks about it once more
   */
  constructor(parts, open, again) {
    Object.assign(this, { ...parts, open, again, mark: null });
    this.element = el("li");
    this.update();
  }

  update() {
    const { item } = this;
    const said = headline(item);
    const more = explained(item);
    this.opener = el("button", {
      type: "button",
      className: "open",
      "aria-label": `${said}${item.kind === "answered" ? `, ${more}` : ""}: ${item.name}`,
      onclick: () => this.open(item),
    });
    this.opener.append(el("bdi", { textContent: said }));
    this.element.className = `card ${item.kind}`;
    this.element.setAttribute("aria-busy", String(item.kind === "waiting"));
    this.frame = el("div", { className: "frame" });
    const says = el("div", { className: "says" });
    says.append(el("h3", {}, this.opener));
    if (item.kind === "answered")
      says.append(el("p", { className: "sure", textContent: sureness(item.prediction.probability) }));
    else if (more) says.append(el("p", { className: "reason", textContent: more }));
    if (item.kind === "unknown") says.append(nearestClass(item));
    if (item.ranked.length) says.append(bars(item, 0, FIRST));
    const name = el("p", { className: "name", title: item.name }, el("bdi", { textContent: item.name }));
    const foot = el("div", { className: "foot" }, name);
    this.mark = null;
    if (item.kind === "unknown" || item.kind === "answered") {
      this.mark = markControl(this.session, item, this.classes());
      foot.append(this.mark.element);
    }
    if (item.kind === "unanswered") {
      says.append(
        el("button", { type: "button", className: "quiet", textContent: "Ask again", onclick: () => this.again(item) }),
      );
    }
    says.append(foot);
    this.element.replaceChildren(this.frame, says);
    this.picture();
    this.marked();
  }

  picture() {
    const { item, frame } = this;
    const image = (className) =>
      el("img", { src: item.thumb, alt: "", draggable: false, decoding: "async", className });
    if (item.thumb) frame.replaceChildren(image("around"), image("whole"));
    else frame.replaceChildren(el("span", { className: "none", textContent: ending(item.name) }));
  }

  marked() {
    this.element.classList.toggle("is-wrong", this.item.right !== null);
    this.mark?.refresh();
  }
}

const ending = (name) => (/\.([a-z0-9]{1,5})$/i.exec(name)?.[1] ?? "file").toUpperCase();
