"""A run whose one worker is this process: no job, no file, no socket."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from harpy.cpus import available_cpus
from harpy.errors import HarpyError
from harpy.program.source import ProgramSource
from harpy.session.options import SessionOptions
from harpy.session.progress import Progress
from harpy.storage.rows.put_rows import PutRows
from harpy.storage.rows.values import check_value

if TYPE_CHECKING:
    from harpy.storage import FileRows, Rows


def run_in_process(
    source: ProgramSource,
    params: Mapping[str, Any],
    data: Mapping[str, Rows | PutRows | FileRows],
    options: SessionOptions,
    progress: Progress,
) -> tuple[Any, dict[str, np.ndarray]]:
    """Execute a program as the only worker, in this thread; its errors are those of a worker."""
    from harpy.program.context import Context
    from harpy.program.loading import load_program

    n_thread = options.n_thread
    if "n_thread" in options.wishes:
        n_thread = min(n_thread, available_cpus())
    context = Context.in_process(
        params=params,
        data={name: r.rows if isinstance(r, PutRows) else r for name, r in data.items()},
        n_thread=n_thread,
        memory=None if "n_mem" in options.wishes else options.n_mem << 20,
        hadoop_conf=options.hadoop_conf,
        on_progress=progress.iteration if progress.enabled else None,
    )
    try:
        value = load_program(source)(context)
    except HarpyError:
        raise
    except (Exception, SystemExit) as exc:
        from harpy.session.first_cause import make_error
        from harpy.wire.failure import Failure

        own = exc.__traceback__
        exc.__traceback__ = own.tb_next if own else None  # from the program's first frame on
        raise make_error(Failure.of_exception(exc, 0, socket.gethostname())) from exc
    check_value(value, "the program's result")  # as strict as where the value travels
    return value, context.saved
