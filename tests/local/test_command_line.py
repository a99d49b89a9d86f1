"""The manners of the command line."""

import subprocess
import sys


def harpy_command(*arguments, **env):
    return subprocess.run(
        [sys.executable, "-m", "harpy.cli", *arguments], capture_output=True, text=True, timeout=60
    )


def test_help_lists_every_command():
    out = harpy_command("--help")
    assert out.returncode == 0
    for name in ["clean", "cluster", "demo", "fetch", "jobs", "kill", "kmeans", "logs", "run"]:
        assert f"\n  {name}" in out.stdout


def test_mistyped_command_suggests_the_right_one():
    out = harpy_command("clutser")
    assert out.returncode == 2
    assert "cluster" in out.stderr
    assert out.stdout == ""


def test_program_that_is_not_there_is_one_line_on_stderr():
    out = harpy_command("run", "nowhere.py", "--launcher", "local")
    assert out.returncode == 2
    assert out.stderr.startswith("harpy: no program at nowhere.py")
    assert "Traceback" not in out.stderr
