"""Every fault of benchmarks/recovery.py on a cluster of several node managers: the bits are those
of a run that nobody disturbed, and nothing is left behind.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import recovery
from disturbed_cluster import started_again
from network_hosts import Host, missing
from recovery_faults import FAULTS, Fault
from running_cluster import RunningCluster

pytestmark = [pytest.mark.slow, pytest.mark.cluster, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def place(request: pytest.FixtureRequest) -> Iterator[tuple[RunningCluster, list[Host], Any]]:
    if request.param == "hosts" and (reason := missing()):
        pytest.skip(reason)
    with recovery.disturbed_cluster(request.param) as (cluster, hosts):
        yield cluster, hosts, recovery.undisturbed(cluster, hosts)


def of_their_place() -> list[Any]:
    return [pytest.param(fault.cluster, fault, id=fault.name) for fault in FAULTS]


@pytest.mark.parametrize(("place", "fault"), of_their_place(), indirect=["place"], scope="module")
def test_the_bits_stay_and_nothing_is_left(
    place: tuple[RunningCluster, list[Host], Any], fault: Fault
) -> None:
    cluster, hosts, expected = place
    outcome = recovery.suffer(fault, started_again(cluster), hosts, expected)
    assert (outcome.wrong, outcome.left) == ("", "")
    assert bool(outcome.error) == (fault.error is not None)
