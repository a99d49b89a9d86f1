"""benchmarks/spark_mllib.py: its arithmetic by hand, and how a fit by another process is judged."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest
import spark_mllib
from spark_mllib import Comparison, Fit


def comparison(fits: dict[str, dict[int, list[Fit]]]) -> Comparison:
    options = argparse.Namespace(few=5, iterations=20)
    made = Comparison(options, fs=None, base="")
    made.fits = fits
    return made


def test_an_iteration_is_the_difference_of_the_best_fits() -> None:
    few = [Fit(9.0, 11.0, 5, 1.0), Fit(8.0, 9.0, 5, 1.0)]
    many = [Fit(38.0, 40.0, 20, 1.0), Fit(50.0, 51.0, 20, 1.0)]
    measured = comparison({"harpy": {5: few, 20: many}, "slow": {5: few}})
    assert measured.best("harpy", 5) == few[1]
    assert measured.per_iteration("harpy") == (38.0 - 8.0) / 15
    assert measured.per_iteration("slow") is None


def child(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    (folder / "child.py").write_text(f"import json, sys\ntask = json.loads(sys.argv[1])\n{body}\n")
    monkeypatch.setattr(spark_mllib, "CHILDREN", folder)


def test_a_fit_counts_from_the_start_of_its_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: dict[str, Any] = {"fitted_at": 102.0, "written_at": 103.0, "n_iter": 7, "inertia": 4.0}
    child(tmp_path, monkeypatch, f"print('other words')\nprint('''{json.dumps(found)}''')")
    monkeypatch.setattr(spark_mllib.time, "time", lambda: 100.0)
    assert spark_mllib.fit("child.py", {"n_iter": 7}) == Fit(2.0, 3.0, 7, 4.0)
    with pytest.raises(SystemExit, match=r"child\.py made 7 iterations, not 20"):
        spark_mllib.fit("child.py", {"n_iter": 20})


def test_a_fit_that_fails_ends_the_comparison_with_its_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child(tmp_path, monkeypatch, "sys.exit('no such queue')")
    with pytest.raises(SystemExit, match=r"child\.py ended with 1:\nno such queue"):
        spark_mllib.fit("child.py", {"n_iter": 7})
