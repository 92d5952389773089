"""A model card: Markdown with the metadata that Hugging Face's hub reads (https://hf.co/docs/hub/model-cards).

No path stands in it, and no licence: whoever publishes the model knows under which terms its pictures may be used.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tellapart import outputs, results, verdicts
from tellapart.bundle import Bundle
from tellapart.charts import percent
from tellapart.evaluation import Evaluation
from tellapart.files import counted, shown

MOST_CLASSES = 100  # rows of the table; of more the worst
MOST_NAMED = 20  # classes in a sentence
NO_LICENCE = "# license: set one of https://hf.co/docs/hub/repositories-licenses that the pictures allow"


def save(
    evaluation: Evaluation,
    bundle: Bundle,
    path: str | os.PathLike[str],
    *,
    facts: Mapping[str, Any],
    force: bool = False,
) -> None:
    """Write the card. Raises OutputError as `outputs.atomic` does."""
    outputs.write_text(path, card(evaluation, bundle, facts=facts), force=force)


def card(evaluation: Evaluation, bundle: Bundle, *, facts: Mapping[str, Any]) -> str:
    """The card as text.

    Args:
        evaluation: on pictures that the model was not trained on; where some were, they are left out of the numbers.
        bundle: the model.
        facts: as `reportpage.page` takes them; of these `name` is used.
    """
    name = str(facts.get("name") or "model.tellapart")
    judged = verdicts.judged(evaluation)
    parts = ["---", *_metadata(judged, name), "---", "", f"# {_plain(os.path.splitext(name)[0])}", ""]
    for title, lines in (
        ("", _what(judged, bundle)),
        ("Intended use and limits", _limits(judged, bundle)),
        ("Training data", _data(bundle)),
        ("Evaluation", _evaluation(judged)),
        ("Each class", _classes(judged)),
        ("Calibration", [f"- {_plain(each)}" for each in verdicts.certainty(judged)]),
        ("How to use it", _use(name, bundle)),
        ("How to get the same again", _again(bundle, name)),
    ):
        parts += [f"## {title}", ""] if title else []
        parts += [*lines, ""]
    return "\n".join(parts)


def _metadata(judged: Evaluation, name: str) -> Iterator[str]:
    """The front matter as lines of YAML 1.2; every text from outside is a double-quoted scalar."""
    low, high = judged.accuracy_interval
    values = (
        ("accuracy", f"Accuracy (95 % sure: {low:.4f} to {high:.4f})", judged.accuracy),
        ("balanced_accuracy", "Balanced accuracy", judged.balanced_accuracy),
        ("log_loss", "Log-loss", judged.log_loss),
        ("expected_calibration_error", "Calibration error (ECE, 15 bins)", judged.expected_calibration_error),
    )
    yield NO_LICENCE
    yield "library_name: keras"
    yield "pipeline_tag: image-classification"
    yield "tags:"
    yield from (f"- {tag}" for tag in ("image-classification", "keras", "onnx", "tellapart"))
    yield "metrics:"
    yield "- accuracy"
    yield "model-index:"
    yield f"- name: {_quoted(os.path.splitext(name)[0])}"
    yield "  results:"
    yield "  - task:"
    yield "      type: image-classification"
    yield "      name: Image Classification"
    yield "    dataset:"
    yield "      type: imagefolder"
    yield f"      name: {_quoted(_pictures(judged.classes))}"
    yield f"      split: {_quoted(judged.split or 'test')}"
    yield "    metrics:"
    for kind, title, value in values:
        yield f"    - type: {kind}"
        yield f"      name: {_quoted(title)}"
        yield f"      value: {round(value, 6)!r}"


def _what(judged: Evaluation, bundle: Bundle) -> Iterator[str]:
    made = bundle.manifest["provenance"]
    verdict = verdicts.verdict(judged)
    backbone = made["recipe"].get("backbone")
    how = f"a classifier on what a pretrained {backbone} sees" if backbone else "a network trained from scratch"
    side = bundle.manifest["preprocess"]["size_px"]
    yield f"**{_plain(verdicts.headline(judged))}** {_plain(verdict.title)}. {_plain(verdict.says)}"
    yield ""
    yield (
        f"It tells apart {_listed(bundle.classes)}: {_plain(how)}, on squares of {side} × {side} px, made by "
        "[tellapart](https://github.com/tellapart/tellapart)."
    )


def _limits(judged: Evaluation, bundle: Bundle) -> Iterator[str]:
    yield (
        f"- It knows {counted(len(bundle.classes), 'class')}"
        if len(bundle.classes) == 1
        else (f"- It knows {len(bundle.classes):,} classes and no others: {_listed(bundle.classes)}.")
    )
    yield "- The figures hold for pictures like those of the test: other cameras, places or seasons can be harder."
    if bundle.manifest["abstention"]:
        yield "- It can decline to answer: such a picture is “unknown”, with the reason."
        if judged.declined:
            yield f"- It declined {percent(1 - judged.coverage)} of the test pictures."
    else:
        yield "- It answers every picture, a picture of none of its classes too."
    yield from (f"- {_plain(each)}" for each in judged.warnings)
    every = verdicts.pairs(judged)
    if every and every[0].n > 1:
        right, answer = (_plain(shown(judged.classes[i])) for i in (every[0].right, every[0].answer))
        yield f"- Most often it takes {right} for {answer}: {every[0].n:,} of {counted(every[0].of, 'picture')}."
    worst = judged.worst_slice
    if worst is not None and worst.worse:
        where = f"{_plain(worst.by)} is {_plain(worst.name)}"
        yield f"- It is worse where {where}: {percent(worst.accuracy)} of {counted(worst.n, 'picture')}."


def _data(bundle: Bundle) -> Iterator[str]:
    sides = bundle.manifest["training"]["pictures"]
    names = {"train": "to learn from", "validation": "to choose settings by", "test": "to test on"}
    said = ", ".join(f"{n:,} {names.get(side, side)}" for side, n in sides.items() if n)
    yield f"- Pictures: {_plain(said)}."
    if unused := bundle.manifest["training"].get("unused"):
        yield f"- {unused:,} more were not needed."
    yield f"- Fingerprint of names, classes and contents: `{bundle.manifest['provenance']['catalog_fingerprint']}`"


def _evaluation(judged: Evaluation) -> Iterator[str]:
    split = f" of the {judged.split} split" if judged.split not in (None, "all") else ""
    new = "it was trained on" if judged.n_trained_on else "it was not trained on"
    yield f"On {counted(judged.n, 'picture')}{_plain(split)} that {new}; ranges are 95 % intervals."
    yield ""
    yield from _table(("", "value", "95 % sure"), results.numbers(judged))


def _classes(judged: Evaluation) -> Iterator[str]:
    rows = sorted(judged.per_class.items(), key=lambda item: 2 if item[1].f1 is None else item[1].f1)
    some = list(judged.per_class.items()) if len(rows) <= MOST_CLASSES else rows[:MOST_CLASSES]
    if len(rows) > MOST_CLASSES:
        yield f"The worst {MOST_CLASSES} of {len(rows):,}."
        yield ""
    yield from _table(
        ("class", "pictures", "found (recall)", "right when answered (precision)", "F1"),
        [
            (
                shown(name),
                f"{one.support:,}",
                _ranged(one.recall, one.recall_interval),
                _ranged(one.precision, one.precision_interval),
                _ranged(one.f1, None),
            )
            for name, one in some
        ],
    )


def _use(name: str, bundle: Bundle) -> Iterator[str]:
    file = _file(name)
    yield "```"
    yield "pip install tellapart"
    yield f"tellapart predict {file} PICTURES"
    yield "```"
    yield ""
    yield "```python"
    yield "import tellapart"
    yield ""
    yield f'tellapart.load("{file}").predict("picture.jpg")'
    yield "```"
    yield ""
    yield (
        f"The file is a zip: `model.onnx` takes uint8 pixels (B, S, S, 3), 0–255, RGB, "
        f"S = {bundle.manifest['preprocess']['size_px']}; `model.keras` loads in plain Keras; `manifest.json` has the "
        f"classes in order."
    )


def _again(bundle: Bundle, name: str) -> Iterator[str]:
    if command := results.command(bundle, _file(name)):
        yield from ("```", command, "```", "")
    yield from _table(("", ""), results.recipe(bundle))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(map(_plain, row))} |"


def _ranged(share: float | None, span: tuple[float, float] | None) -> str:
    if share is None:
        return "–"
    return percent(share) if span is None else f"{percent(share)} ({percent(span[0])} to {percent(span[1])})"


def _pictures(classes: Sequence[str]) -> str:
    return (
        "Pictures of "
        + ", ".join(map(shown, classes[:MOST_NAMED]))
        + (" and more" if len(classes) > MOST_NAMED else "")
    )


def _listed(classes: Sequence[str]) -> str:
    more = f" and {len(classes) - MOST_NAMED:,} more" if len(classes) > MOST_NAMED else ""
    return ", ".join(_plain(shown(name)) for name in classes[:MOST_NAMED]) + more


def _file(name: str) -> str:
    """A file's name that needs no quotes."""
    return re.sub(r"[^\w.-]", "_", name)


def _plain(text: str) -> str:
    """Text that Markdown shows as it is: one line, no markup of its own, no HTML."""
    line = re.sub(r"([\\`*_{}\[\]#|~$])", r"\\\1", shown(text))
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _quoted(text: str) -> str:
    """Text as a double-quoted scalar of YAML 1.2, of which JSON's strings are some; printable, so no surrogates."""
    return json.dumps(shown(text), ensure_ascii=False)
