"""imagededup by a network: `CNN().find_duplicates`, a cosine similarity of at least 0.9, its default.

    python benchmarks/peers/imagededup_cnn.py PICTURES --json OUT

Its own MobileNetV3 is downloaded, which needs a network; its way for another network, `CustomModel`, is given the
EfficientNet-Lite0 of a PyPI wheel at 224 px instead.
"""

from __future__ import annotations

import lists
import torch_features

EXACT = 0.9999  # similarity from which a pair is called exact here


def main() -> None:
    """A finding a pair; what it did not encode is what it could not read."""
    pictures, out = lists.asked(__doc__)

    import numpy as np
    import torch
    from imagededup.methods import CNN
    from imagededup.utils import CustomModel

    model, weights = torch_features.lite(0)

    def pixels(image):
        return torch.from_numpy(np.array(image.convert("RGB").resize((224, 224)))).permute(2, 0, 1).float()

    class Detached(torch.nn.Module):
        """Without gradients, as `CNN` does not ask for that itself."""

        @torch.inference_mode()
        def forward(self, x):
            return model(x)

    method = CNN(verbose=False, model_config=CustomModel(name="lite0", model=Detached(), transform=pixels))
    encoded = method.encode_images(image_dir=pictures, recursive=True)
    near = method.find_duplicates(encoding_map=encoded, scores=True)
    pairs = [(name, other, likeness) for name, others in near.items() for other, likeness in others]
    found = lists.pairs("exact_duplicate", ((a, b) for a, b, likeness in pairs if likeness >= EXACT))
    found += lists.pairs("near_duplicate", ((a, b) for a, b, likeness in pairs if likeness < EXACT))
    missing = [str(each) for each in lists.files(pictures) if each.relative_to(pictures).as_posix() not in encoded]
    lists.write(
        out,
        found,
        looks_for={"exact_duplicate", "near_duplicate", "unreadable"},
        skipped=[(path, "not encoded") for path in missing],
        notes=[f"the network is {weights} instead of its own, which would be downloaded"],
    )


if __name__ == "__main__":
    main()
