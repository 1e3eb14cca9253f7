"""What is shipped: the source distribution, the wheel built from it, and both without a compiler."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

from conftest import PROJECT, make_store

KERNELS = ("deepdiff/_kernel/_lstm", "baselines/_svr", "signal/_binning")
#: Where the package was imported from, and why each kernel is missing.
SHOW = (
    "import diffchrom; from diffchrom.signal.blocks import DECODER; "
    "from diffchrom.baselines.kernel_svr import SOLVER; from diffchrom.deepdiff._kernel import KERNEL; "
    "print(diffchrom.__file__); "
    "print(*[one.missing for one in (DECODER, SOLVER, KERNEL)], sep='\\n')"
)
_BUILD = "import sys; from setuptools import build_meta as b; print(getattr(b, sys.argv[1])(sys.argv[2]))"


def build(what: str, source: Path, out: Path, **environment: str) -> Path:
    """Build an sdist or a wheel as pip does, in an environment that has setuptools."""
    pytest.importorskip("setuptools", minversion="77", reason="setuptools of pyproject.toml is not installed")
    shutil.rmtree(source / "build", ignore_errors=True)  # what another compiler left
    done = subprocess.run(
        [sys.executable, "-c", _BUILD, f"build_{what}", str(out)], cwd=source, env=os.environ | environment,
        capture_output=True, text=True, timeout=250,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return out / done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree as it is unpacked from the source distribution of a clean copy."""
    folder = tmp_path_factory.mktemp("sdist")
    clean = folder / "clean"
    clean.mkdir()
    files = subprocess.run(["git", "ls-files", "-z"], cwd=PROJECT, capture_output=True, text=True, timeout=60)
    if files.returncode:
        pytest.skip("not in a git repository: what belongs to the tree is not known")
    for name in filter(None, files.stdout.split("\0")):
        if (PROJECT / name).is_file():
            (clean / name).parent.mkdir(parents=True, exist_ok=True)
            (clean / name).write_bytes((PROJECT / name).read_bytes())
    archive = build("sdist", clean, folder)
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder / archive.name.removesuffix(".tar.gz")


def contents(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name.removeprefix("diffchrom/") for name in archive.namelist()}


def run(environment: Path, program: str, *words: str, cwd: Path) -> list[str]:
    """Run a program of an environment, with nothing of this tree on the path; lines of its stdout."""
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [str(environment / "bin" / program), *words]
    done = subprocess.run(command, cwd=cwd, env=variables, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def installed(wheel: Path, folder: Path) -> Path:
    """A new environment with the wheel; what it depends on is this environment's."""
    venv.create(folder, with_pip=False, symlinks=True)
    library = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(library)
    # Its own packages go first, and an editable install of this tree does not follow.
    (library / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    script = folder / "bin" / "diffchrom"
    script.write_text(f"#!{folder}/bin/python\nfrom diffchrom.cli import main\nmain()\n")
    script.chmod(0o755)
    return folder


def test_the_wheel_from_the_source_distribution_runs_where_nothing_else_is(
    source: Path, tmp_path: Path
) -> None:
    wheel = build("wheel", source, tmp_path)
    files = contents(wheel)
    sources = PROJECT / "src/diffchrom"
    package = {path.relative_to(sources).as_posix() for path in sources.rglob("*.py")}
    assert package <= files
    assert {name for name in files if name.endswith((".html", ".css", ".js"))}
    assert all(any(name.startswith(kernel) for name in files) for kernel in KERNELS)
    assert not [name for name in files if name.startswith(("tests", "examples", "docs"))]
    assert re.search(r"-cp311-abi3-\w+\.whl$", wheel.name)
    environment = installed(wheel, tmp_path / "venv")
    assert run(environment, "diffchrom", "--version", cwd=tmp_path)[0].startswith("diffchrom ")
    where, *missing = run(environment, "python", "-c", SHOW, cwd=tmp_path)
    assert where.startswith(str(environment))
    assert missing == ["None"] * len(KERNELS)


def test_without_a_compiler_the_wheel_is_built_and_runs_slower(source: Path, tmp_path: Path) -> None:
    wheel = build("wheel", source, tmp_path, CC="/nonexistent/cc")
    files = contents(wheel)
    assert not [name for name in files if name.endswith(".so")]
    environment = installed(wheel, tmp_path / "venv")
    _, *missing = run(environment, "python", "-c", SHOW, cwd=tmp_path)
    assert all("was not built" in why for why in missing)
    store = str(make_store(tmp_path / "toy.h5").path)
    words = ["--variant", "raw:d", "--epochs", "1", "--no-ridge", "--device", "cpu", "--threads", "1", "-q"]
    assert len(run(environment, "diffchrom", "train", "--store", store, *words, cwd=tmp_path)) == 2
    words = ["--method", "svr-best-bin", "-q"]
    assert len(run(environment, "diffchrom", "baseline", "--store", store, *words, cwd=tmp_path)) == 2


def test_versions_agree_wherever_they_are_written() -> None:
    from diffchrom import __version__

    texts = {name: (PROJECT / name).read_text() for name in ("CITATION.cff", "codemeta.json")}
    assert f"version: {__version__}\n" in texts["CITATION.cff"]
    assert f'"version": "{__version__}"' in texts["codemeta.json"]
    recipe = (PROJECT / "packaging/conda/meta.yaml").read_text()
    assert f'set version = "{__version__}"' in recipe


def requirements() -> dict[str, str]:
    """Dependencies of pyproject.toml with their bounds."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    lines = [line.split(";")[0].strip() for line in project["dependencies"]]
    return {re.split(r"[<>=!]", line)[0].lower(): line for line in lines}


#: What conda calls otherwise, or has no package of.
_CONDA_NAMES = {"torch": "pytorch", "matplotlib": "matplotlib-base", "plotly": "plotly", "deflate": ""}


def test_the_conda_recipe_asks_for_what_the_project_does() -> None:
    recipe = (PROJECT / "packaging/conda/meta.yaml").read_text()
    run = recipe.split("  run:\n")[1].split("\n\n")[0]
    asked = dict(re.findall(r"^    - ([\w-]+) ?(\S*)", run, re.MULTILINE))
    for name, line in requirements().items():
        conda = _CONDA_NAMES.get(name, name)
        if conda:
            assert asked.get(conda) == line.removeprefix(name), name


def test_oldest_constraints_are_the_lower_bounds() -> None:
    done = subprocess.run(
        [sys.executable, str(PROJECT / "packaging/oldest.py"), "torch==9.9"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    oldest = dict(line.split("==") for line in done.stdout.splitlines())
    assert oldest.pop("torch") == "9.9"
    bounds = {
        name: line.split(">=")[1].split(",")[0] for name, line in requirements().items() if name != "torch"
    }
    assert bounds == {name: oldest[name] for name in bounds}
    assert oldest["anndata"] == "0.11"  # extras have bounds too
