"""CleanVision as its guide has it: `Imagelab(data_path=…).find_issues()`, every setting its own.

    python benchmarks/peers/cleanvision_issues.py PICTURES --json OUT

It knows no labels. A broken file ends it, so where that happens it is run once more on the files that Pillow reads,
which is noted and timed.
"""

from __future__ import annotations

import lists


def main() -> None:
    """Findings of both kinds of twins; all else that it looks for is `odd`."""
    pictures, out = lists.asked(__doc__)

    from cleanvision import Imagelab

    notes = []
    try:
        lab = Imagelab(data_path=str(pictures))
        lab.find_issues()
    except Exception as error:
        notes.append(f"ended by {type(error).__name__}: {error}; run again without the files that Pillow cannot read")
        lab = Imagelab(filepaths=[str(each) for each in lists.readable(lists.files(pictures))])
        lab.find_issues()
    found = []
    for kind, issue in (("exact_duplicate", "exact_duplicates"), ("near_duplicate", "near_duplicates")):
        found += [lists.finding(kind, group) for group in lab.info[issue]["sets"]]
    for column in lab.issues.columns:
        if column.startswith("is_") and not column.endswith("duplicates_issue"):
            flagged = lab.issues.index[lab.issues[column]]
            if len(flagged):
                found.append(lists.finding("odd", flagged, column[3:-6]))
    lists.write(out, found, looks_for={"exact_duplicate", "near_duplicate"}, notes=notes)


if __name__ == "__main__":
    main()
