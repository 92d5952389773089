"""Install a lock into the environment whose Python runs this, each file held to its hash.

    python tools/install.py LOCK [--project]

LOCK is a name in requirements/; --project adds this checkout, editable. Only the standard library is used, since
nothing else is there yet. pip fetches uv, by the hash in requirements/tools.txt, and uv the rest, side by side and
compiled on all cores: a third of pip's time. Where uv does not reach the index, pip does it all: uv does not know the
settings of pip that a mirror may need.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "requirements"
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
# No file that is built here: what builds it would not be locked.
EXACTLY = ["--require-hashes", "--no-deps", "--only-binary", ":all:"]


def bring_uv() -> str | None:
    """The path of uv in this environment, installed if it has to be; None where pip uses an index of its own."""
    settings = subprocess.run([*PIP, "config", "list"], capture_output=True, text=True, check=False).stdout
    if re.search(r"\.(index-url|no-index|proxy)=", settings):
        return None
    found = re.search(r"^uv==.*?(?=^\S|\Z)", (FOLDER / "tools.txt").read_text(), flags=re.M | re.S)
    assert found, "requirements/tools.txt must have uv; run: make lock"
    with tempfile.TemporaryDirectory() as folder:
        only = Path(folder, "uv.txt")
        only.write_text(found[0])
        done = subprocess.run([*PIP, "install", *EXACTLY, "-r", str(only)], check=False)
    return str(Path(sys.executable).with_name("uv")) if done.returncode == 0 else None


def install(lock: Path, uv: str | None) -> None:
    """The distributions of a lock, by uv or else by pip."""
    if uv:
        # The machine's own certificates, as pip may have been told to use them.
        command = [uv, "pip", "install", "--quiet", "--system-certs", "--compile-bytecode", "--python", sys.executable]
        if subprocess.run([*command, *EXACTLY, "-r", str(lock)], check=False).returncode == 0:
            return
        sys.stderr.write("uv could not install; pip does it instead.\n")
    subprocess.run([*PIP, "install", *EXACTLY, "-r", str(lock)], check=True)


def main() -> None:
    """Install, and end with pip's own status where it fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lock", metavar="LOCK", help="a name in requirements/, without .txt")
    parser.add_argument("--project", action="store_true", help="install this checkout too, editable")
    options = parser.parse_args()
    if sys.prefix == sys.base_prefix:
        sys.exit("tools/install.py must be run by the Python of a virtual environment. Run: make setup")
    try:
        install(FOLDER / f"{options.lock}.txt", bring_uv())
        if options.project:
            subprocess.run([*PIP, "install", "--no-deps", "--no-build-isolation", "-e", str(ROOT)], check=True)
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)


if __name__ == "__main__":
    main()
