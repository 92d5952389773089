"""Results as rows of a name and a text: numbers with their intervals, speed and size, how to make the same again."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from typing import Any

from tellapart.bundle import Bundle
from tellapart.charts import percent
from tellapart.evaluation import Evaluation


def numbers(one: Evaluation) -> list[tuple[str, str, str]]:
    """The numbers of a test: name, value, interval."""
    spans = one.intervals
    low, high = one.accuracy_interval
    found = [
        ("Accuracy", percent(one.accuracy), f"{percent(low)} to {percent(high)}"),
        ("Baseline", percent(one.baseline_accuracy), "always the commonest class"),
    ]

    def add(name: str, key: str, value: float | None, write: Callable[[float], str]) -> None:
        if value is not None:
            span = spans.get(key)
            found.append((name, write(value), "" if span is None else f"{write(span[0])} to {write(span[1])}"))

    add("Balanced accuracy", "balanced_accuracy", one.balanced_accuracy, percent)
    for k, share in one.top_k.items():
        if k > 1:
            add(f"Right class among the first {k}", f"top_{k}", share, percent)
    add("ROC-AUC", "roc_auc", one.roc_auc, _three)
    add("Log-loss", "log_loss", one.log_loss, _three)
    add("Brier score", "brier_score", one.brier_score, _three)
    add("Calibration error (ECE)", "expected_calibration_error", one.expected_calibration_error, _three)
    if one.declined:
        add("Answered (coverage)", "coverage", one.coverage, percent)
        add("Right when answered", "accuracy_when_answered", one.accuracy_when_answered, percent)
    return found


def costs(bundle: Bundle, facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Speed and size."""
    sizes = bundle.manifest["members"]
    found = []
    if seconds := facts.get("seconds_per_picture"):
        found.append(("One picture, from file to answer", f"{1000 * seconds:.0f} ms"))
    if rate := facts.get("pictures_per_second"):
        found.append(("Many, from their files", f"{rate:,.0f} a second" if rate >= 1 else f"{1 / rate:.1f} s each"))
    if facts.get("machine"):
        found.append(("Measured on", str(facts["machine"])))
    if facts.get("bundle_bytes"):
        found.append(("The model's file", _bytes(facts["bundle_bytes"])))
    found.append(("Of that the graph that answers", _bytes(sizes["model.onnx"]["bytes"])))
    side = bundle.manifest["preprocess"]["size_px"]
    found.append(("It sees", f"squares of {side} × {side} px"))
    seconds = (facts.get("report") or {}).get("times", {}).get("total")
    if isinstance(seconds, (int, float)):
        found.append(("Trained in", f"{seconds:.0f} s"))
    return found


def guards(bundle: Bundle) -> list[tuple[str, str]]:
    """When the bundle does not answer, by its own guards (see `guards.Guards.as_dict`)."""
    held = bundle.manifest["abstention"]
    words = (
        ("sure", "Asked for: right when it answers", percent),
        ("answer", "Asked for: pictures answered", percent),
        ("confidence", "It answers from", lambda share: f"{percent(share)} sure"),
        ("keep", "Of its own kind of pictures never strange", percent),
        ("held_out", "Set on held-out pictures", lambda n: f"{n:,.0f}"),
    )
    return [
        (name, write(held[key]))
        for key, name, write in words
        if isinstance(held.get(key), (int, float)) and held[key] > 0
    ]


def command(bundle: Bundle, name: str) -> str:
    """What trains the same from the same pictures; "" for a network of the user's own."""
    made = bundle.manifest["provenance"]
    recipe = str(made["recipe"].get("name"))
    if recipe not in ("transfer", "scratch", "tutorial"):
        return ""
    backbone = made["recipe"].get("backbone")
    chosen = f" --backbone {shlex.quote(str(backbone))}" if recipe == "transfer" and backbone else ""
    return f"tellapart train PHOTOS --recipe {recipe}{chosen} --seed {made['seed']} -o {shlex.quote(name)}"


def recipe(bundle: Bundle) -> list[tuple[str, str]]:
    """How to make the same again."""
    made = bundle.manifest["provenance"]
    recipe = {
        name: value for name, value in made["recipe"].items() if name != "name" and not isinstance(value, dict | None)
    }
    return [
        ("Recipe", str(made["recipe"].get("name", "own"))),
        ("Its settings", ", ".join(f"{name} {value}" for name, value in recipe.items())[:1500]),
        ("Seed", str(made["seed"])),
        ("Fingerprint of the pictures", made["catalog_fingerprint"]),
        ("Made", f"{made['created']} on {made['machine']}"),
        ("Versions", ", ".join(f"{name} {version}" for name, version in made["versions"].items())),
    ]


def _three(value: float) -> str:
    return f"{value:.3f}"


def _bytes(n: int) -> str:
    return f"{n / 1e6:.1f} MB" if n >= 1e6 else f"{n / 1e3:.0f} kB"
