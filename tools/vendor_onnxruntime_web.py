"""Fetch ONNX Runtime Web from npm and keep what the web export needs of it, compressed, in the repository.

`make vendor` runs it: `npm pack` brings the package of the version below, two of its files are kept as .xz, and
`vendored.json` says version, sizes and SHA-256 of each. Licence and notices are those of the onnxruntime wheel: the npm
package has neither, and both are built from the same sources.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import lzma
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

VERSION = "1.30.0"
HERE = Path(__file__).resolve().parent.parent
FOLDER = HERE / "src" / "tellapart" / "export" / "vendor"
# The ES module with its loader inside, and the WebAssembly that it loads: no WebGPU, no WebGL.
FILES = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")
NOTICES = {"LICENSE": "onnxruntime/LICENSE", "ThirdPartyNotices.txt": "onnxruntime/ThirdPartyNotices.txt"}


def main() -> None:
    contents = notices()
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["npm", "pack", "--silent", f"onnxruntime-web@{VERSION}"], cwd=folder, check=True)
        (archive,) = Path(folder).glob("*.tgz")
        integrity = hashlib.sha256(archive.read_bytes()).hexdigest()
        with tarfile.open(archive) as tar:
            for name in FILES:
                member = tar.extractfile(f"package/dist/{name}")
                assert member is not None, name
                # The last line of the module names a file of debugging information that is not kept.
                lines = member.read().split(b"\n//# sourceMappingURL=") if name.endswith(".mjs") else [member.read()]
                contents[name] = lines[0] + (b"\n" if len(lines) > 1 else b"")
    FOLDER.mkdir(parents=True, exist_ok=True)
    files = {}
    for name, content in contents.items():
        sys.stdout.write(f"{name}: {len(content):,} bytes\n")
        filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME}]
        (FOLDER / f"{name}.xz").write_bytes(lzma.compress(content, filters=filters))
        files[name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    what = {
        "package": "onnxruntime-web",
        "version": VERSION,
        "licence": "MIT",
        "source": f"https://registry.npmjs.org/onnxruntime-web/-/onnxruntime-web-{VERSION}.tgz",
        "source_sha256": integrity,
        "files": files,
    }
    (FOLDER / "vendored.json").write_text(json.dumps(what, indent=1) + "\n")


def notices() -> dict[str, bytes]:
    """Licence and notices of third parties, from the installed wheel."""
    found = {}
    for name, path in NOTICES.items():
        for file in importlib.metadata.files("onnxruntime") or ():
            if str(file) == path:
                found[name] = file.read_binary()
    if set(found) != set(NOTICES):
        sys.exit("The onnxruntime wheel must hold LICENSE and ThirdPartyNotices.txt. Install onnxruntime, try again.")
    return found


if __name__ == "__main__":
    main()
