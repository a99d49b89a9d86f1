"""The native mesh is free of what sanitizers find: bad memory, undefined behaviour, races."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
KERNEL = HERE.parent.parent / "kernels" / "collective"


@pytest.mark.slow
@pytest.mark.parametrize("sanitizer", ["address,undefined", "thread"])
def test_all_operations_and_failures_are_clean(tmp_path, sanitizer):
    compiler = shutil.which("g++") or shutil.which("c++")
    if compiler is None:
        pytest.skip("needs a C++ compiler")
    sources = [str(p) for p in sorted(KERNEL.glob("*.cpp")) if p.name != "_collective.cpp"]
    program = tmp_path / "mesh_stress"
    built = subprocess.run(
        [
            compiler,
            "-std=c++17",
            "-O1",
            "-g",
            f"-fsanitize={sanitizer}",
            "-fno-sanitize-recover=all",
            f"-I{KERNEL}",
            *sources,
            str(HERE / "mesh_stress.cpp"),
            "-o",
            str(program),
            "-pthread",
        ],
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    ran = subprocess.run([str(program)], capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr[-4000:]
