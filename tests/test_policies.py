"""Policies by name and by file: what each may do, its ranges, and what an error says."""

import dataclasses
import json
import os
from pathlib import Path

import pytest

from tellapart import policies
from tellapart.errors import InputError, SettingsError
from tellapart.policies import NAMED, Augmentation, resolve

EXAMPLE = Path(__file__).parent.parent / "examples" / "augment.toml"
RANGES = {
    "shear_deg": ("[0, 90) degrees", (0, 89.9), (-0.1, 90, float("nan"))),
    "zoom": ("[0, 1)", (0, 0.99), (-0.1, 1.0)),
    "rotation_deg": ("[0, 180] degrees", (0, 180), (-1, 180.5)),
    "shift": ("[0, 1)", (0, 0.99), (1, float("inf"))),
    **{
        name: ("[0, 1]", (0, 1, 0.5), (-0.1, 1.1, "0.5", [0.5], True, None))
        for name in ("brightness", "contrast", "saturation", "greyscale", "erase")
    },
}
PAIRS = {"crop_scale": 1, "crop_ratio": None, "erase_scale": 1, "erase_ratio": None}


def written(folder: Path, text: str) -> Path:
    path = folder / "my policy.toml"
    path.write_text(text)
    return path


def test_the_example_sets_every_key_and_is_what_it_says() -> None:
    name, policy = resolve(EXAMPLE)
    assert name == "own"
    values = policy.as_dict()
    assert set(policies.tomllib.loads(EXAMPLE.read_text())) == set(values)
    assert (policy.crop_scale, policy.rotation_deg, policy.flip, policy.vertical_flip) == ((0.35, 1.0), 10, True, False)
    # The comment behind each key names its range; the limits in it are accepted, beyond them nothing is.
    for line in EXAMPLE.read_text().splitlines():
        key = line.split(" = ")[0]
        if key in RANGES:
            assert "0 to" in line
            assert ("below" in line) == RANGES[key][0].startswith("[0, 1)") or key == "shear_deg"


def test_every_key_has_its_range() -> None:
    switches = {"flip", "vertical_flip"}
    assert {each.name for each in dataclasses.fields(Augmentation)} == RANGES.keys() | PAIRS.keys() | switches
    assert all(each.metadata["help"] for each in dataclasses.fields(Augmentation))


@pytest.mark.parametrize("name", RANGES)
def test_numbers_and_what_is_said_beyond_their_range(name: str) -> None:
    limits, good, bad = RANGES[name]
    for value in good:
        assert getattr(Augmentation(**{name: value}), name) == value
    for value in bad:
        with pytest.raises(SettingsError) as error:
            Augmentation(**{name: value})
        assert str(error.value) == f"{name} must be in the range {limits}; got {value!r}."


@pytest.mark.parametrize("name", PAIRS)
def test_pairs_and_what_is_said_beyond_their_range(name: str) -> None:
    assert getattr(Augmentation(**{name: [0.2, 0.9]}), name) == (0.2, 0.9)  # a list too: TOML and JSON have no other
    hash(Augmentation(**{name: [0.2, 0.9]}))
    beyond = [[0.5, 1.5]] if PAIRS[name] else [[0.5, float("inf")]]
    for value in ([0, 0.5], [0.9, 0.2], [0.5], [0.1, 0.2, 0.3], 0.5, "ab", ["a", "b"], [True, True], *beyond):
        with pytest.raises(SettingsError, match=rf"^{name} must be \[low, high\] with 0 < low <= high") as error:
            Augmentation(**{name: value})
        assert str(error.value).endswith(f"; got {value!r}.")


def test_values_go_through_json_and_back() -> None:
    for policy in (*NAMED.values(), policies.TUTORIAL, policies.CROP, resolve(EXAMPLE)[1]):
        assert Augmentation.from_dict(json.loads(json.dumps(policy.as_dict()))) == policy


def test_no_name_decides_on_flips_but_the_one_that_changes_nothing() -> None:
    assert set(NAMED) == {"none", "light", "strong", "tutorial", "crop"}
    for name, policy in NAMED.items():
        assert policy.flip is (False if name == "none" else None)
        assert not policy.vertical_flip
    assert resolve("light") == ("light", policies.LIGHT)


def test_strong_does_more_than_light() -> None:
    light, strong = NAMED["light"], NAMED["strong"]
    assert light.crop_scale is not None
    assert strong.crop_scale is not None
    assert light.crop_scale[0] > strong.crop_scale[0]
    assert light.shift > 0
    assert not light.recolours
    assert not light.erase
    assert strong.rotation_deg > 0
    assert strong.recolours
    assert strong.erase > 0


@pytest.mark.parametrize(
    ("settings", "changes", "moves", "recolours"),
    [
        ({}, False, False, False),
        ({"flip": False, "crop_ratio": (1, 2), "erase_scale": (0.1, 0.1)}, False, False, False),
        ({"flip": True}, True, True, False),
        ({"vertical_flip": True}, True, True, False),
        ({"crop_scale": (0.5, 1)}, True, True, False),
        *(({name: 0.1}, True, True, False) for name in ("shear_deg", "zoom", "rotation_deg", "shift")),
        *(({name: 0.1}, True, False, True) for name in ("brightness", "contrast", "saturation", "greyscale")),
        ({"erase": 0.1}, True, False, False),
    ],
)
def test_whether_anything_happens_at_all(settings: dict, changes: bool, moves: bool, recolours: bool) -> None:
    policy = Augmentation(**settings)
    assert (policy.changes, policy.moves, policy.recolours) == (changes, moves, recolours)


def test_it_says_in_words_what_may_happen() -> None:
    assert Augmentation().described() == "nothing is changed"
    policy = Augmentation(crop_scale=(0.25, 1), rotation_deg=7.5, flip=True, brightness=0.3, erase=0.25)
    assert policy.described() == (
        "crops of 25% to 100% of the area, rotation up to 7.5°, mirrored left to right, brightness ±30%, "
        "a part painted over in 25%"
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("rotaton_deg = 5", "every key must be a way to vary pictures; got 'rotaton_deg'. Did you mean rotation_deg?"),
        ("learning = 5", "got 'learning'. There are: shear_deg, zoom, flip,"),
        ("[crop]\nscale = 1", "got 'crop'. "),
        ("rotation_deg = 200", "rotation_deg must be in the range [0, 180] degrees; got 200."),
        ("shift = '10 %'", "shift must be in the range [0, 1); got '10 %'."),
        ("zoom = nan", "zoom must be in the range [0, 1); got nan."),
        ("flip = 'yes'", "flip must be true or false; got 'yes'."),
        ("crop_scale = [0.9, 0.3]", "crop_scale must be [low, high] with 0 < low <= high <= 1; got [0.9, 0.3]."),
    ],
)
def test_what_is_wrong_in_a_file_is_named_with_the_file(tmp_path: Path, text: str, says: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(SettingsError) as error:
        resolve(str(path))
    assert str(error.value).startswith(f"In '{path}', ")
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_by_another_name_or_with_a_byte_order_mark(tmp_path: Path) -> None:
    plain = tmp_path / "policy"
    plain.write_bytes(b"\xef\xbb\xbfzoom = 0.5\r\nflip = false\r\n")
    assert resolve(str(plain)) == resolve(plain) == ("own", Augmentation(zoom=0.5, flip=False))
    assert resolve(written(tmp_path, "")) == ("own", Augmentation())


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"zoom 0.5", "Expected"),
        (b"zoom = 0.5\xff", "utf-8"),
        (b"#" * (1 << 21), "larger than"),
        (b"zoom = " + b"[" * 100_000, "recursion"),
    ],
    ids=["no TOML", "no text", "too large", "lists in one another"],
)
def test_a_file_that_is_no_toml(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "a.toml").write_bytes(content)
    with pytest.raises(
        InputError, match=r"a\.toml' must be TOML, lines like `rotation_deg = 15`; it is not: "
    ) as error:
        resolve(tmp_path / "a.toml")
    assert says in str(error.value)


def test_a_file_that_is_not_there_or_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "folder.toml").mkdir()
    for name, says in (("none.toml", "there is none"), ("pipe.toml", "no regular"), ("folder.toml", "no regular")):
        with pytest.raises(InputError, match=f"{name}' must be a file; .*{says}"):
            resolve(tmp_path / name)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("strnog", "must be one of none, light, strong, tutorial, crop, or a .toml file; got 'strnog'. Did you mean"),
        ("own", "got 'own'."),
        ("", "got ''."),
        (3, "augment must be a name, a path or an Augmentation; got 3."),
    ],
)  # fmt: skip
def test_what_is_no_policy(given, says: str) -> None:
    with pytest.raises(SettingsError) as error:
        resolve(given)
    assert says in str(error.value)


def test_an_instance_is_taken_as_it_is() -> None:
    policy = Augmentation(shift=0.3)
    assert resolve(policy) == ("own", policy)
