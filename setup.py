"""The one part of the build that pyproject.toml can't express: the optional C kernels.

For work in the source tree: ``python setup.py build_ext --inplace`` (or ``pip install -e .``).
"""

from setuptools import Extension, setup

KERNEL = "src/diffchrom/deepdiff/_kernel"

setup(
    ext_modules=[
        Extension(
            "diffchrom.deepdiff._kernel._lstm",
            sources=[f"{KERNEL}/{name}.c" for name in ("adam", "lstm", "step", "threads")],
            depends=[
                f"{KERNEL}/{name}.h" for name in ("adam_isa", "job", "kernel", "lstm_isa", "step", "threads")
            ],
            # No -march=native: lstm.c holds code for each instruction set and chooses at run time.
            extra_compile_args=[
                "-std=gnu11",
                "-O3",
                "-fno-math-errno",
                "-fvisibility=hidden",
                "-pthread",
                "-Wno-psabi",
            ],
            extra_link_args=["-pthread"],
            libraries=["m"],
            py_limited_api=True,  # loaded with ctypes: one build serves every Python
            optional=True,  # torch.nn.LSTM serves where this fails
        ),
        Extension(
            "diffchrom.baselines._svr",
            sources=["src/diffchrom/baselines/_svr.c"],
            extra_compile_args=[
                "-std=gnu11",
                "-O3",
                "-fno-math-errno",
                "-fopenmp-simd",
                "-fvisibility=hidden",
            ],
            py_limited_api=True,  # loaded with ctypes too
            optional=True,  # scikit-learn's SVR serves where this fails
        ),
        Extension(
            "diffchrom.signal._binning",
            sources=["src/diffchrom/signal/_binning.c"],
            extra_compile_args=["-std=gnu11", "-O3", "-fvisibility=hidden"],
            py_limited_api=True,  # loaded with ctypes too
            optional=True,  # numpy serves where this fails
        ),
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
