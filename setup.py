"""Build native kernels and launcher jar; metadata and tool settings live in pyproject.toml."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
ROOMS = ("kmeans", "collective", "liveness")  # native rooms below kernels/
JAVA_SOURCES = "harpy/launch/yarn/java"
JAR = "harpy/launch/yarn/harpy-launcher.jar"
# The oldest Hadoop whose client interface the launcher is compiled against, and the oldest Java
# of the clusters of the last years.
HADOOP_CLIENT = "org.apache.hadoop:hadoop-client-api:3.3.6"
JAVA_RELEASE = "8"


def files(folder: str, pattern: str) -> list[str]:
    """The matching files of a folder, sorted; relative if the folder is."""
    return sorted(str(path) for path in Path(folder).glob(pattern))


def extension(name: str) -> Extension:
    """One native room: every .cpp of kernels/<name> plus its Cython face _<name>.pyx."""
    generated = f"kernels/{name}/_{name}.cpp"
    sources = [f for f in files(f"kernels/{name}", "*.cpp") if f != generated]
    # -ffp-contract=off: a contracted (x + M) - M is no longer a rounding (docs/numerics.md).
    # -fopenmp-simd: vectorisation hints only, no OpenMP threads (kmeans/threads.cpp).
    flags = ["-std=c++17", "-O3", "-g0", "-ffp-contract=off", "-fno-math-errno"]
    flags += ["-fopenmp-simd", "-pthread", "-Wall", "-Wextra"]
    return Extension(
        f"harpy.kernels.{name}._{name}",
        [f"kernels/{name}/_{name}.pyx", *sources],
        depends=[*files(f"kernels/{name}", "*.h"), *files(f"kernels/{name}", "*.pxi")],
        include_dirs=[np.get_include(), f"kernels/{name}"],
        extra_compile_args=flags + os.environ.get("HARPY_CXXFLAGS", "").split(),
        extra_link_args=["-pthread", *os.environ.get("HARPY_CXXFLAGS", "").split()],
        define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")],
        language="c++",
    )


def need(tool: str, package: str) -> str:
    """Return the path of a program, or stop and name what to install."""
    home = os.environ.get("JAVA_HOME")
    if home and tool in ("javac", "jar") and (Path(home) / "bin" / tool).exists():
        return str(Path(home) / "bin" / tool)
    found = shutil.which(tool)
    if found is None:
        sys.exit(
            f"harpy: building the launcher jar needs '{tool}', which is not on PATH.\n"
            f"  Debian/Ubuntu: apt-get install {package}"
        )
    return found


def build_launcher_jar(target: Path) -> None:
    """Compile the launcher's Java against Hadoop's client interface into one small jar."""
    sources = sorted(str(p) for p in (ROOT / JAVA_SOURCES).glob("**/*.java"))
    if target.exists() and all(Path(s).stat().st_mtime <= target.stat().st_mtime for s in sources):
        return
    javac, jar = need("javac", "openjdk-17-jdk-headless"), need("jar", "openjdk-17-jdk-headless")
    mvn = need("mvn", "maven")
    with tempfile.TemporaryDirectory(prefix="harpy-jar-") as work:
        # The interface to compile against; nothing of it goes into the jar.
        command = [mvn, "-q", "-B", "dependency:copy", f"-Dartifact={HADOOP_CLIENT}"]
        subprocess.run([*command, f"-DoutputDirectory={work}/api"], cwd=work, check=True)
        api = ":".join(files(f"{work}/api", "*.jar"))
        options = ["--release", JAVA_RELEASE, "-Xlint:all,-options,-serial,-processing"]
        subprocess.run([javac, *options, "-cp", api, "-d", f"{work}/classes", *sources], check=True)
        built = f"{work}/launcher.jar"
        subprocess.run([jar, "--create", "--file", built, "-C", f"{work}/classes", "."], check=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        # Renamed into place: a JVM that has the old one open keeps it whole.
        fresh = target.with_suffix(".new")
        shutil.copyfile(built, fresh)
        fresh.replace(target)


class BuildNative(build_ext):
    """Extensions first, then the jar, both beside the sources for an editable install."""

    def build_extensions(self) -> None:
        # setuptools would build whole extensions side by side, of which one has nearly all sources.
        n_compilers, self.parallel = self.parallel or os.cpu_count(), None
        compile_in_turn = self.compiler.compile

        def compile_at_once(sources: list[str], **options: Any) -> list[str]:
            with ThreadPoolExecutor(n_compilers) as pool:
                made = pool.map(lambda source: compile_in_turn([source], **options), sources)
                return [compiled for each in made for compiled in each]

        self.compiler.compile = compile_at_once
        super().build_extensions()

    def run(self) -> None:
        super().run()
        build_launcher_jar(ROOT / JAR if self.inplace else Path(self.build_lib) / JAR)


setup(
    ext_modules=cythonize(
        [extension(name) for name in ROOMS],
        language_level=3,
        compiler_directives={"boundscheck": False, "wraparound": False, "embedsignature": True},
    ),
    cmdclass={"build_ext": BuildNative},
)
