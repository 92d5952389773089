"""fastdup: `fastdup.create(…).run()`, pairs from its own threshold for components on, invalid files, outliers.

    python benchmarks/peers/fastdup_twins.py PICTURES --json OUT

Its licence is for non-commercial use, so it is only ever run here, as a program of its own. It reports to Sentry unless
SENTRY_OPT_OUT is set, which it is.
"""

from __future__ import annotations

import tempfile

import lists

EXACT, NEAR = 0.9999, 0.96  # cosine similarity; 0.96 is its `ccthreshold`


def main() -> None:
    """A finding a pair; outliers in its order."""
    pictures, out = lists.asked(__doc__)

    import fastdup

    with tempfile.TemporaryDirectory(prefix="fastdup-") as work:
        run = fastdup.create(input_dir=str(pictures), work_dir=work)
        run.run(threshold=NEAR, ccthreshold=NEAR, overwrite=True)
        similar = run.similarity()
        invalid = run.invalid_instances()
        outliers = run.outliers()
    columns = ("filename_from", "filename_to", "distance")
    pairs = list(zip(*(similar[name] for name in columns), strict=True)) if len(similar) else []  # none has no columns
    found = lists.pairs("exact_duplicate", ((a, b) for a, b, likeness in pairs if likeness >= EXACT and a != b))
    found += lists.pairs("near_duplicate", ((a, b) for a, b, likeness in pairs if NEAR <= likeness < EXACT and a != b))
    found += [
        lists.finding("outlier", [path])
        for path in dict.fromkeys(outliers["filename_outlier"] if len(outliers) else ())
    ]
    found += [lists.finding("unreadable", [path]) for path in invalid["filename"]]
    lists.write(out, found, looks_for={"exact_duplicate", "near_duplicate", "unreadable", "outlier"})


if __name__ == "__main__":
    main()
