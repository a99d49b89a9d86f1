"""A minute of coverage-guided fuzzing for the Python and for the native side (slow)."""

from __future__ import annotations

import importlib.util
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT
from tests.support.fuzz.seeds import inputs
from tests.support.fuzz.targets import TARGETS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

HERE = Path(__file__).parent
KERNEL = ROOT / "kernels" / "collective"
UNDER_ATHERIS = "tests.support.fuzz.under_atheris"
SECONDS = 60
# An input of a few kilobytes reaches everything; a second is a thousand times what one needs.
BOUNDS = ("-max_len=4096", "-timeout=20", "-rss_limit_mb=2048", "-print_final_stats=1")


def fuzz(*command: str | Path, seconds: int) -> None:
    ran = subprocess.run(
        [*map(str, command), *BOUNDS, f"-max_total_time={seconds}"],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=seconds + 120,
        cwd=ROOT,
    )
    assert ran.returncode == 0, f"{ran.stdout[-2000:]}\n{ran.stderr[-4000:]}"
    assert "Done" in ran.stderr


@pytest.mark.parametrize("target", TARGETS)
def test_atheris_finds_nothing(tmp_path: Path, target: str) -> None:
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("needs atheris: pip install -e '.[fuzz]'")
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for seed in range(200):
        (corpus / f"{seed}").write_bytes(inputs(target, random.Random(seed)))
    found = f"-artifact_prefix={tmp_path}/"
    fuzz(
        sys.executable, "-m", UNDER_ATHERIS, target, found, corpus, seconds=SECONDS // len(TARGETS)
    )


def test_libfuzzer_finds_nothing_in_the_frames_between_ranks(tmp_path: Path) -> None:
    compiler = shutil.which("clang++")
    if compiler is None:
        pytest.skip("needs clang++; Debian/Ubuntu: apt-get install clang")
    sources = [str(p) for p in sorted(KERNEL.glob("*.cpp")) if p.name != "_collective.cpp"]
    program = tmp_path / "mesh_fuzz"
    flags = ["-std=c++17", "-O1", "-g", "-fsanitize=fuzzer,address,undefined"]
    flags += ["-fno-sanitize-recover=all", f"-I{KERNEL}", "-pthread"]
    built = subprocess.run(
        [compiler, *flags, *sources, str(HERE / "mesh_fuzz.cpp"), "-o", str(program)],
        capture_output=True,
        text=True,
        timeout=200,
    )
    if "libclang_rt.fuzzer" in built.stderr:
        pytest.skip("needs clang's libFuzzer; Debian/Ubuntu: apt-get install libclang-rt-dev")
    assert built.returncode == 0, built.stderr[-4000:]
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    rng = random.Random(0)
    for n in range(200):
        (corpus / f"{n}").write_bytes(rng.randbytes(rng.choice((8, 60, 400))))
    found = f"-artifact_prefix={tmp_path}/"
    fuzz(program, found, "-use_value_profile=1", corpus, seconds=SECONDS)
