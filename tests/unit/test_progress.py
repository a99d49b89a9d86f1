"""What the live line says."""

from __future__ import annotations

import pytest

from harpy.session.progress import NOTE_S, Progress


def said(capsys: pytest.CaptureFixture[str], progress: Progress) -> str:
    progress._noted_at -= NOTE_S  # as if that time had passed
    progress.iteration(0.5, {"iteration": 3})
    return capsys.readouterr().err


def test_an_iteration_is_shown_with_its_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    assert "50 %, iteration 3" in said(capsys, Progress(enabled=True))
    assert said(capsys, Progress(enabled=False)) == ""


@pytest.mark.parametrize(
    ("busy", "named"),
    [
        ({0: 0.1, 1: 0.97, 2: 0.3}, "slow: rank 1 on n1, for which the others wait 70 % of"),
        ({0: 0.9, 1: 0.97, 2: 0.3}, None),  # two of them keep the third waiting
        ({0: 0.7, 1: 0.7, 2: 0.7}, None),
        ({0: 0.1, 1: 0.1}, None),  # the network is what they wait for
        ({1: 1.0}, None),
    ],
)
def test_a_rank_that_keeps_all_others_waiting_is_named(
    capsys: pytest.CaptureFixture[str], busy: dict[int, float], named: str | None
) -> None:
    progress = Progress(enabled=True)
    for rank, part in busy.items():
        progress.pace(rank, f"n{rank}", part)
    line = said(capsys, progress)
    assert "iteration 3" in line
    assert (named in line) if named else ("slow" not in line)
    progress.new_run()
    assert "slow" not in said(capsys, progress)
