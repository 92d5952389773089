// All answers: the summary, what is shown of them and in which order, one alone or many as cards.

import { Card, explained, headline } from "./card.js";
import { $, announce, el, save } from "./dom.js";
import { answers as csv } from "./csv.js";
import { counted, listed, number } from "./words.js";

const PAGE = 60; // cards that are shown at first, and more at a time
const NAMED = 6; // classes that the summary names

const KINDS = [
  ["all", "All", () => true],
  ["unknown", "Unknown", (item) => item.kind === "unknown"],
  ["wrong", "Marked wrong", (item) => item.right !== null],
  ["unreadable", "Not readable", (item) => item.kind === "unreadable"],
  ["unanswered", "No answer", (item) => item.kind === "unanswered"],
];
const certainty = (item) => item.prediction?.probability ?? -1;
const ORDERS = {
  sent: (a, b) => a.id - b.id,
  unsure: (a, b) => (certainty(a) < 0) - (certainty(b) < 0) || certainty(a) - certainty(b) || a.id - b.id,
  sure: (a, b) => certainty(b) - certainty(a) || a.id - b.id,
};

export class Answers {
  /** @param {object} parts session, sender, about: () => object, detail, again: (item) => void */
  constructor(parts) {
    Object.assign(this, { ...parts, cards: new Map(), shownKind: "all", label: "", most: PAGE, order: [], due: false });
    const { session, sender } = this;
    session.addEventListener("added", () => this.refresh());
    session.addEventListener("changed", ({ detail }) => this.#changed(detail));
    session.addEventListener("marked", ({ detail }) => this.#marked(detail));
    session.addEventListener("cleared", () => this.#cleared());
    sender.addEventListener("progress", ({ detail }) => this.#progress(detail));
    sender.addEventListener("idle", () => this.#idle());
    $("order").addEventListener("change", () => this.#chosen());
    $("by-class").addEventListener("change", () => {
      this.label = $("by-class").value;
      this.#chosen();
    });
    $("more").addEventListener("click", () => this.#more());
    $("save-all").addEventListener("click", () => save(csv(session.items, this.about().classes), "answers.csv"));
    $("clear").addEventListener("click", () => this.#clear());
    $("progress")
      .querySelector("button")
      .addEventListener("click", () => sender.stop());
    $("list").addEventListener("keydown", (event) => this.#walked(event));
    this.#filters();
  }

  /** The items that are shown, in their order: what the detail walks through. */
  get shown() {
    return this.order;
  }

  opener(item) {
    return this.cards.get(item)?.opener;
  }

  /** Everything anew, soon: many changes at once cost as much as one. */
  refresh() {
    if (this.due) return;
    this.due = true;
    requestAnimationFrame(() => {
      this.due = false;
      this.#refresh();
    });
  }

  #filters() {
    this.buttons = KINDS.map(([kind, name]) => {
      const button = el(
        "button",
        { type: "button", className: "chip", "aria-pressed": String(kind === "all") },
        `${name} `,
        el("span"),
      );
      button.addEventListener("click", () => {
        this.shownKind = kind;
        this.#chosen();
      });
      return button;
    });
    $("filters").append(...this.buttons);
  }

  #chosen() {
    this.most = PAGE;
    this.#refresh();
    announce(`${counted(this.order.length, "picture")} shown`);
  }

  #refresh() {
    const { items } = this.session;
    $("answers").hidden = items.length === 0;
    document.body.classList.toggle("has-answers", items.length > 0);
    if (!items.length) return;
    this.#summary();
    const single = items.length === 1;
    $("tools").hidden = single;
    $("single").hidden = !single;
    $("list").hidden = single;
    const fits = KINDS.find(([kind]) => kind === this.shownKind)[2];
    const ofClass = (item) => !this.label || (item.kind === "answered" && item.prediction.label === this.label);
    this.order = items.filter((item) => fits(item) && ofClass(item)).sort(ORDERS[$("order").value]);
    if (single) this.#single(items[0]);
    else this.#list();
  }

  #single(item) {
    this.order = [item];
    $("empty").hidden = $("more").hidden = true;
    $("list").replaceChildren();
    if (this.detail.item !== item || this.detail.element.parentElement !== $("single")) {
      $("single").replaceChildren(this.detail.element);
      this.detail.show(item);
    }
  }

  #list() {
    if (this.detail.element.parentElement === $("single")) {
      this.detail.leave();
      this.detail.element.remove();
    }
    const nodes = this.order.slice(0, this.most).map((item) => this.#card(item).element);
    const there = $("list").children;
    if (nodes.length !== there.length || nodes.some((node, i) => node !== there[i])) {
      const focused = document.activeElement;
      $("list").replaceChildren(...nodes);
      if (focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
    }
    $("empty").hidden = nodes.length > 0;
    const left = this.order.length - nodes.length;
    $("more").hidden = left === 0;
    $("more").textContent = `Show ${number(Math.min(left, PAGE))} more of ${number(left)}`;
  }

  #card(item) {
    if (!this.cards.has(item)) {
      const parts = { session: this.session, item, classes: () => this.about().classes };
      this.cards.set(
        item,
        new Card(
          parts,
          (one) => this.open(one),
          (one) => this.again(one),
        ),
      );
    }
    return this.cards.get(item);
  }

  #changed(item) {
    const card = this.cards.get(item);
    if (card) {
      const focused = card.opener === document.activeElement;
      card.update();
      if (focused) card.opener.focus({ preventScroll: true });
    }
    if (this.detail.item === item && item.state !== "asking") this.detail.show(item);
    this.refresh();
  }

  #marked(item) {
    this.cards.get(item)?.marked();
    if (this.detail.item === item) this.detail.marked();
    this.#summary();
  }

  /** A small picture is there. */
  pictured(item) {
    this.cards.get(item)?.picture();
  }

  /** Marks that are not saved are not lost by one press. */
  #clear() {
    const button = $("clear");
    if (this.unsaved() && button.textContent === "Clear") {
      button.textContent = "Clear, marks too?";
      setTimeout(() => (button.textContent = "Clear"), 6000);
      return;
    }
    button.textContent = "Clear";
    this.sender.stop();
    this.session.clear();
    $("choose").focus();
  }

  #cleared() {
    this.cards.clear();
    this.detail.leave();
    this.detail.element.remove();
    this.order = [];
    this.shownKind = "all";
    this.label = "";
    this.#refresh();
  }

  #summary() {
    const { items } = this.session;
    const counts = new Map();
    for (const { kind, prediction } of items)
      if (kind === "answered") counts.set(prediction.label, (counts.get(prediction.label) ?? 0) + 1);
    const classes = [...counts].sort((a, b) => b[1] - a[1]);
    const words = classes.slice(0, NAMED).map(([name, n]) => `${number(n)} × ${name}`);
    const rest = classes.slice(NAMED).reduce((sum, [, n]) => sum + n, 0);
    if (rest) words.push(`${number(rest)} of ${counted(classes.length - NAMED, "other class", "other classes")}`);
    const n = Object.fromEntries(KINDS.map(([kind, , fits]) => [kind, items.filter(fits).length]));
    if (n.unknown) words.push(`${number(n.unknown)} unknown`);
    if (n.unreadable) words.push(`${number(n.unreadable)} not readable`);
    if (n.unanswered) words.push(`${number(n.unanswered)} without an answer`);
    $("retry").hidden = n.unanswered === 0;
    const waiting = items.filter((item) => item.kind === "waiting").length;
    $("summary").textContent = counted(items.length, "picture");
    $("breakdown").textContent =
      words.length && items.length > 1 ? `${listed(words)}${waiting ? `; ${number(waiting)} to go` : ""}` : "";
    KINDS.forEach(([kind], i) => {
      this.buttons[i].lastChild.textContent = number(n[kind]);
      this.buttons[i].setAttribute("aria-pressed", String(kind === this.shownKind));
      this.buttons[i].hidden = n[kind] === 0 && kind !== this.shownKind;
    });
    this.#classes(classes);
  }

  #classes(classes) {
    const select = $("by-class");
    if (this.label && !classes.some(([name]) => name === this.label)) this.label = "";
    select.parentElement.hidden = classes.length < 2;
    if (select === document.activeElement) return; // it may stand open
    select.replaceChildren(
      el("option", { value: "", textContent: "All" }),
      ...classes.map(([name, n]) => el("option", { value: name, textContent: `${name} (${number(n)})` })),
    );
    select.value = this.label;
  }

  #more() {
    const first = this.order[this.most];
    this.most += PAGE;
    this.#refresh();
    this.opener(first)?.focus();
  }

  #progress({ done, total, waitS }) {
    const bar = $("progress");
    bar.hidden = total < 2 && !waitS;
    bar.querySelector("progress").value = total ? done / total : 1;
    const busy = waitS ? ` The server is busy; trying again in ${counted(Math.ceil(waitS), "second")}.` : "";
    bar.querySelector("span").textContent = `${number(done)} of ${number(total)} answered.${busy}`;
    if (waitS) announce(busy.trim());
    else if (total > 20 && done && done % 20 === 0) announce(`${number(done)} of ${number(total)} answered`);
  }

  #idle() {
    $("progress").hidden = true;
    const { items } = this.session;
    if (!items.length) return;
    this.#summary();
    const [one] = items;
    if (items.length === 1) announce(`${one.name}: ${headline(one)}. ${explained(one)}`);
    else announce(`${$("summary").textContent}: ${$("breakdown").textContent}`);
  }

  /** Arrows go from picture to picture. */
  #walked(event) {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const cards = [...$("list").querySelectorAll("button.open")];
    const at = cards.indexOf(event.target);
    if (at < 0 || event.altKey || event.ctrlKey || event.metaKey) return;
    const wanted = { Home: cards[0], End: cards.at(-1) }[event.key] ?? (step && cards[at + step]);
    if (!wanted) return;
    event.preventDefault();
    wanted.focus();
  }
}
