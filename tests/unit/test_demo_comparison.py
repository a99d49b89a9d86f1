"""Scores, the choice of pictures, and the contact sheet."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from harpy.demo.comparison import (
    SCORES,
    Outcome,
    Placement,
    compare,
    score,
    score_header,
    score_line,
)
from harpy.demo.contact_sheet import MAX_ROWS, choose_rows, draw_contact_sheet
from harpy.demo.pictures import PictureSet
from harpy.errors import ConfigError


def picture_set(X: np.ndarray, classes: list[int]) -> PictureSet:
    shade = np.linspace(0, 1, len(X))
    return PictureSet(
        name="shades",
        X=X,
        classes=np.array(classes),
        class_names=["dark", "bright"],
        picture=lambda index: np.full((8, 8), shade[index]),
        files=[f"{index}" for index in range(len(X))],
        features="one number",
    )


def outcome(labels: list[int], centers: np.ndarray) -> Outcome:
    return Outcome("test", np.array(labels), centers, 1.0, 2, 0.5, dict.fromkeys(SCORES, 0.5))


def test_perfect_clusters_score_one_whatever_their_numbers() -> None:
    X = np.array([[0.0], [0.0], [9.0], [9.0]])
    scores = score(X, np.array([0, 0, 1, 1]), np.array([1, 1, 0, 0]))
    assert list(scores) == list(SCORES)
    assert list(scores.values()) == [1.0] * 6


def test_one_cluster_is_complete_but_not_homogeneous() -> None:
    scores = score(np.eye(4), np.array([0, 0, 1, 1]), np.zeros(4, int))
    assert (scores["homogeneity"], scores["completeness"], scores["ARI"]) == (0, 1, 0)
    assert math.isnan(scores["silhouette"])


def test_six_scores_stand_in_one_line_below_their_names() -> None:
    scores = {name: 0.1 * number for number, name in enumerate(SCORES)}
    line, header = score_line("KMeans", 1.25, 1e6, scores), score_header()
    assert len(line) == len(header)
    assert line.split() == ["KMeans", "1.25s", "1e+06", "0.000", "0.100", "0.200", "0.300",
                            "0.400", "0.500"]  # fmt: skip
    assert header.split() == ["time", "inertia", *SCORES]


def test_row_shows_pictures_evenly_from_nearest_to_farthest() -> None:
    # Cluster 0 holds 0..4 around 0, cluster 1 the rest around 9; a bright one is in cluster 0.
    X = np.array([[0.0], [3.0], [1.0], [4.0], [2.0], [9.0], [8.0]])
    pictures = picture_set(X, [0, 0, 0, 1, 0, 1, 1])
    result = outcome([0, 0, 0, 0, 0, 1, 1], np.array([[0.0], [9.0], [50.0]]))
    first, second = choose_rows(pictures, result, per_cluster=3)
    assert (first.cluster, first.size, first.majority, first.n_majority) == (0, 5, 0, 4)
    assert first.chosen.tolist() == [0, 4, 3]  # at distances 0, 2 and 4 of 0..4
    assert (second.cluster, second.size, second.share) == (1, 2, 1.0)
    assert second.chosen.tolist() == [5, 6]


def test_only_the_largest_of_very_many_clusters_are_drawn() -> None:
    n_clusters = MAX_ROWS + 5
    labels = [*range(n_clusters), *range(MAX_ROWS)]
    X = np.arange(len(labels), dtype=float)[:, None]
    pictures = picture_set(X, [0] * len(X))
    rows = choose_rows(pictures, outcome(labels, np.zeros((n_clusters, 1))))
    assert {row.cluster for row in rows} == set(range(MAX_ROWS))


def test_contact_sheet_is_a_picture_and_a_document(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs matplotlib, of the demo extra")
    image = pytest.importorskip("PIL.Image", reason="needs pillow, of the demo extra")
    pictures = picture_set(np.arange(12.0)[:, None], [0] * 6 + [1] * 6)
    result = outcome([0] * 5 + [1] * 7, np.array([[2.0], [9.0]]))
    png, pdf = tmp_path / "sheet.png", tmp_path / "sheet.pdf"
    draw_contact_sheet(pictures, result, "a subtitle", [png, pdf])
    assert pdf.read_bytes().startswith(b"%PDF")
    with image.open(png) as sheet:
        pixels = np.asarray(sheet.convert("RGB")).astype(int)
    # Exactly one picture, of class dark in the bright cluster, is framed in red.
    red = (pixels[..., 0] > 180) & (pixels[..., 1] < 120) & (pixels[..., 2] < 130)
    columns, rows = np.flatnonzero(red.any(axis=0)), np.flatnonzero(red.any(axis=1))
    assert 100 < columns[-1] - columns[0] < 160
    assert 100 < rows[-1] - rows[0] < 190  # the frame and the caption below it


def test_same_clustering_gives_the_same_sheet(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs matplotlib, of the demo extra")
    pictures = picture_set(np.arange(4.0)[:, None], [0, 0, 1, 1])
    result = outcome([0, 0, 1, 1], np.array([[0.5], [2.5]]))
    for name in ("one.pdf", "two.pdf"):
        draw_contact_sheet(pictures, result, "", [tmp_path / name])
    assert (tmp_path / "one.pdf").read_bytes() == (tmp_path / "two.pdf").read_bytes()


def test_more_clusters_than_pictures_are_refused() -> None:
    pictures = picture_set(np.zeros((3, 1)), [0, 1, 1])
    with pytest.raises(ConfigError, match="4 clusters of 3 pictures"):
        compare(pictures, 4, Placement("local", 1, 1))
