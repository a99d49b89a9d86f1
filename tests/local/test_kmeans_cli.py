"""`harpy kmeans`: one line about bad input with its file, models that predict what they learned."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harpy import DAALKMeans
from tests.support.rows.files import DENSE_FORMS, write_files


def harpy_kmeans(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "harpy.cli", "kmeans", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=cwd)


@pytest.fixture
def rows(tmp_path: Path) -> np.ndarray:
    rows = np.random.default_rng(0).normal(size=(60, 3))
    np.save(tmp_path / "rows.npy", rows)
    return rows


OPTIONS = ["--n-clusters", "4", "--random-state", "0", "--launcher", "local"]


def test_model_predicts_the_labels_it_learned(tmp_path: Path, rows: np.ndarray) -> None:
    places = ["--model", "model", "--output", "labels.npy"]
    fit = harpy_kmeans("fit", "rows.npy", *OPTIONS, *places, cwd=tmp_path)
    assert fit.returncode == 0, fit.stderr
    assert json.loads(fit.stdout)["n_rows"] == len(rows)
    assert fit.stderr.splitlines() == ["wrote model", "wrote labels.npy"]
    labels = np.load(tmp_path / "labels.npy")
    predicted = harpy_kmeans("predict", "model", "rows.npy", cwd=tmp_path)
    assert predicted.stdout.split() == [str(label) for label in labels]
    model = DAALKMeans.load(tmp_path / "model")
    np.testing.assert_array_equal(model.predict(rows), labels)


def test_files_are_labelled_where_they_lie(tmp_path: Path, rows: np.ndarray) -> None:
    folder = write_files(tmp_path / "rows", rows, DENSE_FORMS["parquet"])
    chosen = ["--columns", "c2,c0", "--n-node", "2"]
    places = ["--model", f"file://{tmp_path}/model", "--output", "labels"]
    fit = harpy_kmeans("fit", "rows/*.parquet", *OPTIONS, *chosen, *places, cwd=tmp_path)
    assert fit.returncode == 0, fit.stderr
    expected = DAALKMeans(4, random_state=0, launcher="local").fit(rows[:, [2, 0]])
    summary = json.loads(fit.stdout)
    assert (summary["inertia"], summary["n_rows"]) == (expected.inertia_, len(rows))
    np.testing.assert_array_equal(expected.fetch_labels(tmp_path / "labels"), expected.labels_)
    # Of a model that knows the names of its columns nobody needs to say them again.
    files = [str(path) for path in sorted(folder.iterdir())]
    predicted = harpy_kmeans("predict", "model", *files, "--launcher", "local", cwd=tmp_path)
    assert predicted.stdout.split() == [str(label) for label in expected.labels_]
    left = ["--launcher", "local", "--output", "again"]
    predicted = harpy_kmeans("predict", "model", "rows", *left, cwd=tmp_path)
    assert (predicted.stdout, predicted.stderr) == ("", f"wrote file://{tmp_path}/again\n")
    np.testing.assert_array_equal(expected.fetch_labels(tmp_path / "again"), expected.labels_)


def test_columns_that_are_named_like_numbers_are_found(tmp_path: Path, rows: np.ndarray) -> None:
    table = pa.table({str(number): column for number, column in enumerate(rows.T)})
    pq.write_table(table, tmp_path / "rows.parquet")  # as pandas names those of an array
    fit = harpy_kmeans("fit", "rows.parquet", *OPTIONS, "--columns", "2,0", cwd=tmp_path)
    expected = DAALKMeans(4, random_state=0, launcher="local").fit(rows[:, [2, 0]])
    assert json.loads(fit.stdout)["inertia"] == expected.inertia_


def test_what_a_fetched_job_left_can_predict(tmp_path: Path, rows: np.ndarray) -> None:
    model = DAALKMeans(4, random_state=0, launcher="local").fit(rows)
    (tmp_path / "fetched").mkdir()
    np.save(tmp_path / "fetched" / "cluster_centers.npy", model.cluster_centers_)
    predicted = harpy_kmeans("predict", "fetched", "rows.npy", cwd=tmp_path)
    assert predicted.stdout.split() == [str(label) for label in model.labels_]


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


@pytest.mark.parametrize(
    ("option", "words"),
    [("--model", "exists and is no saved model"), ("--output", "taken exists")],
)
def test_taken_places_are_refused_before_any_work(
    tmp_path: Path, rows: np.ndarray, option: str, words: str
) -> None:
    (tmp_path / "taken").touch()
    # More clusters than rows would be the error of the work.
    fit = harpy_kmeans("fit", "rows.npy", "--n-clusters", "99", option, "taken", cwd=tmp_path)
    assert (fit.returncode, fit.stdout) == (3, "")
    assert words in fit.stderr


def test_what_is_missing_is_named_with_the_next_step(tmp_path: Path, rows: np.ndarray) -> None:
    fit = harpy_kmeans("fit", "none/*.parquet", *OPTIONS, cwd=tmp_path)
    assert (fit.returncode, fit.stdout) == (3, "")
    assert "none/*.parquet matches no file" in fit.stderr
    predict = harpy_kmeans("predict", "model", "rows.npy", cwd=tmp_path)
    assert (predict.returncode, predict.stdout) == (3, "")
    assert f"no model at file://{tmp_path}/model" in predict.stderr
