"""What harpy.Session takes is said, one keyword at a time; what it does not take is refused."""

from __future__ import annotations

import inspect
import re

import pytest

import harpy

KEYWORDS = inspect.signature(harpy.Session).parameters


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("n_nodes", "n_node"),
        ("threads", "n_thread"),
        ("hadoop_config", "hadoop_conf"),
        ("timeout_s", "idle_timeout_s"),
        ("work_dir", "workdir"),
    ],
)
def test_a_misspelled_keyword_is_refused_with_the_one_that_was_meant(
    given: str, meant: str
) -> None:
    with pytest.raises(TypeError) as caught:
        harpy.Session(**{given: 2})
    assert str(caught.value) == (
        f"Session() got an unexpected keyword argument {given!r}: did you mean {meant}?"
    )


def test_a_keyword_like_none_is_refused_with_all_there_are() -> None:
    with pytest.raises(TypeError, match="'gpus': it takes n_node, n_thread, n_mem, launcher, "):
        harpy.Session(gpus=2)


@pytest.mark.parametrize("name", KEYWORDS)
def test_every_keyword_is_documented_with_type_and_default(name: str) -> None:
    parameters = inspect.getdoc(harpy.Session).partition("Parameters\n")[2].partition("Raises\n")[0]
    said = re.search(rf"^{name} : (.+)\n((?:    .+\n)+)", parameters, re.MULTILINE)
    assert said, f"{name} is not documented"
    default = KEYWORDS[name].default
    if default is None:
        assert said[1].endswith(", optional")
        assert re.search(r"\bNone\b", said[2]), "what leaving it out means"
    elif isinstance(default, frozenset):
        assert said[1].endswith(", default empty")
    else:
        quoted = f'"{default}"' if isinstance(default, str) else str(default)
        assert said[1].endswith(f", default {quoted}")
    if name.endswith("_s"):
        assert "Seconds" in said[2]
