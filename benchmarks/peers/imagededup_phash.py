"""imagededup's perceptual hash: `PHash().find_duplicates`, a Hamming distance of at most 10 bits of 64, its default.

    python benchmarks/peers/imagededup_phash.py PICTURES --json OUT

It tells exact copies from near ones no more than by a distance of 0, which is what they are called here.
"""

from __future__ import annotations

import lists


def main() -> None:
    """A finding a pair; what it did not hash is what it could not read."""
    pictures, out = lists.asked(__doc__)

    from imagededup.methods import PHash

    method = PHash(verbose=False)
    hashes = method.encode_images(image_dir=pictures, recursive=True)
    near = method.find_duplicates(encoding_map=hashes, scores=True)
    pairs = [(name, other, distance) for name, others in near.items() for other, distance in others]
    found = lists.pairs("exact_duplicate", ((a, b) for a, b, distance in pairs if distance == 0))
    found += lists.pairs("near_duplicate", ((a, b) for a, b, distance in pairs if distance > 0))
    missing = [str(each) for each in lists.files(pictures) if each.relative_to(pictures).as_posix() not in hashes]
    lists.write(
        out,
        found,
        looks_for={"exact_duplicate", "near_duplicate", "unreadable"},
        skipped=[(path, "not hashed") for path in missing],
    )


if __name__ == "__main__":
    main()
