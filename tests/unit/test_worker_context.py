"""The Context inside the calling process, shards, and how programs are loaded."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from harpy.errors import ConfigError, DataError, ProgramFailed
from harpy.program.context import Context
from harpy.program.loading import load_program
from harpy.program.source import ProgramSource
from harpy.storage.rows.shares import shard_of

X = np.arange(10.0).reshape(5, 2)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
@pytest.mark.parametrize("n_rows", [0, 1, 2, 5, 64, 1000])
def test_shards_cover_all_rows_in_order_and_differ_by_one_at_most(n_rows, size):
    shards = [shard_of(n_rows, rank, size) for rank in range(size)]
    assert [row for shard in shards for row in shard] == list(range(n_rows))
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


def test_in_process_everything_stays_in_memory():
    heard = []
    context = Context.in_process(
        params={"k": 3},
        data={"X": X},
        n_thread=2,
        on_progress=lambda fraction, values: heard.append((fraction, values)),
    )
    assert (context.rank, context.size, context.n_thread) == (0, 1, 2)
    assert context.params == {"k": 3}
    shard = context.data["X"]
    assert (shard.shape, shard.dtype, shard.rows) == ((5, 2), X.dtype, range(5))
    rows = shard.load()
    assert np.shares_memory(rows, X)
    assert not rows.flags.writeable
    assert X.flags.writeable
    np.testing.assert_array_equal(context.comm.allreduce(rows), X)
    assert context.comm is context.comm
    context.progress(2.0, iteration=1)
    assert heard == [(1.0, {"iteration": 1})]
    assert context.watched
    assert not Context.in_process().watched
    given = np.arange(3)
    context.save("labels", given)
    given[:] = 0
    assert context.saved["labels"].tolist() == [0, 1, 2]


def test_inputs_know_their_names():
    context = Context.in_process(data={"X": X})
    assert (list(context.data), len(context.data), "X" in context.data) == (["X"], 1, True)
    with pytest.raises(DataError, match="this run has no input 'Y'; it has: X"):
        context.data["Y"]


def test_an_output_is_saved_once_and_is_no_single_number():
    context = Context.in_process()
    context.save("x", [1])
    with pytest.raises(DataError, match="output 'x' was saved before"):
        context.save("x", [2])
    with pytest.raises(DataError, match="return it from the program"):
        context.save("y", 1.0)


def program(text: str, function: str = "main") -> ProgramSource:
    return ProgramSource(function=function, text=text, origin="p.py")


def test_a_program_file_is_executed_afresh_every_time():
    source = program("calls = []\ndef main(x):\n    calls.append(x)\n    return len(calls)")
    assert load_program(source)(1) == 1
    assert load_program(source)(1) == 1


def test_functions_inside_classes_are_found():
    assert load_program(program("class A:\n    main = staticmethod(abs)", "A.main"))(-2) == 2


def test_dataclasses_and_their_module_work_in_a_program_file():
    text = (
        "from __future__ import annotations\n"
        "import sys\n"
        "from dataclasses import dataclass\n"
        "@dataclass\n"
        "class P:\n"
        "    x: int\n"
        "def main(x):\n"
        "    return sys.modules[P.__module__].P(x).x\n"
    )
    assert load_program(program(text))(5) == 5


def test_a_program_that_runs_itself_is_told_how_not_to(monkeypatch):
    source = program("import sys\nsys.modules['harpy'].run_again()\ndef main(x): pass")
    monkeypatch.setattr(sys.modules["harpy"], "run_again", lambda: load_program(source), False)
    with pytest.raises(ConfigError, match=r"p\.py runs itself.*if __name__"):
        load_program(source)
    assert f"harpy_program_{source.digest}" not in sys.modules


def test_a_module_that_lacks_something_is_not_taken_for_missing(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "half_there.py").write_text("import surely_not_there_z\n")
    with pytest.raises(ModuleNotFoundError, match="surely_not_there_z"):
        load_program(ProgramSource(function="main", module="half_there"))
    with pytest.raises(ProgramFailed, match=r"no module 'no\.such' |no module 'no' "):
        load_program(ProgramSource(function="main", module="no.such"))
