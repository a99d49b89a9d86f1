"""Builds for other processors, by another compiler, under sanitizers: not a bit changes."""

from __future__ import annotations

import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harpy.kernels import kmeans

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
SOURCES = [
    *(f for f in sorted((ROOT / "kernels/kmeans").rglob("*.cpp")) if f.name != "_kmeans.cpp"),
    HERE / "kernel_bits.cpp",
]
# As setup.py has them, but that warnings are errors.
FLAGS = ["-std=c++17", "-ffp-contract=off", "-fno-math-errno", "-fopenmp-simd", "-pthread"]
FLAGS += ["-Wall", "-Wextra", "-Werror", f"-I{ROOT / 'kernels/kmeans'}"]


def need(tool: str, package: str) -> str:
    found = shutil.which(tool)
    if found is None:
        pytest.skip(f"needs {tool}; Debian/Ubuntu: apt-get install {package}")
    return found


def succeed(*command: str | Path, timeout_s: float = 280.0) -> str:
    ran = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s)
    assert ran.returncode == 0, ran.stderr[-4000:]
    return ran.stdout


def build(folder: Path, compiler: str, *flags: str) -> Path:
    """kernel_bits with all kernels; the objects lie beside it."""

    def compile_one(source: Path) -> Path:
        target = folder / f"{source.stem}.o"
        succeed(compiler, *FLAGS, *flags, "-c", source, "-o", target)
        return target

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(compile_one, SOURCES))
    succeed(compiler, "-pthread", *flags, *objects, "-o", folder / "kernel_bits")
    return folder / "kernel_bits"


def differences(printed: str, expected: str) -> list[str]:
    """What was printed otherwise than expected; both must have the same results."""
    lines, wanted = printed.splitlines(), expected.splitlines()
    assert len(wanted) > 1000 and len(lines) == len(wanted)
    return [line for line, other in zip(lines, wanted, strict=True) if line != other]


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("native"), need("g++", "g++"), "-O3")


@pytest.fixture(scope="module")
def expected(native: Path) -> str:
    return succeed(native, "scalar", "1")


@pytest.fixture(scope="module")
def aarch64(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = need("aarch64-linux-gnu-g++", "g++-aarch64-linux-gnu")
    return build(tmp_path_factory.mktemp("aarch64"), compiler, "-O3", "-static")


@pytest.mark.parametrize("isa", kmeans.instruction_sets())
def test_threads_and_rude_callers_change_nothing(native: Path, expected: str, isa: str) -> None:
    assert differences(succeed(native, isa, "1"), expected) == []
    assert differences(succeed(native, isa, "3", "rude"), expected) == []


def test_code_of_one_instruction_set_is_linked_into_no_other(native: Path) -> None:
    for lanes in native.parent.glob("lanes_*.o"):
        symbols = succeed("nm", "--defined-only", "--extern-only", "--demangle", lanes).splitlines()
        isa = lanes.stem.removeprefix("lanes_")
        assert [symbol.split(" ", 2)[1:] for symbol in symbols] == [
            ["T", f"harpy::kmeans::{isa}_lane_kernels()"]
        ]


@pytest.mark.parametrize("isa", ["scalar", "neon"])
def test_aarch64_has_the_same_bits(expected: str, isa: str, aarch64: Path) -> None:
    emulator = need("qemu-aarch64", "qemu-user")
    assert differences(succeed(emulator, aarch64, isa, "3", "rude"), expected) == []


def test_clang_has_the_same_bits(tmp_path: Path, expected: str) -> None:
    program = build(tmp_path, need("clang++", "clang"), "-O3")
    for isa in kmeans.instruction_sets():
        assert differences(succeed(program, isa, "3", "rude"), expected) == []


@pytest.mark.parametrize("sanitizers", ["address,undefined", "thread"])
def test_sanitizers_find_nothing(tmp_path: Path, expected: str, sanitizers: str) -> None:
    flags = ["-O1", "-g", f"-fsanitize={sanitizers}", "-fno-sanitize-recover=all"]
    program = build(tmp_path, need("g++", "g++"), *flags)
    for isa in kmeans.instruction_sets():
        assert differences(succeed(program, isa, "3"), expected) == []
