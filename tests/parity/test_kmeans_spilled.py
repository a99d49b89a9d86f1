"""Rows that are read block by block from a local file: the bits of rows in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harpy import DAALKMeans, Session
from harpy.errors import DataError
from harpy.kernels import kmeans as kernels
from harpy.kernels.kmeans import backend_for, blocked
from harpy.program.context import ArrayRows
from harpy.storage import SpilledRows
from harpy.storage.rows import spill
from tests.support.gangs.threads import run_gang
from tests.support.rows.hostile import DTYPES, hostile_data

N_CLUSTERS = 8


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 64 rows, and so many that rows of hostile data make eleven, the last one short."""
    monkeypatch.setattr(spill, "BLOCK_BYTES", 1)


def spilled(X: np.ndarray, folder: Path) -> SpilledRows:
    return SpilledRows(ArrayRows(X), 0, len(X), str(folder))


def weights_for(X: np.ndarray) -> np.ndarray:
    weights = np.random.default_rng(5).integers(0, 6, len(X)).astype(X.dtype) / 7
    weights[::7] = 0
    return weights


def test_blocks_are_the_rows_in_order(tmp_path: Path) -> None:
    X = np.arange(700 * 3, dtype=np.float64).reshape(700, 3)
    rows = spilled(X, tmp_path)
    assert not list(tmp_path.iterdir()), "the file has no name"
    for _ in range(2):
        seen = [(start, block.copy()) for start, block in rows.blocks()]
        assert [start for start, _ in seen] == list(range(0, 700, 64))
        assert np.array_equal(np.concatenate([block for _, block in seen]), X)
    assert np.array_equal(rows.dense_rows([699, 0, 65]), X[[699, 0, 65]])
    assert (rows.shape, rows.dtype, rows.size, len(rows)) == (X.shape, X.dtype, X.size, 700)
    rows.close()


def test_a_loop_left_early_can_be_begun_again(tmp_path: Path) -> None:
    X = np.random.default_rng(0).random((500, 4))
    rows = spilled(X, tmp_path)
    for start, _ in rows.blocks():
        if start > 64:
            break
    assert np.array_equal(np.concatenate([block.copy() for _, block in rows.blocks()]), X)


def test_a_full_disk_is_told_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("usage", (), {"free": 1 << 20})
    monkeypatch.setattr(spill.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(DataError, match=r"needed 4 MB, free 1 MB"):
        spilled(np.zeros((1 << 17, 4)), tmp_path)


@pytest.mark.parametrize("dtype", DTYPES)
def test_kernels_give_the_same_numbers(dtype: type, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for name, X in hostile_data(dtype).items():
        rows, weights = spilled(X, tmp_path), weights_for(X)
        assert backend_for(rows) is blocked
        absmax, bad = blocked.column_ranges(rows, 2)
        assert bad is None and np.array_equal(absmax, kernels.column_ranges(X)[0]), name
        ranges = blocked.weighted_ranges(rows, weights)
        assert np.array_equal(ranges, kernels.weighted_ranges(X, weights))
        centers = np.array(X[:: len(X) // N_CLUSTERS][:N_CLUSTERS])
        labels = rng.integers(0, N_CLUSTERS, len(X)).astype(np.int32)
        distances = blocked.squared_distances(rows, centers, labels, 2)
        assert distances.tobytes() == kernels.squared_distances(X, centers, labels).tobytes()
        offset = kernels.center_offset(centers)
        mine, theirs = np.full((2, len(X)), -1, np.int32)
        absmax, bad = blocked.assign_unseen(rows, centers, offset, mine, 2)
        kernels.assign(X, centers, offset, theirs)
        assert bad is None and np.array_equal(absmax, kernels.column_ranges(X)[0]), name
        assert np.array_equal(mine, theirs), name
        for given in (None, weights):
            inertia = blocked.squared_distance_sum(rows, centers, labels, given)
            expected = kernels.squared_distance_sum(X, centers, labels, given)
            assert kernels.exact_value(inertia) == kernels.exact_value(expected), name


def test_the_first_bad_value_is_named(tmp_path: Path) -> None:
    X = np.ones((300, 3))
    X[170, 2] = np.nan
    X[250, 0] = np.inf
    assert blocked.column_ranges(spilled(X, tmp_path))[1] == (170, 2)


class _SpillingRows:
    """Stands for ctx.data["X"] of a gang of threads: never in memory."""

    dense = True

    def __init__(self, rows: Any, folder: Path) -> None:
        self._rows, self._folder = rows, folder
        self.rows, self.shape, self.dtype = rows.rows, rows.shape, rows.dtype

    def spill(self) -> SpilledRows:
        return spilled(self._rows.load(), self._folder)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("init", ["random", "k-means++", "k-means||", "array"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_gang_gives_the_same_bits(dtype: type, init: str, weighted: bool, tmp_path: Path) -> None:
    from harpy.jobs.kmeans import main

    def spilling(ctx: Any) -> Any:
        ctx.memory, ctx.data = 1, {**ctx.data, "X": _SpillingRows(ctx.data["X"], tmp_path)}
        return main(ctx)

    for name, X in hostile_data(dtype).items():
        params: dict[str, Any] = {
            "n_clusters": N_CLUSTERS, "max_iter": 8, "n_init": 2, "random_state": 3, "init": init
        }  # fmt: skip
        if init == "array":
            centers = np.array(X[:: len(X) // N_CLUSTERS][:N_CLUSTERS])
            centers[2] = 1e3 * np.abs(X).max()  # stays empty, so that a row is relocated
            params["init"] = np.stack([centers, centers[::-1]])
        weights = weights_for(X) if weighted else None
        alone = run_gang(main, X, params, weights=weights)
        for splits, n_thread in (((), 3), ((200, 450), 1)):
            gang = run_gang(spilling, X, params, splits=splits, n_thread=n_thread, weights=weights)
            for key in ("cluster_centers", "inertia", "n_iter"):
                assert np.array_equal(gang.value[key], alone.value[key]), (name, key)
            assert np.array_equal(gang.saved["labels"], alone.saved["labels"]), name


@pytest.mark.parametrize("n_node", [1, 2])
def test_fits_on_files_beyond_n_mem(
    n_node: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    X = hostile_data(np.float32)["offset 1e4"]
    np.save(tmp_path / "rows.npy", X)
    alone = DAALKMeans(5, random_state=0, launcher="local").fit(X)
    with Session(
        n_node, 1, 100, launcher="local", workdir=str(tmp_path / "work"), progress=False
    ) as session:
        model = DAALKMeans(5, random_state=0, session=session)
        for _ in range(2):
            model.fit(str(tmp_path / "rows.npy"))
            assert model.cluster_centers_.tobytes() == alone.cluster_centers_.tobytes()
            assert np.array_equal(model.labels_, alone.labels_)
            assert model.inertia_ == alone.inertia_
    said = "exceed this worker's 100 MB: kept on its local disk"
    assert said in capfd.readouterr().err or n_node > 1
