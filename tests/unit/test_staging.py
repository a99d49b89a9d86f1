"""Staging: any array in, the same rows out, nothing half-written."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import coo_array, csr_array

from harpy.errors import DataError, StorageError
from harpy.storage import (
    CsrRows,
    FileSystem,
    as_rows,
    content_hash,
    filesystem,
    open_staged,
    stage_array,
)
from harpy.storage.fs.local import LocalFileSystem
from harpy.storage.rows.arrays import BLOCK_BYTES


@pytest.fixture
def fs() -> FileSystem:
    return filesystem("/")


@pytest.mark.parametrize(
    "X",
    [
        np.asfortranarray(np.arange(12.0).reshape(4, 3)),
        np.arange(40, dtype=np.float32).reshape(8, 5)[::2, ::-2],
        np.arange(6, dtype=">i4").reshape(3, 2),
        np.array([[True, False]]),
        np.empty((0, 3)),
        np.empty((3, 0)),
        np.ones((1, 1), dtype=np.float16),
    ],
    ids=["fortran", "strided", "big-endian", "bool", "no rows", "no columns", "half"],
)
def test_any_real_array_comes_back_equal(fs: FileSystem, tmp_path: Path, X: np.ndarray) -> None:
    stage_array(fs, str(tmp_path / "x"), X, n_parts=3)
    back = open_staged(fs, str(tmp_path / "x"), 1).read_rows(0, len(X))
    np.testing.assert_array_equal(back, X)
    assert back.dtype == X.dtype.newbyteorder("<")


def test_array_larger_than_a_block_comes_back_equal(fs: FileSystem, tmp_path: Path) -> None:
    X = np.random.default_rng(0).random((3 * BLOCK_BYTES // 800 + 7, 100))
    seen: list[float] = []
    stage_array(fs, str(tmp_path / "x"), X, n_parts=2, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    np.testing.assert_array_equal(
        open_staged(fs, str(tmp_path / "x"), 1).read_rows(5, 20_000), X[5:20_000]
    )


def test_rows_land_in_the_callers_buffer(fs: FileSystem, tmp_path: Path) -> None:
    X = np.arange(20.0).reshape(10, 2)
    stage_array(fs, str(tmp_path / "x"), X, n_parts=3)
    out = np.empty((6, 2))
    assert open_staged(fs, str(tmp_path / "x"), 1).read_rows(2, 8, out=out) is out
    np.testing.assert_array_equal(out, X[2:8])


@pytest.mark.parametrize(
    "out", [np.empty((6, 2), np.float32), np.empty((5, 2)), np.empty((2, 6)).T]
)
def test_unfit_buffer_is_refused(fs: FileSystem, tmp_path: Path, out: np.ndarray) -> None:
    stage_array(fs, str(tmp_path / "x"), np.zeros((10, 2)))
    with pytest.raises(DataError, match="out must be C-contiguous float64"):
        open_staged(fs, str(tmp_path / "x"), 1).read_rows(2, 8, out=out)


@pytest.mark.parametrize(
    "X",
    [
        np.zeros(3),
        np.zeros((2, 2), complex),
        np.array([["a"]]),
        np.zeros((1, 1), np.longdouble),
        np.array([[None]]),
        [[1.0]],
    ],
)
def test_what_is_no_real_2d_array_is_refused(fs: FileSystem, tmp_path: Path, X: np.ndarray) -> None:
    with pytest.raises(DataError, match="expected"):
        stage_array(fs, str(tmp_path / "x"), X)
    assert list(tmp_path.iterdir()) == []


def test_changed_shard_names_expected_and_actual_size(fs: FileSystem, tmp_path: Path) -> None:
    stage_array(fs, str(tmp_path), np.zeros((10, 2)), n_parts=2)
    part = tmp_path / "part-00001"
    part.write_bytes(part.read_bytes()[:-1])
    staged = open_staged(fs, str(tmp_path), 1)
    staged.read_rows(0, 5)
    with pytest.raises(DataError, match="part-00001 should hold 5 rows, 80 bytes, but has 79"):
        staged.read_rows(0, 10)


def test_missing_manifest_is_named_at_the_deadline(fs: FileSystem, tmp_path: Path) -> None:
    (tmp_path / "part-00000").write_bytes(b"1234")
    began = time.monotonic()
    with pytest.raises(
        DataError, match=r"manifest.json did not appear within 0.2 s.*1 files, 4 bytes"
    ):
        open_staged(fs, str(tmp_path), timeout_s=0.2)
    assert time.monotonic() - began < 10


def test_waiting_ends_when_the_run_is_aborted(fs: FileSystem, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the run was aborted"):
        open_staged(fs, str(tmp_path), timeout_s=60, cancelled=lambda: True)


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '{"format": 2}',
        "nonsense",
        json.dumps(
            {
                "format": 1,
                "dtype": "<f8",
                "shape": [3, 2],
                "parts": [{"name": "part-00000", "rows": 2}],
            }
        ),
    ],
)
def test_foreign_manifest_is_refused(fs: FileSystem, tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(DataError, match=r"manifest\.json is not"):
        open_staged(fs, str(tmp_path), 1)


def test_failed_part_removes_all_and_is_the_cause(
    fs: FileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = LocalFileSystem.write_chunks

    def failing(self, path, chunks, overwrite=False):
        if path.endswith("part-00001"):
            raise StorageError("the disk broke", path=path)
        whole(self, path, chunks, overwrite)

    monkeypatch.setattr(LocalFileSystem, "write_chunks", failing)
    with pytest.raises(StorageError, match="the disk broke"):
        stage_array(fs, str(tmp_path / "x"), np.zeros((100, 2)), n_parts=4)
    assert list(tmp_path.iterdir()) == []


def test_hash_tells_dtype_shape_and_values_apart() -> None:
    X = np.arange(6.0).reshape(2, 3)
    same = [X.copy(), np.asfortranarray(X), X.astype(">f8")]
    others = [X.reshape(3, 2), X.astype(np.float32), X + 1e-12, X.view(np.int64)]
    assert {content_hash(array) for array in same} == {content_hash(X)}
    assert len({content_hash(array) for array in (X, *others)}) == 5


def test_hash_of_many_blocks_does_not_depend_on_strides() -> None:
    X = np.random.default_rng(0).random((2 * BLOCK_BYTES // 160, 20))
    assert content_hash(X) == content_hash(np.asfortranarray(X))
    Y = X.copy()
    Y[-1, -1] += 1
    assert content_hash(X) != content_hash(Y)


def sparse_rows(n: int = 60, dtype: str = "float32") -> CsrRows:
    rng = np.random.default_rng(3)
    dense = rng.normal(size=(n, 9)) * (rng.random((n, 9)) < 0.3)
    dense[n // 2 - 3 : n // 2 + 3] = 0  # rows without values around a border of parts
    return CsrRows.of(csr_array(dense.astype(dtype)))


@pytest.mark.parametrize("n_parts", [1, 2, 3, 100])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_any_range_of_sparse_rows_comes_back_equal(
    fs: FileSystem, tmp_path: Path, dtype: str, n_parts: int
) -> None:
    X = sparse_rows(dtype=dtype)
    stage_array(fs, str(tmp_path / "x"), X, n_parts=n_parts)
    staged = open_staged(fs, str(tmp_path / "x"), 1)
    assert (staged.shape, staged.dtype) == (X.shape, X.dtype)
    dense = X.to_scipy().toarray()
    for start, stop in [(0, 60), (0, 0), (60, 60), (1, 59), (20, 40), (29, 31), (31, 32)]:
        back = staged.read_rows(start, stop)
        assert isinstance(back, CsrRows)
        assert back.indptr[0] == 0
        assert back.indices.dtype == np.int32
        np.testing.assert_array_equal(back.to_scipy().toarray(), dense[start:stop])
    with pytest.raises(DataError, match="rows 5:61 do not lie within 60 rows"):
        staged.read_rows(5, 61)


def test_sparse_matrix_without_rows_or_values_comes_back(fs: FileSystem, tmp_path: Path) -> None:
    for number, shape in enumerate([(0, 3), (4, 3)]):
        path = str(tmp_path / str(number))
        stage_array(fs, path, CsrRows.of(csr_array(shape)), n_parts=2)
        assert open_staged(fs, path, 1).read_rows(0, shape[0]).to_scipy().shape == shape


def test_hash_of_sparse_rows_covers_all_they_consist_of() -> None:
    X = sparse_rows()
    others = [
        X.to_scipy().toarray(),
        replace(X, n_columns=10),
        replace(X, data=X.data.astype(np.float64)),
        replace(X, data=X.data + np.float32(1)),
        replace(X, indices=X.indices[::-1].copy()),
        X.read_rows(0, 59),
    ]
    moved = X.indptr.copy()
    moved[1] = moved[2]
    others.append(replace(X, indptr=moved))
    hashes = [content_hash(X), *(content_hash(other) for other in others)]
    assert len(set(hashes)) == len(hashes)
    wide = csr_array(X.to_scipy())
    wide.indices, wide.indptr = wide.indices.astype(np.int64), wide.indptr.astype(np.int64)
    assert content_hash(CsrRows.of(wide)) == content_hash(X)


@pytest.mark.parametrize("name", ["data", "indices", "indptr"])
def test_changed_file_of_a_sparse_part_is_named(fs: FileSystem, tmp_path: Path, name: str) -> None:
    stage_array(fs, str(tmp_path / "x"), sparse_rows(), n_parts=2)
    path = tmp_path / "x" / f"part-00001.{name}"
    path.write_bytes(path.read_bytes()[:-4])
    staged = open_staged(fs, str(tmp_path / "x"), 1)
    staged.read_rows(0, 30)
    with pytest.raises(DataError, match=rf"shard .*part-00001\.{name} should hold"):
        staged.read_rows(0, 60)


def test_indptr_that_falls_is_refused(fs: FileSystem, tmp_path: Path) -> None:
    stage_array(fs, str(tmp_path / "x"), sparse_rows())
    path = tmp_path / "x" / "part-00000.indptr"
    starts = np.frombuffer(path.read_bytes(), np.int64).copy()
    starts[3] = 10_000
    path.write_bytes(starts.tobytes())
    with pytest.raises(DataError, match=r"part-00000\.indptr does not rise from 0"):
        open_staged(fs, str(tmp_path / "x"), 1).read_rows(0, 60)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (coo_array(np.eye(3)), r"in CSR format, got coo_array: pass X\.tocsr\(\)"),
        (csr_array((2, 2**31)), "at most 2147483647 columns, got 2147483648"),
    ],
)
def test_other_sparse_matrices_are_refused(matrix: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        as_rows(matrix)


@pytest.mark.parametrize("dtype", [complex, np.longdouble])
def test_sparse_numbers_that_cannot_be_staged_are_refused(
    fs: FileSystem, tmp_path: Path, dtype: type
) -> None:
    with pytest.raises(DataError, match="expected real numbers of at most 8 bytes"):
        stage_array(fs, str(tmp_path / "x"), as_rows(csr_array(np.eye(2, dtype=dtype))))
