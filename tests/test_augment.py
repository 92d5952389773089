"""`augment`: the draws against Keras' own and a plain loop, the pixels against Keras' own and by hand."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from scipy import stats

from tellapart import augment
from tellapart.augment import CROP, LIGHT, STRONG, TUTORIAL, Augmentation, apply, matrices, permutation, vary
from tellapart.errors import SettingsError
from tellapart.preprocess import Preprocess, fit

KS_PROBABILITY = 1e-3  # the seeds are fixed, so a test passes or fails for good


def same_distribution(one: np.ndarray, other: np.ndarray) -> bool:
    """Two-sample Kolmogorov-Smirnov test."""
    _, probability = stats.ks_2samp(one, other)
    return float(probability) > KS_PROBABILITY  # pyright: ignore[reportArgumentType]


def noise(n: int, px: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, px, px, 3), dtype=np.uint8)


def smooth(px: int) -> np.ndarray:
    """Three different gentle waves, uint8 (px, px, 3)."""
    y, x = np.mgrid[:px, :px] / px
    waves = np.stack([np.sin(6 * x + 2 * y), np.cos(3 * x - 5 * y), np.sin(4 * x) * np.cos(4 * y)], axis=-1)
    return np.rint(127.5 + 120 * waves).astype(np.uint8)


def draws(augmentation: Augmentation, n: int, *, in_px: int = 64, out_px: int = 64) -> np.ndarray:
    return matrices(augmentation, seed=7, epoch=3, indices=np.arange(n), in_px=in_px, out_px=out_px)


@pytest.fixture(scope="module")
def original():
    """The generator of the tutorial, of Keras itself."""
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    return ImageDataGenerator(shear_range=0.2, zoom_range=0.2, horizontal_flip=True)


# --- pixels


@pytest.mark.parametrize("px", [1, 2, 63, 64])
def test_nothing_asked_for_changes_nothing(px):
    pixels = noise(5, px)
    maps = draws(Augmentation(), 5, in_px=px, out_px=px)
    assert np.array_equal(maps, np.broadcast_to(np.eye(2, 3), (5, 2, 3)))
    assert np.array_equal(apply(pixels, maps, px), pixels)


@pytest.mark.parametrize("px", [2, 63, 64])
def test_a_flip_is_the_mirror_image_exactly(px):
    pixels = noise(40, px)
    maps = draws(Augmentation(flip=True), 40, in_px=px, out_px=px)
    flipped = maps[:, 0, 0] < 0
    assert 10 < flipped.sum() < 30
    expected = np.where(flipped[:, None, None, None], pixels[:, :, ::-1], pixels)
    assert np.array_equal(apply(pixels, maps, px), expected)


def test_a_map_takes_output_pixels_to_input_pixels_and_repeats_the_edge():
    pixels = noise(1, 8)
    two_right = np.array([[[1.0, 0, 2], [0, 1, 0]]])  # output column u shows input column u + 2
    result = apply(pixels, two_right, 8)
    assert np.array_equal(result[0, :, :6], pixels[0, :, 2:])
    assert np.array_equal(result[0, :, 6], pixels[0, :, 7])
    assert np.array_equal(result[0, :, 7], pixels[0, :, 7])


def test_half_a_pixel_is_the_mean_of_its_neighbours():
    pixels = np.array([[[[0] * 3, [100] * 3], [[0] * 3, [100] * 3]]], dtype=np.uint8)
    result = apply(pixels, np.array([[[1.0, 0, 0.5], [0, 1, 0]]]), 2)
    assert result[0, 0, :, 0].tolist() == [50, 100]


def test_rows_are_read_from_a_read_only_store_and_written_into_a_given_array(tmp_path):
    pixels = noise(10, 16)
    pixels.tofile(tmp_path / "pixels.bin")
    stored = np.memmap(tmp_path / "pixels.bin", np.uint8, "r", shape=pixels.shape)
    rows = np.array([7, 2, 2])
    maps = draws(TUTORIAL, 3, in_px=16, out_px=12)
    out = np.zeros((3, 12, 12, 3), np.uint8)
    assert apply(stored, maps, 12, out, rows=rows) is out
    assert np.array_equal(out, apply(pixels[rows], maps, 12))


def test_a_warp_of_a_warp_is_the_warp_of_the_product():
    picture = smooth(96)[None]
    first, second = draws(Augmentation(shear_deg=8, zoom=0.1, flip=True), 40, in_px=96, out_px=96)[[3, 11]]
    whole = np.vstack([first, [0, 0, 1]]) @ np.vstack([second, [0, 0, 1]])
    twice = apply(apply(picture, first[None], 96), second[None], 96)
    once = apply(picture, whole[None, :2], 96)
    inner = np.s_[:, 16:-16, 16:-16]  # the repeated edge is another one after one warp than after two
    assert np.abs(twice[inner].astype(int) - once[inner]).max() <= 2


# Keras still takes SciPy's function by its old name.
@pytest.mark.filterwarnings("ignore:Please import `affine_transform`:DeprecationWarning")
@pytest.mark.parametrize(
    "given",
    [
        {"shear": 0.2, "zx": 0.8, "zy": 1.2, "flip_horizontal": False},
        {"shear": -0.2, "zx": 1.1, "zy": 0.9, "flip_horizontal": True},
        {"shear": 25.0, "zx": 1.2, "zy": 0.85, "flip_horizontal": True},
        {"shear": -25.0, "zx": 0.83, "zy": 1.17, "flip_horizontal": False},
    ],
)
def test_pixels_are_those_of_keras_for_the_same_parameters(original, monkeypatch, given):
    picture = smooth(64)
    expected = original.apply_transform(picture.astype(np.float32), given)
    # The draws that lead to these parameters, put in the place of the hashes.
    shear_deg, zoom = 30.0, 0.2
    by_channel = {
        augment._SHEAR: (given["shear"] / shear_deg + 1) / 2,
        augment._ZOOM_X: ((given["zx"] - 1) / zoom + 1) / 2,
        augment._ZOOM_Y: ((given["zy"] - 1) / zoom + 1) / 2,
        augment._FLIP: 0.0 if given["flip_horizontal"] else 0.9,
    }
    monkeypatch.setattr(augment, "_uniforms", lambda start, indices: lambda c: np.array([by_channel[c]]))
    maps = draws(Augmentation(shear_deg=shear_deg, zoom=zoom, flip=True), 1)
    difference = np.abs(apply(picture[None], maps, 64)[0] - expected)
    assert difference.mean() < 0.5
    assert difference.max() < 1.5


# Keras still takes SciPy's function by its old name.
@pytest.mark.filterwarnings("ignore:Please import `affine_transform`:DeprecationWarning")
@pytest.mark.parametrize(
    "given",
    [
        {"theta": 30.0},
        {"theta": -20.0, "zx": 0.8, "zy": 1.2},
        {"tx": 6.4, "ty": -3.2},
        {"theta": 25.0, "tx": -4.0, "ty": 5.0, "shear": 15.0, "zx": 1.1, "zy": 0.9, "flip_horizontal": True},
        {"theta": -15.0, "tx": 3.0, "ty": 1.5, "shear": -10.0, "flip_vertical": True, "flip_horizontal": True},
    ],
)
def test_rotation_shift_and_upside_down_are_those_of_keras(original, monkeypatch, given):
    picture = smooth(64)
    expected = original.apply_transform(picture.astype(np.float32), given)
    most = {"rotation_deg": 30.0, "shift": 0.1, "shear_deg": 30.0, "zoom": 0.2}
    first = {
        augment._SHEAR: (given.get("shear", 0) / most["shear_deg"] + 1) / 2,
        augment._ZOOM_X: ((given.get("zx", 1) - 1) / most["zoom"] + 1) / 2,
        augment._ZOOM_Y: ((given.get("zy", 1) - 1) / most["zoom"] + 1) / 2,
        augment._FLIP: 0.0 if given.get("flip_horizontal") else 0.9,
    }
    second = {
        augment._ROTATION: (given.get("theta", 0) / most["rotation_deg"] + 1) / 2,
        augment._SHIFT_X: (given.get("tx", 0) / 64 / most["shift"] + 1) / 2,
        augment._SHIFT_Y: (given.get("ty", 0) / 64 / most["shift"] + 1) / 2,
        augment._VERTICAL_FLIP: 0.0 if given.get("flip_vertical") else 0.9,
    }
    streams = {augment._stream(7, 3, stream): by for stream, by in ((2, first), (3, second))}

    def drawn(start, indices):
        return lambda c: np.array([[streams[start][int(each)] for each in c]] if np.ndim(c) else [streams[start][c]])

    monkeypatch.setattr(augment, "_uniforms", drawn)
    maps = draws(Augmentation(**most, flip=True, vertical_flip=True), 1)
    difference = np.abs(apply(picture[None], maps, 64)[0] - expected)
    assert difference.mean() < 0.5
    assert difference.max() < 2


def test_upside_down_is_the_mirror_image_exactly():
    pixels = noise(40, 63)
    maps = draws(Augmentation(vertical_flip=True), 40, in_px=63, out_px=63)
    flipped = maps[:, 1, 1] < 0
    assert 10 < flipped.sum() < 30
    expected = np.where(flipped[:, None, None, None], pixels[:, ::-1], pixels)
    assert np.array_equal(apply(pixels, maps, 63), expected)


def test_a_crop_is_turned_after_it_was_cut():
    """The same crops with and without a rotation: the centre and the area shown are the same."""
    settings = {"crop_scale": (0.3, 0.8)}
    plain = draws(Augmentation(**settings), 50, in_px=80, out_px=64)
    turned = draws(Augmentation(**settings, rotation_deg=40), 50, in_px=80, out_px=64)
    middle = np.array([31.5, 31.5, 1])
    np.testing.assert_allclose(turned @ middle, plain @ middle, atol=1e-9)
    np.testing.assert_allclose(np.linalg.det(turned[:, :, :2]), np.linalg.det(plain[:, :, :2]))
    assert (np.abs(turned - plain).max(axis=(1, 2)) > 0.01).mean() > 0.9


# --- colours and erasing


def varied(
    pixels: np.ndarray, augmentation: Augmentation | None, *, seed=7, epoch=3, out_px=None, **more
) -> np.ndarray:
    indices = more.pop("indices", np.arange(len(pixels)))
    return vary(pixels, augmentation, seed=seed, epoch=epoch, indices=indices, out_px=out_px or pixels.shape[1], **more)


def factors(n: int, channel: int, most: float) -> np.ndarray:
    draw = augment._uniforms(augment._stream(7, 3, augment._CHANGE_STREAM), np.arange(n))
    return 1 + most * (2 * draw(channel) - 1)


@pytest.mark.parametrize(
    ("field", "channel", "enhance"),
    [
        ("brightness", augment._BRIGHTNESS, ImageEnhance.Brightness),
        ("contrast", augment._CONTRAST, ImageEnhance.Contrast),
        ("saturation", augment._SATURATION, ImageEnhance.Color),
    ],
)
def test_colours_are_those_of_pillow(field, channel, enhance):
    pixels = np.stack([smooth(48), *noise(11, 48)])
    result = varied(pixels, Augmentation(**{field: 0.8}))
    chosen = factors(12, channel, 0.8)
    assert chosen.max() - chosen.min() > 0.8
    for before, after, factor in zip(pixels, result, chosen, strict=True):
        expected = np.asarray(enhance(Image.fromarray(before)).enhance(factor)).astype(int)
        assert np.abs(after - expected).max() <= 2  # Pillow rounds the mean, the grey and the end


def test_all_colours_together_are_one_after_the_other_rounded_once():
    pixels = noise(20, 16)
    changes = Augmentation(brightness=0.3, contrast=0.5, saturation=0.9, greyscale=0.3)
    b, c, s = (factors(20, channel, most)[:, None, None, None] for channel, most in ((4, 0.3), (5, 0.5), (6, 0.9)))
    grey_drawn = (factors(20, 7, 1.0) / 2) < 0.3  # back to the uniform itself
    s = np.where(grey_drawn[:, None, None, None], 0, s)
    weights = np.array([0.299, 0.587, 0.114])
    bright = b * pixels
    mean_grey = (bright @ weights).mean(axis=(1, 2))[:, None, None, None]
    contrasted = mean_grey + c * (bright - mean_grey)
    grey = (contrasted @ weights)[..., None]
    expected = np.clip(np.rint(grey + s * (contrasted - grey)), 0, 255)
    result = varied(pixels, changes)
    assert np.abs(result - expected).max() <= 1
    without = result[grey_drawn]
    assert 2 <= len(without) <= 12
    assert (without == without[..., :1]).all()


def test_a_rectangle_is_painted_with_the_mean_colour():
    pixels = noise(400, 32)
    result = varied(pixels, Augmentation(erase=0.5, erase_scale=(0.1, 0.3), erase_ratio=(0.5, 2.0)))
    shares, ratios, erased = [], [], 0
    for before, after in zip(pixels, result, strict=True):
        if np.array_equal(before, after):
            continue
        erased += 1
        mean = np.rint(before.reshape(-1, 3).mean(axis=0))
        ys, xs = np.nonzero((after != before).any(axis=2))
        box = after[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1]
        assert (box == mean).all()
        shares.append(box.shape[0] * box.shape[1] / 32**2)
        ratios.append(box.shape[1] / box.shape[0])
    assert erased == pytest.approx(200, abs=40)
    assert 0.08 < min(shares) < 0.13
    assert 0.27 < max(shares) < 0.33
    assert 0.4 < min(ratios) < 0.65
    assert 1.6 < max(ratios) < 2.4


def test_where_no_rectangle_fits_nothing_is_erased():
    pixels = noise(5, 16)
    assert np.array_equal(varied(pixels, Augmentation(erase=1, erase_scale=(0.9, 1), erase_ratio=(3, 3))), pixels)


def test_the_warp_of_a_policy_does_not_hang_on_its_colours():
    pixels = noise(30, 80)
    moved = varied(pixels, CROP, out_px=64)
    assert np.array_equal(moved, apply(pixels, draws(CROP, 30, in_px=80, out_px=64), 64))
    both = varied(pixels, Augmentation(**{**CROP.as_dict(), "erase": 0.5, "erase_scale": (0.05, 0.1)}), out_px=64)
    same = (both == moved).all(axis=3).mean(axis=(1, 2))
    assert same.min() > 0.85
    assert (same < 1).any()


@pytest.mark.parametrize("augmentation", [LIGHT, STRONG, Augmentation(contrast=0.5, erase=0.5)])
def test_what_training_sees_depends_on_seed_epoch_and_index_alone(augmentation):
    pixels = noise(30, 40)
    before = pixels.copy()
    everything = varied(pixels, augmentation, out_px=32)
    rows = np.array([29, 4, 4, 17])
    assert np.array_equal(varied(pixels, augmentation, out_px=32, rows=rows, indices=rows), everything[rows])
    assert not np.array_equal(varied(pixels, augmentation, out_px=32, seed=8), everything)
    assert not np.array_equal(varied(pixels, augmentation, out_px=32, epoch=4), everything)
    assert np.array_equal(pixels, before)
    nothing = varied(pixels[:0], augmentation, out_px=32)
    assert (nothing.shape, nothing.dtype) == ((0, 32, 32, 3), np.uint8)


@pytest.mark.parametrize("augmentation", [None, Augmentation(), Augmentation(brightness=0.5)])
def test_pictures_that_stay_where_they_are_are_shrunk_as_preprocess_does(augmentation):
    pixels = noise(6, 40)
    before = pixels.copy()
    result = varied(pixels, augmentation, out_px=32)
    expected = np.stack([fit(each, Preprocess(32)) for each in pixels])
    if augmentation is not None and augmentation.recolours:
        scale = factors(6, augment._BRIGHTNESS, 0.5)[:, None, None, None]
        assert np.abs(result - np.clip(np.rint(expected * scale), 0, 255)).max() <= 1
    else:
        assert np.array_equal(result, expected)
    unshrunk = varied(pixels, augmentation)
    unshrunk[:] = 0
    assert np.array_equal(pixels, before)  # what came back is the caller's own


# --- distributions


def parameters(maps: np.ndarray) -> dict[str, np.ndarray]:
    """Shear (degrees), zx, zy, flip of maps of equal input and output size."""
    return {
        "shear": np.degrees(np.arctan2(-maps[:, 0, 1], maps[:, 1, 1])),
        "zx": np.abs(maps[:, 0, 0]),
        "zy": np.hypot(maps[:, 0, 1], maps[:, 1, 1]),
        "flip_horizontal": maps[:, 0, 0] < 0,
    }


def test_the_tutorials_draws_have_the_distribution_of_keras(original):
    n = 5000
    ours = parameters(draws(TUTORIAL, n))
    np.random.seed(11)  # Keras draws from the global generator
    transforms = [original.get_random_transform((64, 64, 3)) for _ in range(n)]
    theirs = {name: np.array([transform[name] for transform in transforms]) for name in ours}
    for name, low, high in [("shear", -0.2, 0.2), ("zx", 0.8, 1.2), ("zy", 0.8, 1.2)]:
        assert same_distribution(ours[name], theirs[name])
        assert stats.kstest(ours[name], stats.uniform(low, high - low).cdf).pvalue > KS_PROBABILITY
        assert low <= ours[name].min() < low + 0.001
        assert high - 0.001 < ours[name].max() <= high
        # The standard error of the mean is width / sqrt(12 n).
        error = (high - low) / math.sqrt(12 * n)
        assert ours[name].mean() == pytest.approx((low + high) / 2, abs=4 * error)
        assert theirs[name].mean() == pytest.approx(ours[name].mean(), abs=6 * error)
    assert ours["flip_horizontal"].mean() == pytest.approx(0.5, abs=4 * 0.5 / math.sqrt(n))
    assert theirs["flip_horizontal"].mean() == pytest.approx(0.5, abs=4 * 0.5 / math.sqrt(n))


def test_draws_do_not_hang_together():
    n = 5000
    columns = []
    for seed, epoch in [(0, 0), (0, 1), (1, 0)]:
        maps = matrices(TUTORIAL, seed=seed, epoch=epoch, indices=np.arange(n), in_px=64, out_px=64)
        columns += list(parameters(maps).values())
    columns.append(np.roll(columns[1], 1))  # the neighbour's zoom
    correlations = np.corrcoef(np.array(columns, dtype=float)) - np.eye(len(columns))
    assert np.abs(correlations).max() < 4.5 / math.sqrt(n)


def crops(maps: np.ndarray, in_px: int, out_px: int) -> dict[str, np.ndarray]:
    """Edges and sizes of the crops of maps without shear and zoom, as fractions of the picture's side."""
    left = (maps[:, :, :2].sum(axis=2) * -0.5 + maps[:, :, 2] + 0.5) / in_px  # of output pixel -0.5
    size = np.stack([maps[:, 0, 0], maps[:, 1, 1]], axis=1) * (out_px / in_px)
    return {"x0": left[:, 0], "y0": left[:, 1], "width": size[:, 0], "height": size[:, 1]}


def crops_by_a_loop(augmentation: Augmentation, n: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    found = []
    low, high = augmentation.crop_scale or (1.0, 1.0)
    thin, wide = augmentation.crop_ratio
    for _ in range(n):
        width = height = 1.0
        for _ in range(10):
            area = rng.uniform(low, high)
            ratio = math.exp(rng.uniform(math.log(thin), math.log(wide)))
            w, h = math.sqrt(area * ratio), math.sqrt(area / ratio)
            if w <= 1 and h <= 1:
                width, height = w, h
                break
        found.append((rng.uniform(0, 1 - width), rng.uniform(0, 1 - height), width, height))
    return dict(zip(["x0", "y0", "width", "height"], np.array(found).T, strict=True))


@pytest.mark.parametrize(
    "augmentation",
    [
        Augmentation(crop_scale=(0.35, 1.0)),
        Augmentation(crop_scale=(0.9, 1.0), crop_ratio=(0.3, 3.0)),  # often the whole picture
    ],
)
def test_crops_have_the_distribution_of_a_plain_loop_and_lie_within_the_picture(augmentation):
    n = 4000
    ours = crops(draws(augmentation, n, in_px=80, out_px=64), 80, 64)
    theirs = crops_by_a_loop(augmentation, n)
    for found in (ours, theirs):
        found["area"] = found["width"] * found["height"]
        found["ratio"] = found["width"] / found["height"]
    for name in ours:
        assert same_distribution(ours[name], theirs[name]), name
    for start, size in [("x0", "width"), ("y0", "height")]:
        assert ours[start].min() > -1e-9
        assert (ours[start] + ours[size]).max() < 1 + 1e-9
    low, high = augmentation.crop_scale or (1, 1)
    assert low - 1e-9 < ours["area"].min()
    assert ours["area"].max() < high + 1e-9
    # Some draws never fit; they are the whole picture in both.
    whole = (ours["width"] > 1 - 1e-9) & (ours["height"] > 1 - 1e-9)
    assert whole.mean() == pytest.approx(((theirs["width"] == 1) & (theirs["height"] == 1)).mean(), abs=0.02)


def test_a_crop_shows_that_part_of_the_picture():
    ramp = np.repeat(np.arange(80, dtype=np.uint8)[None, :, None] * 3, 3, axis=2).repeat(80, axis=0)
    maps = draws(Augmentation(crop_scale=(0.4, 0.8)), 6, in_px=80, out_px=64)
    found = crops(maps, 80, 64)
    for i, result in enumerate(apply(np.stack([ramp] * 6), maps, 64)):
        centres = found["x0"][i] * 80 + (np.arange(64) + 0.5) * found["width"][i] * 80 / 64 - 0.5
        assert np.abs(result[10, :, 0] - 3 * centres.clip(0, 79)).max() <= 1


# --- purity


@pytest.mark.parametrize("augmentation", [TUTORIAL, CROP])
def test_a_draw_depends_on_seed_epoch_and_index_alone(augmentation):
    def maps(indices, seed=3, epoch=5):
        return matrices(augmentation, seed=seed, epoch=epoch, indices=indices, in_px=80, out_px=64)

    everything = maps(np.arange(100))
    some = np.array([99, 4, 4, 17])
    assert np.array_equal(maps(some), everything[some])
    assert np.array_equal(maps(np.array([50])), everything[50:51])
    assert maps(np.array([], dtype=np.int64)).shape == (0, 2, 3)
    assert len(np.unique(everything.reshape(100, 6), axis=0)) == 100
    for other in (maps(np.arange(100), seed=4), maps(np.arange(100), epoch=6)):
        assert not (other == everything).all(axis=(1, 2)).any()
    assert np.isfinite(maps(np.arange(3), seed=-1, epoch=2**70)).all()


def test_the_hash_is_splitmix64():
    # The reference's first outputs from the state 1234567 (Vigna, https://prng.di.unimi.it/splitmix64.c).
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    assert augment._hash(1234567, np.arange(4, dtype=np.uint64)).tolist() == expected


def test_the_same_seed_means_the_same_for_good():
    # Another order would make an interrupted run impossible to resume with a newer version.
    assert permutation(10, seed=0, epoch=0).tolist() == [3, 8, 6, 0, 7, 4, 9, 2, 5, 1]
    assert matrices(TUTORIAL, seed=0, epoch=0, indices=np.arange(1), in_px=64, out_px=64)[0] == pytest.approx(
        np.array(
            [
                [1.1791011529223896, 0.0029837694556297855, -5.73567505490761],
                [0.0, 1.048118935706529, -1.515746474755666],
            ]
        ),
        abs=1e-12,
    )
    # Written down before rotation, colours and the rest came: these draws stayed what they were.
    crops_too = Augmentation(shear_deg=10, zoom=0.3, flip=True, crop_scale=(0.5, 0.9))
    found = matrices(crops_too, seed=3, epoch=2, indices=np.arange(5, 7), in_px=80, out_px=64)
    assert found.ravel() == pytest.approx(
        [
            0.9573959425959657, 0.0687839525026128, 1.6520591308423747, 0, 1.3855465475794493, -5.691655673794493,
            -0.9836992965785158, 0.030900309458705217, 78.65078763462394, 0, 0.8366854753256496, 4.79232228604095,
        ],
        abs=1e-12,
    )  # fmt: skip


def test_the_new_draws_stay_the_same_too():
    maps = matrices(
        Augmentation(rotation_deg=90, shift=0.5), seed=3, epoch=2, indices=np.arange(2), in_px=64, out_px=64
    )
    assert maps.ravel() == pytest.approx(
        [
            0.5612384036799013, -0.8276541875897422, 41.31479658897723, 0.8276541875897422, 0.5612384036799013,
            -41.18380247184671, 0.6047290731657793, 0.7964312575910476, -2.608615959888958, -0.7964312575910476,
            0.6047290731657793, 14.708866337212648,
        ],
        abs=1e-12,
    )  # fmt: skip


def test_the_draws_of_colours_and_moves_do_not_hang_together():
    draw = augment._uniforms(augment._stream(0, 0, augment._CHANGE_STREAM), np.arange(5000))
    erase = augment._uniforms(augment._stream(0, 0, augment._ERASE_STREAM), np.arange(5000))
    first = augment._uniforms(augment._stream(0, 0, augment._AUGMENT_STREAM), np.arange(5000))
    columns = np.stack([each(channel) for each in (draw, erase, first) for channel in range(8)])
    off_diagonal = np.corrcoef(columns) - np.eye(24)
    assert np.abs(off_diagonal).max() < 4.5 / math.sqrt(5000)


def test_orders_are_permutations_that_differ_between_epochs_and_seeds():
    orders = [permutation(50, seed=seed, epoch=epoch) for seed in range(4) for epoch in range(4)]
    for order in orders:
        assert order.dtype == np.int64
        assert sorted(order) == list(range(50))
    assert len({tuple(order) for order in orders}) == 16
    assert permutation(0, seed=0, epoch=0).tolist() == []
    # Every place is taken by every picture equally often: chi-squared over 24 orders of 4.
    counts = np.unique([permutation(4, seed=0, epoch=e) for e in range(2400)], axis=0, return_counts=True)[1]
    assert len(counts) == 24
    assert stats.chisquare(counts).pvalue > KS_PROBABILITY


# --- settings and speed


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"shear_deg": -1}, r"shear_deg must be in the range \[0, 90\) degrees; got -1\."),
        ({"shear_deg": 90}, "shear_deg"),
        ({"zoom": 1.0}, r"zoom must be in the range \[0, 1\); got 1.0\."),
        ({"zoom": float("nan")}, "zoom"),
        ({"crop_scale": (0.0, 1.0)}, "crop_scale must be"),
        ({"crop_scale": (0.9, 0.5)}, "crop_scale must be"),
        ({"crop_scale": (0.5, 1.5)}, "crop_scale must be"),
        ({"crop_ratio": (0.0, 1.0)}, "crop_ratio must be"),
        ({"crop_ratio": (2.0, 1.0)}, "crop_ratio must be"),
        ({"rotation_deg": 181}, r"rotation_deg must be in the range \[0, 180\] degrees; got 181\."),
        ({"brightness": True}, r"brightness must be in the range \[0, 1\]; got True\."),
        ({"erase_ratio": (1, float("inf"))}, r"erase_ratio must be \[low, high\] with 0 < low <= high; got"),
        ({"flip": 1}, r"flip must be true or false; got 1\."),
        ({"vertical_flip": None}, "vertical_flip must be true or false"),
    ],
)
def test_a_value_outside_its_range_is_refused(fields, message):
    with pytest.raises(SettingsError, match=message):
        Augmentation(**fields)


def test_the_draws_of_a_batch_cost_next_to_nothing():
    # 0.06 ms measured; ten times that, so that a busy machine does not fail the test.
    def once() -> float:
        start = time.perf_counter()
        draws(TUTORIAL, 32)
        return time.perf_counter() - start

    assert min(once() for _ in range(50)) < 0.6e-3
