"""`harpy kmeans`: one line about bad input with its file, models that predict what they learned."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest


def harpy_kmeans(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "harpy.cli", "kmeans", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=cwd)


@pytest.fixture
def rows(tmp_path: Path) -> np.ndarray:
    rows = np.random.default_rng(0).normal(size=(60, 3))
    np.save(tmp_path / "rows.npy", rows)
    return rows


def test_model_predicts_the_labels_it_learned(tmp_path: Path, rows: np.ndarray) -> None:
    options = ["--n-clusters", "4", "--random-state", "0", "--launcher", "local"]
    fit = harpy_kmeans("fit", "rows.npy", *options, "--output", "model", cwd=tmp_path)
    assert fit.returncode == 0, fit.stderr
    assert json.loads(fit.stdout)["n_rows"] == len(rows)
    labels = np.load(tmp_path / "model" / "labels.npy")
    predicted = harpy_kmeans("predict", "model", "rows.npy", cwd=tmp_path)
    assert predicted.stdout.split() == [str(label) for label in labels]


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (np.array([[1.0, np.nan]] * 20), "bad.npy: Input X contains NaN."),
        (np.arange(5.0), "bad.npy: Expected 2D array, got 1D array instead"),
        (np.zeros((3, 2)), "bad.npy: n_samples=3 should be >= n_clusters=10."),
    ],
)
def test_bad_rows_are_named_with_their_file(tmp_path: Path, bad: np.ndarray, words: str) -> None:
    np.save(tmp_path / "bad.npy", bad)
    fit = harpy_kmeans("fit", "bad.npy", "--launcher", "local", cwd=tmp_path)
    assert fit.returncode == 2
    assert fit.stderr.startswith(f"harpy: {words}")
    assert "Traceback" not in fit.stderr


def test_file_that_is_no_array_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.npy").write_text("hello")
    fit = harpy_kmeans("fit", "text.npy", cwd=tmp_path)
    assert (fit.returncode, fit.stdout) == (2, "")
    assert fit.stderr.startswith("harpy: text.npy is not a .npy file")


def test_taken_output_is_refused_before_any_work(tmp_path: Path, rows: np.ndarray) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine").touch()
    fit = harpy_kmeans("fit", "rows.npy", "--output", "model", cwd=tmp_path)
    assert fit.returncode == 3
    assert "model exists and is not an empty directory" in fit.stderr
