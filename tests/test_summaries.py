"""Results in words: the numbers are right, the sentences true, and no name breaks a line."""

from pathlib import Path
from typing import Any

import pytest

from tellapart import summaries
from tellapart.bundle import Bundle
from tellapart.cache import StoreInfo
from tellapart.classifier import Classifier
from tellapart.predict import Prediction
from tellapart.sorting import Sorted
from test_scoresheet import evaluation, text


def test_a_gap_is_named_where_it_is_one() -> None:
    named = summaries.gap(0.99, evaluation(770, 1000))
    assert "Training pictures 99.0% right, test pictures 77.0%: a gap of 22.0 points." in named
    assert "by heart" in named
    assert summaries.gap(0.80, evaluation(770, 1000)).endswith(": no gap to speak of.")
    folds = summaries.gap(0.80, evaluation(770, 1000, split="cross-validation"))
    assert folds == "Training pictures 80.0% right, held-out pictures 77.0%: no gap to speak of."
    # Nine of ten are not surely worse than 97 %: the test's own interval reaches 98 %.
    assert summaries.gap(0.97, evaluation(9, 10)).endswith(": no gap to speak of.")


def test_the_end_of_a_training(trained: Classifier) -> None:
    assert trained.evaluation is not None
    said = text(summaries.trained(trained.evaluation, trained.report))
    assert "Pictures: 64 for training, 8 for validation, 8 for test." in said
    assert "Training: 3 epochs in " in said
    assert "(float32); kept the weights of epoch" in said
    assert "Stopped by you" not in said
    stopped = trained.report | {"training": trained.report["training"] | {"interrupted": True}}
    assert "Stopped by you before epoch 3: this is what was learned so far." in text(
        summaries.trained(trained.evaluation, stopped)
    )


def test_the_line_of_an_answer() -> None:
    one = Prediction("a\nb.jpg", "cats", 0.75, {"dogs": 0.05, "cats": 0.75, "cows": 0.15, "hens": 0.05})
    assert summaries.answered(one).plain == "a\\nb.jpg: cats 75.0% (cows 15.0%, dogs 5.0%)"
    broken = Prediction("c.jpg", None, None, error="empty file (0 bytes)")
    assert summaries.answered(broken).plain == "c.jpg: not read: empty file (0 bytes)"
    assert summaries.answered(Prediction("d.jpg", None, 0.4, {"a": 0.4}, unknown=True)).plain == "d.jpg: unknown"


def test_what_info_says(trained: Classifier, bundle_path: Path) -> None:
    said = text(summaries.described(trained.bundle, "pets.tellapart", 27_996_567), width=200)
    for line in (
        "pets.tellapart (28.0 MB, format 1)", "2: circles, squares", "squares of 32 px, squash",
        "tutorial, seed 1, 3 epochs", "64 train, 8 validation, 8 test", "keras 3.",
    ):  # fmt: skip
        assert line in said
    assert trained.bundle.manifest["provenance"]["catalog_fingerprint"] in said


def test_no_bundle_writes_to_the_terminal_what_it_likes(trained: Classifier) -> None:
    manifest = dict(trained.bundle.manifest)
    manifest["provenance"] = manifest["provenance"] | {"machine": "a\x1b]0;title\x07\nb"}
    manifest["classes"] = ["\x1b[2J", "squares"]
    said = text(summaries.described(Bundle(manifest, trained.bundle.members), "x", 1), width=200)
    assert "\x1b" not in said
    assert "\x07" not in said
    assert "a\\x1b]0;title\\x07\\nb" in said


def test_a_plan() -> None:
    plan = {
        "reason": "Because.", "classes": ["a", "b"], "pictures": {"train": 8000, "validation": 0, "test": 2000},
        "skipped": [{"path": "x", "reason": "y"}], "precision": "float32",
        "recipe": {"epochs": 10, "batch_size": 32, "optimizer": "adadelta", "learning_rate": 1.0},
        "seconds": {"decode": 3.2, "train": 95.0, "total": 7300.0},
        "disk_bytes": {"cache": 999, "bundle": 26_000_000},
    }  # fmt: skip
    assert text(summaries.planned(plan)).splitlines() == [
        "Because.",
        "Classes: 2: a, b.",
        "Pictures: 8,000 for training, 0 for validation, 2,000 for test; 1 not used.",
        "Training: 10 epochs, batches of 32, adadelta at 1, float32.",
        "Time: about 2 h 2 min (decoding 3 s, training 2 min, the rest to load Keras and to save).",
        "Disk: about 999 bytes in the cache, 26.0 MB for the bundle.",
        "Nothing was written.",
    ]


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.4, "0 s"), (89.4, "89 s"), (90, "2 min"), (3600, "60 min"), (5400, "1 h 30 min")]
)
def test_durations(seconds: float, said: str) -> None:
    assert summaries._duration(seconds) == said


@pytest.mark.parametrize(
    ("n", "said"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (1_500_000, "1.5 MB"), (3 * 10**12, "3000.0 GB")],
)
def test_sizes(n: int, said: str) -> None:
    assert summaries._bytes(n) == said


def test_the_cache(tmp_path: Path) -> None:
    assert text(summaries.cached([], [], "/c")).strip() == "The cache /c holds no pictures."
    fields = {"name": "store-1", "size_bytes": 2_000_000, "last_used": 0.0, "n_pictures": 1234, "size_px": 64}
    stores = [_store(fields), _store(fields | {"name": "store-2", "size_bytes": 500_000, "usable": False})]
    said = text(summaries.cached(stores, [], "/c"))
    first, second = (line.split() for line in said.splitlines()[1:3])
    assert first[:6] == ["store-1", "1,234", "64", "px", "2.0", "MB"]
    assert second[:5] == ["store-2", "1,234", "unfinished", "500.0", "kB"]
    assert said.splitlines()[-1] == "2.5 MB in /c"


def _store(fields: dict[str, Any]) -> StoreInfo:
    import dataclasses

    names = {each.name for each in dataclasses.fields(StoreInfo)}
    given = {"usable": True, "path": Path("/c/pictures"), **fields}
    return StoreInfo(**{name: value for name, value in given.items() if name in names})


def test_copied_says_how_many_went_where() -> None:
    result = Sorted("to", {"a/b\n": "a_b_"}, {"a_b_": 1200, "unknown": 3}, 2, ("x\ny.jpg", "no such file or folder"))
    assert summaries.copied(result).splitlines() == [
        "Copied to to: a_b_ 1,200, unknown 3.",
        r"The folder of class a/b\n is called a_b_.",
        r"Not copied: 2, e.g. x\ny.jpg: no such file or folder.",
    ]
    many = Sorted("to", {}, {f"c{i}": 1 for i in range(25)}, 0, None)
    assert summaries.copied(many).endswith("c19 1 and 5 more folders.")
    assert summaries.copied(Sorted("to", {}, {}, 0, None)) == "Copied to to: nothing."
