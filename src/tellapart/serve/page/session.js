// The pictures of this visit, in the order in which they came, and what is known of each.

export class Item {
  constructor(id, file, name) {
    this.id = id;
    this.file = file;
    this.name = name;
    this.state = "waiting"; // → "asking" → "done", or "failed": there is no answer, and `problem` says why
    this.prediction = null;
    this.problem = null; // why there is no answer
    this.again = false; // of one without an answer: whether to ask again could help
    this.tooLarge = false; // for this server
    this.thumb = null; // URL of a small picture; null where there is none (yet)
    this.right = null; // what the user says it is: a label, "" for none of the classes; null where the answer stands
    this.explanations = new Map(); // label, or null for the most probable class → explanation
  }

  get kind() {
    if (this.state === "failed") return this.again ? "unanswered" : "unreadable";
    if (this.state !== "done") return "waiting";
    return this.prediction.unknown ? "unknown" : "answered";
  }

  /** Classes and probabilities, the most probable first. */
  get ranked() {
    return Object.entries(this.prediction?.probabilities ?? {}).sort((a, b) => b[1] - a[1]);
  }
}

/** Tells of `added`, `changed` (detail: the item), `marked` (detail: the item) and `cleared`. */
export class Session extends EventTarget {
  items = [];
  next = 1;

  add(files) {
    const added = files.map(({ file, name }) => new Item(this.next++, file, name));
    this.items.push(...added);
    this.dispatchEvent(new CustomEvent("added", { detail: added }));
    return added;
  }

  change(item, values) {
    Object.assign(item, values);
    this.dispatchEvent(new CustomEvent("changed", { detail: item }));
  }

  mark(item, right) {
    item.right = right;
    this.dispatchEvent(new CustomEvent("marked", { detail: item }));
  }

  clear() {
    for (const item of this.items) if (item.thumb) URL.revokeObjectURL(item.thumb);
    this.items = [];
    this.dispatchEvent(new CustomEvent("cleared"));
  }

  /** All are asked about again, as when the model is another one. */
  again() {
    for (const item of this.items) {
      item.explanations.clear();
      this.change(item, { state: "waiting", prediction: null, problem: null, tooLarge: false });
    }
    return this.items;
  }

  get marked() {
    return this.items.filter((item) => item.right !== null);
  }
}
