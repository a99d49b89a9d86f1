"""benchmarks/seeding.py runs and compares both seedings; nothing here is timed."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.support import ROOT


def test_it_compares_both_seedings_and_writes_what_it_saw(tmp_path) -> None:
    path = tmp_path / "found.json"
    command = [sys.executable, ROOT / "benchmarks" / "seeding.py", "--json", path]
    command += ["--shape", "400x6k5", "--seeds", "2", "--dtype", "float32"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (cell,) = json.loads(path.read_text())["cells"]
    assert set(cell["samples"]) == {"k-means++", "k-means||"}
    for runs in cell["samples"].values():
        assert len(runs) == 2
        assert all(run["inertia_iterated"] < run["inertia_seeded"] for run in runs)
    for method, medians in cell["medians"].items():
        both = [run["inertia_seeded"] for run in cell["samples"][method]]
        assert medians["inertia_seeded"] == sum(both) / 2
