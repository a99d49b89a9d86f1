"""A fit that begins anew from any of its checkpoints ends with the same bits."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import numpy as np
import pytest

from harpy.jobs.kmeans import main
from harpy.storage import CsrRows
from tests.support.gangs.threads import GangResult, run_gang
from tests.support.rows.sparse import hostile_sparse

SPLITS = (100, 250)


class KeptStates:
    """`ctx.checkpoint` of a fit that begins from a state and whose states are looked at later."""

    kept = True

    def __init__(self, first: Mapping[str, Any] | None) -> None:
        self._first = first
        self.states: list[dict[str, Any]] = []

    def load(self) -> dict[str, Any] | None:
        return None if self._first is None else deepcopy(dict(self._first))

    def save(self, state: Mapping[str, Any]) -> None:
        self.states.append(deepcopy(dict(state)))


def fit(
    X: Any, params: dict[str, Any], weights: np.ndarray | None, first: Any = None
) -> tuple[GangResult, list[dict[str, Any]]]:
    """The result from a state on, or from the beginning, and the states that rank 0 saved."""
    states: list[dict[str, Any]] = []

    def program(ctx: Any) -> Any:
        ctx.checkpoint = KeptStates(first)
        if ctx.rank == 0:
            ctx.checkpoint.states = states
        return main(ctx)

    return run_gang(program, X, params, splits=SPLITS, weights=weights), states


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("form", ["dense", "sparse"])
@pytest.mark.parametrize("max_iter", [4, 40])  # ended by max_iter, and by convergence
def test_every_checkpoint_leads_to_the_same_bits(form: str, weighted: bool, max_iter: int) -> None:
    rng = np.random.default_rng(3)
    X: Any = rng.normal(size=(400, 4)) + rng.integers(0, 3, (400, 1))
    if form == "sparse":
        X = CsrRows.of(hostile_sparse(np.float64)["blobs"][:400])
    params = {"n_clusters": 5, "n_init": 3, "max_iter": max_iter, "tol": 1e-3, "random_state": 1}
    params["verbose"] = True
    weights = rng.random(400) if weighted else None
    whole, states = fit(X, params, weights)
    assert states[-1]["n_ended"] == 3
    assert any(s["position"] and s["position"]["n_iter"] == 4 for s in states)
    for state in states:
        again, _ = fit(X, params, weights, state)
        assert again.bits == whole.bits, state["position"]
        assert again.value["courses"] == whole.value["courses"], state["position"]
