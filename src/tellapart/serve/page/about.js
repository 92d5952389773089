// What the model is and how far it can be believed.

import { $, el } from "./dom.js";
import { counted, day, listed, number } from "./words.js";

const FEW = 5; // classes that are all named at the top
const SOME = 12; // classes that are named at first

const whole = (share) => `${(100 * share).toFixed(1).replace(/\.0$/, "")} %`;

export function showAbout(about) {
  const { classes } = about;
  document.title = `${about.name} · tellapart`;
  const few = classes.length <= FEW;
  const names = classes.slice(0, few ? FEW : 3).map((name) => el("b", {}, el("bdi", { textContent: name })));
  const last = classes.length === 2 ? " from " : few ? " and " : ", ";
  const parts = names.flatMap((name, i) => (i === 0 ? [name] : [i === names.length - 1 ? last : ", ", name]));
  const more = few ? (classes.length > 2 ? " apart" : "") : ` and ${counted(classes.length - 3, "other kind")}`;
  const test = tested(about.metrics);
  const right = test ? ` It was right for ${score(test)} that it had not learned from.` : "";
  $("tells").replaceChildren(few ? "It tells " : "It knows ", ...parts, more, `.${right}`);

  const rows = [
    ["Name", about.name],
    [counted(classes.length, "class", "classes"), classList(classes)],
    ["How often it is right", accuracy(about.metrics)],
    ["When it says unknown", unknown(about.abstention)],
    ["Trained", about.created && day(about.created)],
    [
      "Looks at",
      `${about.size_px} × ${about.size_px} px, the ${about.fit === "crop" ? "middle of a" : "whole"} picture`,
    ],
  ];
  $("about").hidden = false;
  $("about")
    .querySelector("dl")
    .replaceChildren(
      ...rows
        .filter(([, what]) => what)
        .map(([term, what]) => el("div", {}, el("dt", { textContent: term }), el("dd", {}, what))),
    );
}

function classList(classes) {
  const text = (some) => listed(some.map((name) => `\u2068${name}\u2069`)); // isolated: names of any direction
  if (classes.length <= SOME) return text(classes);
  const rest = el("details", {}, el("summary", { textContent: `${classes.slice(0, SOME).join(", ")} …` }));
  rest.append(el("p", { textContent: text(classes.slice(SOME)) }));
  return rest;
}

/** How it did on pictures that it had not learned from; null where there are none. */
function tested(metrics) {
  return metrics?.n && metrics.split !== "train" ? metrics : null;
}

const score = (test) => `${number(Math.round(test.accuracy * test.n))} of ${counted(test.n, "picture")}`;

function accuracy(metrics) {
  const test = tested(metrics);
  if (!test) return "It was not tested on pictures that it had not learned from. Try it on yours.";
  const [low, high] = test.accuracy_interval;
  return (
    `It was right for ${score(test)} that it had not learned from. ` +
    `For pictures like those, expect it to be right between ${whole(low)} and ${whole(high)} of the time.`
  );
}

function unknown(abstention) {
  const parts = [];
  if (abstention?.strangeness != null)
    parts.push(`a picture is stranger than ${whole(abstention.keep)} of its own kinds`);
  if (abstention?.confidence > 0) parts.push(`its first class is less probable than ${whole(abstention.confidence)}`);
  return parts.length ? `Where ${parts.join(", or where ")}.` : "Never: it always names one of its classes.";
}
