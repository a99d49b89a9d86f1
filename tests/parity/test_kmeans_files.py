"""The bits of k-means do not depend on where the rows come from: memory, or files of any form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.sparse import issparse

import harpy
from harpy import DAALKMeans, Session
from harpy.errors import DataError, PathExists
from tests.support.rows.files import (
    DENSE_FORMS,
    SPARSE_FORMS,
    TEXT_FORMS,
    in_every_form,
    write_files,
)
from tests.support.rows.hostile import DTYPES, hostile_data
from tests.support.rows.sparse import hostile_sparse


def bits(model: DAALKMeans) -> tuple[bytes, bytes, str, int]:
    return (
        model.cluster_centers_.tobytes(),
        model.labels_.tobytes(),
        float(model.inertia_).hex(),
        model.n_iter_,
    )


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[np.ndarray, dict[str, Path]]]:
    """Arrays, and folders that hold the same numbers, by form."""
    made = []
    for dtype in DTYPES:
        for name in ("offset 1e4", "columns over 12 decades", "duplicates"):
            X = np.ascontiguousarray(hostile_data(dtype)[name])
            base = tmp_path_factory.mktemp("table")
            made.append((X, in_every_form(base, X, DENSE_FORMS)))
    return made


@pytest.fixture(scope="module")
def sparse_tables(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Any, dict[str, Path]]]:
    """The same for sparse rows."""
    made = []
    for dtype in DTYPES:
        for name in ("columns over 12 decades", "duplicates"):
            X = hostile_sparse(dtype)[name]
            base = tmp_path_factory.mktemp("sparse")
            made.append(
                (
                    X,
                    {
                        form: write_files(base / form, X, SPARSE_FORMS[form])
                        for form in SPARSE_FORMS
                    },
                )
            )
    return made


def check_all_forms(tables: Any, **gang: Any) -> None:
    for X, folders in tables:
        stray = X[:8].toarray() if issparse(X) else np.array(X[:8])
        stray[3] = 1e3 * abs(X).max()  # stays empty, so that a row is relocated
        for init in ("random", "k-means++", "k-means||", stray):
            model = DAALKMeans(n_clusters=8, init=init, random_state=0, launcher="local")
            alone = bits(model.fit(X))
            for form, folder in folders.items():
                # Text does not know its dtype.
                text = form in TEXT_FORMS
                given = harpy.dataset(folder, dtype=X.dtype) if text else folder
                assert bits(model.set_params(**gang).fit(given)) == alone, form


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
@pytest.mark.parametrize("n_thread", [1, 3])
def test_files_give_the_bits_of_memory_in_this_process(
    tables: Any, sparse_tables: Any, n_thread: int
) -> None:
    check_all_forms(tables + sparse_tables, n_thread=n_thread)


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
@pytest.mark.parametrize(("n_node", "n_thread"), [(2, 2), (3, 1)])
def test_worker_processes_give_the_bits_of_one(
    tables: Any, sparse_tables: Any, n_node: int, n_thread: int, tmp_path: Path
) -> None:
    with Session(
        n_node, n_thread, 512, launcher="local", workdir=str(tmp_path), progress=False
    ) as session:
        check_all_forms(tables + sparse_tables, session=session, launcher="auto")
    assert not list(tmp_path.iterdir()), "the session leaves nothing behind"


@pytest.mark.parametrize("n_node", [1, 3])
def test_weights_belong_to_the_rows_of_files(
    tables: Any, sparse_tables: Any, n_node: int, tmp_path: Path
) -> None:
    model = DAALKMeans(n_clusters=4, init="k-means++", random_state=1, launcher="local")
    gang = Session(n_node, launcher="local", workdir=str(tmp_path), progress=False)
    with gang as session:
        for X, folders in (tables[1], sparse_tables[0]):
            weights = np.random.default_rng(3).random(X.shape[0])
            alone = bits(model.set_params(launcher="local", session=None).fit(X, None, weights))
            model.set_params(launcher="auto", session=session)
            for form, folder in folders.items():
                named = harpy.dataset(folder, dtype=X.dtype)
                assert bits(model.fit(named, sample_weight=weights)) == alone, form
                with pytest.raises(ValueError, match="sample_weight"):
                    model.fit(named, sample_weight=weights[:-1])


@pytest.mark.parametrize("n_node", [1, 2])
@pytest.mark.parametrize("form", ["npy", "parquet", "csv"])
def test_a_bad_value_is_named_by_file_and_row(form: str, n_node: int, tmp_path: Path) -> None:
    X = np.random.default_rng(0).random((100, 3))
    X[69, 1] = np.nan
    folder = write_files(tmp_path / "data", X, DENSE_FORMS[form])
    model = DAALKMeans(n_clusters=2, n_node=n_node, launcher="local")
    with pytest.raises(DataError, match=rf"X has nan at row 3 of .*part-2\.{form}, column 1 "):
        model.fit(folder)


@pytest.mark.parametrize("n_node", [1, 3])
def test_score_of_files_has_the_bits_of_memory(
    tables: Any, sparse_tables: Any, n_node: int, tmp_path: Path
) -> None:
    gang = Session(n_node, launcher="local", workdir=str(tmp_path), progress=False)
    with gang as session:
        for X, folders in (tables[0], sparse_tables[0]):
            model = DAALKMeans(n_clusters=4, random_state=1, launcher="local").fit(X[:300])
            weights = np.random.default_rng(3).random(X.shape[0]).astype(X.dtype)
            expected = model.score(X), model.score(X, sample_weight=weights)
            model.set_params(launcher="auto", session=session)
            for form, folder in folders.items():
                named = harpy.dataset(folder, dtype=X.dtype)
                scores = model.score(named), model.score(named, sample_weight=weights)
                assert scores == expected, form
                with pytest.raises(ValueError, match="sample_weight"):
                    model.score(named, sample_weight=weights[:-1])


# Labels that stay where the files are


@pytest.mark.parametrize("n_node", [1, 3])
def test_labels_stay_in_parts_that_follow_the_files(
    tables: Any, sparse_tables: Any, n_node: int, tmp_path: Path
) -> None:
    with Session(n_node, launcher="local", workdir=f"{tmp_path}/work", progress=False) as session:
        for number, (X, folders) in enumerate((tables[0], sparse_tables[0])):
            local = DAALKMeans(n_clusters=5, random_state=0, launcher="local").fit(X)
            for form, folder in folders.items():
                named = harpy.dataset(folder, dtype=X.dtype)
                output = tmp_path / f"{number} {form}"
                model = DAALKMeans(n_clusters=5, random_state=0, session=session)
                model.fit(named, output=f"{output} fit")
                assert model.labels_path_ == f"file://{output} fit"
                assert not hasattr(model, "labels_")
                assert model.cluster_centers_.tobytes() == local.cluster_centers_.tobytes()
                np.testing.assert_array_equal(model.fetch_labels(), local.labels_)
                check_parts(output.with_name(f"{output.name} fit"), folder, local.labels_)
                np.testing.assert_array_equal(model.predict(named), local.labels_)
                assert model.predict(named, output=output) == f"file://{output}"
                np.testing.assert_array_equal(model.fetch_labels(output), local.labels_)


def check_parts(labels: Path, folder: Path, expected: np.ndarray) -> None:
    """The manifest says of every input file which labels are whose, in order."""
    manifest = json.loads((labels / "manifest.json").read_text())
    assert manifest["n_rows"] == len(expected)
    names = [part["name"] for part in manifest["parts"]]
    written = {path.name for path in labels.iterdir()}
    assert written == {"_SUCCESS", "manifest.json", *names}
    assert names == sorted(names)
    row = 0
    for file in sorted(folder.iterdir()):
        of_file = [part for part in manifest["parts"] if part["file"] == f"file://{file}"]
        first = 0
        for part in of_file:
            assert part["first_row"] == first
            found = np.load(labels / part["name"])
            np.testing.assert_array_equal(found, expected[row : row + part["n_rows"]])
            first += part["n_rows"]
            row += part["n_rows"]
    assert row == len(expected)


def test_predict_reads_the_columns_of_the_fit(tmp_path: Path) -> None:
    X = np.random.default_rng(0).random((50, 3))
    pq.write_table(pa.table({"a": X[:, 0], "b": X[:, 1]}), tmp_path / "fit.parquet")
    more = pa.table({"name": ["?"] * 50, "b": X[:, 1], "a": X[:, 0]})
    pq.write_table(more, tmp_path / "new.parquet")
    model = DAALKMeans(n_clusters=3, random_state=0, launcher="local")
    model.fit(tmp_path / "fit.parquet")
    np.testing.assert_array_equal(model.predict(tmp_path / "new.parquet"), model.labels_)
    np.save(tmp_path / "x.npy", X)
    with pytest.raises(ValueError, match=r"x\.npy has 3 features, but DAALKMeans is expecting 2"):
        model.predict(tmp_path / "x.npy")
    np.testing.assert_array_equal(model.predict(tmp_path / "x.npy", columns=[0, 1]), model.labels_)


@pytest.mark.parametrize("n_node", [1, 2])
def test_nothing_half_written_stays_when_a_run_fails(n_node: int, tmp_path: Path) -> None:
    X = np.random.default_rng(0).random((50, 3))
    np.save(tmp_path / "good.npy", X)
    X[30, 1] = np.inf
    np.save(tmp_path / "bad.npy", X)
    model = DAALKMeans(n_clusters=3, n_node=n_node, launcher="local")
    with pytest.raises(DataError, match=r"row 30 of .*bad\.npy"):
        model.fit(tmp_path / "bad.npy", output=tmp_path / "labels")
    model.fit(tmp_path / "good.npy")
    with pytest.raises(DataError, match=r"row 30 of .*bad\.npy"):
        model.predict(tmp_path / "bad.npy", output=tmp_path / "labels")
    assert not (tmp_path / "labels").exists()
    model.fit(tmp_path / "good.npy", output=tmp_path / "labels")
    with pytest.raises(PathExists, match="labels exists already"):
        model.predict(tmp_path / "good.npy", output=tmp_path / "labels")
    (tmp_path / "labels" / "_SUCCESS").unlink()
    with pytest.raises(DataError, match="labels is not complete: there is no _SUCCESS"):
        model.fetch_labels()


def test_what_is_about_files_is_refused_with_rows_in_memory(tmp_path: Path) -> None:
    X = np.random.default_rng(0).random((50, 3))
    model = DAALKMeans(n_clusters=3, launcher="local")
    with pytest.raises(ValueError, match=r"^columns, output: only for rows in files"):
        model.fit(X, columns=[0], output=tmp_path / "labels")
    with pytest.raises(ValueError, match=r"^output: only for rows in files"):
        model.fit(X).predict(X, output=tmp_path / "labels")
    with pytest.raises(ValueError, match=r"^columns: only for rows in files"):
        model.fit(X).score(X, columns=[0])
    with pytest.raises(ValueError, match=r"transform takes rows in memory, and X names files"):
        model.fit(X).transform(tmp_path / "x.npy")
    with pytest.raises(ValueError, match="init is a callable"):
        np.save(tmp_path / "x.npy", X)
        model.set_params(init=lambda X, n_clusters, random_state: X[:3]).fit(tmp_path / "x.npy")
    with pytest.raises(ValueError, match="n_samples=50 should be >= n_clusters=60"):
        model.set_params(init="random", n_clusters=60).fit(tmp_path / "x.npy")
