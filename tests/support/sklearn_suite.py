"""Runs the installed scikit-learn's own tests of KMeans on DAALKMeans.

They run in a process of their own, in which swapped_kmeans.py puts a subclass of DAALKMeans into
KMeans's place: only signature and defaults are KMeans's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sklearn

from tests.support import ROOT

SKLEARN = Path(sklearn.__file__).parent
DEADLINE_S = 280
# The deviations: what these assert is no part of the contract. What they promise is asserted of
# DAALKMeans by tests/parity/test_kmeans_weights.py.
LEFT_OUT = {
    "cluster/tests/test_k_means.py::test_sample_weight_init": "calls the private _init_centroids",
    "cluster/tests/test_k_means.py::test_sample_weight_zero": "calls the private _init_centroids",
}


@dataclass(frozen=True)
class SuiteResult:
    """What became of the tests, by their ids."""

    passed: list[str]
    failed: list[str]
    fitting: list[str]  # those in which a KMeans of ours was fitted
    output: str


def run_suite(
    tests: Sequence[str],
    folder: Path,
    session: Mapping[str, Any] | None = None,
    float32: bool = True,
) -> SuiteResult:
    """Run what files of scikit-learn's suite have on KMeans.

    Parameters
    ----------
    tests : sequence of str
        Files below sklearn/, or tests in them as pytest names them.
    folder : Path
        Empty: where the tests run, and their report is written.
    session : mapping, optional
        Parameters of a harpy.Session that all fits share; None: they run inside the process.
    float32 : bool
        Whether tests for any dtype run with float32, too.
    """
    report = folder / "report.json"
    options = ["-q", "--tb=short", "-W", "ignore", "-c", os.devnull, f"--rootdir={SKLEARN}"]
    options += ["-p", "tests.support.swapped_kmeans", "-p", "no:cacheprovider"]
    options += [f"--deselect={test}" for test in LEFT_OUT]
    settings = {
        "PYTHONPATH": str(ROOT),
        "HARPY_SUITE_REPORT": str(report),
        "SKLEARN_RUN_FLOAT32_TESTS": str(int(float32)),
        "OPENBLAS_NUM_THREADS": "1",  # its threads and OpenMP's would wait for each other's cores
    }
    if session is not None:
        settings["HARPY_SUITE_SESSION"] = json.dumps(session)
    finished = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *(str(SKLEARN / test) for test in tests)],
        cwd=folder,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    output = finished.stdout + finished.stderr
    assert report.exists(), output
    said = json.loads(report.read_text())
    failed = said.get("failed", []) + said.get("error", [])
    assert (finished.returncode == 0) == (not failed), output
    return SuiteResult(said.get("passed", []), failed, said["fitting"], output)
