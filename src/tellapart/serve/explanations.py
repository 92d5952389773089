"""Why a model answers what it does, one picture at a time, on a thread of its own beside that of the answers."""

from __future__ import annotations

import asyncio
import base64
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import numpy as np

from tellapart import explain, explaining
from tellapart import explanations as drawings
from tellapart.explain import Explainer
from tellapart.predict import Prediction
from tellapart.progress import Progress
from tellapart.serve.admission import Admission
from tellapart.serve.decoders import Decoded
from tellapart.serve.models import Model

QUEUE = 32  # pictures that wait for their explanation, at most
JPEG_QUALITY = 85
THUMBNAILS = 2000  # of training pictures that are kept, some 3 kB each
DECIMALS = 4  # of a heat map's values


class Explanations:
    """Explains answers."""

    def __init__(self, deadline_s: float, photos: str | None = None) -> None:
        """`photos` is the folder of the training pictures, to show the nearest of them; None to show none."""
        self.admission = Admission(QUEUE, deadline_s)
        self.has_photos = photos is not None
        self._files: dict[str, str] = {}  # content hash -> file, of the training pictures
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="explain")
        self._explainers: dict[int, tuple[Model, Explainer]] = {}
        self._thumbnail = lru_cache(THUMBNAILS)(_thumbnail)
        if photos is not None:
            threading.Thread(target=self._read, args=(photos,), name="photos", daemon=True).start()

    async def explain(self, model: Model, seen: Decoded, answer: Prediction, label: str | None) -> dict[str, Any]:
        """One element of /v1/explain; `label` is the class to explain, None for the most probable one."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, self._explained, model, seen, answer, label)

    def close(self) -> None:
        """End the thread; what waits is lost."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _read(self, photos: str) -> None:
        self._files = explaining.by_content(photos, Progress())

    def _explained(self, model: Model, seen: Decoded, answer: Prediction, label: str | None) -> dict[str, Any]:
        explainer = self._explainer(model)
        named = answer.ranked[0][0] if label is None else label
        small, embedding = explainer.look(seen.square, model.classes.index(named))
        assert seen.small is not None  # it was asked for
        overlay = explain.overlay(seen.small, explain.enlarged(small, explainer.size_px))
        return {
            "path": answer.path,
            "label": named,
            "probability": answer.probabilities[named],
            "prediction": answer.as_dict(),
            "heat_map": {
                "width": small.shape[1],
                "height": small.shape[0],
                "values": np.round(small.astype(np.float64), DECIMALS).tolist(),
            },
            "overlay": _data_url("png", overlay),
            "picture": _data_url("jpeg", seen.small),
            "nearest": [
                {
                    "content": each.content,
                    "label": each.label,
                    "similarity": each.similarity,
                    "thumbnail": self._thumbnail(self._files[each.content]) if each.content in self._files else None,
                }
                for each in explainer.nearest(embedding[None])[0]
            ],
            "error": None,
        }

    def _explainer(self, model: Model) -> Explainer:
        """The model's, made when it is first asked for; those of models that were replaced are let go."""
        found = self._explainers.get(id(model))
        if found is None:
            self._explainers = {key: kept for key, kept in self._explainers.items() if not kept[0].retired}
            found = self._explainers[id(model)] = (model, Explainer(model.bundle))
        return found[1]


def unexplained(answer: Prediction) -> dict[str, Any]:
    """The element of a picture that could not be read."""
    empty = dict.fromkeys(("label", "probability", "heat_map", "overlay", "picture"))
    return {"path": answer.path, **empty, "prediction": answer.as_dict(), "nearest": [], "error": answer.error}


def _thumbnail(path: str) -> str | None:
    pixels = drawings.thumbnail(path)
    return None if pixels is None else _data_url("jpeg", pixels)


def _data_url(kind: str, pixels: np.ndarray) -> str:
    """Pixels, uint8 (H, W, 3), as an address that holds them."""
    import cv2

    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if kind == "jpeg" else [cv2.IMWRITE_PNG_COMPRESSION, 3]
    done, content = cv2.imencode(f".{kind}", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), options)
    assert done
    return f"data:image/{kind};base64,{base64.b64encode(content.tobytes()).decode()}"
