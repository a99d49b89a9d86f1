"""Runs on real worker processes that go well: results, data, progress, kept sessions, the end."""

from __future__ import annotations

import time

import numpy as np
import pytest

from harpy.config import Deadlines
from harpy.errors import PeerLost
from harpy.launch.base import JobState
from harpy.session.control import RunDone
from harpy.wire.failure import Failure
from harpy.wire.run_spec import RunSpec
from harpy.wire.to_driver import Joined, Paced, Progressed, RunFailed, SessionEnded
from tests.support.gangs.local import DEADLINES, SOON_S, local_gang

SUMS = """
def main(ctx):
    X = ctx.data["X"].load()
    assert len(X) == len(ctx.data["X"].rows) and X.dtype == ctx.data["X"].dtype
    total = ctx.comm.allreduce(X.sum(axis=0))
    for step in range(3):
        ctx.progress((step + 1) / 3, step=step, total=total[0])
    ctx.save("rows", np.array(ctx.data["X"].rows, dtype=np.int32))
    ctx.save("double", 2 * X)
    return {"total": total * ctx.params["scale"], "rank": ctx.rank, "size": ctx.size}
"""
X = np.arange(22.0, dtype=np.float32).reshape(11, 2)


def check_sums(value, arrays, n_node, scale=1):
    np.testing.assert_array_equal(value["total"], scale * X.sum(axis=0))
    assert (value["rank"], value["size"]) == (0, n_node)
    np.testing.assert_array_equal(arrays["rows"], np.arange(11, dtype=np.int32), strict=True)
    np.testing.assert_array_equal(arrays["double"], 2 * X, strict=True)


@pytest.mark.parametrize("n_node", [1, 2, 3])
def test_a_single_run_needs_no_driver_and_leaves_its_results(tmp_path, n_node):
    with local_gang(tmp_path, n_node) as gang:
        data = {"X": gang.stage(X)}
        gang.submit(gang.program(SUMS, data=data, params={"scale": 2}))
        assert gang.failures() == {}
        assert gang.launcher.status().state is JobState.SUCCEEDED
        run = gang.directory.run(1)
        value, arrays = run.read_results()
        check_sums(value, arrays, n_node, scale=2)
        assert [r.state for r in run.read_reports()] == ["done"] * n_node
        assert run.read_run().origin == "program.py"


def test_the_driver_hears_who_joins_progress_and_the_end(tmp_path):
    with local_gang(tmp_path, 2) as gang:
        spec = gang.program(SUMS, data={"X": gang.stage(X)}, params={"scale": 1})
        gang.submit(spec)
        gang.connect()
        done = gang.until(RunDone)
        ended = gang.until(SessionEnded)
        check_sums(*done.read_results(gang.directory.run(1)), 2)
        assert ended.reason == "its run is done"
        kinds = [type(event) for event in gang.events]
        assert kinds.index(RunDone) == len(kinds) - 2
        assert Joined(2, 2) in gang.events
        last = [event for event in gang.events if isinstance(event, Progressed)][-1]
        assert (last.run, last.rank, last.fraction) == (1, 0, 1.0)
        assert last.values == {"step": 2, "total": float(X[:, 0].sum())}
        assert gang.failures() == {}
        assert gang.launcher.status().progress == 1.0


SLOW_RANK_1 = """
import time
from harpy.gang import execution

def main(ctx):
    execution.PACE_S = 0.5
    for step in range(40):
        time.sleep(0.05 if ctx.rank == 1 else 0.0)
        ctx.comm.barrier()
        ctx.progress()
"""


def test_the_driver_hears_which_rank_the_others_wait_for(tmp_path):
    with local_gang(tmp_path, 3) as gang:
        gang.submit(gang.program(SLOW_RANK_1))
        gang.connect()
        gang.until(RunDone)
        busy = {e.rank: e.busy for e in gang.events if isinstance(e, Paced)}
        assert busy.keys() == {0, 1, 2}
        assert min(busy, key=busy.__getitem__) != 1
        assert busy[1] == max(busy.values()) and busy[1] > 0.5


@pytest.mark.parametrize("deliver", [False, True], ids=["files", "delivered"])
def test_a_kept_session_runs_many_and_gives_the_same_by_file_or_by_wire(tmp_path, deliver):
    with local_gang(tmp_path, 3) as gang:
        data = {"X": gang.stage(X)}
        gang.submit()
        for number in (1, 2, 3):
            # An array among the parameters travels on the control channel.
            params = {"scale": np.float64(number), "table": np.arange(number)}
            spec = gang.program(SUMS, number, data=data, params=params, deliver=deliver)
            done = gang.run(spec)
            assert isinstance(done, RunDone), done
            run = gang.directory.run(number)
            check_sums(*done.read_results(run), 3, scale=number)
            assert run.finished() is not deliver
        gang.close_session()
        assert gang.failures() == {}


def test_large_results_go_through_files_even_when_delivered(tmp_path):
    text = """
def main(ctx):
    ctx.save("big", np.full((3_000_000 if ctx.rank else 1, 1), ctx.rank, np.float64))
    return np.zeros(3_000_000)
"""
    with local_gang(tmp_path, 2) as gang:
        gang.submit()
        done = gang.outcome(text, deliver=True)
        value, arrays = done.read_results(gang.directory.run(1))
        assert value.nbytes == 24_000_000
        assert arrays["big"].shape == (3_000_001, 1)
        assert (arrays["big"][0, 0], arrays["big"][-1, 0]) == (0, 1)
        gang.close_session()


def test_parameters_can_wait_in_the_run_directory(tmp_path):
    with local_gang(tmp_path, 1) as gang:
        gang.directory.run(1).write_params({"a": np.arange(3)})
        gang.submit(gang.program("def main(ctx): return ctx.params['a'].sum()", params=None))
        assert gang.failures() == {}
        assert gang.directory.run(1).read_results()[0] == 3


def test_data_may_be_staged_after_the_run_has_started(tmp_path):
    from harpy.storage import content_hash

    with local_gang(tmp_path, 2) as gang:
        spec = gang.program(SUMS, data={"X": content_hash(X)}, params={"scale": 1})
        gang.submit(spec)
        gang.connect()
        time.sleep(0.5)
        gang.stage(X)
        assert isinstance(gang.until(RunDone, RunFailed), RunDone)


def test_a_kept_session_reads_staged_data_once(tmp_path):
    with local_gang(tmp_path, 2) as gang:
        data = {"X": gang.stage(X)}
        gang.submit()
        options = {"data": data, "params": {"scale": 1}, "deliver": True}
        assert isinstance(gang.run(gang.program(SUMS, 1, **options)), RunDone)
        gang.fs.delete(gang.directory.data(data["X"]), recursive=True)
        done = gang.run(gang.program(SUMS, 2, **options))
        check_sums(*done.read_results(gang.directory.run(2)), 2)
        gang.close_session()


def test_loaded_rows_cannot_be_changed_under_the_next_run(tmp_path):
    text = "def main(ctx): ctx.data['X'].load()[:] = 0"
    with local_gang(tmp_path, 1) as gang:
        data = {"X": gang.stage(X)}
        gang.submit()
        failed = gang.outcome(text, data=data)
        assert "read-only" in failed.failure.message
        gang.close_session()


def test_a_program_may_leave_the_communicator_alone(tmp_path):
    with local_gang(tmp_path, 2) as gang:
        gang.submit()
        done = gang.outcome("def main(ctx): return ctx.rank", deliver=True)
        assert done.read_results(gang.directory.run(1)) == (0, {})
        gang.close_session()


def test_an_importable_program_and_its_threads(tmp_path, monkeypatch):
    (tmp_path / "my_module.py").write_text(
        "import os\n"
        "class Job:\n"
        "    @staticmethod\n"
        "    def main(ctx):\n"
        "        return [ctx.n_thread, os.environ['OMP_NUM_THREADS'], __name__]\n"
    )
    with local_gang(tmp_path, 1) as gang:
        gang.submit(env={"PYTHONPATH": str(tmp_path)})
        done = gang.run(RunSpec(1, "Job.main", "my_module", params={}, deliver=True))
        assert isinstance(done, RunDone), done
        assert done.read_results(gang.directory.run(1))[0] == [1, "1", "my_module"]
        gang.close_session()


def test_a_program_file_is_not_main_and_shows_its_lines(tmp_path):
    text = """
def main(ctx):
    raise ValueError(__name__)
if __name__ == "__main__":
    raise SystemExit("this is for the driver")
"""
    with local_gang(tmp_path, 1) as gang:
        gang.submit()
        failed = gang.outcome(text)
        assert failed.failure.message.startswith("ValueError: harpy_program_")
        assert 'File "program.py", line 5, in main' in failed.failure.detail
        assert "raise ValueError(__name__)" in failed.failure.detail
        assert "harpy/gang" not in failed.failure.detail
        gang.close_session()


def test_a_driver_that_goes_away_lets_the_run_finish(tmp_path):
    text = "def main(ctx):\n    time.sleep(1)\n    return ctx.comm.allreduce(np.ones(1))"
    with local_gang(tmp_path, 2) as gang:
        gang.submit()
        control = gang.connect()
        control.start_run(gang.program(text))
        time.sleep(0.3)
        control.close()
        assert gang.failures() == {}
        assert gang.directory.run(1).read_results()[0].tolist() == [2.0]


def test_a_driver_that_comes_back_takes_over(tmp_path):
    with local_gang(tmp_path, 2) as gang:
        gang.submit()
        first = gang.connect()
        first.start_run(gang.program("def main(ctx):\n    time.sleep(0.5)\n    return 1"))
        gang.connect()
        with pytest.raises(PeerLost):
            while True:
                first.next_event(1.0)
        first.close()
        assert isinstance(gang.until(RunDone), RunDone)
        gang.close_session()


def test_an_idle_session_ends_itself(tmp_path):
    deadlines = Deadlines(**{**vars(DEADLINES), "idle_s": 0.5})
    with local_gang(tmp_path, 2, deadlines=deadlines) as gang:
        gang.submit()
        gang.connect()
        assert gang.until(SessionEnded).reason == "no run for 0.5 s (HARPY_IDLE_S)"
        assert gang.failures() == {}


def test_a_session_may_be_closed_before_all_workers_have_come(tmp_path):
    with local_gang(tmp_path, 3) as gang:
        gang.submit()
        gang.connect().close_session()
        started = time.monotonic()
        assert gang.failures() == {}
        assert time.monotonic() - started < SOON_S


def test_a_second_run_at_the_same_time_is_refused(tmp_path):
    with local_gang(tmp_path, 1) as gang:
        gang.submit()
        control = gang.connect()
        control.start_run(gang.program("def main(ctx): time.sleep(0.5)"))
        failed = gang.run(gang.program("def main(ctx): pass", 2))
        assert (failed.run, failed.failure.message) == (2, "run 1 is still going on")
        assert isinstance(gang.until(RunDone), RunDone)
        gang.close_session()


def test_a_cancelled_run_stops_and_the_session_goes_on(tmp_path):
    with local_gang(tmp_path, 2) as gang:
        gang.submit()
        control = gang.connect()
        control.start_run(gang.program("def main(ctx):\n    ctx.comm\n    time.sleep(1000)"))
        time.sleep(0.5)
        control.cancel_run(1)
        failed = gang.until(RunFailed)
        assert failed.failure == Failure("RunError", "cancelled by the driver")
        assert isinstance(gang.run(gang.program("def main(ctx): pass", 2)), RunDone)
        gang.close_session()
