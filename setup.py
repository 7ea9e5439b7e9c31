"""Build of the C++/CUDA extension; everything else stands in pyproject.toml.

`csrc/core` and `csrc/cpu` know no torch: CMake compiles them to a static library in `build/cmake`, the tree of the C++
tests. torch's own build compiles `csrc/bind` (and `csrc/cuda`) and links that library in.

CPU + CUDA where the installed torch has CUDA and a CUDA toolkit is found, else CPU only.

Environment: ``DEEPLAB_CUDA=0|1`` forces the choice; ``TORCH_CUDA_ARCH_LIST`` names the architectures
(default: those of the GPUs present, else 7.5 to 12.0 + PTX); ``DEBUG=1`` keeps symbols; ``MAX_JOBS`` limits the
compilers that run at a time.
"""

import inspect
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
CMAKE_TREE = ROOT / "build" / "cmake"
PRECOMPILED = ROOT / "build" / "precompiled" / "torch_headers.h"
RELEASE_ARCHITECTURES = "7.5;8.0;8.6;8.9;9.0a;10.0;12.0+PTX"


def cuda_toolkit() -> Path | None:
    """The toolkit's folder, resolved before torch guesses one from an nvcc that may be a wrapper script."""
    candidates = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH")]
    nvcc = shutil.which("nvcc")
    if nvcc:
        candidates.append(str(Path(nvcc).resolve().parent.parent))
    candidates += ["/usr/local/cuda", *sorted(map(str, Path("/usr/local").glob("cuda-*")), reverse=True)]
    for candidate in filter(None, candidates):
        if (Path(candidate) / "include" / "cuda_runtime.h").is_file() and (Path(candidate) / "bin" / "nvcc").is_file():
            return Path(candidate)
    return None


def build_tool(name: str) -> str | None:
    """A program of this environment, which need not be activated, else one of PATH."""
    return shutil.which(name, path=sysconfig.get_path("scripts")) or shutil.which(name)


def cpu_library() -> Path:
    """`csrc/core` and `csrc/cpu` as a static library, compiled where it is not up to date."""
    cmake = build_tool("cmake")
    if cmake is None:
        sys.exit('deeplab-repro: the build needs CMake, which is not installed; type: pip install "cmake>=3.18" ninja')
    symbols = "ON" if os.environ.get("DEBUG") == "1" else "OFF"
    configure = [cmake, "-S", str(ROOT), "-B", str(CMAKE_TREE), "--log-level=WARNING"]
    configure += [f"-DDEEPLAB_SYMBOLS={symbols}", "-DDEEPLAB_TESTS=OFF", "-DDEEPLAB_CUDA=OFF"]
    ninja = build_tool("ninja")
    fresh = [*configure, "-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}"] if ninja else configure
    # A tree that cannot be used again was moved here, or its compiler or generator is gone.
    if not (CMAKE_TREE / "CMakeCache.txt").is_file() or subprocess.run(configure).returncode != 0:
        shutil.rmtree(CMAKE_TREE, ignore_errors=True)
        if subprocess.run(fresh).returncode != 0:
            sys.exit("deeplab-repro: CMake cannot configure csrc/cpu; its message stands above")
    jobs = os.environ.get("MAX_JOBS") or str(os.cpu_count() or 1)
    make = [cmake, "--build", str(CMAKE_TREE), "--target", "deeplab_cpu", "--config", "Release", "--parallel", jobs]
    if subprocess.run(make).returncode != 0:
        sys.exit("deeplab-repro: csrc/cpu does not compile; the compiler's message stands above")
    name = "deeplab_cpu.lib" if sys.platform == "win32" else "libdeeplab_cpu.a"
    return CMAKE_TREE / "lib" / name


def precompile(compiler: list[str], flags: list[str]) -> None:
    """csrc/bind/torch_headers.h in the form in which GCC reads it in half a second instead of seven.

    A compiler that cannot, or that finds the flags to differ, reads the headers as they are."""
    header = ROOT / "csrc" / "bind" / PRECOMPILED.name
    done = PRECOMPILED.with_name(f"{PRECOMPILED.name}.gch")
    PRECOMPILED.parent.mkdir(parents=True, exist_ok=True)
    stamp, told = PRECOMPILED.with_name("flags.txt"), "\n".join([*compiler, *flags, header.read_text()])
    if done.is_file() and stamp.is_file() and stamp.read_text() == told:
        return
    shutil.copyfile(header, PRECOMPILED)
    command = [*compiler, *flags, "-x", "c++-header", str(PRECOMPILED), "-o", str(done)]
    if subprocess.run(command, stderr=subprocess.DEVNULL).returncode == 0:
        stamp.write_text(told)


def is_gcc(compiler: list[str]) -> bool:
    """Whether a command is GCC's, under whatever name."""
    told = subprocess.run([*compiler, "--version"], capture_output=True, text=True, check=False).stdout
    return "Free Software Foundation" in told


def extension():
    """The extension module and its build command."""
    toolkit = cuda_toolkit()
    if toolkit:
        os.environ["CUDA_HOME"] = str(toolkit)
    try:
        import torch
        from torch.utils import cpp_extension
        from torch.utils.cpp_extension import BuildExtension, CppExtension, CUDAExtension
    except ImportError:
        if any("build-env" in place for place in sys.path):
            # pip's build isolation, which cannot know the torch that the extension will run with.
            sys.exit(
                "deeplab-repro: it is built against the torch of your environment, which pip's isolated build does not "
                "see; type: pip install --no-build-isolation ."
            )
        sys.exit(
            "deeplab-repro: torch is not installed in this environment; install it first (pip install torch), "
            "then build with: pip install --no-build-isolation ."
        )

    wanted = os.environ.get("DEEPLAB_CUDA")
    with_cuda = torch.version.cuda is not None and toolkit is not None if wanted is None else wanted == "1"
    if with_cuda and toolkit is None:
        sys.exit("deeplab-repro: DEEPLAB_CUDA=1, but no CUDA toolkit was found; set CUDA_HOME to its folder")

    sources = [*ROOT.glob("csrc/bind/**/*.cpp")]
    # No -std: torch's build adds the one that its headers need (C++20 in 2.13). csrc/{core,cpu,cuda} are C++17.
    cxx = ["/O2", "/fp:precise"]
    links: list[str] = []
    if sys.platform != "win32":
        # fp-contract=off as in CMakeLists.txt: formulas of csrc/core must round alike in both parts.
        cxx = ["-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off", "-Wall", "-Wextra"]
        cxx.append("-g" if os.environ.get("DEBUG") == "1" else "-g0")
    if sys.platform == "linux":
        # at::parallel_for is a template in torch's headers: without OpenMP here it would run on one thread. The
        # library itself is the copy torch has loaded.
        cxx.append("-fopenmp")
        links.append("-fopenmp")
    flags: dict[str, list[str]] = {"cxx": cxx}
    macros: list[tuple[str, str | None]] = []
    kind = CppExtension
    if with_cuda:
        kind = CUDAExtension
        sources += ROOT.glob("csrc/cuda/**/*.cu")
        if "TORCH_CUDA_ARCH_LIST" not in os.environ and not torch.cuda.is_available():
            os.environ["TORCH_CUDA_ARCH_LIST"] = RELEASE_ARCHITECTURES
        architectures = os.environ.get("TORCH_CUDA_ARCH_LIST", "those present at build time")
        macros += [("WITH_CUDA", None), ("DEEPLAB_CUDA_ARCHITECTURES", f'"{architectures}"')]
        flags["nvcc"] = ["-std=c++17", "-O3", "--fmad=false"]
    module = kind(
        "deeplab_repro.ops._C",
        sorted(str(source.relative_to(ROOT)) for source in sources),
        depends=sorted(str(header.relative_to(ROOT)) for header in ROOT.glob("csrc/**/*.*h")),
        define_macros=macros,
        extra_compile_args=flags,
        extra_link_args=links,
    )
    if sys.platform != "win32":
        # torch's headers as the system's, so that a warning is always about a file of ours.
        cxx += [flag for folder in module.include_dirs for flag in ("-isystem", folder)]
        module.include_dirs = []
    module.include_dirs.append(str(ROOT))

    class Build(BuildExtension):
        """The static library first, then what links it."""

        def finalize_options(self) -> None:
            super().finalize_options()
            # One folder of objects for every command: an editable install takes a temporary one, after which
            # building in place would compile everything a second time.
            self.build_temp = str(ROOT / "build" / "objects")

        def build_extensions(self) -> None:
            with ThreadPoolExecutor() as pool:
                library = pool.submit(cpu_library)
                if sys.platform == "linux" and is_gcc(self.compiler.compiler_cxx[:1]):
                    # As torch's build writes them: the flags must be the same, those of warnings apart.
                    standard = re.search(r"cpp_flag_prefix \+ '(c\+\+\d+)'", inspect.getsource(cpp_extension))
                    flags = [*self.compiler.compiler_so[1:], *cxx, "-DTORCH_API_INCLUDE_EXTENSION_H"]
                    flags += ["-DTORCH_EXTENSION_NAME=_C", f"-std={standard[1] if standard else 'c++17'}"]
                    # Where torch finds ccache, that takes precompiled headers on these terms only.
                    os.environ.setdefault("CCACHE_SLOPPINESS", "pch_defines,time_macros")
                    precompile(self.compiler.compiler_cxx[:1], flags)
                    cxx.extend(["-include", str(PRECOMPILED), "-fpch-preprocess"])
                module.extra_objects.append(str(library.result()))
            super().build_extensions()

    return module, Build


class BuildPython(build_py):
    """The packages, and `weights/`, which stands beside them, inside `deeplab_repro`."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            shutil.copytree(ROOT / "weights", Path(self.build_lib, "deeplab_repro", "weights"), dirs_exist_ok=True)


EXTENSION, BUILD = extension()
setup(ext_modules=[EXTENSION], cmdclass={"build_ext": BUILD, "build_py": BuildPython})
