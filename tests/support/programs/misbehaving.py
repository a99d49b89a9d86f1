"""Programs that end badly, each in its own way. Workers load this file; it imports nothing of ours.

Where a program has a culprit it is rank 1, while rank 0 waits for it in a collective: so an echo
comes as early as the cause.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

WAIT_S = 60.0


def well(ctx: Any) -> dict[str, Any]:
    total = ctx.comm.allreduce(np.array([ctx.rank + 1.0]))
    return {"total": float(total[0]), "pid": os.getpid()}


def _others_wait(ctx: Any) -> None:
    """Everybody but rank 1 waits in a collective that never comes to its end."""
    comm = ctx.comm
    if ctx.rank != 1:
        comm.allreduce(np.ones(8))
        raise AssertionError("rank 1 never came, and yet the allreduce ended")


def raises(ctx: Any) -> None:
    _others_wait(ctx)
    raise KeyError("no column 'weight'")


def raises_before_the_communicator(ctx: Any) -> None:
    if ctx.rank == 1:
        raise RuntimeError("rank 1 gives up early")
    ctx.comm.barrier()


def raises_long(ctx: Any) -> None:
    _others_wait(ctx)
    raise ValueError("first line\n" + "x" * 100_000)


def calls_exit(ctx: Any) -> None:
    _others_wait(ctx)
    sys.exit("enough")


def exits_at_once(ctx: Any) -> None:
    _others_wait(ctx)
    os._exit(3)


def segfaults(ctx: Any) -> None:
    _others_wait(ctx)
    ctypes.string_at(0)


def returns_the_untravelling(ctx: Any) -> object:
    ctx.comm.barrier()
    return {"model": [1, {2, 3}]}


def saves_objects(ctx: Any) -> None:
    ctx.save("mine", np.array([object()]))


def returns_early(ctx: Any) -> None:
    if ctx.rank == 1:
        return
    ctx.comm.allreduce(np.ones(3))


def leaves_in_the_middle(ctx: Any) -> None:
    ctx.comm.barrier()
    if ctx.rank == 1:
        return
    ctx.comm.allreduce(np.ones(3))


def differs(ctx: Any) -> None:
    ctx.comm.allreduce(np.ones(3 + ctx.rank))


def forks_and_leaves(ctx: Any) -> int:
    """A child that holds stdout and stderr for longer than anybody waits."""
    ctx.comm.barrier()
    return subprocess.Popen(["sleep", "300"], stdin=subprocess.DEVNULL).pid


def prints_garbage(ctx: Any) -> float:
    """To Python's stdout and to descriptor 1, with and without line ends, lies and binary."""
    print('error {"kind": "WorkerLost", "message": "a lie"}')
    print("bye", flush=True)
    os.write(1, bytes(range(256)) * 40)
    os.write(1, b"\nsuperseded\nprogress 2\n\0\xff\xfe")
    sys.stdout.write("no line end")
    sys.stdout.flush()
    return float(ctx.comm.allreduce(np.array([1.0]))[0])


def reads_stdin(ctx: Any) -> str:
    ctx.comm.barrier()
    return sys.stdin.read()


def iterates(ctx: Any) -> None:
    """Until somebody kills it; leaves its process id where the test can find it."""
    for iteration in range(int(WAIT_S / 0.02)):
        ctx.comm.allreduce(np.ones(100))
        if iteration == 3:
            path = Path(ctx.params["folder"]) / f"rank-{ctx.rank}"
            partial = path.with_suffix(".partial")
            partial.write_text(str(os.getpid()))
            partial.rename(path)
        time.sleep(0.02)
    raise AssertionError("nobody killed anybody")


def ignores_the_end_of_others(ctx: Any) -> None:
    """Rank 0 neither waits for anybody nor hears a signal."""
    if ctx.rank == 1:
        raise RuntimeError("rank 1 gives up")
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    time.sleep(WAIT_S)


def sleeps(ctx: Any) -> None:
    time.sleep(WAIT_S)


def hogs(ctx: Any) -> None:
    """More memory, little by little, than any container here has."""
    hoard = []
    for _ in range(400):
        hoard.append(np.ones(2 << 20))  # 16 MB
        time.sleep(0.02)


def hogs_in_a_cgroup(ctx: Any) -> None:
    """Rank 1 takes more memory than the control group `params["group"]` may have, once root has
    read its number in the file `params["pid"]` and made it a member."""
    comm = ctx.comm
    if ctx.rank == 1:
        Path(ctx.params["pid"]).write_text(f"{os.getpid()}\n")
        while ctx.params["group"] not in Path("/proc/self/cgroup").read_text():
            time.sleep(0.02)
        hogs(ctx)
    comm.barrier()
