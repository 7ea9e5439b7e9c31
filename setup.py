"""Build of the C++/CUDA extension; everything else stands in pyproject.toml.

CPU + CUDA where the installed torch has CUDA and a CUDA toolkit is found, else CPU only.

Environment: ``DEEPLAB_CUDA=0|1`` forces the choice; ``TORCH_CUDA_ARCH_LIST`` names the architectures
(default: those of the GPUs present, else 7.5 to 12.0 + PTX); ``DEBUG=1`` keeps symbols.
"""

import os
import shutil
import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
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


def extension():
    """The extension module and its build command."""
    toolkit = cuda_toolkit()
    if toolkit:
        os.environ["CUDA_HOME"] = str(toolkit)
    try:
        import torch
        from torch.utils.cpp_extension import BuildExtension, CppExtension, CUDAExtension
    except ImportError:
        sys.exit(
            "deeplab-repro: torch is not installed in this environment; install it first (pip install torch), "
            "then build with: pip install --no-build-isolation ."
        )

    wanted = os.environ.get("DEEPLAB_CUDA")
    with_cuda = torch.version.cuda is not None and toolkit is not None if wanted is None else wanted == "1"
    if with_cuda and toolkit is None:
        sys.exit("deeplab-repro: DEEPLAB_CUDA=1, but no CUDA toolkit was found; set CUDA_HOME to its folder")

    sources = [*ROOT.glob("csrc/cpu/**/*.cpp"), *ROOT.glob("csrc/bind/**/*.cpp")]
    # fp-contract=off: lattice coordinates must round alike on every machine and device.
    cxx = [
        "-std=c++17",
        "-O3",
        "-fno-math-errno",
        "-fno-trapping-math",
        "-ffp-contract=off",
        "-Wall",
        "-Wextra",
        "-Wno-unused-parameter",
    ]
    cxx.append("-g" if os.environ.get("DEBUG") == "1" else "-g0")
    links: list[str] = []
    if sys.platform == "linux":
        # at::parallel_for is a template in torch's headers: without OpenMP here it would run on one thread. The
        # library itself is the copy torch has loaded.
        cxx.append("-fopenmp")
        links.append("-fopenmp")
    if sys.platform == "win32":
        cxx = ["/std:c++17", "/O2", "/fp:precise"]
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
        include_dirs=[str(ROOT)],
        define_macros=macros,
        extra_compile_args=flags,
        extra_link_args=links,
    )
    return module, BuildExtension


class BuildPython(build_py):
    """The packages, and `weights/`, which stands beside them, inside `deeplab_repro`."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            shutil.copytree(ROOT / "weights", Path(self.build_lib, "deeplab_repro", "weights"), dirs_exist_ok=True)


EXTENSION, BUILD = extension()
setup(ext_modules=[EXTENSION], cmdclass={"build_ext": BUILD, "build_py": BuildPython})
