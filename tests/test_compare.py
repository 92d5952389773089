"""Two models on the same pictures, by hand and by the command line."""

import csv
import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import tellapart
from tellapart import compared, rivals
from tellapart.changes import BROKEN, FIXED, WRONG_DIFFERENTLY, Speed
from tellapart.cli import main
from tellapart.compare import Comparison, compare
from tellapart.errors import InputError
from tellapart.evaluation import Evaluation
from tellapart.predict import Prediction
from tellapart.progress import Progress

CLASSES = ("cats", "dogs", "owls")


def told(answers: str, truth: str, paths: str, classes: tuple[str, ...] = CLASSES, **more) -> Evaluation:
    """An evaluation by first letters: each answer with probability 0.8, the rest shared by the other classes."""
    place = {name[0]: i for i, name in enumerate(classes)}
    probabilities = np.full((len(answers), len(classes)), 0.2 / (len(classes) - 1))
    probabilities[np.arange(len(answers)), [place[each] for each in answers]] = 0.8
    return Evaluation(classes, probabilities, np.array([place[each] for each in truth]), tuple(paths), **more)


@pytest.fixture
def found() -> Comparison:
    """Ten pictures: both right 5, fixed 3, broken 1, both wrong, differently, 1; B's classes in another order."""
    truth, paths = "ccccddddoo", "abcdefghij"
    a = told("ccccccdooc", truth, paths)  # wrong: e f h j
    b = told("cccdddddod", truth, paths, ("owls", "dogs", "cats"))
    return compare(a, b)


def test_pictures_that_changed(found: Comparison) -> None:
    assert [each.path for each in found.fixed] == ["e", "f", "h"]
    assert [each.path for each in found.broken] == ["d"]
    assert [(each.path, each.answer_a, each.answer_b) for each in found.changes if each.kind == WRONG_DIFFERENTLY] == [
        ("j", "cats", "dogs")
    ]
    assert [each.kind for each in found.changes] == [FIXED, FIXED, FIXED, BROKEN, WRONG_DIFFERENTLY]
    assert (found.both_right, found.both_wrong, found.n) == (5, 1, 10)
    assert found.difference == pytest.approx(0.2)
    assert found.a.accuracy == pytest.approx(0.6)
    assert found.b.accuracy == pytest.approx(0.8)
    assert found.broken[0].row() == ["d", "cats", "broken", "cats", "0.800000", "dogs", "0.800000"]


def test_by_class(found: Comparison) -> None:
    each = found.per_class
    assert list(each) == ["cats", "dogs", "owls"]
    assert (each["cats"].n, each["cats"].n_right_a, each["cats"].n_right_b, each["cats"].broken) == (4, 4, 3, 1)
    assert (each["dogs"].n, each["dogs"].n_right_a, each["dogs"].n_right_b, each["dogs"].fixed) == (4, 1, 4, 3)
    assert (each["owls"].fixed, each["owls"].broken) == (0, 0)


def test_losses_by_hand(found: Comparison) -> None:
    """A right answer costs −ln 0.8, a wrong one −ln 0.1; Brier 0.04 + 2 · 0.01, or 0.81 + 0.64 + 0.01."""
    right, wrong = -np.log(0.8), -np.log(0.1)
    assert found.losses["log_loss"]["a"] == pytest.approx(0.6 * right + 0.4 * wrong)
    assert found.losses["log_loss"]["b"] == pytest.approx(0.8 * right + 0.2 * wrong)
    assert found.losses["brier_score"]["a"] == pytest.approx(0.6 * 0.06 + 0.4 * 1.46)
    low, high = found.losses["log_loss"]["interval"]
    assert low < found.losses["log_loss"]["difference"] < high


def of(fixed: int, broken: int, n: int) -> Comparison:
    """`n` cats, of which B fixes the first ones and breaks the last ones."""
    answers = ("d" * fixed + "c" * (n - fixed), "c" * (n - broken) + "d" * broken)
    a, b = (told(each, "c" * n, "x" * n, CLASSES[:2]) for each in answers)
    paths = tuple(f"{i:05d}" for i in range(n))
    return compare(dataclasses.replace(a, paths=paths), dataclasses.replace(b, paths=paths))


def test_the_verdict_in_words() -> None:
    assert of(24, 5, 1000).verdict == "B is better: 0.9 to 3.1 points, 24 pictures fixed, 5 broken."
    assert of(24, 5, 1000).better == "b"
    assert of(5, 24, 1000).verdict == "A is better: 0.9 to 3.1 points; B fixes 5 pictures and breaks 24."
    assert of(5, 24, 1000).better == "a"
    said = of(12, 9, 2000).verdict
    assert said.startswith(
        "No difference can be told: B is between 0.3 points worse and 0.6 better (12 fixed, 9 broken)."
    )
    assert said.endswith("About 37,000 pictures would be needed to tell a difference of this size.")
    assert of(12, 9, 2000).better is None
    assert of(3, 3, 100).verdict == (
        "No difference can be told: B is between 5.9 points worse and 5.9 better (3 fixed, 3 broken)."
    )
    assert of(0, 0, 100).verdict == (
        "No difference can be told: both are right on the same pictures, so that it is at most 3.7 points either way."
    )
    assert "between no and" in of(5, 0, 100).verdict
    assert "and not at all worse" in of(0, 5, 100).verdict


def test_pictures_are_paired_by_path() -> None:
    a, b = told("cd", "cd", "ab"), told("dcd", "dcd", "bcx")
    found = compare(a, b)
    assert found.a.paths == found.b.paths == ("b",)
    assert (found.only_a, found.only_b) == (("a",), ("c", "x"))
    assert "1 picture left out that only A could answer, e.g. a; B could not read it." in found.warnings
    assert found.as_dict()["only_b"] == ["c", "x"]


def test_classes_that_only_one_knows_are_left_out() -> None:
    a = told("cdo", "cdo", "abx")
    b = told("zd", "cd", "ab", ("cats", "dogs", "zebras"))
    found = compare(a, b)
    assert found.classes == ("cats", "dogs")
    assert found.left_out == (("owls", 1),)
    assert found.n_broken == 1  # B says zebra, as it would in use
    assert found.broken[0].answer_b == "zebras"
    assert "Left out, for not both models know their class: owls 1." in found.warnings


def test_what_cannot_be_compared_is_said() -> None:
    with pytest.raises(InputError, match="two classes or more in common to be compared; A knows 'cats', 'dogs'"):
        compare(told("c", "c", "a", ("cats", "dogs")), told("c", "c", "a", ("cats", "owls")))
    with pytest.raises(InputError, match="there is none that both could answer"):
        compare(told("c", "c", "a"), told("c", "c", "b"))


def test_pictures_that_were_trained_on_are_named() -> None:
    seen = np.array([True, False, False, False])
    a = told("cccc", "cccd", "abcd", trained_on=seen)
    b = told("dccd", "cccd", "abcd")
    found = compare(a, b)
    assert found.seen.tolist() == [True, False, False, False]
    unseen = found.unseen()
    assert unseen is not None
    assert (unseen.n, unseen.n_fixed, unseen.n_broken) == (3, 1, 0)
    assert "A was trained on 1 of these pictures, B on 0" in found.warnings[0]
    assert found.warnings[1].startswith("Believe what comes out on the 3 others: No difference")
    assert found.as_dict()["verdict_unseen"] == unseen.verdict
    every = compare(told("cc", "cd", "ab", trained_on=np.ones(2, bool)), told("cc", "cd", "ab"))
    assert every.unseen() is None
    assert "there are no others" in every.warnings[1]


def test_speed_is_the_median_of_the_parts() -> None:
    speed = Speed((100.0, 200.0, 50.0), (200.0, 100.0, 150.0))
    assert speed.ratio == 2.0
    assert speed.ratio_interval == (0.5, 3.0)
    assert speed.as_dict() == {"a": 100.0, "b": 150.0, "ratio": 2.0, "ratio_interval": [0.5, 3.0]}
    assert (
        compared._speed(speed) == "Neither is surely faster: measured in turn, B was 0.50 to 3.00 times as fast as A."
    )
    faster = Speed((100.0, 100.0), (200.0, 150.0))
    assert compared._speed(faster) == "B is 1.75 times as fast as A (measured in turn, 95 % sure: 1.50 to 2.00)."


class Fake:
    """Says what it was told, and writes down when it was asked."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name, self.log = name, log

    def answers(self, questions):
        for question in questions:
            self.log.append(self.name)
            yield Prediction(question.path, "cats", 1.0, {"cats": 1.0, "dogs": 0.0})


def test_both_are_asked_in_turn() -> None:
    from tellapart.catalog import Entry

    entries = [Entry(str(i), "cats", None, "0") for i in range(5 * rivals.PART)]
    log: list[str] = []
    a, b, speed = rivals.ask((Fake("a", log), Fake("b", log)), entries, Progress())  # pyright: ignore[reportArgumentType]
    assert [each.path for each in a] == [each.path for each in b] == [entry.path for entry in entries]
    assert "".join(log[:: rivals.PART]) == "abbaabbaab"
    assert speed is not None
    assert len(speed.a) == len(speed.b) == 3  # neither the first nor the last part
    assert rivals.ask((Fake("a", log), Fake("b", log)), entries[:10], Progress())[2] is None  # pyright: ignore[reportArgumentType]


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(each) for each in arguments])
    return stop.value.code


def test_the_command(bundle_path: Path, photos: Path, tmp_path: Path, capsys) -> None:
    out, table = tmp_path / "c.json", tmp_path / "c.csv"
    assert run("compare", bundle_path, bundle_path, photos, "--json", out, "--csv", table) == 0
    said = capsys.readouterr().out
    assert "No difference can be told: both are right on the same pictures" in said
    values = json.loads(out.read_text())
    evaluation = tellapart.load(bundle_path).evaluate(photos)
    assert values["a"]["accuracy"] == values["b"]["accuracy"] == evaluation.accuracy
    assert values["a"]["log_loss"] == pytest.approx(evaluation.as_dict()["log_loss"])
    assert values["n"] == evaluation.n
    assert (values["difference"], values["better"], values["p_value"]) == (0.0, None, 1.0)
    assert values["fixed"] == values["broken"] == []
    assert values["size_bytes"] == {"a": bundle_path.stat().st_size, "b": bundle_path.stat().st_size}
    assert values["speed"] is None
    assert "was trained on" in said
    with table.open() as file:
        assert list(csv.reader(file)) == [
            ["path", "label", "change", "answer_a", "probability_a", "answer_b", "probability_b"]
        ]
    assert run("compare", bundle_path, bundle_path, photos, "--json", out) == 1
    assert "exists already" in capsys.readouterr().err
    assert run("compare", bundle_path, bundle_path, photos, "--json", "-", "--csv", "-") == 2
    assert run("compare", bundle_path, photos, photos) == 1
    assert run("compare", bundle_path, bundle_path, photos, "--split", "test") == 1
    assert "must have split folders for --split test" in capsys.readouterr().err


def test_a_class_of_the_folder_that_neither_knows_is_left_out(
    bundle_path: Path, three_classes: Path, make_photos, tmp_path: Path
) -> None:
    model = tellapart.load(bundle_path)
    found = model.compare(model, three_classes)
    assert found.left_out == (("triangles", 20),)
    assert found.n == 40
    for old, new in (("circles", "rings"), ("squares", "boxes")):
        (make_photos(tmp_path, n=2) / old).rename(tmp_path / new)
    for old in ("circles", "squares"):
        shutil.rmtree(tmp_path / old, ignore_errors=True)
    with pytest.raises(InputError, match=r"Some pictures must be of classes that both models know .circles, squares.;"):
        model.compare(model, tmp_path)


def test_words_and_tables(found: Comparison) -> None:
    from rich.console import Console

    console = Console(width=200)
    with console.capture() as captured:
        console.print(compared.told(found, ("old.tellapart", "new.tellapart")))
    said = captured.get()
    for part in ("old.tellapart", "60.00%", "80.00%", "fixed: e (dogs; A said cats 80.0%, B dogs 80.0%)"):
        assert part in said
    assert "both right 5, both wrong 1" in said
    assert "<b>No difference" in found._repr_html_()
    assert repr(found).startswith("Comparison(10 pictures: No difference")
