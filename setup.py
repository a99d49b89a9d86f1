"""Build native kernels and launcher jar; metadata and tool settings live in pyproject.toml."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import numpy as np
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.modified import newer_group

ROOT = Path(__file__).resolve().parent
ROOMS = ("kmeans", "collective", "liveness")  # native rooms below kernels/
# Compiled first, in this order: what takes longest must not be what all processors wait for last.
SLOWEST = ("lanes_avx512.cpp", "_kmeans.pyx", "lanes_avx2.cpp", "lanes_scalar.cpp")
CXXFLAGS = os.environ.get("HARPY_CXXFLAGS", "").split()
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
    room, face = f"kernels/{name}", f"kernels/{name}/_{name}"
    sources = [f for f in files(room, "**/*.cpp") if f != f"{face}.cpp"]
    # -ffp-contract=off: a contracted (x + M) - M is no longer a rounding (docs/numerics.md).
    # -fopenmp-simd: vectorisation hints only, no OpenMP threads (kmeans/threads.cpp).
    flags = ["-std=c++17", "-g0", "-ffp-contract=off", "-fno-math-errno"]
    flags += ["-fopenmp-simd", "-pthread", "-Wall", "-Wextra"]
    return Extension(
        f"harpy.kernels.{name}._{name}",
        [f"{face}.pyx", *sources],
        depends=[f for p in ("**/*.h", "*.pxi", "*.pxd") for f in files(room, p)],
        include_dirs=[np.get_include(), room],
        extra_compile_args=flags,
        extra_link_args=["-pthread", *CXXFLAGS],
        define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")],
        language="c++",
    )


def optimisation(source: str) -> str:
    """How hard the compiler tries: -O3 only where the time goes, since it is half of a build."""
    if source.endswith(".pyx"):
        return "-O1"  # checks of arguments
    if source.endswith("lanes_scalar.cpp"):
        return "-O1"  # the reference: calls of fma() take nearly all of its time
    return "-O3"


def compile_order(source: str) -> int:
    name = Path(source).name
    return SLOWEST.index(name) if name in SLOWEST else len(SLOWEST)


def translate(extension: Extension, face: str) -> str:
    """The C++ of a Cython face."""
    command = [sys.executable, "-m", "cython", "-3", "--cplus", "--module-name", extension.name]
    for directive in ("boundscheck=False", "wraparound=False", "embedsignature=True"):
        command += ["-X", directive]
    generated = str(Path(face).with_suffix(".cpp"))
    subprocess.run(
        [*command, "-X", "show_performance_hints=False", face, "-o", generated], check=True
    )
    return generated


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
    """Extensions first, then the jar, both beside the sources for an editable install.

    The sources of all extensions form one queue; `pip install -v` shows how far it is.
    """

    def build_extensions(self) -> None:
        stale = [extension for extension in self.extensions if self.is_stale(extension)]
        queue = [(source, extension) for extension in stale for source in extension.sources]
        queue.sort(key=lambda job: (compile_order(job[0]), -Path(job[0]).stat().st_size))
        objects: dict[str, list[str]] = {extension.name: [] for extension in stale}
        with ThreadPoolExecutor(self.parallel or os.cpu_count()) as pool:
            running = {pool.submit(self.compile, *job): job[1].name for job in queue}
            for n_compiled, job in enumerate(as_completed(running), 1):
                objects[running[job]] += job.result()
                print(f"compiled {n_compiled} of {len(queue)}", flush=True)
        for extension in stale:
            self.link(extension, sorted(objects[extension.name]))

    def is_stale(self, extension: Extension) -> bool:
        made = self.get_ext_fullpath(extension.name)
        return self.force or newer_group([*extension.sources, *extension.depends], made, "newer")

    def compile(self, source: str, extension: Extension) -> list[str]:
        flags = [*extension.extra_compile_args, optimisation(source)]
        if source.endswith(".pyx"):
            source = translate(extension, source)
        return self.compiler.compile(
            [source],
            output_dir=self.build_temp,
            macros=extension.define_macros,
            include_dirs=extension.include_dirs,
            extra_postargs=[*flags, *CXXFLAGS],
        )

    def link(self, extension: Extension, objects: list[str]) -> None:
        self.compiler.link_shared_object(
            objects,
            self.get_ext_fullpath(extension.name),
            libraries=self.get_libraries(extension),
            extra_postargs=extension.extra_link_args,
            build_temp=self.build_temp,
            target_lang="c++",
        )

    def run(self) -> None:
        super().run()
        build_launcher_jar(ROOT / JAR if self.inplace else Path(self.build_lib) / JAR)


setup(
    ext_modules=[extension(name) for name in ROOMS],
    cmdclass={"build_ext": BuildNative},
)
