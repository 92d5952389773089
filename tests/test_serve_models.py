"""A model that was replaced is let go, with all that it took."""

from __future__ import annotations

import gc
import time
import weakref
from pathlib import Path

import pytest

from tellapart.classifier import Classifier
from tellapart.serve import models
from tellapart.serve.refusals import Refusal


def test_a_model_that_was_replaced_leaves_nothing_behind(trained: Classifier, tmp_path: Path) -> None:
    path = tmp_path / "shapes.tellapart"
    trained.save(path)
    served = models.Models(models.sources([str(path)]), max_batch=8, hooks=models.Hooks())
    served.load()
    (old,) = served.all()
    old.quicken()
    gc.collect()
    gc.disable()  # what only the collector of circles finds may stay for hours
    try:
        gone, way = weakref.ref(old), weakref.ref(old.predictor)
        path.write_bytes(path.read_bytes())
        served.look()
        served.look()
        assert served.all() != [old]
        del old
        until = time.monotonic() + 30
        while (gone() is not None or way() is not None) and time.monotonic() < until:
            time.sleep(0.01)
        assert gone() is None
        assert way() is None
    finally:
        gc.enable()
        served.close()


def test_who_picks_a_model_while_it_is_replaced_gets_the_new_one(trained: Classifier, tmp_path: Path, monkeypatch):
    path = tmp_path / "shapes.tellapart"
    trained.save(path)
    served = models.Models(models.sources([str(path)]), max_batch=1, hooks=models.Hooks())
    served.load()
    (old,) = served.all()
    pick = served.pick

    def replaced_meanwhile(name: str | None) -> models.Model:
        found = pick(name)
        if found is old:
            path.write_bytes(path.read_bytes())
            served.look()
            served.look()
        return found

    monkeypatch.setattr(served, "pick", replaced_meanwhile)
    with served.held(None) as model:
        assert old.retired
        assert model is not old
        assert [model] == served.all()
    served.close()
    with pytest.raises(Refusal, match="must be loaded first"), served.held(None):
        pass
