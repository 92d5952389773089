"""Whatever call to the disk fails, wherever a command is killed: nothing half, nothing lost, a second run is whole.

All calls and kinds of fault are tried by `benchmarks/faults.py`; here some of them.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forks, and looks into /proc")
PLAN = Path(__file__).parent / "faultplan.py"
SOME = {
    **{"predict": 3, "sort": 3, "apply": 6, "apply-links": 3, "apply-again": 8},
    **{"check": 1, "report": 1, "export": 1, "explain": 1, "clear": 6},
}


def test_whatever_fails_at_the_disk_results_are_whole_or_not_there(bundle_path: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(PLAN.parent)])}
    asked = [f"--scene={name}:{some}" for name, some in SOME.items()]
    command = [sys.executable, str(PLAN), str(bundle_path), str(tmp_path), *asked]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=500)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert {each["scene"]: each["failed"] for each in told} == dict.fromkeys(SOME, 0)
    assert all(each["runs"] >= max(1, min(SOME[each["scene"]], each["calls"]) - 1) for each in told)
    assert sum(each["calls"] for each in told) > 200
