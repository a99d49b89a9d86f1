"""The demo and the tutorial from end to end, on this machine."""

from __future__ import annotations

import csv
import difflib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from harpy.demo.cli import demo
from harpy.demo.comparison import (
    SCORES,
)
from harpy.demo.pictures import load_digits, load_photographs
from harpy.errors import ConfigError
from tests.support import ROOT

EXAMPLES = ROOT / "examples" / "scene_clustering"


def run_demo(*arguments: str) -> tuple[str, str]:
    pytest.importorskip("matplotlib", reason="needs matplotlib, of the demo extra")
    result = CliRunner().invoke(demo, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout, result.stderr


def test_demo_leaves_sheet_labels_and_report(tmp_path: Path) -> None:
    output = tmp_path / "new" / "output"
    stdout, _ = run_demo("--launcher", "local", "--n-node", "1", "--output", str(output))
    assert sorted(path.name for path in output.iterdir()) == [
        "contact-sheet.pdf",
        "contact-sheet.png",
        "labels.csv",
        "report.json",
    ]
    for words in (*SCORES, "scikit-learn", "DAALKMeans", "seconds", "labels.csv"):
        assert words in stdout
    with (output / "labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 1797
    assert {row["class"] for row in rows} == set(map(str, load_digits().class_names))
    assert {row["cluster of DAALKMeans"] for row in rows} == set(map(str, range(10)))


def test_demo_as_json_says_nothing_else_on_stdout(tmp_path: Path) -> None:
    stdout, stderr = run_demo(
        "--launcher", "local", "--n-node", "1", "--n-clusters", "4", "--json",
        "--output", str(tmp_path),
    )  # fmt: skip
    report = json.loads(stdout)
    assert report == json.loads((tmp_path / "report.json").read_text())
    ours, theirs = report["results"]["DAALKMeans"], report["results"]["scikit-learn"]
    assert ours["inertia"] == pytest.approx(theirs["inertia"], rel=1e-6)
    assert set(ours["scores"]) == set(SCORES)
    assert report["parameters"]["n_clusters"] == 4
    assert "1,797 handwritten digits" in stderr


def test_demo_refuses_an_output_that_is_a_file(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs matplotlib, of the demo extra")
    (tmp_path / "taken").touch()
    for output in (tmp_path / "taken", tmp_path / "taken" / "below"):
        result = CliRunner().invoke(demo, ["--output", str(output)])
        assert isinstance(result.exception, ConfigError)
        assert "taken is a file; choose another --output" in str(result.exception)


def test_demo_that_fails_leaves_no_output_folder(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs matplotlib, of the demo extra")
    arguments = ["--launcher", "local", "--n-clusters", "5000", "--output", str(tmp_path / "out")]
    result = CliRunner().invoke(demo, arguments)
    assert isinstance(result.exception, ConfigError)
    assert list(tmp_path.iterdir()) == []


def test_scenes_are_told_apart(shared_data: Path, tmp_path: Path) -> None:
    stdout, _ = run_demo(
        "--images", str(shared_data / "data" / "scenes"), "--launcher", "local", "--n-node", "1",
        "--json", "--output", str(tmp_path),
    )  # fmt: skip
    results = json.loads(stdout)["results"]
    assert results["DAALKMeans"]["scores"]["ARI"] >= 0.35
    assert results["scikit-learn"]["scores"]["ARI"] >= 0.35


def test_tutorial_programs_differ_in_a_few_lines() -> None:
    one, two = (
        (EXAMPLES / f"demo_kmeans_{name}.py").read_text().splitlines() for name in ("local", "daal")
    )
    changed = [line for line in difflib.ndiff(one, two) if line[0] in "+-"]
    assert len(changed) <= 10, changed
    assert any("DAALKMeans(" in line for line in changed)


def test_tutorial_prints_six_scores_in_a_line() -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "demo_kmeans_local.py")],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    header, line = done.stdout.splitlines()
    assert header.split()[2:] == list(SCORES)
    name, *values = line.split()
    assert name == "KMeans"
    assert all(0 < float(value) < 1 for value in values[2:])


def test_scenes_of_the_shared_data_are_read_whole(shared_data: Path) -> None:
    pictures = load_photographs(shared_data / "data" / "scenes")
    assert pictures.X.shape == (800, 50)
    assert np.bincount(pictures.classes).tolist() == [100] * 8
    assert not pictures.skipped
