"""cleanlab's Datalab as its guide for pictures has it: features, out-of-sample probabilities, and CleanVision inside.

    python benchmarks/peers/cleanlab_issues.py PICTURES --json OUT

Features are EfficientNet-Lite0's of a PyPI wheel at 224 px in plain torch; probabilities are scikit-learn's
`LogisticRegression` on standardised features by `cross_val_predict`, five folds. Then `Datalab(…, image_key="image")
.find_issues(features=…, pred_probs=…)`, every setting its own. A broken file ends it, so it gets what Pillow reads.
"""

from __future__ import annotations

import lists
import torch_features

SPLITS = {"train", "validation", "test"}


def main() -> None:
    """Labels and outliers by rising score; twins by its groups; a cue by its score below the threshold."""
    pictures, out = lists.asked(__doc__)

    import numpy as np
    import torch
    from cleanlab import Datalab
    from datasets import Dataset, Features, Image, Value
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    import contract

    torch.set_num_threads(contract.cores())
    paths = lists.readable(lists.files(pictures))
    ways = [path.relative_to(pictures).parts for path in paths]
    labels = [way[1] if way[0] in SPLITS else way[0] for way in ways]
    model, _ = torch_features.lite(0)
    features = torch_features.features_of(model, paths, 224)
    head = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=1000))
    probabilities = cross_val_predict(head, features, labels, cv=5, method="predict_proba")
    rows = {"image": [str(path) for path in paths], "label": labels}
    data = Dataset.from_dict(rows, features=Features({"image": Image(), "label": Value("string")}))
    lab = Datalab(data=data, label_name="label", image_key="image", verbosity=0)
    lab.find_issues(features=features, pred_probs=probabilities)

    found = []
    for kind, issue in (("wrong_label", "label"), ("outlier", "outlier")):
        table = lab.get_issues(issue)
        table = table[table[f"is_{issue}_issue"]].sort_values(f"{issue}_score", kind="stable")
        found += [lists.finding(kind, [paths[i]]) for i in table.index]
    groups = lab.get_issues("near_duplicate")
    groups = groups[groups["is_near_duplicate_issue"]]
    pairs = [(i, int(j)) for i, some in zip(groups.index, groups["near_duplicate_sets"], strict=True) for j in some]
    exact = {(i, j) for i, j in pairs if np.array_equal(features[i], features[j])}
    for kind, some in (("exact_duplicate", exact), ("near_duplicate", set(pairs) - exact)):
        found += lists.pairs(kind, ((str(paths[i]), str(paths[j])) for i, j in some if i != j))
    for issue in ("exact_duplicates", "near_duplicates"):  # CleanVision's
        groups = lab.info.get(issue, {}).get("sets", ())
        kind = issue.removesuffix("s")
        found += [lists.finding(kind, [paths[int(i)] for i in group]) for group in groups]
    said = lab.info.get("spurious_correlations", {})
    cues = said.get("correlations_df")
    if cues is not None:
        for name, value in zip(cues["property"], cues["score"], strict=True):
            if value < said.get("threshold", 0.3):
                found.append(lists.finding("shortcut", [], f"{name} (score {value:.2f})"))
    looks_for = {"wrong_label", "outlier", "exact_duplicate", "near_duplicate", "shortcut"}
    lists.write(out, found, looks_for=looks_for, notes=["files that Pillow cannot read were taken out before"])


if __name__ == "__main__":
    main()
