"""Results in words and tables for a person at a terminal."""

from __future__ import annotations

import datetime
import itertools
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tellapart import explanations, repeating, scoresheet
from tellapart.attempts import Kept
from tellapart.bundle import Bundle
from tellapart.cache import StoreInfo
from tellapart.evaluation import CROSS_VALIDATION, Evaluation
from tellapart.explaining import Written
from tellapart.files import counted, shown
from tellapart.findings import KIND_NAMES, Finding, Findings
from tellapart.predict import Prediction
from tellapart.sorting import Sorted

if TYPE_CHECKING:
    from tellapart.export.exporting import Exported
    from tellapart.packing import Packed

MOST_CLASSES = 20  # that are listed
MOST_OF_KIND = 3  # findings of a kind that are told one by one
SEVERITIES = {
    "error": ("What makes results wrong", "red"),
    "warning": ("What makes them worse", "yellow"),
    "info": ("Good to know", "cyan"),
}
LARGE_GAP = 0.05  # between training and test accuracy, from which on it is named
RANKED = 3  # classes shown beside an answer


def trained(evaluation: Evaluation, report: dict[str, Any]) -> RenderableType:
    """What `train` says at its end."""
    plan, training = report["plan"], report["training"]
    lines = [f"Pictures: {_sides(plan['pictures'])}."]
    if "backbone" in training:
        lines.append(f"Training: {_duration(training['seconds'])} ({training['engine']}).")
    else:
        lines.append(
            f"Training: {_epochs(training['epochs'])} in {_duration(training['seconds'])} ({training['precision']}); "
            f"kept the weights of epoch {training['best_epoch']}."
        )
    if training["interrupted"]:
        lines.append(f"Stopped by you before epoch {plan['epochs']}: this is what was learned so far.")
    lines.append(gap(report["train_accuracy"], evaluation))
    return Group(*map(_plain, lines), scoresheet.evaluated(evaluation))


def repeated(report: dict[str, Any]) -> list[str]:
    """What `train --like` says of the model that it was to repeat."""
    told = report.get("like")
    if told is None:
        return []
    return repeating.lines(repeating.from_dict(told))


def gap(train_accuracy: float, evaluation: Evaluation) -> str:
    """Training and test accuracy side by side, and what their difference means."""
    difference = train_accuracy - evaluation.accuracy
    others = "held-out" if evaluation.split == CROSS_VALIDATION else "test"
    both = f"Training pictures {train_accuracy:.1%} right, {others} pictures {evaluation.accuracy:.1%}"
    # Beyond the test's own uncertainty, else a small test would be blamed on the network.
    if difference > LARGE_GAP and train_accuracy > evaluation.accuracy_interval[1]:
        return (
            f"{both}: a gap of {100 * difference:.1f} points. It has partly learned its training pictures by heart; "
            f"believe the test figure. More pictures help most."
        )
    return f"{both}: no gap to speak of."


def exported(done: Exported) -> RenderableType:
    """What `export` says: where it is, how well it agrees, how it is run."""
    size, near = sum(done.files.values()), done.agreement
    lines = [
        f"Written: {shown(done.folder)} ({done.to}, {counted(len(done.files), 'file')}, {size / 1e6:.1f} MB).",
        f"Read back in its own runtime, it answers {near.pictures} golden pictures as the model does; the largest "
        f"difference of a probability is {near.probability:.1g}.",
    ]
    if done.quantized is not None:
        told = done.quantized
        lines.append(
            f"int8: accuracy {told['accuracy_before']:.1%} before, {told['accuracy_after']:.1%} after, on "
            f"{told['judged_on']:,} pictures, of which {told['answered_before']:.1%} and {told['answered_after']:.1%} "
            f"are answered; probabilities moved by {told['probability_moved']['mean']:.2g} in the mean. "
            f"{told['calibrated_on']:,} others set its ranges."
        )
    if done.skipped:
        path, reason = done.skipped[0]
        lines.append(f"{counted(len(done.skipped), 'file')} could not be used, e.g. {shown(path)}: {reason}.")
    lines.append(f"How to run it: {shown(os.path.join(done.folder, 'README.md'))}")
    return Group(*map(_plain, lines))


def checked(found: Findings) -> RenderableType:
    """What `check` says: how many files there are, then the findings, worst first, the most of a kind in short."""
    used = f"{found.n_used:,} used, {len(found.skipped):,} not" if found.skipped else "all of them used"
    head = f"{counted(found.n_found, 'picture')} found, {used}."
    parts: list[RenderableType] = [_plain(head), *map(_plain, found.notes)]
    if not found:
        said = "Nothing wrong was found" + (" by the quick part; leave out --quick for all." if found.quick else ".")
        parts.append(Text(said, style="green"))
    for severity, (title, style) in SEVERITIES.items():
        every = [each for each in found if each.severity == severity]
        if not every:
            continue
        parts.append(Text(f"\n{title}: {counted(len(every), 'finding')}", style=f"bold {style}"))
        for kind, same in itertools.groupby(every, key=lambda each: each.kind):
            parts.append(_of_kind(kind, list(same)))
    return Group(*parts)


def _of_kind(kind: str, every: list[Finding]) -> Text:
    lines = [f"{KIND_NAMES[kind]} ({len(every):,})" if len(every) > 1 else KIND_NAMES[kind]]
    for each in every[:MOST_OF_KIND]:
        lines.append(f"  {each.message}")
    if len(every) > MOST_OF_KIND:
        lines.append(f"  … and {len(every) - MOST_OF_KIND:,} more; --html FILE shows them, --json FILE lists them.")
    remedies = list(dict.fromkeys(each.remedy for each in every[:MOST_OF_KIND]))
    if kind in ("exact_duplicate", "near_duplicate") and len(every) > 1:
        remedies = ["Keep the best of each; --fix-list FILE.csv and tellapart apply make a copy without the others."]
    lines += [f"  → {remedy}" for remedy in remedies]
    return Text("\n".join(lines))


def answered(one: Prediction) -> Text:
    """The line that `predict` prints for a picture."""
    if one.error is not None:
        answer, style = f"not read: {one.error}", "yellow"
    elif one.label is None:
        answer, style = f"unknown: {one.reason}" if one.reason else "unknown", "yellow"
    else:
        others = ", ".join(f"{shown(name)} {p:.1%}" for name, p in one.ranked[1:RANKED])
        answer, style = f"{shown(one.label)} {one.probability:.1%} ({others})", ""
    if one.label_set is not None:
        answer += f"; one of: {', '.join(map(shown, one.label_set))}"
    return Text(f"{shown(one.path)}: ").append(answer, style=style)


def explained(one: Written) -> Text:
    """The line that `explain` prints for a picture."""
    line = Text(f"{shown(one.path)}: ")
    if one.explanation is None:
        return line.append(f"not read: {one.error}", style="yellow")
    why = one.explanation
    near = f"; {explanations.in_words(why.nearest)}" if any(each.label for each in why.nearest) else ""
    return line.append(f"{shown(why.label)} {explanations.percent(why.probability)}{near}; {shown(one.heat_map or '')}")


def packed(done: Packed) -> str:
    """What `pack` has written."""
    lines = [
        f"{counted(sum(done.counts.values()), 'picture')}, {done.n_bytes / 1e6:,.1f} MB, in "
        f"{counted(len(done.shards), 'shard')}: {shown(done.folder)}"
    ]
    if done.left_out:
        lines.append(f"{counted(done.left_out, 'file')} left out: tellapart check says which and why.")
    return "\n".join([*lines, *done.notes])


def copied(result: Sorted) -> str:
    """What `predict --copy-to` says at its end."""
    places = [f"{shown(name)} {n:,}" for name, n in result.copied.items()]
    more = f" and {len(places) - MOST_CLASSES:,} more folders" if len(places) > MOST_CLASSES else ""
    lines = [f"Copied to {shown(result.folder)}: {', '.join(places[:MOST_CLASSES]) or 'nothing'}{more}."]
    for name, place in itertools.islice(result.folders.items(), MOST_CLASSES):
        lines.append(f"The folder of class {shown(name)} is called {shown(place)}.")
    if result.example is not None:
        path, reason = result.example
        lines.append(f"Not copied: {result.not_copied:,}, e.g. {shown(path)}: {reason}.")
    return "\n".join(lines)


def described(bundle: Bundle, path: str, size_bytes: int) -> RenderableType:
    """What `info` says."""
    manifest = bundle.manifest
    training, provenance = manifest["training"], manifest["provenance"]
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(overflow="fold")
    rows = [
        ("Bundle", f"{shown(path)} ({_bytes(size_bytes)}, format {manifest['format_version']})"),
        ("Classes", f"{len(bundle.classes):,}: {', '.join(map(shown, bundle.classes[:MOST_CLASSES]))}"),
        ("Pictures", f"squares of {manifest['preprocess']['size_px']} px, {manifest['preprocess']['fit']}"),
        ("Recipe", f"{provenance['recipe']['name']}, seed {provenance['seed']}, {_epochs(training['epochs'])}"),
        ("Trained on", ", ".join(f"{n:,} {side}" for side, n in training["pictures"].items())),
    ]
    for side, numbers in manifest["metrics"].items():
        low, high = numbers["accuracy_interval"]
        rows.append((f"Accuracy, {side}", f"{numbers['accuracy']:.1%} ({low:.1%} to {high:.1%})"))
    rows += [
        ("Made", f"{provenance['created']} on {provenance['machine']}{_hardware(provenance)}"),
        *([("Chosen by measuring", _choices(provenance["choices"]))] if provenance.get("choices") else []),
        ("With", ", ".join(f"{name} {version}" for name, version in provenance["versions"].items())),
        ("Data fingerprint", provenance["catalog_fingerprint"]),
    ]
    for name, value in rows:
        table.add_row(Text(name, style="bold"), Text(shown(str(value))))
    return table


def _hardware(provenance: Mapping[str, Any]) -> str:
    """The processor and how many threads computed, where a bundle says so: sums hang on both."""
    told = [str(provenance["cpu"])] if provenance.get("cpu") else []
    if provenance.get("threads"):
        told.append(f"{provenance['threads']} threads")
    told += [f"{name}={value}" for name, value in dict(provenance.get("environment") or {}).items()]
    return "".join(f", {each}" for each in told)


def _choices(made: Any) -> str:
    return "; ".join(f"{about}: {found}" for about, found in made.items()) if isinstance(made, dict) else str(made)


def planned(plan: dict[str, Any]) -> RenderableType:
    """What `train --dry-run` says."""
    seconds, disk, recipe = plan["seconds"], plan["disk_bytes"], plan["recipe"]
    lines = [
        plan["reason"],
        f"Classes: {len(plan['classes'])}: {', '.join(map(shown, plan['classes'][:MOST_CLASSES]))}.",
        f"Pictures: {_sides(plan['pictures'])}; {len(plan['skipped']):,} not used.",
        f"Training: {_epochs(recipe['epochs'])}, batches of {recipe['batch_size']}, {recipe['optimizer']} at "
        f"{recipe['learning_rate']:g}, {plan['precision']}.",
        f"Time: about {_duration(seconds['total'])} (decoding {_duration(seconds['decode'])}, "
        f"training {_duration(seconds['train'])}, the rest to load Keras and to save).",
        f"Disk: about {_bytes(disk['cache'])} in the cache, {_bytes(disk['bundle'])} for the bundle.",
        "Nothing was written.",
    ]
    return Group(*map(_plain, lines))


def cached(stores: Sequence[StoreInfo], stopped: Sequence[Kept], folder: str) -> RenderableType:
    """What `cache list` says."""
    told: list[RenderableType] = []
    if stopped:
        kept = Table("Stopped training", "Recipe", "Step", "Size", "Last checkpoint", box=None)
        for each in stopped:
            when = datetime.datetime.fromtimestamp(each.last_used).strftime("%Y-%m-%d %H:%M")
            when = "running now" if each.running else when
            kept.add_row(shown(each.photos), each.recipe, f"{each.step:,}", _bytes(each.size_bytes), when)
        scoresheet.uncut(kept)
        told = [kept, _plain("The command of each, with --resume, goes on with it.")]
    if not stores:
        return Group(*told, _plain(f"The cache {shown(folder)} holds no pictures."))
    table = Table("Store", "Pictures", "Side", "Size", "Last used", box=None)
    for each in stores:
        used = datetime.datetime.fromtimestamp(each.last_used).strftime("%Y-%m-%d %H:%M")
        side = f"{each.size_px} px" if each.usable else "unfinished"
        table.add_row(each.name, f"{each.n_pictures:,}", side, _bytes(each.size_bytes), used)
    scoresheet.uncut(table)
    total = _bytes(sum(each.size_bytes for each in (*stores, *stopped)))
    return Group(*told, table, _plain(f"{total} in {shown(folder)}"))


def _sides(pictures: dict[str, int]) -> str:
    names = {"train": "training"}
    return ", ".join(f"{n:,} for {names.get(side, side)}" for side, n in pictures.items())


def _epochs(n: int) -> str:
    return f"{n:,} epoch" if n == 1 else f"{n:,} epochs"


def _plain(line: str) -> Text:
    return Text(line)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def _bytes(n: int) -> str:
    size = float(n)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
