// What the model is, in words.

import { made } from "./cards.js";

const at = (id) => document.getElementById(id);

// Puts into the page what tellapart.json says of the model.
export function introduce(about) {
  const title = about.classes.length === 2 ? `${about.classes[0]} or ${about.classes[1]}?` : "What is it?";
  document.title = title[0].toUpperCase() + title.slice(1);
  at("title").replaceChildren(
    ...(about.classes.length === 2
      ? [made("bdi", { text: about.classes[0] }), " or ", made("bdi", { text: about.classes[1] }), "?"]
      : [title]),
  );
  at("classes").replaceChildren(...listed(about.classes), right(about.provenance.accuracy.test));
  at("facts").replaceChildren(
    ...facts(about).flatMap(([term, text]) => [made("dt", { text: term }), made("dd", { text })]),
  );
  at("about").hidden = false;
}

function right(tested) {
  if (!tested?.pictures) return "";
  const n = Math.round(tested.accuracy * tested.pictures);
  return ` It was right for ${n.toLocaleString("en")} of ${tested.pictures.toLocaleString("en")} test pictures.`;
}

function facts({ classes, preprocess, provenance, quantized, guards, model }) {
  const rows = [];
  const { test, validation } = provenance.accuracy;
  const tested = test ?? validation;
  if (tested) {
    const of = test ? "test pictures" : "pictures that it did not learn from";
    const n = tested.pictures ? `${tested.pictures.toLocaleString("en")} ${of}` : of;
    const [low, high] = tested.interval.map(one);
    rows.push(["Right", `${one(tested.accuracy)} % of ${n} (95 % interval ${low} to ${high} %)`]);
  }
  if (quantized) {
    rows.push(["Made smaller", `8 bits; on ${quantized.judged_on} pictures ${one(quantized.accuracy_after)} % right, before ${one(quantized.accuracy_before)} %`]);
  }
  if (guards.strangeness !== null) rows.push(["Unknown", "pictures unlike those that it knows are refused"]);
  if (guards.confidence > 0) rows.push(["Least probability", `${one(guards.confidence)} %, below it the answer is “unknown”`]);
  rows.push(["Classes", classes.length.toLocaleString("en")]);
  rows.push(["Sees", `${preprocess.size_px} × ${preprocess.size_px} px${preprocess.fit === "crop" ? ", the middle of the picture" : ""}`]);
  rows.push(["Size", `${megabytes(model.files[model.graph].bytes)} MB`]);
  rows.push(["Trained", provenance.created.slice(0, 10)]);
  return rows;
}

const one = (share) => (100 * share).toFixed(1);

// "Tells cats, dogs and 3 more apart", each name in a direction of its own.
function listed(classes) {
  const most = classes.length <= 12 ? classes.length : 10;
  const parts = ["Tells "];
  classes.slice(0, most).forEach((label, i) => {
    if (i > 0) parts.push(i === classes.length - 1 ? " and " : ", ");
    parts.push(made("bdi", { class: "kind", text: label }));
  });
  if (most < classes.length) parts.push(` and ${classes.length - most} more`);
  return [...parts, " apart."];
}

export const megabytes = (bytes) => (bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0);
