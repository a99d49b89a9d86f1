"""What faults cost a run: k-means on a cluster of several node managers is hurt in every way that
recovery_faults.py knows, and must end with the bits of a run that nobody hurt.

    python benchmarks/recovery.py --only "rank 0" --json recovery.json --markdown recovery.md

A results file is added to, so that faults can be done one by one.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NoReturn
from unittest.mock import patch

import numpy as np
from peers.machine import describe

sys.path.insert(0, str(Path(__file__).parents[1]))  # runs that are disturbed serve tests, too

from recovery_faults import FAULTS, Fault, Scene

from harpy import Session
from harpy.cluster.spec import Shape
from harpy.errors import HarpyError
from harpy.launch.yarn.job_settings import MASTER_MEMORY_MB
from tests.support.cluster.disturbed import Farewell, started_again
from tests.support.cluster.hosts import Host, cluster_of_hosts, missing
from tests.support.cluster.running import RunningCluster, running_cluster
from tests.support.cluster.two_queues import TWO_QUEUES
from tests.support.runs.disturbed import Disturbed, same_bits
from tests.support.runs.failing import driver_here
from tests.support.shell import Shell

# A node holds one worker, and the master beside it: a lost node takes one worker with it.
WORKER_MB, NODE_MB = 768, 1408
EXPIRY = "yarn.nm.liveness-monitor.expiry-interval-ms"
MASTER_EXPIRY = "yarn.am.liveness-monitor.expiry-interval-ms"
CLUSTERS = {
    "plain": Shape(nodes=3, memory_mb=NODE_MB),
    "slow expiry": Shape(nodes=3, memory_mb=NODE_MB, settings={EXPIRY: "600000"}),
}
# One node that a gang and the other queue's master fill: one worker of that queue costs the gang
# one of its own, and then both queues have the half that they are guaranteed.
_PREEMPTION = "yarn.resourcemanager.monitor.capacity.preemption"
CLUSTERS["two queues"] = Shape(
    memory_mb=2 * (MASTER_MEMORY_MB + WORKER_MB),
    settings={
        **TWO_QUEUES,
        "yarn.resourcemanager.scheduler.monitor.enable": "true",
        f"{_PREEMPTION}.monitoring_interval": "500",
        f"{_PREEMPTION}.max_wait_before_kill": "1000",
        f"{_PREEMPTION}.total_preemption_per_round": "1.0",
        f"{_PREEMPTION}.natural_termination_factor": "1.0",
        f"{_PREEMPTION}.max_ignored_over_capacity": "0.0",  # the dead zone
    },
)
ROWS, COLUMNS, CLUSTERS_WANTED, N_ITER = 20_000, 8, 50, 60
# Kind of cluster -> memory of the master's container, of a host. A host has room for one worker;
# for the master there is room at the bridge only, and in the second kind on hosts only.
BRIDGE_MB, N_HOSTS = 1024, 3
ON_HOSTS = {"hosts": (1024, WORKER_MB), "hosts with the master": (1152, NODE_MB)}
for _kind in ON_HOSTS:
    _largest = {"yarn.scheduler.maximum-allocation-mb": str(NODE_MB)}
    _patience = {EXPIRY: "600000", MASTER_EXPIRY: "600000"}  # Hadoop's defaults
    CLUSTERS[_kind] = Shape(memory_mb=BRIDGE_MB, settings={**_patience, **_largest})
FAREWELL_S = 30.0
PARAMS = {
    "n_clusters": CLUSTERS_WANTED,
    "max_iter": N_ITER,
    "tol": 0.0,
    "random_state": 3,
}


@dataclass
class Outcome:
    """What one fault led to.

    Attributes
    ----------
    seconds : float or None
        From the fault to the next iteration of all ranks; where the run went on, its longest pause.
    same_bits : bool or None
        None where an error was asked for.
    gone_s : float or None
        From the moment the replacements began until the last of the workers that were to go had.
    left : str
        What was still there afterwards.
    """

    name: str
    target_s: float | None
    load: float
    began_anew: bool = False
    seconds: float | None = None
    same_bits: bool | None = None
    gone_s: float | None = None
    error: str = ""
    left: str = ""
    wrong: str = ""

    @property
    def well(self) -> bool:
        return not self.wrong and not self.left


def rows() -> np.ndarray:
    return np.random.default_rng(4).normal(size=(ROWS, COLUMNS)).astype(np.float32)


@dataclass
class Testbed:
    """Where faults happen."""

    cluster: RunningCluster
    hosts: Sequence[Host] = ()
    hadoop_conf: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def testbed_of(kind: str) -> Iterator[Testbed]:
    """A running cluster of CLUSTERS."""
    shape = CLUSTERS[kind]
    if kind in ON_HOSTS:
        master_mb, host_mb = ON_HOSTS[kind]
        with cluster_of_hosts(shape, N_HOSTS, host_mb) as (cluster, hosts):
            yield Testbed(cluster, hosts, {"yarn.app.mapreduce.am.resource.mb": str(master_mb)})
    else:
        with running_cluster(shape) as cluster:
            yield Testbed(cluster)


def unavailable(kind: str) -> str | None:
    """Why there can be no such cluster here, or None."""
    return missing() if kind in ON_HOSTS else None


def session(testbed: Testbed, single: bool = False) -> Session:
    return Session(
        n_node=2,
        n_thread=1,
        n_mem=WORKER_MB,
        launcher="yarn",
        progress=False,
        single_run=single,
        hadoop_conf=testbed.hadoop_conf,
    )


@contextmanager
def disturbed_run(
    opened: Session, pause_s: float, waits: Mapping[str, Mapping[str, float]] | None = None
) -> Iterator[Disturbed]:
    with tempfile.TemporaryDirectory(prefix="harpy-marks-") as folder:
        params = {**PARAMS, "pause_s": pause_s, "waits": waits or {}}
        data = {"X": rows()}
        yield Disturbed(opened, "kmeans_slowly", Path(folder), params=params, data=data)


def undisturbed(testbed: Testbed) -> Any:
    with ExitStack() as stack:
        stack.enter_context(driver_here("yarn", testbed.cluster))
        opened = stack.enter_context(session(testbed))
        result = stack.enter_context(disturbed_run(opened, 0.0)).end()
    assert result.value["n_iter"] == N_ITER, "it converged before it could be disturbed"
    return result


def suffer(fault: Fault, testbed: Testbed, expected: Any) -> Outcome:
    """One run with one fault."""
    outcome = Outcome(fault.name, fault.target_s, round(os.getloadavg()[0], 1))
    try:
        with driver_here("yarn", testbed.cluster) as shell, patch.dict(os.environ, fault.env):
            try:
                _disturb(fault, shell, testbed, expected, outcome)
            except Exception as exc:
                outcome.wrong = f"{type(exc).__name__}: {exc}"
    except AssertionError as exc:
        outcome.left = str(exc)
    return outcome


def _disturb(fault: Fault, shell: Shell, testbed: Testbed, expected: Any, outcome: Outcome) -> None:
    with ExitStack() as after:
        opened = after.enter_context(session(testbed, fault.single))
        run = after.enter_context(disturbed_run(opened, fault.pause_s, fault.waits))
        after.callback(run.end_whatever)
        undo = after.enter_context(ExitStack())
        scene = Scene(testbed.cluster, shell, opened, run, undo, testbed.hosts)
        if not fault.at_once:
            run.wait()
        struck = fault.strike(scene)
        farewell = Farewell(scene.victims)
        try:
            result = run.end()
        except HarpyError as exc:
            if type(exc).__name__ != fault.error:
                raise
            outcome.error = str(exc)
            return
        finally:
            undo.close()
        outcome.began_anew = run.begun_anew()
        undisturbed = fault.goes_on and not outcome.began_anew
        outcome.seconds = run.longest_pause_s(struck) if undisturbed else run.recovered_s(struck)
        outcome.same_bits = same_bits(result, expected)
        outcome.gone_s = _gone_s(scene, farewell, struck)
        outcome.wrong = _judged(fault, outcome, [loss.failure.kind for loss in opened.job.failures])


def _judged(fault: Fault, outcome: Outcome, losses: Sequence[str]) -> str:
    if fault.error is not None:
        return f"ended without {fault.error}"
    if not outcome.same_bits:
        return "other bits"
    if fault.goes_on and outcome.began_anew:
        return "the run began anew"
    if fault.loss is not None and list(losses) != [fault.loss]:
        return f"one {fault.loss} expected, the cluster told of {', '.join(losses) or 'nothing'}"
    return ""


def _gone_s(scene: Scene, farewell: Farewell, struck: float) -> float | None:
    """From the replacements' begin to the last victim's end; None if none was to go."""
    begun = [m.at for r in (0, 1) for m in scene.run.marks(r) if m.what == "begin"]
    if not scene.victims or max(begun) < struck:
        return None
    deadline = time.monotonic() + FAREWELL_S
    while len(farewell.at) < len(scene.victims) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(farewell.at) == len(scene.victims), f"of {scene.victims} only {farewell.at} ended"
    return max(farewell.at.values()) - max(begun)


def table(outcomes: Mapping[str, Mapping[str, Any]]) -> str:
    lines = [
        "| fault | seconds | asked | then | bits | left behind | load |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in [fault.name for fault in FAULTS if fault.name in outcomes]:
        o = outcomes[name]
        seconds = f"{o['seconds']:.1f}" if o["seconds"] else ""
        asked = "" if o["target_s"] is None else f"< {o['target_s']:g}"
        then = "began anew" if o["began_anew"] else "went on"
        then = "one error" if o["error"] else then
        bits = {True: "the same", False: "**others**", None: ""}[o["same_bits"]]
        left = o["wrong"] or o["left"] or "nothing"
        left = left.splitlines()[0][:200]
        lines.append(f"| {name} | {seconds} | {asked} | {then} | {bits} | {left} | {o['load']} |")
    return "\n".join(lines)


def leave(number: int, _: object) -> NoReturn:
    """Clean up as on Ctrl-C: cluster, namespaces and bridge would outlive this program."""
    signal.signal(number, lambda *_: None)  # once is enough
    sys.exit(128 + number)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", help="faults whose names contain this")
    parser.add_argument("--list", action="store_true", help="names of the faults")
    parser.add_argument("--json", type=Path, help="add the outcomes to this file")
    parser.add_argument("--markdown", type=Path, help="write the table of that file")
    chosen = parser.parse_args()
    wanted = [f for f in FAULTS if not chosen.only or any(part in f.name for part in chosen.only)]
    if chosen.list:
        print("\n".join(fault.name for fault in wanted))
        return 0
    signal.signal(signal.SIGTERM, leave)
    known = json.loads(chosen.json.read_text()) if chosen.json and chosen.json.exists() else {}
    outcomes = known.setdefault("outcomes", {})
    known["machine"] = describe(["harpy", "numpy"])
    failed = 0
    for kind in CLUSTERS:
        faults = [fault for fault in wanted if fault.cluster == kind]
        if faults and (reason := unavailable(kind)):
            print(f"left out: {', '.join(fault.name for fault in faults)}: {reason}")
            continue
        if not faults:
            continue
        with testbed_of(kind) as testbed:
            expected = undisturbed(testbed)
            for fault in faults:
                outcome = suffer(fault, testbed, expected)
                outcomes[fault.name] = {**asdict(outcome), "at": time.strftime("%Y-%m-%d %H:%M")}
                failed += not outcome.well
                print(table({fault.name: outcomes[fault.name]}).splitlines()[-1], flush=True)
                if chosen.json:
                    chosen.json.write_text(json.dumps(known, indent=1) + "\n")
                testbed.cluster = started_again(testbed.cluster)
    text = table(outcomes)
    print(f"\n{text}")
    if chosen.markdown:
        chosen.markdown.write_text(text + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
