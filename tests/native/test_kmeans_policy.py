"""When the E-step for many centers starts bounds and gives them up: no clock, no rows."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
KERNEL = HERE.parent.parent / "kernels" / "kmeans"
MUCH_WORK = 75_000  # multiply-adds a row
DISTANCE = 10.0  # of a row to its center: slow is a move below 0.03 of it


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    compiler = shutil.which("g++") or pytest.skip("needs g++")
    program = tmp_path_factory.mktemp("policy") / "panel_policy"
    source = HERE / "panel_policy.cpp"
    command = [compiler, "-std=c++17", f"-I{KERNEL}", str(source), "-o", str(program)]
    subprocess.run(command, check=True, timeout=120)

    def answers(*events: str, work: float = MUCH_WORK) -> list[list[str]]:
        ran = subprocess.run(
            [program, str(work)],
            input="\n".join(events),
            capture_output=True,
            text=True,
            timeout=10,
        )
        return [line.split() for line in ran.stdout.splitlines()]

    return answers


def test_bounds_start_when_centers_move_slowly(policy):
    scanned = f"scanned 1.0 {DISTANCE}"
    assert policy(scanned, "prefers 0.31")[-1][0] == "all"
    assert policy(scanned, "prefers 0.29")[-1][0] == "near"


def test_with_less_work_bounds_start_later(policy):
    scanned = f"scanned 1.0 {DISTANCE}"
    assert policy(scanned, "prefers 0.16", work=MUCH_WORK / 2)[-1][0] == "all"
    assert policy(scanned, "prefers 0.14", work=MUCH_WORK / 2)[-1][0] == "near"
    assert policy(scanned, "prefers 0.31", work=MUCH_WORK * 2)[-1][0] == "all"


def test_nothing_is_known_before_the_first_scan(policy):
    assert policy("prefers 0.0") == [["all", "unbounded", "gaps"]]


def test_the_call_that_starts_bounds_may_cost_what_it_likes(policy):
    answers = policy(f"scanned 1.0 {DISTANCE}", "prefers 0.1", "near 9.0 0.5", "prefers 99.0")
    assert answers[2][1] == "bounded"
    assert answers[3][0] == "near"  # however far the centers move


def test_bounds_end_when_they_cost_half_a_scan_more_than_they_saved(policy):
    start = [f"scanned 1.0 {DISTANCE}", "prefers 0.1", "near 1.0 0.5"]
    assert policy(*start, "near 1.4 0.5")[-1][1] == "bounded"
    assert policy(*start, "near 1.6 0.5")[-1][1] == "unbounded"
    assert policy(*start, "near 1.3 0.5", "near 1.3 0.5")[-1][1] == "unbounded"
    # What was saved in between counts, but is no credit for later.
    assert policy(*start, "near 1.3 0.5", "near 0.8 0.5", "near 1.3 0.5")[-1][1] == "bounded"
    assert policy(*start, "near 0.1 0.5", "near 1.6 0.5")[-1][1] == "unbounded"


def test_the_quickest_scan_is_the_measure(policy):
    scans = [f"scanned {seconds} {DISTANCE}" for seconds in (3.0, 1.0, 2.0)]
    assert policy(*scans, "prefers 0.1", "near 1.0 0.5", "near 1.6 0.5")[-1][1] == "unbounded"


def test_what_failed_is_tried_again_when_moves_have_halved(policy):
    failed = [f"scanned 1.0 {DISTANCE}", "prefers 0.2", "near 1.0 0.5", "prefers 0.2", "near 2 0.5"]
    assert policy(*failed, "prefers 0.11")[-1][0] == "all"
    assert policy(*failed, "prefers 0.09")[-1][0] == "near"


def test_gaps_are_measured_while_they_alone_keep_rows(policy):
    start = [f"scanned 1.0 {DISTANCE}", "prefers 0.1", "near 1.0 0.0"]
    assert policy(*start)[-1][2] == "gaps"  # the first call used none
    assert policy(*start, "near 0.5 0.06")[-1][2] == "gaps"
    assert policy(*start, "near 0.5 0.04")[-1][2] == "no-gaps"
