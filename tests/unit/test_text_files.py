"""Text and sparse files: rows counted while they are read, lines at any border, errors by row."""

from __future__ import annotations

import gzip
import io
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array, csr_matrix, random_array, save_npz
from sklearn.datasets import dump_svmlight_file, load_svmlight_file

import harpy
from harpy.errors import ConfigError, DataError
from harpy.storage import CsrRows, FileSystems
from harpy.storage.readers import lines
from harpy.storage.rows.loading import open_files

X = np.random.default_rng(0).standard_normal((200, 3))
SPARSE = csr_array(random_array((150, 11), density=0.3, rng=np.random.default_rng(1), format="csr"))


def csv_text(rows: np.ndarray = X, header: str = "a,b,c\n", end: str = "\n") -> str:
    return header + "".join(",".join(map(repr, row)) + end for row in rows.tolist())


def svm_text(rows: Any = SPARSE, zero_based: bool = False) -> str:
    out = io.BytesIO()
    dump_svmlight_file(csr_matrix(rows), np.arange(rows.shape[0]), out, zero_based=zero_based)
    return out.getvalue().decode()


def write(path: Path, text: str) -> Path:
    content = text.encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def load(urls: Any, size: int = 1, n_thread: int = 2, **options: Any) -> Any:
    """What `size` ranks load, one below the other; their shares follow each other."""
    described = harpy.dataset(urls, **options).describe()
    barrier, slots = threading.Barrier(size, timeout=60), [np.empty(0)] * size
    loaded: list[Any] = [None] * size
    errors: list[BaseException] = []

    def work(rank: int) -> None:
        def gather(mine: np.ndarray) -> list[np.ndarray]:
            slots[rank] = mine
            barrier.wait()
            return list(slots)

        try:
            source = open_files(described, FileSystems(), n_thread)
            source.agree_on_rows(rank, size, gather)
            share = source.share(rank, size)
            loaded[rank] = (share, source.shape, source.read_rows(share.start, share.stop))
        except BaseException as exc:  # handed to the test's thread
            errors.append(exc)
            barrier.abort()

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for error in errors:
        if not isinstance(error, threading.BrokenBarrierError):
            raise error
    stop = 0
    for share, shape, _ in loaded:
        assert share.start == stop
        stop = share.stop
        assert shape == loaded[0][1]
    assert stop == loaded[0][1][0]
    parts = [rows for _, _, rows in loaded]
    if isinstance(parts[0], CsrRows):
        assert all(part.shape[1] == loaded[0][1][1] for part in parts)
        return np.vstack([part.to_scipy().toarray() for part in parts])
    return np.vstack(parts)


@pytest.fixture(params=[7, 64, 1 << 22])
def block_bytes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Borders within lines, at their ends, and far away."""
    monkeypatch.setattr(lines, "BLOCK_BYTES", request.param)
    monkeypatch.setattr(lines, "_AHEAD_BYTES", min(request.param, 64 << 10))
    return request.param


@pytest.mark.parametrize("size", [1, 2, 3, 8])
@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz"])
def test_csv_comes_back_equal(tmp_path: Path, name: str, size: int, block_bytes: int) -> None:
    rows = X[: 40 if block_bytes == 7 else None]
    path = write(tmp_path / name, csv_text(rows))
    np.testing.assert_array_equal(load(path, size), rows)
    np.testing.assert_array_equal(load(path, size, columns=["c", "a"]), rows[:, [2, 0]])


@pytest.mark.parametrize("size", [1, 3])
def test_several_files_follow_each_other(tmp_path: Path, size: int) -> None:
    for number, part in enumerate(np.array_split(X, 5)):
        write(tmp_path / f"{number}.csv{'.gz' if number % 2 else ''}", csv_text(part))
    np.testing.assert_array_equal(load(tmp_path, size), X)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.rstrip("\n"),
        lambda text: text.replace("\n", "\n\n"),
        lambda text: "\ufeff" + text,
        lambda text: text.replace("a,b,c", '"a","b",c'),
        lambda text: text.replace(",", " , ").replace(" , b , c", ",b,c"),
    ],
    ids=["CRLF", "no last line end", "empty lines", "byte order mark", "quotes", "blanks"],
)
def test_csv_as_others_write_it(tmp_path: Path, change: Callable[[str], str]) -> None:
    path = write(tmp_path / "x.csv", change(csv_text()))
    assert harpy.dataset(path).describe().names == ("a", "b", "c")
    for size in (1, 3):
        np.testing.assert_array_equal(load(path, size), X)


def test_csv_without_header_has_positions(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", csv_text(header=""))
    assert harpy.dataset(path).describe().names is None
    np.testing.assert_array_equal(load(path, columns=[2, 1]), X[:, [2, 1]])


def test_csv_is_float64_unless_asked(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", csv_text())
    assert load(path).dtype == np.float64
    narrow = load(path, dtype="float32")
    assert narrow.dtype == np.float32
    np.testing.assert_array_equal(narrow, X.astype(np.float32))


def test_text_columns_may_stay_aside(tmp_path: Path) -> None:
    text = "name,x,y\n" + "".join(f"row {i},{i},{-i}\n" for i in range(20))
    path = write(tmp_path / "x.csv", text)
    np.testing.assert_array_equal(load(path, 2, columns=["y"])[:, 0], -np.arange(20.0))
    with pytest.raises(DataError, match=r"row 0 .*expected a number in column 'name', got 'row 0'"):
        load(path)


@pytest.mark.parametrize("size", [1, 2, 5])
@pytest.mark.parametrize("name", ["x.svm", "x.libsvm.gz"])
@pytest.mark.parametrize("zero_based", [False, True])
def test_libsvm_comes_back_as_scikit_learn_reads_it(
    tmp_path: Path, name: str, size: int, zero_based: bool, block_bytes: int
) -> None:
    rows = SPARSE[: 20 if block_bytes == 7 else None]
    path = write(tmp_path / name, svm_text(rows, zero_based))
    expected, _ = load_svmlight_file(str(path))
    np.testing.assert_array_equal(load(path, size), expected.toarray())


def test_libsvm_with_comments_queries_and_empty_rows(tmp_path: Path) -> None:
    text = "# scikit-learn writes such\n1 qid:3 1:0.5 4:2 # four\n\n-1\n+1 2:1e-3\t3:-.5\n"
    path = write(tmp_path / "x.svm", text)
    expected = [[0.5, 0, 0, 2], [0, 0, 0, 0], [0, 1e-3, -0.5, 0]]
    np.testing.assert_array_equal(load(path, 1), expected)


def test_libsvm_may_be_asked_for_more_columns_than_it_has(tmp_path: Path) -> None:
    path = write(tmp_path / "x.svm", "0 1:1\n0 3:1\n")
    assert load(path, 2, n_columns=5).shape == (2, 5)
    with pytest.raises(DataError, match=r"row 1 of .*x\.svm has a value in column 2 .*expected 2"):
        load(path, 2, n_columns=2)


@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("dtype", ["f4", "f8", "i2", "?"])
def test_npz_comes_back_equal(tmp_path: Path, dtype: str, compressed: bool, size: int) -> None:
    stored = (SPARSE * 100).astype(dtype)
    for number, (start, stop) in enumerate([(0, 60), (60, 60), (60, 150)]):
        save_npz(tmp_path / f"{number}.npz", stored[start:stop], compressed=compressed)
    rows = load(tmp_path, size)
    assert rows.dtype == ("f4" if dtype == "f4" else "f8")
    np.testing.assert_array_equal(rows, stored.toarray())


def test_npz_out_of_order_is_put_in_order(tmp_path: Path) -> None:
    mixed = csr_array((np.array([1.0, 2, 4, 8]), [2, 0, 1, 1], [0, 2, 4]), shape=(2, 3))
    save_npz(tmp_path / "x.npz", mixed)
    described = harpy.dataset(tmp_path / "x.npz").describe()
    rows = open_files(described, FileSystems(), 1).read_rows(0, 2)
    assert rows.indices.tolist() == [0, 2, 1]
    assert rows.data.tolist() == [2, 1, 12]


# Errors


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("1,x,3", "expected a number in column 'b', got 'x'"),
        ("1,,3", "expected a number in column 'b', there is no value"),
        ("1,2", "Expected 3 columns, got 2"),
        ("1,2,3,4", "Expected 3 columns, got 4"),
        ('1,"2', "row"),
    ],
)
@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz"])
def test_bad_csv_line_is_named_by_its_row(
    tmp_path: Path, name: str, line: str, words: str, block_bytes: int
) -> None:
    path = write(tmp_path / name, csv_text(X[:30]) + line + "\n" + csv_text(X[:9], header=""))
    for size in (1, 3):
        with pytest.raises(DataError) as error:
            load(path, size)
        assert f"row 30 of file://{path}" in str(error.value)
        assert words in str(error.value)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("x 1:2", "got the label 'x'"),
        ("1 2", "got '2'"),
        ("1 2:x", "got '2:x'"),
        ("1 2:", "got '2:'"),
        ("1 -2:1", "expected columns 0"),
        ("1 3:1 2:1", "columns must ascend, each once, got 2 after 3"),
        ("1 3:1 3:1", "got 3 after 3"),
        ("1 1.5:1", "got '1.5:1'"),
        ("1 99999999999:1", "expected columns 0"),
    ],
)
def test_bad_libsvm_line_is_named_by_its_row(tmp_path: Path, line: str, words: str) -> None:
    text = svm_text(SPARSE[:30])
    path = write(tmp_path / "x.svm", text + line + "\n" + text)
    for size in (1, 3):
        with pytest.raises(DataError) as error:
            load(path, size)
        assert f"row 30 of file://{path}" in str(error.value)
        assert words in str(error.value)


def test_other_header_than_the_first_file_is_named(tmp_path: Path) -> None:
    write(tmp_path / "0.csv", csv_text())
    write(tmp_path / "1.csv", csv_text(header="a,c,b\n"))
    with pytest.raises(DataError, match=r"1\.csv has other columns than the first file, .*0\.csv"):
        load(tmp_path)
    write(tmp_path / "1.csv", csv_text(header=""))
    with pytest.raises(DataError, match="got 3 columns without names"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["x.csv.gz", "x.svm.gz"])
def test_truncated_gzip_is_named(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, csv_text() if "csv" in name else svm_text())
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=rf"{name} cannot be unpacked, it is truncated"):
        load(path)
    path.write_bytes(b"a,b,c\n1,2,3\n")
    with pytest.raises(DataError, match=rf"{name} cannot be unpacked"):
        load(path)


def test_truncated_npz_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    save_npz(path, SPARSE)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"x\.npz is not what scipy.sparse.save_npz writes"):
        load(path)
    np.savez(path, a=np.zeros(3))
    with pytest.raises(DataError, match=r"x\.npz is not what scipy.sparse.save_npz writes"):
        load(path)
    save_npz(path, SPARSE.tocsc())
    with pytest.raises(DataError, match="expected csr: write it with"):
        load(path)


def test_npz_with_impossible_columns_is_named(tmp_path: Path) -> None:
    bad = csr_array((np.ones(3), [0, 1, 2], [0, 1, 3]), shape=(2, 3))
    bad.indices[2] = 7
    save_npz(tmp_path / "x.npz", bad)
    with pytest.raises(DataError, match=r"column 7 at row 1 of .*x\.npz: expected columns 0 to 2"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["x.svm", "x.npz"])
def test_columns_of_sparse_files_cannot_be_chosen(tmp_path: Path, name: str) -> None:
    save_npz(tmp_path / "x.npz", SPARSE)
    write(tmp_path / "x.svm", svm_text())
    with pytest.raises(ConfigError, match="columns cannot be chosen"):
        load(tmp_path / name, columns=[0])


@pytest.mark.parametrize("text", ["", "\n1,2\n"])
def test_csv_without_a_first_line_is_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError, match=r"x\.csv begins with an empty line"):
        load(write(tmp_path / "x.csv", text))
