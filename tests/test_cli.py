"""The public command line, driven end to end."""

from __future__ import annotations

import contextlib
import gzip
import io
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import h5py
import pytest

from conftest import called, make_store, running, wait_for
from diffchrom.cli import main
from diffchrom.errors import StoreError
from diffchrom.store.store import Store

HEAVY = (
    "torch",
    "pandas",
    "h5py",
    "pyranges",
    "sklearn",
    "scipy",
    "matplotlib",
    "plotly",
    "captum",
    "pysam",
    "joblib",
)
GOLDEN_STORE = Path(__file__).parent / "golden" / "store-v1.h5"


@dataclass(frozen=True)
class Result:
    returncode: int
    stdout: str
    stderr: str


def run(*arguments: object, cwd: Path) -> Result:
    """Run diffchrom in a folder, in this process: a new one would spend seconds on importing torch."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(cwd), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main([str(argument) for argument in arguments])
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
    return Result(code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, toy_store: Store) -> Path:
    """A folder where diffchrom.h5 holds two cells and runs/toy a trained model."""
    path = tmp_path_factory.mktemp("work")
    shutil.copy(toy_store.path, path / "diffchrom.h5")
    trained = run(
        "train", "--variant", "aux+siamese", "--epochs", 2, "--out", "runs/toy", "--threads", 1, cwd=path
    )
    assert trained.returncode == 0, trained.stderr
    return path


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys; from diffchrom.cli import main\n"
        "try: main(['--help'])\n"
        f"except SystemExit: print('heavy:', [name for name in {HEAVY} if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, cwd=tmp_path)
    assert "heavy: []" in result.stdout
    for command in ("prepare", "train", "predict", "baseline", "demo"):
        assert command in result.stdout


def test_train_needs_no_option_where_the_store_has_two_cells(folder: Path) -> None:
    result = run("train", "--epochs", 1, "--threads", 1, cwd=folder)
    assert result.returncode == 0, result.stderr
    header, line = result.stdout.splitlines()
    assert header.split("\t") == ["run", "variant", "pair", "split", "n", "pearson", "spearman", "mse"]
    values = dict(zip(header.split("\t"), line.split("\t"), strict=True))
    assert values["pair"] == "A1,B2"
    assert values["n"] == "12"
    assert (folder / values["run"] / "model.safetensors").exists()
    again = run("train", "--epochs", 1, "--threads", 1, cwd=folder)
    assert again.stdout.splitlines()[1].split("\t")[0] == values["run"] + "-2"


def test_predict_pipes_and_is_quiet(folder: Path) -> None:
    result = run("predict", "runs/toy", "--split", "test", "-q", cwd=folder)
    assert result.returncode == 0
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    assert len(lines) == 1 + 12
    assert lines[0].split("\t")[7:9] == ["log2fc_pred", "log2fc"]
    assert {line.split("\t")[6] for line in lines[1:]} == {"test"}
    zipped = run("predict", "runs/toy", "--split", "test", "-o", "p.tsv.gz", cwd=folder)
    assert zipped.stdout == ""
    assert gzip.decompress((folder / "p.tsv.gz").read_bytes()).decode() == result.stdout


def test_a_closed_pipe_ends_quietly(folder: Path) -> None:
    shell = f"set -o pipefail; {sys.executable} -m diffchrom predict runs/toy | head -n 1"
    result = subprocess.run(["bash", "-c", shell], cwd=folder, text=True, capture_output=True)
    assert result.stdout.startswith("gene_id")
    notes = ("log2fc: positive = higher in B2", "no interval of 60 genes excludes 0")
    assert all(line.startswith(notes) for line in result.stderr.splitlines())  # and nothing of the pipe
    assert result.returncode == 0


def test_a_list_of_genes_by_id_version_or_name(folder: Path) -> None:
    (folder / "genes.txt").write_text("# mine\nENSG00000000003.7\nGENE5\nNOT_THERE\n")
    result = run("predict", "runs/toy", "--genes", "genes.txt", cwd=folder)
    rows = [line.split("\t")[0] for line in result.stdout.splitlines()[1:]]
    assert rows == ["ENSG00000000003", "ENSG00000000005"]
    assert "NOT_THERE" in result.stderr
    (folder / "none.txt").write_text("NOT_THERE\n")
    refused = run("predict", "runs/toy", "--genes", "none.txt", cwd=folder)
    assert refused.returncode == 1
    assert "none of its 1 genes" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("train", "--store", "none.h5"), 1, "none.h5: no such store"),
        (("train", "--variant", "raw:x"), 2, "choose one of raw:d"),
        (("train", "--pair", "A1,X9"), 1, "no cell named X9"),
        (("train", "--device", "tpu"), 2, "choose one of auto, cpu, cuda"),
        (("train", "--epochs", "0"), 2, "--epochs"),
        (("train", "--preset", "best"), 2, "choose one of default, published"),
        (("predict", "runs/none"), 1, "no such run folder"),
        (("predict", "."), 1, "has no config.json"),
        (("predict", "runs/toy", "--split", "half"), 2, "choose one of train"),
        (("predict", "runs/toy", "-o", "/proc/none/x.tsv"), 1, "cannot be written"),
        (("nonsense",), 2, "No such command"),
    ],
)
def test_wrong_input_is_one_line_and_an_exit_code(
    folder: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    before = sorted(folder.rglob("*"))
    result = run(*arguments, cwd=folder)
    assert result.returncode == code, result.stderr
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
    if code == 1:
        assert len(result.stderr.splitlines()) == 1
        assert result.stderr.startswith("diffchrom: ")
    assert sorted(folder.rglob("*")) == before


def test_the_exception_itself_only_with_debug(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIFFCHROM_DEBUG", "")
    with pytest.raises(StoreError, match="no cell named X9"):
        run("train", "--pair", "A1,X9", "--debug", cwd=folder)


def test_a_store_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = Path(shutil.copy(GOLDEN_STORE, tmp_path / "diffchrom.h5"))
    with h5py.File(path, "r+") as file:
        file.attrs["format_version"] = 99
    result = run("train", cwd=tmp_path)
    assert (result.returncode, "upgrade diffchrom" in result.stderr) == (1, True)


def test_a_mark_that_one_cell_lacks_is_named_with_a_way_out(tmp_path: Path) -> None:
    store = make_store(tmp_path / "diffchrom.h5")
    with store.edit() as editor:
        editor.add_signal("A1", "H2A.Z", store.signal("A1", ["H3K4me3"])[:, 0])
    result = run("train", "--epochs", 1, cwd=tmp_path)
    assert result.returncode == 1
    assert "B2 lacks H2A.Z" in result.stderr
    assert "--marks H3K4me3,H3K27me3" in result.stderr
    assert run("train", "--epochs", 1, "--marks", "H3K4me3,H3K27me3", cwd=tmp_path).returncode == 0


def test_a_full_disk_leaves_nothing_half_written(folder: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    result = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m diffchrom predict runs/toy > /dev/full"],
        cwd=folder,
        text=True,
        capture_output=True,
    )
    assert result.returncode == 1
    assert "No space left" in result.stderr
    assert "Traceback" not in result.stderr


def test_ctrl_c_ends_with_130_and_the_run_can_go_on(tmp_path: Path) -> None:
    make_store(tmp_path / "diffchrom.h5", n_genes=200)
    arguments = ["train", "--epochs", "100000", "--patience", "100000", "--out", "run", "--threads", "1"]
    command = [sys.executable, "-m", "diffchrom", *arguments]
    with running(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        wait_for((tmp_path / "run" / "resume.safetensors").exists, 120)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in error
    refused = run("predict", "run", cwd=tmp_path)
    assert "--resume" in refused.stderr


@pytest.mark.parametrize("words", [("--unit", "tpm", "--unit=counts"), ("--seed", "1", "--seed", "2")])
def test_an_option_of_one_value_given_twice_is_refused(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert called(["train", *words]) == 2
    assert f"{words[0]} is given 2 times; it takes one value" in capsys.readouterr().err
