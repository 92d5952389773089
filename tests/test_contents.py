"""Files to hashes, in order."""

from __future__ import annotations

import hashlib
from pathlib import Path

from conftest import draw
from tellapart import contents


def test_hashes_and_reasons_stand_in_the_order_asked(tmp_path: Path) -> None:
    paths = []
    for i in range(40):
        path = tmp_path / f"{i}.png"
        if i % 10 == 3:
            path.write_bytes(b"<html>")
        elif i % 10 != 7:
            draw("circles", i).save(path)
        paths.append(str(path))
    told: list[tuple[int, int]] = []
    found = list(contents.hash_all(paths, lambda done, total: told.append((done, total))))
    for i, (content, reason) in enumerate(found):
        if i % 10 == 3:
            assert (content, reason) == (None, "not a picture: it begins like HTML")
        elif i % 10 == 7:
            assert (content, reason) == (None, "no such file")
        else:
            assert (content, reason) == (hashlib.sha256(Path(paths[i]).read_bytes()).hexdigest(), None)
    assert told == [(i + 1, 40) for i in range(40)]
