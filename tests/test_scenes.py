"""Which pictures of an evaluation are shown, and how."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from reportscenes import drawn, evaluation, png, warmed
from tellapart import pictures, scenes
from tellapart.errors import PictureError


def unread(path: str) -> bytes:
    raise PictureError("gone")


def test_mistakes_come_surest_first_and_the_least_sure_last_first():
    # Right answers are 80 to 79 % sure, the first of each cell the surest.
    one = evaluation([[10, 4], [3, 10]])
    found = scenes.choose(one, read=unread)
    assert found.n_mistakes == 7
    shares = [each.probability for each in found.mistakes]
    assert shares == sorted(shares, reverse=True)
    assert all(not each.right and each.answer != each.label for each in found.mistakes)
    assert abs(shares[0] - 0.8) < 1e-9
    assert abs(found.mistakes[0].of_right - 0.2) < 1e-9
    unsure = [each.probability for each in found.unsure]
    assert unsure == sorted(unsure)
    assert len(unsure) == scenes.MOST_UNSURE
    assert {each.reason for each in found.mistakes} == {"gone"}
    assert found.n_left_out == 0  # they are told to be unreadable


def test_cells_are_mistakes_the_most_frequent_first_then_right_answers():
    one = evaluation([[10, 1, 2], [5, 10, 0], [0, 0, 10]])
    found = scenes.choose(one, read=unread)
    cells = [(each.right, each.answer, each.n) for each in found.cells]
    assert cells == [(1, 0, 5), (0, 2, 2), (0, 1, 1), (0, 0, 10), (1, 1, 10), (2, 2, 10)]
    assert [len(each.scenes) for each in found.cells] == [5, 2, 1, 6, 6, 6]
    assert [round(each.share, 3) for each in found.cells[:3]] == [0.333, 0.154, 0.077]
    assert found.cells[0].key == "cell-1-0"
    right = [each.probability for each in found.cells[3].scenes]
    assert right == sorted(right)  # the least sure


def test_of_many_classes_right_answers_are_not_shown_and_cells_are_limited():
    n = scenes.MATRIX_CLASSES + 1
    counts = [[3 if i == j else 1 if (j - i) % n <= 3 else 0 for j in range(n)] for i in range(n)]
    found = scenes.choose(evaluation(counts), read=unread)
    assert len(found.cells) == scenes.MOST_CELLS
    assert all(each.right != each.answer for each in found.cells)


def test_a_picture_that_comes_again_is_there_once_and_each_says_what_it_shows(tmp_path: Path):
    one = drawn(tmp_path)
    found = scenes.choose(one, read=pictures.read_bytes, heat=warmed)
    every = [*found.mistakes, *found.unsure, *found.declined, *(each for cell in found.cells for each in cell.scenes)]
    first = [each.key for each in every if each.first]
    assert len(first) == len(set(first))
    assert {each.key for each in every if each.thumbnail} == set(first)
    broken = [each for each in every if each.name == "017.png"]
    assert broken
    assert all("empty" in each.reason and each.thumbnail is None for each in broken)
    assert all(each.heat for each in found.mistakes)
    assert not any(each.heat for each in found.unsure)
    assert [each.declined for each in found.declined] == ["It is only 79 % sure."] * 3
    assert found.n_declined == 3
    assert found.mistakes[0].folder.endswith("/")
    assert not any("\n" in each.name + each.alt + each.label for each in every)


def test_no_heat_is_no_matter(tmp_path: Path):
    found = scenes.choose(drawn(tmp_path), read=pictures.read_bytes, heat=lambda path, label: None)
    assert not any(each.heat for each in found.mistakes)


def test_of_many_pictures_a_bounded_number_is_opened():
    rng = np.random.default_rng(0)
    counts = rng.integers(20, 40, (12, 12)).tolist()
    opened: list[str] = []
    data = png(24, 0)

    def read(path: str) -> bytes:
        opened.append(path)
        return data + path.encode()

    found = scenes.choose(evaluation(counts, sure=0.4), read=read)
    assert len(opened) == scenes.MOST_PICTURES
    assert found.n_left_out > 0
    assert {each.reason for cell in found.cells for each in cell.scenes if not each.thumbnail} == {
        "not shown, to keep this page small"
    }


def test_paths_are_told_from_their_common_folder_down():
    root = scenes.common_folder(["a/b/cats/1.jpg", "a/b/dogs/2.jpg"])
    assert root == "a/b"
    assert scenes.shorter("a/b/cats/1.jpg", root) == "cats/1.jpg"
    assert scenes.common_folder(["/a/1.jpg", "b/2.jpg"]) == ""
    assert scenes.common_folder([]) == ""
    long = scenes.shorter("x" * 500, "")
    assert len(long) == scenes.MOST_OF_PATH + 1
    assert scenes.shorter("a\nb.jpg", "") == "a\\nb.jpg"
