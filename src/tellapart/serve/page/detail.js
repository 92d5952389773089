// One picture in full: where the model looked, all classes, the nearest training pictures.

import { bars } from "./bars.js";
import { explained, headline, nearestClass } from "./card.js";
import { announce, el, save } from "./dom.js";
import { heatCanvas } from "./heat.js";
import { markControl } from "./marks.js";
import { nearest, usual } from "./resembling.js";
import { percent } from "./words.js";

const FIRST = 5; // classes that are shown at first
const PATIENCE = 20; // times that a busy server is asked again

export class Detail {
  /** @param {object} parts service, session, about: () => what /v1/model says, again: (item) => void */
  constructor(parts) {
    Object.assign(this, { ...parts, item: null, heat: true, strength: 100, mark: null });
    this.abort = new AbortController();
    this.element = el("article", { className: "look" });
  }

  /** Show an item; `label` is the class to explain, null for the most probable one. */
  show(item, label = null) {
    this.#fresh();
    const same = this.item === item && this.image.isConnected;
    if (!same) {
      this.leave();
      this.item = item;
      this.stage = el("div", { className: "stage" });
      this.#stage();
    }
    this.label = label;
    this.head = el("div", { className: "head" });
    this.facts = el("div", { className: "facts" });
    this.element.className = `look ${item.kind}`;
    this.element.replaceChildren(this.head, this.stage, this.facts);
    this.lens.replaceChildren();
    this.frame.querySelector("canvas")?.remove();
    this.frame.classList.remove("hot");
    this.#facts();
    if (item.prediction) this.#explain();
  }

  leave() {
    this.#fresh();
    if (this.url) URL.revokeObjectURL(this.url);
    this.url = null;
    this.item = null;
  }

  /** What is under way is not waited for any more. */
  #fresh() {
    this.abort.abort();
    this.abort = new AbortController();
  }

  marked() {
    this.mark?.refresh();
  }

  #stage() {
    const { item } = this;
    this.url = URL.createObjectURL(item.file);
    this.frame = el("div", { className: "frame" });
    this.image = el("img", { alt: item.name, draggable: false });
    this.image.addEventListener("load", () => this.#sized());
    this.image.addEventListener("error", () => this.#unseen());
    this.image.src = this.url;
    this.frame.append(this.image);
    this.stage.append(el("div", { className: "mat" }, this.frame));
    this.lens = el("div", { className: "lens" });
    this.stage.append(this.lens);
  }

  /** The frame takes the picture's shape; a picture of few pixels keeps them square. */
  #sized() {
    const { naturalWidth: width, naturalHeight: height } = this.image;
    this.image.classList.toggle("tiny", Math.max(width, height) < 64);
    this.frame.style.aspectRatio = `${width} / ${height}`;
    this.frame.style.setProperty("--ratio", String(width / height));
    this.frame.classList.add("sized");
  }

  /** The browser cannot show the file itself: what the server made of it is shown, as soon as it is there. */
  #unseen() {
    const made = this.item?.explanations.get(this.label)?.picture;
    if (made && this.image.src !== made) {
      this.image.src = made;
      return;
    }
    if (!made) this.image.remove();
    if (!made && this.item?.state === "failed") {
      this.frame.classList.add("bare");
      this.frame.replaceChildren(el("p", { textContent: "No picture to show." }));
    }
  }

  #facts() {
    const { item, head: top, facts } = this;
    const name = el("p", { className: "name", id: "detail-name" }, el("bdi", { textContent: item.name }));
    const head = el("h3", { className: "answer", tabIndex: -1 }, el("bdi", { textContent: headline(item) }));
    top.append(name, head);
    const more = explained(item);
    if (more) top.append(el("p", { className: item.kind === "answered" ? "sure" : "reason", textContent: more }));
    if (item.kind === "unknown") top.append(nearestClass(item));
    this.mark = null;
    if (!item.prediction) {
      if (item.kind === "unanswered")
        facts.append(
          el(
            "p",
            {},
            this.#button("Ask again", () => this.again(item), ""),
          ),
        );
      return;
    }
    facts.append(bars(item, 0, FIRST));
    if (item.ranked.length > FIRST) {
      const rest = el("details", { className: "rest" });
      rest.append(el("summary", { textContent: `All ${item.ranked.length} classes` }));
      rest.addEventListener("toggle", () => rest.childElementCount === 1 && rest.append(bars(item, FIRST)));
      facts.append(rest);
    }
    this.mark = markControl(this.session, item, this.about().classes);
    facts.append(this.mark.element);
    const strange = item.prediction.strangeness;
    if (strange !== null) facts.append(usual(strange));
    this.near = el("div", { className: "near" });
    facts.append(this.near, this.#actions());
  }

  #actions() {
    const { item } = this;
    const json = () => JSON.stringify(item.prediction, null, 2);
    const copy = this.#button("Copy as JSON", async () => {
      await navigator.clipboard.writeText(json());
      copy.textContent = "Copied";
      announce("Copied");
    });
    copy.hidden = !navigator.clipboard; // there is none on an address without https
    const named = item.name.split("/").at(-1);
    return el(
      "div",
      { className: "actions" },
      copy,
      this.#button("Save as JSON", () => save(new Blob([json()], { type: "application/json" }), `${named}.json`)),
      this.#button("Save picture", () => save(item.file, named)),
    );
  }

  #button(textContent, onclick, className = "link") {
    return el("button", { type: "button", className, textContent, onclick });
  }

  async #explain() {
    const { item, label } = this;
    const { signal } = this.abort;
    if (!this.lens.querySelector("select")) {
      this.lens.replaceChildren(el("p", { className: "busy", textContent: "Finding out where it looked …" }));
    }
    this.frame.classList.add("busy");
    try {
      if (!item.explanations.has(label)) item.explanations.set(label, await this.#asked(item, label, signal));
    } catch (error) {
      if (signal.aborted) return;
      const again = this.#button("Try again", () => this.#explain());
      this.lens.replaceChildren(el("p", { className: "reason", textContent: error.message }), again);
      this.frame.classList.remove("busy");
      return;
    }
    if (signal.aborted) return;
    this.frame.classList.remove("busy");
    this.#explained(item.explanations.get(label));
  }

  async #asked(item, label, signal) {
    for (let turn = 0; ; turn++) {
      try {
        return await this.service.explain(item, label, signal);
      } catch (error) {
        if (!error.busy || turn === PATIENCE) throw error;
        await new Promise((resolve) => setTimeout(resolve, 1000 * error.waitS));
        if (signal.aborted) throw error;
      }
    }
  }

  #explained(one) {
    if (one.error) {
      this.lens.replaceChildren(el("p", { className: "reason", textContent: one.error }));
      return;
    }
    if (!this.image.isConnected) {
      this.frame.prepend(this.image);
      this.image.src = one.picture;
    }
    const map = one.heat_map;
    const whole = this.about().fit !== "crop";
    this.frame.querySelector("canvas")?.remove();
    const put = () => {
      const ratio = this.image.naturalWidth / this.image.naturalHeight || 1;
      const canvas = heatCanvas(map, whole ? ratio : 1);
      canvas.className = whole ? "heat" : "heat middle";
      canvas.setAttribute("aria-hidden", "true");
      this.frame.append(canvas);
      this.#show();
    };
    this.#lens(one);
    if (this.image.complete && this.image.naturalWidth) put();
    else this.image.addEventListener("load", put, { once: true });
    this.near.replaceChildren(...nearest(one.nearest ?? []));
    if (!whole)
      this.lens.append(
        el("p", { className: "note", textContent: "It looks at the middle of a picture, as a square." }),
      );
    if (map.values.flat().every((level) => level === 0)) {
      this.lens.append(
        el("p", { className: "note", textContent: "No part of the picture speaks for this class by itself." }),
      );
    }
  }

  #lens(one) {
    const toggle = el("input", { type: "checkbox", checked: this.heat, role: "switch" });
    toggle.addEventListener("change", () => {
      this.heat = toggle.checked;
      this.#show();
    });
    this.slider = el("input", {
      type: "range",
      min: "10",
      max: "100",
      value: String(this.strength),
      "aria-label": "How strong",
    });
    this.slider.addEventListener("input", () => {
      this.strength = Number(this.slider.value);
      this.#show();
    });
    const choice = el("select", { "aria-label": "Class whose traces are shown" });
    for (const [name, share] of this.item.ranked) {
      choice.append(
        el("option", { value: name, textContent: `${name} (${percent(share)})`, selected: name === one.label }),
      );
    }
    choice.addEventListener("change", () => {
      this.label = choice.value;
      this.#fresh();
      this.#explain();
    });
    const legend = el("label", { className: "speaks" }, "Bright parts speak for", choice);
    const chosen = this.lens.contains(document.activeElement) && document.activeElement.matches("select");
    this.lens.replaceChildren(el("label", { className: "switch" }, toggle, "Where it looked"), this.slider, legend);
    if (!chosen) return;
    choice.focus();
    announce(`Shown: what speaks for ${one.label}`);
  }

  #show() {
    const canvas = this.frame.querySelector("canvas");
    if (canvas) canvas.style.opacity = this.heat ? String(this.strength / 100) : "0";
    this.frame.classList.toggle("hot", this.heat && canvas !== null);
    this.frame.style.setProperty("--grey", this.heat ? String(this.strength / 100) : "0");
    this.slider.disabled = !this.heat;
  }
}
