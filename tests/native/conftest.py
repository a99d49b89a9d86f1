"""Fixtures of the kernel tests: every instruction set of this processor, one at a time."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harpy.kernels import kmeans


@pytest.fixture
def use_isa(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def choose(name: str) -> None:
        monkeypatch.setenv("HARPY_ISA", name)
        assert kmeans.instruction_set() == name

    return choose
