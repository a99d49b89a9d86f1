"""Rows in files: the same numbers in every form that `fit` reads."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.sparse import save_npz

N_FILES = 3
Write = Callable[[Path, Any], None]


def write_npy(path: Path, rows: np.ndarray) -> None:
    np.save(path.with_suffix(".npy"), rows)


def write_fortran_npy(path: Path, rows: np.ndarray) -> None:
    np.save(path.with_suffix(".npy"), np.asfortranarray(rows))


def write_parquet(path: Path, rows: np.ndarray) -> None:
    table = pa.table({f"c{i}": column for i, column in enumerate(rows.T)})
    pq.write_table(table, path.with_suffix(".parquet"), row_group_size=37)


def csv_text(rows: np.ndarray) -> bytes:
    names = ",".join(f"c{i}" for i in range(rows.shape[1]))
    lines = (",".join(map(str, row)) for row in rows)  # NumPy's shortest text that comes back
    return "\n".join([names, *lines]).encode()


def write_csv(path: Path, rows: np.ndarray) -> None:
    path.with_suffix(".csv").write_bytes(csv_text(rows))


def write_csv_gz(path: Path, rows: np.ndarray) -> None:
    path.with_suffix(".csv.gz").write_bytes(gzip.compress(csv_text(rows)))


def write_npz(path: Path, rows: Any) -> None:
    save_npz(path.with_suffix(".npz"), rows)


def write_libsvm(path: Path, rows: Any) -> None:
    lines = []
    for start, stop in pairwise(rows.indptr):
        pairs = zip(rows.indices[start:stop], rows.data[start:stop], strict=True)
        lines.append(" ".join(["0", *(f"{column}:{value}" for column, value in pairs)]))
    path.with_suffix(".svm").write_text("\n".join(lines))


DENSE_FORMS: dict[str, Write] = {
    "npy": write_npy,
    "npy in Fortran's order": write_fortran_npy,
    "parquet": write_parquet,
    "csv": write_csv,
    "csv, gzip": write_csv_gz,
}
SPARSE_FORMS: dict[str, Write] = {"npz": write_npz, "libsvm": write_libsvm}
TEXT_FORMS = frozenset({"csv", "csv, gzip", "libsvm"})  # which do not know their dtype


def write_files(folder: Path, X: Any, write: Write) -> Path:
    """A new folder of some files that hold the rows of X, one below the other."""
    folder.mkdir()
    borders = [X.shape[0] * number // N_FILES for number in range(N_FILES + 1)]
    for number, (start, stop) in enumerate(pairwise(borders)):
        write(folder / f"part-{number}", X[start:stop])
    return folder


def in_every_form(folder: Path, X: Any, forms: Mapping[str, Write]) -> dict[str, Path]:
    """New folders below `folder` that hold the rows of X, by form."""
    return {form: write_files(folder / form, X, write) for form, write in forms.items()}
