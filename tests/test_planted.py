"""The planter on drawn pictures, and the scorer on lists of findings made by hand."""

from __future__ import annotations

import hashlib
import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
sys.path[:0] = [str(BENCHMARKS), str(BENCHMARKS / "peers")]

import damage
import planted
import planted_again
import planting
import scoring

FEW = planting.Counts(exact=4, near=10, conflicts=1, wrong=6, broken=6, foreign=5)


@pytest.fixture(scope="module")
def made(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """80 drawn pictures with every kind of damage, in three splits."""
    to = tmp_path_factory.mktemp("planted") / "damaged"
    shares = [70, 15, 15]
    truth = planting.plant(photos, to, damage.FIRST, counts=FEW, shortcut="quality", splits=shares, renamed=True)
    return to / "pictures", truth


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_all_that_is_asked_for_is_planted(made: tuple[Path, dict]) -> None:
    folder, truth = made
    found = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert found == list(truth["pictures"]), "every file is in the truth"
    assert len(found) == 80 + 4 + 10 + 5
    assert {kind: len(truth[kind]) for kind in ("exact", "near", "wrong_label", "broken", "foreign")} == {
        "exact": 4,
        "near": 10,
        "wrong_label": 6,
        "broken": 6,
        "foreign": 5,
    }
    assert truth["classes"] == {"circles": "a", "squares": "b"}
    assert truth == json.loads((folder.parent / "truth.json").read_text())
    for path, about in truth["pictures"].items():
        assert path.split("/")[:2] == [about["split"], about["class"]]
        assert digest(folder / path).startswith(about["content"])


def test_exact_copies_are_exact_and_near_ones_are_not(made: tuple[Path, dict]) -> None:
    folder, truth = made
    for each in truth["exact"]:
        assert digest(folder / each["copy"]) == digest(folder / each["of"])
    for each in truth["near"]:
        assert digest(folder / each["copy"]) != digest(folder / each["of"])
    assert [each["kind"] for each in truth["near"]] == list(damage.FIRST.near) * 2
    for each in [*truth["exact"], *truth["near"]]:
        copy, original = (truth["pictures"][each[side]] for side in ("copy", "of"))
        assert copy["source"] == original["source"] != ""
        assert each["conflict"] == (copy["class"] != original["class"])
        assert each["leak"] == (copy["split"] != original["split"])
    assert [sum(each["conflict"] for each in truth[kind]) for kind in ("exact", "near")] == [1, 1]


def test_wrong_labels_lie_in_the_other_folder(made: tuple[Path, dict], photos: Path) -> None:
    _, truth = made
    letter = truth["classes"]
    for each in truth["wrong_label"]:
        about = truth["pictures"][each["path"]]
        assert (each["given"], each["true"]) == (about["class"], letter[about["source"].split("/")[0]])
        assert each["given"] != each["true"]
    wrong = {each["path"] for each in truth["wrong_label"]}
    twins = {each[side] for kind in ("exact", "near") for each in truth[kind] for side in ("copy", "of")}
    broken = {each["path"] for each in truth["broken"]}
    assert len(wrong | twins | broken) == 6 + 2 * 14 + 6, "nothing has two kinds of damage"


def test_broken_files_cannot_be_read_and_all_others_can(made: tuple[Path, dict]) -> None:
    folder, truth = made
    broken = {each["path"] for each in truth["broken"]}
    for path in truth["pictures"]:
        if path in broken:
            with pytest.raises((OSError, SyntaxError, ValueError)):
                planting.upright((folder / path).read_bytes())
        else:
            planting.upright((folder / path).read_bytes())
    assert {each["kind"] for each in truth["broken"]} == set(damage.FIRST.broken)


def test_the_shortcut_is_in_one_class_alone(made: tuple[Path, dict]) -> None:
    """Pillow's table of quality 50 is the standard's own: its first entry is 16 (ITU-T T.81, table K.1)."""
    folder, truth = made
    apart = {each["copy"] for kind in ("exact", "near") for each in truth[kind]}
    apart |= {each["path"] for kind in ("broken", "foreign") for each in truth[kind]}
    with_cue = 0
    for path, about in truth["pictures"].items():
        if path not in apart:
            image = Image.open(io.BytesIO((folder / path).read_bytes()))
            has = image.format == "JPEG" and image.quantization[0][0] == 16
            assert has == (about["class"] == "b")
            with_cue += has
    assert truth["shortcut"]["n"] == with_cue > 30


def test_a_stamp_is_put_on_nine_in_ten_and_leaves_the_tables(photos: Path) -> None:
    data = (photos / "circles" / "circle_001.jpg").read_bytes()
    before = Image.open(io.BytesIO(data))
    stamped, ending = damage.FIRST.shortcuts["stamp"].change(data, ".jpg")
    after = Image.open(io.BytesIO(stamped))
    assert (ending, after.quantization, after.size) == (".jpg", before.quantization, before.size)
    red = np.asarray(after.convert("RGB"), int)[-8, -7]  # 72×56 px: the square is 7 px a side, 1 px from the edges
    assert red[0] > red[1] + 60
    assert damage.FIRST.shortcuts["stamp"].share == 0.9


def test_the_same_seed_gives_the_same_files_and_the_originals_stay(photos: Path, tmp_path: Path) -> None:
    before = {path: (digest(path), path.stat().st_mtime_ns) for path in photos.rglob("*.*")}
    counts = planting.Counts(exact=1, near=5, conflicts=0, wrong=2, broken=6, foreign=5)
    truths = [
        planting.plant(photos, tmp_path / name, damage.FIRST, seed=seed, n=30, counts=counts, shortcut="stamp")
        for name, seed in (("a", 3), ("b", 3), ("c", 4))
    ]
    assert truths[0]["pictures"] == truths[1]["pictures"] != truths[2]["pictures"]
    assert before == {path: (digest(path), path.stat().st_mtime_ns) for path in photos.rglob("*.*")}
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a", "b", "c"], "nothing half-written is left"


def test_the_second_planter_is_another(photos: Path, tmp_path: Path) -> None:
    """No kind of the first; every copy and every foreign picture can be read; the cue is in the other class."""
    kinds = planted_again.SECOND
    for mine, first in ((kinds.near, damage.FIRST.near), (kinds.broken, damage.FIRST.broken)):
        assert not set(mine.values()) & set(first.values())
    assert not set(kinds.shortcuts) & set(damage.FIRST.shortcuts)
    counts = planting.Counts(exact=2, near=len(kinds.near), conflicts=1, wrong=10, broken=8, foreign=6)
    truth = planting.plant(photos, tmp_path / "set", kinds, counts=counts, shortcut="camera", renamed=True)
    assert (truth["shortcut"]["class"], truth["shortcut"]["n"] > 25) == ("a", True)
    assert {each["kind"] for each in truth["near"]} == set(kinds.near)
    assert {each["kind"] for each in truth["broken"]} == set(kinds.broken)
    broken = {each["path"] for each in truth["broken"]}
    for path in truth["pictures"].keys() - broken:
        assert planting.upright((tmp_path / "set" / "pictures" / path).read_bytes()).mode == "RGB"
    # Both classes are equally common, so the first by name, circles, gives 8 of its pictures to squares.
    assert sorted(each["true"] for each in truth["wrong_label"])[:8] == ["a"] * 8


@pytest.mark.parametrize("cue", list(planted_again.SECOND.shortcuts))
def test_each_cue_can_be_seen_in_the_file(photos: Path, cue: str) -> None:
    data = (photos / "circles" / "circle_001.jpg").read_bytes()
    changed, ending = planted_again.SECOND.shortcuts[cue].change(data, ".jpg")
    before, after = planting.upright(data), Image.open(io.BytesIO(changed))
    expected = {"size": (72, 56), "format": "JPEG", "maker": None, "pixels": cue in ("camera", "format")}
    expected |= {"aspect": {"size": (56, 56)}, "format": {"format": "PNG"}, "camera": {"maker": "Bushnell"}}.get(
        cue, {}
    )
    same = before.size == after.size and np.array_equal(np.asarray(before), np.asarray(after.convert("RGB")))
    found = {"size": after.size, "format": after.format, "maker": after.getexif().get(271), "pixels": same}
    assert found == expected
    assert ending == {"JPEG": ".jpg", "PNG": ".png"}[after.format]


def test_what_would_not_be_foreign_is_left_out(photos: Path, tmp_path: Path) -> None:
    counts = planting.Counts(exact=0, near=0, conflicts=0, wrong=0, broken=0, foreign=4)
    truth = planting.plant(photos, tmp_path / "a", damage.FIRST, counts=counts, avoid=["drawn"])
    assert [each["kind"] for each in truth["foreign"]] == ["digit", "noise", "digit", "noise"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [({"n": 81}, "at most the 80 pictures"), ({"n": 10}, "too few for the damage")],
)
def test_what_cannot_be_planted_is_said(photos: Path, tmp_path: Path, changes: dict, says: str) -> None:
    with pytest.raises(SystemExit, match=says):
        planting.plant(photos, tmp_path / "a", damage.FIRST, counts=FEW, **changes)
    assert list(tmp_path.iterdir()) == []


def picture(source: str, true: str = "a", given: str = "a", split: str = "train") -> dict:
    return {"source": source, "class": given, "true": true, "split": split, "content": ""}


# Ten files: two copies of photo 1 (one exact, one near), a near copy of photo 2 under the other label and on the other
# side, a wrong label, a broken file, a foreign picture; photos 3 and 4 are twins that the set had itself.
TRUTH = {
    "pictures": {
        "0.jpg": picture("1"),
        "1.jpg": picture("1"),
        "2.jpg": picture("1"),
        "3.jpg": picture("2"),
        "4.jpg": picture("2", given="b", split="test"),
        "5.jpg": picture("3"),
        "6.jpg": picture("4"),
        "7.jpg": picture("5", given="b"),
        "8.jpg": picture("", true="a"),
        "9.jpg": picture("", true=""),
    },
    "exact": [{"copy": "1.jpg", "of": "0.jpg", "kind": "exact", "conflict": False, "leak": False}],
    "near": [
        {"copy": "2.jpg", "of": "0.jpg", "kind": "mirrored", "conflict": False, "leak": False},
        {"copy": "4.jpg", "of": "3.jpg", "kind": "cropped", "conflict": True, "leak": True},
    ],
    "wrong_label": [{"path": "7.jpg", "given": "b", "true": "a"}],
    "broken": [{"path": "8.jpg", "kind": "html"}],
    "foreign": [{"path": "9.jpg", "kind": "noise"}],
    "shortcut": {"cue": "JPEG quality", "words": ["quality"], "class": "b", "n": 2, "share": 1.0},
}
ROOT = Path("photos")


def finding(kind: str, *paths: str, message: str = "", proposals: tuple = ()) -> dict:
    said = [{"path": f"photos/{path}", "action": action, "to": to, "reason": ""} for path, action, to in proposals]
    return {"kind": kind, "paths": [f"photos/{path}" for path in paths], "message": message, "proposals": said}


def scored(*findings: dict, looked: scoring.Looked | None = None, **more) -> dict:
    return scoring.score(TRUTH, {"findings": list(findings), **more}, ROOT, looked)


def test_a_group_is_all_its_pairs() -> None:
    """0, 1, 2 and 5: six pairs, of which 0-1, 0-2 and 1-2 show photo 1."""
    found = scored(finding("near_duplicate", "0.jpg", "1.jpg", "2.jpg", "5.jpg"))
    assert found["pairs"]["near_duplicate"] == {"proposed": 6, "wrong": 3, "precision": 0.5}
    assert found["exact"] == {"found": 1, "of": 1}
    assert found["near"] == {"found": 1, "of": 2}
    assert found["near_by_kind"] == {"mirrored": {"found": 1, "of": 1}, "cropped": {"found": 0, "of": 1}}
    assert sorted(each["pair"] for each in found["to_look"]) == [["1", "1"], ["1", "3"], ["1", "3"], ["1", "3"]]


def test_a_twin_that_the_set_had_is_no_false_alarm() -> None:
    alarm = finding("exact_duplicate", "5.jpg", "6.jpg")
    assert scored(alarm)["pairs"]["exact_duplicate"] == {"proposed": 1, "wrong": 1, "precision": 0.0}
    assert scored(alarm)["to_look"][0]["pair"] == ["3", "4"]
    seen = scoring.Looked(same=(("4", "3"),))
    assert scored(alarm, looked=seen)["pairs"]["exact_duplicate"] == {"proposed": 1, "wrong": 0, "precision": 1.0}
    assert scored()["pairs"]["exact_duplicate"] == {"proposed": 0, "wrong": 0, "precision": None}


def test_a_broken_file_shows_no_photo() -> None:
    assert scored(finding("near_duplicate", "8.jpg", "9.jpg"))["pairs"]["near_duplicate"]["wrong"] == 1


def test_two_foreign_pictures_are_passed_over() -> None:
    alike = {**TRUTH, "foreign": [*TRUTH["foreign"], {"path": "8.jpg", "kind": "noise"}], "broken": []}
    found = scoring.score(alike, {"findings": [finding("near_duplicate", "0.jpg", "8.jpg", "9.jpg")]}, ROOT)
    assert found["pairs"]["near_duplicate"] == {"proposed": 2, "wrong": 2, "precision": 0.0}


def test_leaks_and_conflicts_count_by_themselves_and_as_twins() -> None:
    found = scored(finding("leak", "3.jpg", "4.jpg"), finding("leak", "0.jpg", "1.jpg"))
    assert found["leak"] == {"found": 1, "of": 1}
    assert found["pairs"]["leak"] == {"proposed": 2, "wrong": 0, "precision": 1.0, "on_one_side": 1}
    assert found["label_conflict"] == {"found": 0, "of": 1}
    assert found["near"] == {"found": 1, "of": 2}


def test_wrong_labels_are_ranked_in_the_order_given() -> None:
    ranked = [finding("wrong_label", name) for name in ("9.jpg", "4.jpg", "6.jpg", "0.jpg", "7.jpg")]
    seen = scoring.Looked(mislabelled=frozenset({"4"}))
    found = scored(*ranked, looked=seen)
    assert found["wrong_label"] == {"of": 1, "listed": 5, "found": 1, "top": {"1": 0, "2": 0}}
    assert found["top"] == {"foreign": 1, "under two labels": 1}, "one is planted, so two are the longer top"
    assert found["to_look_labels"] == []
    first, second = scored(ranked[4], *ranked), scored(ranked[2], ranked[4], looked=seen)
    assert (first["wrong_label"]["top"], first["wrong_label"]["listed"]) == ({"1": 1, "2": 1}, 5)
    assert (second["wrong_label"]["top"], second["top"]) == ({"1": 0, "2": 1}, {"seen": 1, "planted": 1})
    third = scored(ranked[3], ranked[4])
    assert (third["top"], third["to_look_labels"]) == ({"other": 1, "planted": 1}, ["1"])


def test_broken_files_may_be_skipped_or_found() -> None:
    broken = {"of": 1, "found": 1, "as_finding": 1, "missed": {}, "false": []}
    assert scored(finding("unreadable", "8.jpg"))["broken"] == broken
    skipped = scored(skipped=[{"path": str(ROOT.absolute() / "8.jpg"), "reason": "HTML"}])["broken"]
    assert skipped == broken | {"as_finding": 0}
    assert scored(finding("unreadable", "0.jpg"))["broken"] == {
        "of": 1, "found": 0, "as_finding": 0, "missed": {"html": 1}, "false": ["0.jpg"],
    }  # fmt: skip


def test_foreign_pictures_have_a_rank() -> None:
    found = scored(finding("outlier", "0.jpg"), finding("outlier", "9.jpg"), finding("outlier", "1.jpg"))["foreign"]
    assert found == {"of": 1, "found": 1, "listed": 3, "last_rank": 2, "anyhow": 1}
    assert scored(finding("odd", "9.jpg"))["foreign"] == {
        "of": 1, "found": 0, "listed": 0, "last_rank": None, "anyhow": 1,
    }  # fmt: skip


def test_the_shortcut_is_named_by_its_cue() -> None:
    cues = [finding("shortcut", message="98 % can be told from the JPEG Quality"), finding("shortcut", message="width")]
    assert scored(*cues)["shortcut"] == {"named": ["98 % can be told from the JPEG Quality"], "others": ["width"]}


def test_harmful_fixes_are_counted() -> None:
    """Dropping 0 and 1 leaves 2 of photo 1; dropping 5 leaves nothing of photo 3; 7 belongs to a, 6 is where it is."""
    fixes = [("0.jpg", "drop", ""), ("1.jpg", "drop", ""), ("5.jpg", "drop", ""), ("8.jpg", "drop", "")]
    moves = [("7.jpg", "move", "a"), ("6.jpg", "move", "b"), ("3.jpg", "keep", "")]
    found = scored(finding("exact_duplicate", "0.jpg", "1.jpg", proposals=(*fixes, *moves)))["fixes"]
    assert found == {"dropped": 4, "moved": 2, "lost": ["5.jpg"], "misled": ["6.jpg"]}


def test_the_table_says_what_a_tool_does_not_look_for() -> None:
    ours = scored(finding("exact_duplicate", "0.jpg", "1.jpg"), finding("shortcut", message="quality"))
    theirs = scored() | {"cannot": ["shortcut", "wrong_label"]}
    found = scoring.table({"ours": ours | {"cue": True, "seconds": 12.4, "peak_mb": 1234.5}, "theirs": theirs})
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in found.splitlines()]
    cells = {name: (first, second) for name, first, second in rows}
    assert cells["exact copies found"] == ("1 of 1 (100 %)", "0 of 1 (0 %)")
    assert cells["pairs called exact, right"] == ("1 of 1 (100.0 %)", "none proposed")
    assert cells["… mirrored"] == ("0 of 1", "0 of 1")
    assert cells["shortcut named"] == ("yes", "does not look")
    assert cells["planted wrong labels in the top 2"] == ("0 of 1 (0 %)", "does not look")
    assert cells["broken files found"] == ("0 of 1 (0 %); missed: html", "0 of 1 (0 %); missed: html")
    assert (cells["time"], cells["peak memory"]) == (("12 s", ""), ("1,234 MB", ""))


def test_results_that_are_there_are_scored_without_a_run(photos: Path, tmp_path: Path) -> None:
    for name, counts in (("clean", planted.NOTHING), ("damaged", FEW)):
        truth = planting.plant(photos, tmp_path / name, damage.FIRST, counts=counts)
        root = tmp_path / name / "pictures"
        paths = [[str(root / each["of"]), str(root / each["copy"])] for each in truth["exact"]]
        findings = [{"kind": "exact_duplicate", "paths": some, "message": ""} for some in paths]
        said = {"findings": findings, "used": {"seconds": 3.0, "peak_mb": 5.0}}
        (tmp_path / f"{name}.full.json").write_text(json.dumps(said))
    scores = planted.run(tmp_path, ["full"], None, scoring.Looked())
    assert scores["clean"]["full"]["pairs"]["exact_duplicate"]["proposed"] == 0
    assert scores["damaged"]["full"]["exact"] == {"found": 4, "of": 4}
    assert json.loads((tmp_path / "scores.json").read_text()) == scores
