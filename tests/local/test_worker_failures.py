"""Programs and workers that fail: one first cause, soon, the same everywhere, nothing left."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace

import psutil
import pytest

from harpy.errors import DataError, PeerLost
from harpy.session.control import RunDone
from harpy.wire.run_spec import RunSpec
from harpy.wire.to_driver import RunFailed
from tests.support.gangs.local import DEADLINES, SOON_S, local_gang

# What ranks other than 1 do meanwhile: waiting for it, not yet connected to it, or asleep.
MEANWHILE = {
    "in a collective": ("ctx.comm.barrier()", "ctx.comm.barrier()"),
    "forming the communicator": ("pass", "ctx.comm.barrier()"),
    "asleep": ("pass", "time.sleep(1000)"),
}


def failing(what: str, before: str = "ctx.comm.barrier()", after: str = "ctx.comm.barrier()"):
    return f"""
def main(ctx):
    {before}
    if ctx.rank == 1:
        {what}
    {after}
"""


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Three workers that live through everything the programs of many tests do."""
    with local_gang(tmp_path_factory.mktemp("kept"), 3) as gang:
        gang.submit()
        yield gang
        gang.close_session()
        assert gang.failures() == {}


@pytest.mark.parametrize("meanwhile", MEANWHILE)
def test_an_exception_on_one_rank_is_the_first_cause_and_the_session_lives(kept, meanwhile):
    failed = kept.outcome(failing("raise ValueError('boom')", *MEANWHILE[meanwhile]))
    assert isinstance(failed, RunFailed)
    assert (failed.failure.kind, failed.failure.rank) == ("ProgramFailed", 1)
    assert failed.failure.message == "ValueError: boom"
    assert "line 7, in main" in failed.failure.detail
    assert isinstance(kept.outcome("def main(ctx): ctx.comm.barrier()"), RunDone)


def test_a_failed_single_run_ends_with_one_first_cause_and_echoes(tmp_path):
    with local_gang(tmp_path, 3) as gang:
        gang.submit(gang.program(failing("raise ValueError('boom')")))
        failures = gang.failures()
        assert {rank: failure.echo for rank, failure in failures.items()} == {
            0: True,
            1: False,
            2: True,
        }
        assert failures[1].kind == "ProgramFailed"
        assert failures[1].message == "ValueError: boom"
        assert "line 7, in main" in failures[1].detail
        assert failures[0].message == "rank 1 failed: ValueError: boom"
        run = gang.directory.run(1)
        assert not run.finished()
        (report,) = run.read_reports()
        assert (report.rank, report.state) == (1, "failed")
        assert report.error.message == "ValueError: boom"


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("sys.exit(3)", "the program called sys.exit(3); return from it instead"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("raise MemoryError('no room')", "MemoryError: no room"),
        ("main(ctx)", None),
    ],
    ids=["exit", "interrupt", "memory", "recursion"],
)
def test_every_way_to_leave_a_program_is_a_failed_program(kept, what, message):
    failed = kept.outcome(failing(what, before="pass"))
    assert (failed.failure.kind, failed.failure.rank) == ("ProgramFailed", 1)
    assert failed.failure.message == message or (
        message is None and "Recursion" in failed.failure.message
    )


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("def main(ctx): retrun 5", "ProgramFailed", "SyntaxError: invalid syntax"),
        ("def other(ctx): pass", "ProgramFailed", "program.py defines no 'main'"),
        ("main = 5", "ProgramFailed", "'main' of program.py is a int, not a function"),
        ("import no_such_module_x", "ProgramFailed", "No module named 'no_such_module_x'"),
        ("def main(ctx): return object()", "DataError", "what the program returned cannot travel"),
        ("def main(ctx): ctx.save('../x', [1])", "DataError", "an output's name is"),
        ("def main(ctx): ctx.save('x', 1)", "DataError", "single number; return it"),
        ("def main(ctx): ctx.save('x', [1]), ctx.save('x', [1])", "DataError", "saved before"),
        ("def main(ctx): ctx.data['Y']", "DataError", "no input 'Y'; it has: none"),
        (
            "def main(ctx): ctx.save('x', [None])",
            "DataError",
            "is an array of dtype object",
        ),
        ("def main(ctx): ctx.comm.allreduce([1j])", "ProgramFailed", "TypeError: allreduce takes"),
    ],
    ids=lambda value: value if isinstance(value, str) and " " not in value else None,
)
def test_what_a_program_does_wrong_is_said_in_its_words(kept, text, kind, message):
    failed = kept.outcome(text)
    assert isinstance(failed, RunFailed), failed
    assert failed.failure.kind == kind
    assert message in failed.failure.message


def test_a_missing_module_names_the_interpreter(kept):
    kept.n_runs += 1
    failed = kept.run(RunSpec(kept.n_runs, "main", "no_such_module_y", params={}))
    assert "no module 'no_such_module_y' for the worker's Python, /" in failed.failure.message


KILLED = ("os.kill(os.getpid(), signal.SIGKILL)", "was killed by SIGKILL")


@pytest.mark.parametrize(
    ("what", "how", "meanwhile"),
    [
        *((*KILLED, meanwhile) for meanwhile in MEANWHILE),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "was killed by SIGSEGV", "in a collective"),
        ("os._exit(0)", "ended with exit code 0 without a word", "in a collective"),
    ],
)
def test_a_worker_that_dies_without_a_word_is_lost_within_seconds(tmp_path, what, how, meanwhile):
    with local_gang(tmp_path, 3) as gang:
        gang.submit()
        started = time.monotonic()
        failed = gang.outcome(failing(what, *MEANWHILE[meanwhile]))
        assert (failed.failure.kind, failed.failure.rank) == ("WorkerLost", 1)
        assert f"rank 1 on {failed.failure.host} (process" in failed.failure.message
        failures = gang.failures()
        assert time.monotonic() - started < SOON_S
        assert how in failures[1].message
        assert not failures[1].echo
        assert all(failures[rank].echo for rank in (0, 2) if rank in failures)


def test_the_death_of_rank_0_is_seen_by_driver_and_workers(tmp_path):
    with local_gang(tmp_path, 3) as gang:
        gang.submit()
        gang.connect()
        with pytest.raises(PeerLost, match="rank 0"):
            gang.outcome("def main(ctx): ctx.comm, ctx.rank or os._exit(9), time.sleep(1000)")
        failures = gang.failures()
        assert failures[0].message.startswith("rank 0 on ")
        assert "ended with exit code 9 without a word" in failures[0].message
        assert not failures[0].echo
        assert all(failures[rank].echo for rank in (1, 2))


def test_a_stopped_worker_is_lost_after_its_silence(tmp_path):
    with local_gang(tmp_path, 2) as gang:
        gang.submit()
        failed = gang.outcome(failing("os.kill(os.getpid(), signal.SIGSTOP)"))
        assert (failed.failure.kind, failed.failure.rank) == ("WorkerLost", 1)
        failures = gang.failures()
        assert "6 s (HARPY_SILENCE_S) and was killed" in failures[1].message


def test_a_program_that_cannot_be_stopped_ends_its_session(tmp_path):
    text = """
def main(ctx):
    if ctx.rank == 1:
        raise ValueError("boom")
    while True:
        try:  # once more: an exception may come while the inner loop goes round
            while True:
                try:
                    time.sleep(0.01)
                except Exception:
                    pass
        except Exception:
            pass
"""
    with local_gang(tmp_path, 3) as gang:
        gang.submit()
        failed = gang.outcome(text)
        assert failed.failure.message == "ValueError: boom"
        assert gang.failures()


def test_a_program_that_prints_garbage_disturbs_nothing(tmp_path):
    text = """
print("hello 1 2\\nerror {}\\nbye")
def main(ctx):
    os.write(1, b"progress 0.99\\nerror {\\"message\\": \\"lie\\"}\\n\\xff\\xfe no newline")
    sys.stdout.write("x" * 100_000)
    subprocess.run("echo error lie; echo bye", shell=True)
    assert sys.stdin.read() == ""
    ctx.comm.barrier()
    return "fine"
"""
    with local_gang(tmp_path, 2) as gang:
        gang.submit(gang.program(text))
        assert gang.failures() == {}
        assert gang.directory.run(1).read_results()[0] == "fine"
        assert gang.launcher.status().progress != 0.99


def test_a_forked_child_that_keeps_the_pipes_open_holds_up_nobody(tmp_path):
    text = """
def main(ctx):
    child = subprocess.Popen(["sleep", "1000"])
    if os.fork() == 0:
        time.sleep(1000)
    ctx.comm.barrier()
    return child.pid
"""
    with local_gang(tmp_path, 2) as gang:
        gang.submit(gang.program(text))
        started = time.monotonic()
        assert gang.failures() == {}
        assert time.monotonic() - started < SOON_S
        pid = gang.directory.run(1).read_results()[0]
        assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie"


def test_ranks_that_make_different_calls_are_told_which(kept):
    failed = kept.outcome("def main(ctx): ctx.comm.allreduce(np.zeros(3 + ctx.rank))")
    assert failed.failure.kind == "ProtocolError"
    assert "allreduce #1 (sum of 3 float64)" in failed.failure.message
    text = "def main(ctx):\n    ctx.comm.barrier()\n    if ctx.rank != 1: ctx.comm.barrier()"
    failed = kept.outcome(text)
    assert failed.failure.kind == "ProtocolError"
    assert "rank 1 ended its program after 1 collective calls" in failed.failure.message


def test_ranks_that_save_parts_that_do_not_fit_are_named(kept):
    text = "def main(ctx): ctx.save('x', np.zeros((2, 1 + ctx.rank)))"
    done = kept.outcome(text, deliver=True)
    with pytest.raises(DataError, match=r"parts of 'x' that do not fit.*rank 1"):
        done.read_results(kept.directory.run(done.run))


def test_a_full_disk_in_the_job_directory_is_the_cause(tmp_path):
    text = "def main(ctx): ctx.save('x', np.zeros(100_000))"
    with local_gang(tmp_path, 1) as gang:
        gang.submit()
        gang.connect()
        runs = gang.path / "runs"
        runs.rmdir()
        runs.write_text("a file where a directory should be")
        failed = gang.outcome(text)
        assert isinstance(failed, RunFailed)
        assert failed.failure.kind in ("StorageError", "PathExists", "PathNotFound")
        gang.close_session()


def test_signals_to_a_worker_end_it_at_once(tmp_path):
    with local_gang(tmp_path, 2) as gang:
        gang.submit()
        control = gang.connect()
        control.start_run(gang.program("def main(ctx): ctx.comm.barrier(); time.sleep(1000)"))
        time.sleep(1.0)
        os.kill(gang.launcher._children[1]._process.pid, signal.SIGTERM)
        started = time.monotonic()
        failed = gang.until(RunFailed)
        assert time.monotonic() - started < 5
        assert (failed.failure.kind, failed.failure.rank) == ("WorkerLost", 1)


def test_data_that_is_never_staged_is_named(tmp_path):
    with local_gang(tmp_path, 1, deadlines=replace(DEADLINES, stage_s=0.3)) as gang:
        gang.submit()
        failed = gang.outcome("def main(ctx): ctx.data['X'].load()", data={"X": "0" * 40})
        assert isinstance(failed, RunFailed)
        assert "0" * 40 in failed.failure.message
        gang.close_session()
