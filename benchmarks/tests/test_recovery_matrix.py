"""Every fault of benchmarks/recovery.py on a cluster of several node managers: the bits are those
of a run that nobody disturbed, and nothing is left behind.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import recovery
from recovery_faults import FAULTS, Fault

from tests.support.cluster.disturbed import started_again

pytestmark = [pytest.mark.slow, pytest.mark.cluster, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def testbed(request: pytest.FixtureRequest) -> Iterator[tuple[recovery.Testbed, Any]]:
    """A cluster of the asked kind, and the result of a run on it that nobody disturbs."""
    if reason := recovery.unavailable(request.param):
        pytest.skip(reason)
    with recovery.testbed_of(request.param) as found:
        yield found, recovery.undisturbed(found)


FAULTS_IN_PLACE = [pytest.param(fault.cluster, fault, id=fault.name) for fault in FAULTS]


@pytest.mark.parametrize(
    ("testbed", "fault"), FAULTS_IN_PLACE, indirect=["testbed"], scope="module"
)
def test_the_bits_stay_and_nothing_is_left(
    testbed: tuple[recovery.Testbed, Any], fault: Fault
) -> None:
    found, expected = testbed
    found.cluster = started_again(found.cluster)
    outcome = recovery.suffer(fault, found, expected)
    assert (outcome.wrong, outcome.left) == ("", "")
    assert bool(outcome.error) == (fault.error is not None)
