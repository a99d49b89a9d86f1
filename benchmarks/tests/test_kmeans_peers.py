"""benchmarks/kmeans_peers.py: its arithmetic by hand, and that it runs. Nothing here is timed."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from peers import clock, data
from peers.clock import Timings, interleave
from peers.data import Shape
from peers.libraries import SitsOut
from peers.marks import Cell, Summary

from tests.support import ROOT


def cell(seconds: dict[str, float], **changes: object) -> Cell:
    usual = {
        "mode": "iterations",
        "kind": "overlapping",
        "dtype": "float32",
        "name": "1000x10k10",
        "seconds": {name: [taken + 1.0, taken] for name, taken in seconds.items()},
        "exact": frozenset({"a", "b"}),
        "flops": 1e9,
    }
    return Cell(**{**usual, **changes})


def test_the_best_exact_peer_counts() -> None:
    measured = cell({"harpy": 2.0, "a": 8.0, "b": 6.0, "inexact": 1.0})
    assert (measured.best_peer, measured.ratio, measured.bar) == ("b", 3.0, 1.5)
    assert measured.misses == []


@pytest.mark.parametrize(
    ("peak", "bar"),
    # 1 GFLOP takes 2.5 s at 0.4 GFLOP/s: 0.85 · 3 s / 2.5 s = 1.02; at 4 GFLOP/s 10.2.
    [(None, 1.5), (0.4, 1.02), (4.0, 1.5)],
)
def test_a_peer_near_the_peak_lowers_what_is_asked(peak: float | None, bar: float) -> None:
    measured = cell({"harpy": 2.5, "a": 3.0}, peak=peak)
    assert measured.bar == pytest.approx(bar)
    assert bool(measured.misses) == (measured.ratio < bar)


def test_other_data_ask_for_no_more_than_a_draw() -> None:
    slow = cell({"harpy": 2.0, "a": 1.9}, kind="uniform", peak=0.01)
    assert slow.bar == 1.0
    assert slow.misses == ["0.95 of a, asked 1.00"]


def test_flat_superkmeans_is_a_mark_on_its_two_shapes() -> None:
    seconds = {"harpy": 2.0, "a": 9.0, "superkmeans": 1.0}
    assert cell(seconds).misses == []
    assert cell(seconds, name="100000x768k1000").misses == ["0.50 of superkmeans, asked 1.00"]


def test_sparse_rows_are_judged_beside_scikit_learn_and_nobody_may_be_faster() -> None:
    names = {"exact": frozenset({"scikit-learn", "sklearnex"}), "mode": "sparse", "kind": "text"}
    ahead = cell({"harpy": 1.0, "scikit-learn": 3.0, "sklearnex": 1.5}, **names)
    assert (ahead.best_peer, ahead.ratio, ahead.misses) == ("scikit-learn", 3.0, [])
    behind = cell({"harpy": 1.0, "scikit-learn": 3.0, "sklearnex": 0.5}, **names)
    assert behind.misses == ["0.50 of sklearnex, asked 1.00"]


def test_a_summary_takes_the_geometric_mean() -> None:
    cells = [cell({"harpy": 1.0, "a": 2.0}), cell({"harpy": 1.0, "a": 8.0}), cell({"a": 1.0})]
    summary = Summary.of(cells)
    assert summary is not None
    assert (summary.mean, summary.least, summary.reached) == (pytest.approx(4.0), 2.0, True)
    assert Summary.of(cells[2:]) is None


def test_different_results_are_noted() -> None:
    notes = cell(
        {"harpy": 1.0, "a": 2.0},
        n_iter={"harpy": 10, "a": 9},
        inertia={"harpy": 2.0, "a": 2.1, "b": 2.0001},
    ).notes
    assert notes == ["iterations: harpy 10, a 9", "inertia of a is 1.0500 of harpy's"]


def test_later_calls_see_the_results_of_earlier_ones_and_may_sit_out(monkeypatch) -> None:
    monkeypatch.setattr(clock, "SETTLE_S", 0.0)

    def refuse(_: Timings) -> None:
        raise SitsOut("not today")

    timings = interleave(
        {"a": lambda _: 7, "b": lambda timings: timings.results["a"] + 1, "c": refuse}, 2, "a"
    )
    assert timings.results == {"a": 7, "b": 8}
    assert timings.absent == {"c": "not today"}
    assert set(timings.seconds) == {"a", "b"}


def test_shapes_are_read_as_they_are_written() -> None:
    assert str(Shape.parse("1,000,000x2 k=1000")) == "1000000x2k1000"
    with pytest.raises(ValueError, match="500000x32k256"):
        Shape.parse("12 by 3")


@pytest.mark.parametrize(("kind", "spread"), [("overlapping", 1.0), ("separated", 0.1)])
def test_blobs_spread_as_far_as_their_name_says(kind: str, spread: float) -> None:
    # Of all rows the variance is that of the centers (1 a column) and that of the spread: with
    # centers sqrt(2·d) apart, an RMS distance of spread·sqrt(2·d), 2·spread² a column.
    X = data.draw(Shape(4000, 256, 300), kind, "float64", 1).X
    assert X.var() == pytest.approx(1 + 2 * spread**2, rel=0.03)


@pytest.mark.parametrize("kind", data.DRAWN)
def test_starts_are_distinct_rows_and_float32_is_float64_rounded(kind: str) -> None:
    wide, narrow = (data.draw(Shape(500, 3, 20), kind, t, 5) for t in ("float64", "float32"))
    assert np.array_equal(wide.X.astype("float32"), narrow.X)
    assert len({row.tobytes() for row in narrow.starts}) == 20
    assert {row.tobytes() for row in narrow.starts} <= {row.tobytes() for row in narrow.X}


def test_the_text_collection_has_unit_rows_of_about_eighty_words() -> None:
    X = data.text_collection(Shape(2000, 30_000, 20), "float64", 3).X
    assert 75 < X.nnz / X.shape[0] < 85
    assert np.allclose(X.power(2).sum(axis=1), 1.0)


def test_it_compares_the_same_work_and_writes_what_it_saw(tmp_path) -> None:
    path = tmp_path / "found.json"
    command = [sys.executable, ROOT / "benchmarks" / "kmeans_peers.py", "--json", path]
    command += ["--shape", "400x6k5", "--dtype", "float32", "--repeat", "1", "--library", "harpy"]
    command += ["--library", "scikit-learn", "--mode", "iterations", "--mode", "predict"]
    command += ["--mode", "memory"]
    # Without a compiler the machine's peak is left out, said in a line.
    environment = os.environ | {"CXX": "no-such-compiler"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=240)
    assert done.returncode == 0, done.stderr
    assert "no compiler 'no-such-compiler'" in done.stdout
    found = json.loads(path.read_text())
    assert len(found["cells"]) == 2
    for measured in found["cells"]:
        assert set(measured["seconds"]) == {"harpy", "scikit-learn"}
        assert measured["best_peer"] == "scikit-learn"
        assert measured["notes"] == []
        fits = measured["mode"] == "iterations"
        assert len(measured["n_iter"]) == len(measured["inertia"]) == 2 * fits
    assert [finding["what"] for finding in found["findings"]] == ["memory"]
