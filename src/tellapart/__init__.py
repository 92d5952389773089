"""Folders of labelled pictures in; an image classifier that you can trust, explain and ship out.

>>> import tellapart
>>> model = tellapart.train("photos/")  # doctest: +SKIP
>>> model.predict("cat.jpg")  # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tellapart.api import Datasets, check, datasets, plan, train
    from tellapart.classifier import Classifier, load
    from tellapart.cleaning import apply
    from tellapart.compare import Comparison
    from tellapart.errors import TellapartError
    from tellapart.evaluation import Evaluation
    from tellapart.findings import Finding, Findings
    from tellapart.policies import Augmentation
    from tellapart.predict import Prediction
    from tellapart.reporting import report
    from tellapart.sheets import sheet, show_augment
    from tellapart.tuning import tune

__version__ = "0.1.0"
__all__ = [
    "Augmentation",
    "Classifier",
    "Comparison",
    "Datasets",
    "Evaluation",
    "Finding",
    "Findings",
    "Prediction",
    "TellapartError",
    "__version__",
    "apply",
    "check",
    "datasets",
    "load",
    "plan",
    "report",
    "sheet",
    "show_augment",
    "train",
    "tune",
]

_HOMES = {
    "Augmentation": "policies",
    "Classifier": "classifier",
    "Comparison": "compare",
    "Datasets": "api",
    "Evaluation": "evaluation",
    "Finding": "findings",
    "Findings": "findings",
    "Prediction": "predict",
    "TellapartError": "errors",
    "apply": "cleaning",
    "check": "api",
    "datasets": "api",
    "load": "classifier",
    "plan": "api",
    "report": "reporting",
    "sheet": "sheets",
    "show_augment": "sheets",
    "train": "api",
    "tune": "tuning",
}


def __getattr__(name: str) -> Any:
    """Load a public name at its first use, so that `import tellapart` costs next to nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'tellapart' has no attribute {name!r}")
    return getattr(importlib.import_module(f"tellapart.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
