"""The kernels' threads: callers at once, a fork, the end of the process, a full system."""

from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from harpy.kernels.kmeans import exact

HERE = Path(__file__).parent
KERNEL = HERE.parent.parent / "kernels" / "kmeans"

# In a process of its own: how it ends is tested, too, and no other test has used threads in it.
PRELUDE = """
import os, signal, threading, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import numpy as np
from harpy.kernels import kmeans

X = np.random.default_rng(0).normal(size=(20_000, 8))
centers, exponents = X[:16].copy(), np.full(8, 3, np.int32)

def bits(n_thread):
    labels = np.full(len(X), -1, np.int32)
    offset = kmeans.center_offset(centers)
    kmeans.assign(X, centers, offset, labels, n_thread)
    limbs, _ = kmeans.accumulate(X, labels, len(centers), exponents, n_thread)
    distances = kmeans.squared_distances(X, centers, labels, n_thread)
    message = kmeans.Lloyd(X, len(centers), exponents, n_thread).step(centers)
    return b"".join(array.tobytes() for array in (labels, limbs, distances, message))

expected = bits(1)

def team():
    "Names of the kernels' threads by their numbers in the system."
    tasks = Path("/proc/self/task").iterdir()
    names = {int(task.name): (task / "comm").read_text().strip() for task in tasks}
    return {number: name for number, name in names.items() if name.startswith("harpy-")}

def status(task, field):
    lines = Path(f"/proc/self/task/{task}/status").read_text().splitlines()
    return next(line.split(":")[1].strip() for line in lines if line.startswith(field + ":"))

def succeeds_in_child(run):
    "Whether run() holds in a forked child, which may not hang."
    pid = os.fork()
    if pid == 0:
        signal.alarm(60)
        os._exit(0 if run() else 1)
    return os.waitpid(pid, 0)[1] == 0
"""


def run(program: str, timeout_s: float = 120.0) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", PRELUDE + textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )
    assert (ran.returncode, ran.stdout) == (0, "done\n"), ran.stderr


def test_any_sequence_of_thread_numbers_gives_the_same_bits():
    run("""
        for n_thread in np.random.default_rng(1).integers(1, 40, size=200):
            assert bits(int(n_thread)) == expected
        print("done")
    """)


def test_threads_are_started_once_named_and_leave_signals_to_the_program():
    run("""
        assert bits(4) == expected
        started = team()
        assert sorted(started.values()) == ["harpy-1", "harpy-2", "harpy-3"]
        for _ in range(20):
            assert bits(4) == bits(2) == expected
        assert team() == started

        def blocks(task, number):
            return int(status(task, "SigBlk"), 16) >> (number - 1) & 1

        for task in started:
            while blocks(task, signal.SIGSEGV):  # until it has begun: glibc blocks all before
                time.sleep(0.01)
            assert blocks(task, signal.SIGINT) and blocks(task, signal.SIGTERM)
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()
        print("done")
    """)


def test_threads_stay_on_the_processors_of_their_caller_however_many_are_asked_for():
    run("""
        cpu = max(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cpu})
        assert bits(4) == expected
        assert [status(task, "Cpus_allowed_list") for task in team()] == [str(cpu)] * 3
        print("done")
    """)


def test_threads_that_were_woken_elsewhere_may_run_wherever_their_caller_may():
    run("""
        mine = status(os.getpid(), "Cpus_allowed_list")
        # Calls so long that a woken thread begins in time, also on a busy machine: then it is let
        # loose.
        many = np.tile(X, (50, 1))
        labels, offset = np.full(len(many), -1, np.int32), kmeans.center_offset(centers)
        for _ in range(20):
            time.sleep(0.005)
            kmeans.assign(many, centers, offset, labels, 2)
            if [status(task, "Cpus_allowed_list") for task in team()] == [mine]:
                print("done")
                break
    """)


def test_threads_are_worth_less_work_where_steps_follow_each_other():
    work = exact.WORK_PER_THREAD, 1, 1
    assert exact.worthwhile_threads(2, *work) == 1
    assert exact.worthwhile_threads(2, *work, repeated=True) == 2


def test_where_the_system_refuses_threads_those_there_are_do_the_work():
    run("""
        import resource
        used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (used + (96 << 20), hard))
        for _ in range(5):
            assert bits(300) == expected
        assert len(team()) < 299
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        assert bits(40) == expected and len(team()) >= 39
        print("done")
    """)


def test_a_child_forked_between_calls_has_threads_of_its_own():
    run("""
        def in_child():
            assert not team()
            own = bits(3) == expected and len(team()) == 2
            return own and succeeds_in_child(lambda: bits(4) == expected)

        assert bits(4) == expected
        assert succeeds_in_child(in_child)
        assert bits(4) == expected and len(team()) == 3
        print("done")
    """)


def test_children_forked_while_other_threads_are_in_a_kernel_do_not_hang():
    run("""
        stop = threading.Event()

        def keep_calling():
            while not stop.is_set():
                assert bits(3) == expected
            return True

        with ThreadPoolExecutor(2) as pool:
            callers = [pool.submit(keep_calling) for _ in range(2)]
            try:
                assert all(succeeds_in_child(lambda: bits(3) == expected) for _ in range(40))
            finally:
                stop.set()
            assert all(caller.result() for caller in callers)
        print("done")
    """)


def test_a_multiprocessing_pool_of_forked_workers_runs_kernels():
    run("""
        import multiprocessing
        assert bits(4) == expected
        with multiprocessing.get_context("fork").Pool(3) as pool:
            assert pool.map_async(bits, [1, 2, 3, 4] * 5).get(60) == [expected] * 20
        print("done")
    """)


@pytest.mark.parametrize("backend", ["threading", "loky", "multiprocessing"])
def test_joblib_runs_kernels(backend):
    run(f"""
        import joblib
        assert bits(4) == expected

        # Not bits(): what is sent to another process brings its globals along.
        def same(X, centers, n_thread):
            from harpy.kernels import kmeans
            labels = np.full(len(X), -1, np.int32)
            kmeans.assign(X, centers, kmeans.center_offset(centers), labels, n_thread)
            return labels.tobytes()

        alone = same(X, centers, 1)
        with joblib.parallel_config({backend!r}, n_jobs=3):
            calls = (joblib.delayed(same)(X, centers, n) for n in [1, 2, 3, 4] * 5)
            assert joblib.Parallel()(calls) == [alone] * 20
        print("done")
    """)


def test_python_threads_that_call_at_once_do_not_disturb_each_other():
    run("""
        with ThreadPoolExecutor(4) as pool:
            for _ in range(20):
                assert list(pool.map(bits, [1, 2, 3, 4])) == [expected] * 4
        print("done")
    """)


def test_a_process_ends_while_a_daemon_thread_is_in_a_kernel():
    run("""
        called = threading.Barrier(3)

        def keep_calling():
            bits(3)
            called.wait()
            while True:
                bits(3)

        for _ in range(2):
            threading.Thread(target=keep_calling, daemon=True).start()
        called.wait()
        print("done")
    """)


@pytest.mark.parametrize(
    "sanitizer",
    [
        "undefined",
        pytest.param("address", marks=pytest.mark.slow),
        pytest.param("thread", marks=pytest.mark.slow),
    ],
)
def test_every_body_runs_once_among_callers_at_once_and_calls_from_within(tmp_path, sanitizer):
    compiler = shutil.which("g++") or shutil.which("c++")
    if compiler is None:
        pytest.skip("needs a C++ compiler")
    program = tmp_path / "thread_stress"
    built = subprocess.run(
        [
            compiler,
            "-std=c++17",
            "-O1",
            "-g",
            f"-fsanitize={sanitizer}",
            "-fno-sanitize-recover=all",
            f"-I{KERNEL}",
            str(KERNEL / "threads/threads.cpp"),
            str(KERNEL / "threads/float_environment.cpp"),
            str(HERE / "thread_stress.cpp"),
            "-o",
            str(program),
            "-pthread",
        ],
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    ran = subprocess.run([str(program)], capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr[-4000:]
