"""What an import brings along, in a fresh interpreter each."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.support.rows.files import write_parquet


def test_import_is_light():
    heavy = "sklearn", "pyarrow", "hdfs_native", "numpy", "rich", "click", "scipy"
    code = f"import harpy, sys; print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_what_estimators_share_imports_nothing_of_kmeans() -> None:
    code = (
        "import sys, harpy.estimators.labels, harpy.estimators.files, harpy.estimators.rows\n"
        "print([m for m in sys.modules if m.startswith('harpy') and 'kmeans' in m])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["x.parquet", "x.csv", "x.svm"])
def test_reading_imports_no_pandas(tmp_path: Path, name: str) -> None:
    # It takes half a second in every worker. A stand-in tells: Arrow would swallow an error of it.
    (tmp_path / "pandas.py").write_text("print('pandas was imported')")
    write_parquet(tmp_path / "x.parquet", np.arange(60.0).reshape(20, 3))
    (tmp_path / "x.csv").write_text("1.5,2,3\n" * 20)
    (tmp_path / "x.svm").write_text("0 1:1.5 3:2\n" * 20)
    code = (
        "import sys, harpy; from harpy.program.context import Context;"
        "rows = harpy.dataset(sys.argv[1]).describe();"
        "print(Context.in_process(data={'X': rows}).data['X'].load().shape)"
    )
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", code, str(tmp_path / name)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.stderr) == ("(20, 3)", "")
