// The page: puts its parts together.

import { showAbout } from "./about.js";
import { Answers } from "./answers.js";
import { camera } from "./camera.js";
import { Detail } from "./detail.js";
import { $, announce, el } from "./dom.js";
import { intake } from "./intake.js";
import { basket } from "./marks.js";
import { Sender } from "./sender.js";
import { Service } from "./service.js";
import { Session } from "./session.js";
import { thumbnail } from "./thumbs.js";
import { counted, listed, number } from "./words.js";

const service = new Service(askKey);
const session = new Session();
const sender = new Sender(service, session);
let about = { classes: [], fit: "squash", limits: {} };

const again = (item) => {
  session.change(item, { state: "waiting", problem: null });
  sender.send([item]);
};
$("retry").addEventListener("click", () => session.items.filter((item) => item.kind === "unanswered").forEach(again));
const detail = new Detail({ service, session, about: () => about, again });
const answers = new Answers({ session, sender, about: () => about, detail, again });
answers.open = open;
answers.unsaved = basket(session);
const tell = (text) => notice([text]);
intake(take, tell);
camera(take, tell);

/** Pictures have come: shown at once, asked about in their order. */
function take(files, passedOver = []) {
  const notes = [];
  if (passedOver.length) {
    const some = listed(
      passedOver.slice(0, 3).concat(passedOver.length > 3 ? [`${number(passedOver.length - 3)} more`] : []),
    );
    const what = passedOver.length === 1 ? "is no picture" : "are no pictures";
    notes.push(`${counted(passedOver.length, "file")} of the folder ${what} and not sent: ${some}.`);
  }
  if (files.length) {
    const items = session.add(files);
    for (const item of items) picture(item);
    const tooLarge = sender.send(items);
    for (const item of tooLarge.slice(0, 3)) notes.push(`${item.name} was not sent. ${item.problem}`);
    if (tooLarge.length > 3) notes.push(`${number(tooLarge.length - 3)} more are too large as well.`);
    announce(`${counted(items.length, "picture")} added`);
  }
  notice(notes);
  if (files.length && $("camera").hidden && !$("detail").open) {
    requestAnimationFrame(() => requestAnimationFrame(() => $("answers").scrollIntoView({ block: "nearest" })));
  }
}

async function picture(item) {
  const url = await thumbnail(item.file);
  if (!session.items.includes(item)) {
    if (url) URL.revokeObjectURL(url);
    return;
  }
  item.thumb = url;
  answers.pictured(item);
}

function notice(notes) {
  $("notices").replaceChildren(...notes.map((textContent) => el("p", { textContent })));
}

// The detail of one among many: a dialog through which one walks.

function open(item) {
  $("shown").replaceChildren(detail.element);
  detail.show(item);
  placed();
  if (!$("detail").open) $("detail").showModal();
  $("detail").scrollTop = 0;
  detail.element.querySelector(".answer").focus({ preventScroll: true });
}

function placed() {
  const { shown } = answers;
  const at = shown.indexOf(detail.item);
  $("place").textContent = at < 0 ? "" : `${number(at + 1)} of ${number(shown.length)}`;
  $("previous").disabled = at <= 0;
  $("following").disabled = at < 0 || at === shown.length - 1;
}

function walk(step) {
  const { shown } = answers;
  const next = shown[shown.indexOf(detail.item) + step];
  if (next) open(next);
}

$("previous").addEventListener("click", () => walk(-1));
$("following").addEventListener("click", () => walk(1));
$("close").addEventListener("click", () => $("detail").close());
$("detail").addEventListener("click", (event) => {
  if (event.target === $("detail")) $("detail").close(); // beside it
});
$("detail").addEventListener("keydown", (event) => {
  if (event.target.matches("select, input") || event.altKey || event.ctrlKey || event.metaKey) return;
  if (event.key === "ArrowRight") walk(1);
  else if (event.key === "ArrowLeft") walk(-1);
});
$("detail").addEventListener("close", () => {
  const { item } = detail;
  detail.leave();
  detail.element.remove();
  answers.refresh();
  answers.opener(item)?.focus();
});
session.addEventListener("cleared", () => $("detail").close());

// The key of a server that has one.

function askKey(wrong) {
  const dialog = $("key");
  const input = dialog.querySelector("input");
  $("key-why").textContent = wrong
    ? "That key was not accepted. Look at it again, or ask whoever runs this server."
    : "Whoever runs it can give you one. It is kept until you close this tab.";
  dialog.returnValue = "";
  input.value = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "key" ? input.value.trim() : null), {
      once: true,
    });
  });
}
$("key")
  .querySelector("form")
  .addEventListener("submit", () => {
    $("key").querySelector("[type=submit]").value = "key";
  });
$("key")
  .querySelector("[type=button]")
  .addEventListener("click", () => $("key").close(""));

// The models.

async function begin() {
  $("trouble").hidden = true;
  try {
    const { models } = await service.models();
    const select = $("model");
    select.replaceChildren(...models.map(({ name }) => el("option", { value: name, textContent: name })));
    $("models").hidden = models.length < 2;
    if (!service.model) service.model = models[0].name;
    select.value = service.model;
    await know();
  } catch (error) {
    trouble(error);
  }
}

async function know() {
  about = await service.about();
  sender.limits = { ...sender.limits, ...about.limits };
  showAbout(about);
}

// A model can be replaced while the page is open; its answers then have other classes.
session.addEventListener("changed", ({ detail: item }) => {
  if (item.prediction && !Object.keys(item.prediction.probabilities).every((name) => about.classes.includes(name))) {
    about.classes = Object.keys(item.prediction.probabilities); // asked for once
    know().catch(trouble);
  }
});

function trouble(error) {
  $("trouble").querySelector("p").textContent = error.message;
  $("trouble").hidden = false;
}

$("trouble").querySelector("button").addEventListener("click", begin);
$("model").addEventListener("change", async (event) => {
  service.model = event.target.value;
  try {
    await know();
  } catch (error) {
    trouble(error);
    return;
  }
  sender.stop();
  sender.send(session.again());
});
begin();
