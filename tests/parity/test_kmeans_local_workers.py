"""The same promise over real worker processes: staging, communicator and collectives included."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harpy import DAALKMeans, Session
from tests.support.rows.hostile import DTYPES, hostile_data

HOSTILE = ("offset 1e4", "columns over 12 decades", "integers with ties", "duplicates")


def bits(model: DAALKMeans) -> tuple[bytes, bytes, float, int]:
    centers, labels = model.cluster_centers_, model.labels_
    return centers.tobytes(), labels.tobytes(), model.inertia_, model.n_iter_


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
@pytest.mark.parametrize(("n_node", "n_thread"), [(2, 1), (3, 4), (4, 2)])
def test_worker_processes_give_the_bits_of_one(n_node: int, n_thread: int, tmp_path: Path) -> None:
    with Session(
        n_node, n_thread, 512, launcher="local", workdir=str(tmp_path), progress=False
    ) as session:
        for dtype in DTYPES:
            for name, X in hostile_data(dtype).items():
                if name not in HOSTILE:
                    continue
                stray = np.array(X[:8])
                stray[3] = 1e3 * np.abs(X).max()  # stays empty, so that a row is relocated
                for init in ("k-means++", "k-means||", stray):
                    model = DAALKMeans(n_clusters=8, init=init, random_state=0)
                    alone = bits(model.set_params(launcher="local").fit(X))
                    model.set_params(launcher="auto", session=session)
                    assert bits(model.fit(X)) == alone, (name, dtype)
    assert not list(tmp_path.iterdir()), "the session leaves nothing behind"
