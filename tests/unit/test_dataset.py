"""Datasets: which files and columns a user means, and one clear error for what cannot be meant."""

from __future__ import annotations

import gc
import io
import json
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import harpy
from harpy.errors import ConfigError, DataError, PathNotFound
from harpy.program.context import Context
from harpy.storage import FileRows, FileSystems, filesystem, open_staged, stage_array
from harpy.storage.readers import parquet
from harpy.storage.rows.arrays import parse_npy_header
from harpy.storage.rows.loading import open_files

X = np.arange(60, dtype=np.float32).reshape(20, 3)
NAMES = ("a", "b", "c")


def write_npy(path: Path, rows: np.ndarray = X) -> str:
    with path.open("wb") as file:
        np.save(file, rows)
    return str(path)


def write_parquet(path: Path, rows: np.ndarray = X, **options: Any) -> str:
    columns = {name: rows[:, i] for i, name in enumerate(NAMES)}
    pq.write_table(pa.table(columns), path, row_group_size=6, **options)
    return str(path)


def describe(urls: Any, **options: Any) -> FileRows:
    return harpy.dataset(urls, **options).describe()


def load(urls: Any, n_thread: int = 2, **options: Any) -> np.ndarray:
    source = open_files(describe(urls, **options), FileSystems(), n_thread)
    return source.read_rows(0, source.shape[0])


def names_of(rows: FileRows) -> list[str]:
    return [Path(file.path).name for file in rows.files]


@pytest.fixture
def frequent_collections() -> Iterator[None]:
    """The garbage collector runs often, and lets other threads run whenever it does."""
    threshold, interval = gc.get_threshold(), sys.getswitchinterval()

    def give_way(phase: str, info: dict[str, int]) -> None:
        time.sleep(0)

    gc.callbacks.append(give_way)
    gc.set_threshold(7)
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)
    gc.set_threshold(*threshold)
    gc.callbacks.remove(give_way)


# Which files


def test_directory_pattern_and_list_name_the_same_files_in_order(tmp_path: Path) -> None:
    for name in ("part-2.npy", "part-0.npy", "_SUCCESS", ".part-1.npy.crc", "part-1.npy"):
        write_npy(tmp_path / name) if name.startswith("part") else (tmp_path / name).touch()
    expected = ["part-0.npy", "part-1.npy", "part-2.npy"]
    assert names_of(describe(tmp_path)) == expected
    assert names_of(describe(f"{tmp_path}/*")) == expected
    assert names_of(describe(f"{tmp_path}/part-[0-9].np?")) == expected
    reverse = [tmp_path / name for name in reversed(expected)]
    assert names_of(describe(reverse)) == expected[::-1]


def test_directories_are_searched_to_the_bottom(tmp_path: Path) -> None:
    for folder in ("day=2", "day=1", "_temporary"):
        (tmp_path / folder).mkdir()
        write_npy(tmp_path / folder / "x.npy")
    for url in (tmp_path, f"{tmp_path}/day=*", f"{tmp_path}/*/x.npy", f"file://{tmp_path}"):
        found = [file.path.split("/")[-2] for file in describe(url).files]
        assert found == ["day=1", "day=2"], url


@pytest.mark.usefixtures("frequent_collections")
def test_many_headers_are_read_at_once(tmp_path: Path) -> None:
    header = Path(write_npy(tmp_path / "x.npy")).read_bytes()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: parse_npy_header(io.BytesIO(header)), range(2000)))
    assert found == [(X.shape, False, X.dtype)] * 2000


def test_relative_path_is_below_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_npy(tmp_path / "x.npy")
    named = harpy.dataset("x.npy")
    monkeypatch.chdir(tmp_path)
    assert describe("x.npy").files[0].path == f"file://{tmp_path}/x.npy"
    assert named.urls != ("x.npy",), "taken where it was said, not where it is read"


def test_name_with_pattern_characters_is_taken_literally_if_it_exists(tmp_path: Path) -> None:
    write_npy(tmp_path / "x[1].npy")
    assert names_of(describe(tmp_path / "x[1].npy")) == ["x[1].npy"]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("missing.npy", "no such file|No such file"),
        ("*.npy", "matches no file"),
        ("empty", "is an empty directory"),
        ("empty/*", "matches no file"),
    ],
)
def test_missing_files_are_named_with_the_next_step(tmp_path: Path, url: str, words: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(PathNotFound, match=words) as error:
        describe(f"{tmp_path}/{url}")
    assert f"{tmp_path}/{url}" in str(error.value)


def test_other_schemes_go_through_fsspec(tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    local = write_parquet(tmp_path / "x.parquet")
    memory.pipe("/points/x.parquet", Path(local).read_bytes())
    try:
        np.testing.assert_array_equal(load("memory:///points/*.parquet"), X)
        with pytest.raises(PathNotFound, match=r"memory:///points/y\.npy"):
            describe("memory:///points/y.npy")
    finally:
        memory.rm("/points", recursive=True)


def test_unknown_scheme_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected hdfs://"):
        describe("nonsense://host/x.npy")


# Which columns


def test_columns_are_chosen_by_name_in_the_order_asked(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "x.parquet")
    assert describe(path).names == NAMES
    np.testing.assert_array_equal(load(path, columns=["c", "a"]), X[:, [2, 0]])


def test_columns_are_chosen_by_position_where_they_have_no_names(tmp_path: Path) -> None:
    path = write_npy(tmp_path / "x.npy")
    np.testing.assert_array_equal(load(path, columns=[2, 0]), X[:, [2, 0]])


def test_parquet_columns_are_found_wherever_they_stand(tmp_path: Path) -> None:
    write_parquet(tmp_path / "0.parquet")
    turned = pa.table({"extra": ["?"] * 20, "c": X[:, 2], "b": X[:, 1], "a": X[:, 0]})
    pq.write_table(turned, tmp_path / "1.parquet")
    np.testing.assert_array_equal(load(tmp_path), np.vstack([X, X]))


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (["a", "z"], "has no column 'z': its columns are 'a', 'b', 'c'"),
        ([0], "has no column 0: its columns are 'a'"),
        ("a", "must be a list"),
        ([], "one or more"),
        (["a", "a"], "each once"),
    ],
)
def test_impossible_columns_are_refused(tmp_path: Path, columns: Any, words: str) -> None:
    path = write_parquet(tmp_path / "x.parquet")
    with pytest.raises(ConfigError, match=words):
        describe(path, columns=columns)


def test_position_out_of_range_is_refused(tmp_path: Path) -> None:
    path = write_npy(tmp_path / "x.npy")
    with pytest.raises(ConfigError, match=r"no column 3: .*only positions 0 to 2"):
        describe(path, columns=[3])


@pytest.mark.parametrize(
    ("stored", "asked", "expected"),
    [
        (["f4", "f4", "f4"], None, "f4"),
        (["f4", "f8", "f4"], None, "f8"),
        (["f4", "i2", "f4"], None, "f8"),
        (["f2", "f2", "f2"], None, "f8"),
        (["?", "u8", "i8"], None, "f8"),
        (["f8", "f8", "f8"], "float32", "f4"),
    ],
)
def test_float32_stays_and_anything_else_becomes_float64(
    tmp_path: Path, stored: list[str], asked: str | None, expected: str
) -> None:
    columns = {n: X[:, i].astype(t) for i, (n, t) in enumerate(zip(NAMES, stored, strict=True))}
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")
    rows = load(tmp_path, dtype=asked)
    assert rows.dtype == expected
    np.testing.assert_array_equal(rows, np.stack(list(columns.values()), axis=1).astype(expected))


def test_one_wider_file_makes_all_rows_float64(tmp_path: Path) -> None:
    write_npy(tmp_path / "0.npy")
    write_npy(tmp_path / "1.npy", X.astype(np.float64))
    assert load(tmp_path).dtype == np.float64


@pytest.mark.parametrize(
    "stored", ["<f4", ">f4", "<f8", "i1", "<u8", ">i4", "?", "<f2"], ids=lambda s: f"npy {s}"
)
@pytest.mark.parametrize("order", ["C", "F"])
def test_any_npy_of_numbers_comes_back_equal(tmp_path: Path, stored: str, order: Any) -> None:
    rows = np.asarray(X.astype(stored), order=order)
    np.testing.assert_array_equal(load(write_npy(tmp_path / "x.npy", rows)), rows)
    np.testing.assert_array_equal(load(tmp_path, columns=[1]), rows[:, [1]])


def test_large_files_come_back_equal(tmp_path: Path) -> None:
    """Larger than any buffer on the way."""
    rows = np.random.default_rng(0).random((300_000, 20), dtype=np.float32)
    write_npy(tmp_path / "x.npy", rows)
    np.testing.assert_array_equal(load(tmp_path / "x.npy"), rows)
    np.testing.assert_array_equal(load(tmp_path / "x.npy", dtype="float64"), rows)
    table = pa.table({f"c{i}": rows[:, i] for i in range(20)})
    pq.write_table(table, tmp_path / "x.parquet", compression="none")
    chosen = ["c7", "c19", "c0"]
    np.testing.assert_array_equal(load(tmp_path / "x.parquet", columns=chosen), rows[:, [7, 19, 0]])


def test_row_groups_too_large_to_be_held_come_in_windows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = np.random.default_rng(0).random((40_000, 3))
    table = pa.table({name: rows[:, i] for i, name in enumerate(NAMES)})
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=25_000)
    monkeypatch.setattr(parquet, "_FETCH_BYTES", 0)
    monkeypatch.setattr(parquet, "_PAGE_WINDOW", 1000)
    np.testing.assert_array_equal(load(tmp_path), rows)
    np.testing.assert_array_equal(load(tmp_path, columns=["c", "a"]), rows[:, [2, 0]])


def test_large_row_groups_come_in_runs_of_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = np.random.default_rng(0).random((3000, 7))
    table = pa.table({f"c{i}": rows[:, i] for i in range(7)})
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=2000)
    monkeypatch.setattr(parquet, "_FETCH_BYTES", 70_000)  # of two or three columns
    np.testing.assert_array_equal(load(tmp_path), rows)
    chosen = [6, 0, 3, 2, 5]
    found = load(tmp_path, columns=[f"c{i}" for i in chosen])
    np.testing.assert_array_equal(found, rows[:, chosen])


@pytest.mark.parametrize("stored", ["bool", "int8", "uint64", "float16", "float32"])
def test_any_parquet_of_numbers_comes_back_equal(tmp_path: Path, stored: str) -> None:
    rows = (np.arange(60).reshape(20, 3) % 7 > 2) if stored == "bool" else X.astype(stored)
    url = write_parquet(tmp_path / "x.parquet", rows)
    source = open_files(describe(url), FileSystems(), 1)
    # From the middle of a row group on.
    np.testing.assert_array_equal(source.read_rows(3, 19), rows[3:19])


def test_columns_that_lie_apart_are_fetched_without_what_is_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = np.random.default_rng(0).random((1000, 3))
    table = pa.table({name: rows[:, i] for i, name in enumerate(NAMES)})
    pq.write_table(table, tmp_path / "x.parquet")
    monkeypatch.setattr(parquet, "_GAP_BYTES", 0)
    np.testing.assert_array_equal(load(tmp_path, columns=["c", "a"]), rows[:, [2, 0]])


# Shares


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("kind", ["npy", "parquet"])
def test_shares_are_all_rows_in_order(tmp_path: Path, kind: str, size: int) -> None:
    write = {"npy": write_npy, "parquet": write_parquet}[kind]
    for number, n_rows in enumerate((7, 0, 13, 1, 20)):
        write(tmp_path / f"{number}.{kind}", X[:n_rows] + np.float32(number))
    source = open_files(describe(tmp_path), FileSystems(), 1)
    parts = []
    for rank in range(size):
        share = source.share(rank, size)
        assert len(share) <= source.shape[0] / size * 1.2 + 1
        parts.append(source.read_rows(share.start, share.stop))
    expected = np.vstack([X[:n] + np.float32(i) for i, n in enumerate((7, 0, 13, 1, 20))])
    np.testing.assert_array_equal(np.vstack(parts), expected)


def test_shares_begin_with_a_row_group_where_that_keeps_balance(tmp_path: Path) -> None:
    rows = np.zeros((10_000, 3), np.float32)
    columns = {name: rows[:, i] for i, name in enumerate(NAMES)}
    pq.write_table(pa.table(columns), tmp_path / "near.parquet", row_group_size=4_900)
    assert describe(tmp_path / "near.parquet").share(0, 2) == range(4_900)
    pq.write_table(pa.table(columns), tmp_path / "far.parquet", row_group_size=9_000)
    assert describe(tmp_path / "far.parquet").share(0, 2) == range(5_000)


def test_description_travels_as_json(tmp_path: Path) -> None:
    write_parquet(tmp_path / "x.parquet")
    rows = describe(tmp_path, columns=["b"])
    back = FileRows.from_json(json.loads(json.dumps(rows.to_json())))
    assert back == rows
    assert back.digest == rows.digest


def test_staging_files_writes_their_description_alone(tmp_path: Path) -> None:
    write_npy(tmp_path / "x.npy")
    rows, fs = describe(tmp_path / "x.npy"), filesystem("/")
    stage_array(fs, f"{tmp_path}/staged", rows)
    assert os.listdir(tmp_path / "staged") == ["manifest.json"]  # noqa: PTH208
    assert open_staged(fs, f"{tmp_path}/staged", 1) == rows


def test_a_file_that_changed_has_another_digest(tmp_path: Path) -> None:
    path = write_npy(tmp_path / "x.npy")
    before = describe(path).digest
    os.utime(path, (1, 1))
    assert describe(path).digest != before


# What is wrong with files is said with their names


def refused(urls: Any, *words: str, **options: Any) -> None:
    with pytest.raises((DataError, ConfigError)) as error:
        load(urls, **options)
    for word in words:
        assert word in str(error.value)


def test_truncated_files_are_named(tmp_path: Path) -> None:
    for write, name in ((write_npy, "x.npy"), (write_parquet, "x.parquet")):
        path = Path(write(tmp_path / name))
        path.write_bytes(path.read_bytes()[:-7])
        refused(path, str(path), "truncated")
        path.write_bytes(b"")
        refused(path, str(path))


def test_damaged_parquet_is_named(tmp_path: Path) -> None:
    path = Path(write_parquet(tmp_path / "x.parquet", compression="zstd"))
    content = bytearray(path.read_bytes())
    content[10:60] = bytes(50)
    path.write_bytes(content)
    refused(path, str(path), "truncated or damaged")


def test_changed_file_is_named(tmp_path: Path) -> None:
    path = Path(write_npy(tmp_path / "x.npy"))
    source = open_files(describe(path), FileSystems(), 1)
    os.utime(path, (1, 1))
    with pytest.raises(DataError, match=rf"{path} was changed after it was described"):
        source.read_rows(0, 1)
    write_npy(path, X[:5])
    with pytest.raises(DataError, match=r"expected 368 bytes.*got 188"):
        source.read_rows(0, 1)


def test_file_that_vanished_is_named(tmp_path: Path) -> None:
    path = Path(write_npy(tmp_path / "x.npy"))
    source = open_files(describe(path), FileSystems(), 1)
    path.unlink()
    with pytest.raises(PathNotFound, match=str(path)):
        source.read_rows(0, 1)


def test_other_columns_than_the_first_file_are_named(tmp_path: Path) -> None:
    write_npy(tmp_path / "0.npy")
    write_npy(tmp_path / "1.npy", X[:, :2])
    refused(tmp_path, "1.npy", "0.npy", "expected 3 columns", "got 2 columns")
    write_parquet(tmp_path / "0.parquet")
    pq.write_table(pa.table({"a": X[:, 0], "z": X[:, 1]}), tmp_path / "1.parquet")
    refused(f"{tmp_path}/*.parquet", "1.parquet has no column 'b', 'c'", "0.parquet", "'a', 'z'")


def test_columns_without_numbers_are_named_with_those_that_have_some(tmp_path: Path) -> None:
    table = pa.table({"a": X[:, 0], "name": ["x"] * 20, "when": pa.array([0] * 20, pa.date32())})
    pq.write_table(table, tmp_path / "x.parquet")
    refused(tmp_path, "column 'name'", "string", "x.parquet", "columns=[…] among 'a'")
    refused(tmp_path, "column 'when'", "date32", columns=["a", "when"])
    np.testing.assert_array_equal(load(tmp_path, columns=["a"]), X[:, :1])


def test_column_of_another_type_in_a_later_file_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": X[:, 0]}), tmp_path / "0.parquet")
    pq.write_table(pa.table({"a": [str(x) for x in X[:, 0]]}), tmp_path / "1.parquet")
    refused(tmp_path, "1.parquet", "'a'", "string")


def test_missing_value_is_named_by_file_row_and_column(tmp_path: Path) -> None:
    values = [None if i == 13 else float(i) for i in range(20)]
    table = pa.table({"a": X[:, 0], "b": values})
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=6)
    refused(tmp_path, "x.parquet", "null", "row 13", "column 'b'")


def test_arrays_that_are_no_tables_are_refused(tmp_path: Path) -> None:
    refused(write_npy(tmp_path / "1.npy", X[0]), "1.npy", "(3,)", "2 dimensions")
    refused(write_npy(tmp_path / "2.npy", np.array([["x"]])), "2.npy", "<U1")
    (tmp_path / "3.npy").write_text("no array")
    refused(tmp_path / "3.npy", "3.npy", "not a .npy file")


def test_formats_are_told_by_name_or_said(tmp_path: Path) -> None:
    path = write_npy(tmp_path / "points.bin")
    refused(path, "points.bin", "format=")
    refused(path, "format must be one of", format="excel")
    np.testing.assert_array_equal(load(path, format="npy"), X)
    write_npy(tmp_path / "a.npy")
    write_parquet(tmp_path / "b.parquet")
    refused(f"{tmp_path}/?.*", "one format", "a.npy is npy", "b.parquet is parquet")


@pytest.mark.parametrize("given", [5, None, [1, "x"], b"x", {"a": 1}])
def test_what_names_no_files_is_refused(given: Any) -> None:
    with pytest.raises(ConfigError, match="expected a path"):
        harpy.dataset(given)


def test_rows_far_from_numbers_are_placed_in_their_file(tmp_path: Path) -> None:
    write_npy(tmp_path / "0.npy")
    write_npy(tmp_path / "1.npy")
    source = open_files(describe(tmp_path), FileSystems(), 1)
    assert source.describe_row(19) == f"row 19 of file://{tmp_path}/0.npy"
    assert source.describe_row(20) == f"row 0 of file://{tmp_path}/1.npy"


def test_this_process_reads_with_the_settings_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    class Recording(FileSystems):
        def __init__(self, hadoop_conf: Any = None, hadoop_conf_dir: Any = None) -> None:
            seen.append(hadoop_conf)
            super().__init__(hadoop_conf, hadoop_conf_dir)

    rows = describe(write_npy(tmp_path / "rows.npy"))
    monkeypatch.setattr("harpy.storage.FileSystems", Recording)
    conf = {"dfs.client.failover.max.attempts": "3"}
    context = Context.in_process(data={"X": rows}, hadoop_conf=conf)
    assert np.array_equal(context.data["X"].load(), X)
    assert seen == [conf]
