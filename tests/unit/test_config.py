"""Settings come from argument, HARPY_* variable, Hadoop's files, default, in this order."""

import pytest

from harpy.config import Deadlines, HadoopConf, load_hadoop_conf, resolve_launcher
from harpy.errors import ConfigError, HadoopNotFound


@pytest.fixture(autouse=True)
def no_hadoop(monkeypatch):
    for name in ("HADOOP_CONF_DIR", "HADOOP_HOME", "HARPY_LAUNCHER"):
        monkeypatch.delenv(name, raising=False)


def site(directory, name, **values):
    properties = "".join(
        f"<property><name>{k.replace('_', '.')}</name><value>{v}</value></property>"
        for k, v in values.items()
    )
    (directory / name).write_text(f"<configuration>{properties}</configuration>")


def test_launcher_is_local_without_hadoop_and_yarn_with_its_configuration(monkeypatch):
    assert resolve_launcher() == ("local", "no HADOOP_CONF_DIR")
    monkeypatch.setenv("HADOOP_CONF_DIR", "/etc/hadoop/conf")
    assert resolve_launcher() == ("yarn", "HADOOP_CONF_DIR is set")
    monkeypatch.setenv("HARPY_LAUNCHER", "local")
    assert resolve_launcher() == ("local", "HARPY_LAUNCHER")
    assert resolve_launcher("yarn") == ("yarn", "as asked")


@pytest.mark.parametrize("wrong", ["spark", ""])
def test_unknown_launcher_is_refused(wrong):
    with pytest.raises(ConfigError, match="launcher must be one of auto, local, yarn"):
        resolve_launcher(wrong)


def test_later_files_and_overrides_win(tmp_path):
    site(tmp_path, "core-site.xml", fs_defaultFS="hdfs://nn:8020/", a="core")
    site(tmp_path, "yarn-site.xml", a="yarn", b="yarn")
    conf = HadoopConf.load(tmp_path, {"b": "mine"})
    assert (conf["a"], conf["b"], conf.default_fs) == ("yarn", "mine", "hdfs://nn:8020")


def test_no_hadoop_names_the_ways_to_get_one():
    with pytest.raises(HadoopNotFound, match="harpy cluster up"):
        load_hadoop_conf()


def test_conf_dir_that_is_none_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("HADOOP_CONF_DIR", str(tmp_path / "gone"))
    with pytest.raises(HadoopNotFound, match="gone is not a directory"):
        load_hadoop_conf()
    monkeypatch.setenv("HADOOP_CONF_DIR", str(tmp_path))
    with pytest.raises(HadoopNotFound, match=r"expected one of core-site\.xml"):
        load_hadoop_conf()


def test_malformed_site_file_is_named(tmp_path):
    (tmp_path / "core-site.xml").write_text("<configuration>")
    with pytest.raises(ConfigError, match=r"core-site\.xml is not well-formed"):
        HadoopConf.load(tmp_path)


def test_deadlines_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("HARPY_RENDEZVOUS_S", "7.5")
    assert Deadlines.from_environment().rendezvous_s == 7.5
    monkeypatch.setenv("HARPY_RENDEZVOUS_S", "soon")
    with pytest.raises(ConfigError, match="HARPY_RENDEZVOUS_S must be a number"):
        Deadlines.from_environment()
    with pytest.raises(ConfigError, match="idle_s must be a positive number"):
        Deadlines(idle_s=0)
