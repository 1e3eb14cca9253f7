"""The face: docs/api.md at its word, and what a notebook relies on."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import diffchrom as dc
from conftest import PROJECT, make_store
from diffchrom.errors import DiffchromError, RunError, UsageError
from diffchrom.store.store import Store

MARKS = ("H3K4me3", "H3K27ac")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> dc.OpenedStore:
    path = tmp_path_factory.mktemp("api") / "diffchrom.h5"
    make_store(path, cells=("E116", "E123"), marks=MARKS, n_genes=120)
    return dc.open_store(path)


def test_every_block_of_the_page_runs_in_a_fresh_interpreter(store: dc.OpenedStore) -> None:
    page = (PROJECT / "docs" / "api.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, re.S)
    assert len(blocks) == 5
    code = "import torch; torch.set_num_threads(1)\n" + "\n".join(blocks)
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=store.path.parent, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    assert "training" in ended.stderr  # the bar of the last block


def test_importing_loads_nothing_heavy() -> None:
    code = (
        "import sys, diffchrom; assert 'train' in dir(diffchrom); "
        "print(*{'torch', 'pandas', 'h5py', 'numpy', 'sklearn'} & set(sys.modules))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == []


def test_every_name_of_the_face_is_there() -> None:
    assert all(getattr(dc, name) is not None for name in dc.__all__)
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        dc.trian  # noqa: B018


def test_a_run_without_a_folder_leaves_none(store: dc.OpenedStore) -> None:
    run = dc.fit_baseline(store.pair(), "ridge")
    path = run.path
    assert path.is_dir()
    assert run.predictions()["log2fc_pred"].notna().all()
    del run
    assert not path.parent.exists()


def test_tables_are_those_of_the_store(store: dc.OpenedStore) -> None:
    genes, expression = store.gene_table(), store.expression_table()
    assert list(genes["id"]) == list(expression.index) == list(store.genes.id)
    assert list(expression.columns) == ["E116", "E123"]
    np.testing.assert_array_equal(expression["E123"], store.expression("E123", "counts"))


def test_what_the_command_makes_the_face_makes(store: dc.OpenedStore, tmp_path: Path) -> None:
    from conftest import called

    words = ["train", "--store", str(store.path), "--variant", "raw:d", "--epochs", "2", "--threads", "1"]
    assert called([*words, "--device", "cpu", "--out", str(tmp_path / "run"), "-q"]) == 0
    run = dc.train(store.pair(), "raw:d", epochs=2, device="cpu")
    for file in ("model.safetensors", "predictions.tsv", "history.tsv"):
        assert (run.path / file).read_bytes() == (tmp_path / "run" / file).read_bytes()
    kept = dc.open_run(tmp_path / "run")
    assert kept.metrics == run.metrics
    assert repr(kept).startswith("<raw:d on E116,E123: r = ")


@pytest.mark.parametrize("recipe", ["ridge", "antisymmetric"])
def test_a_run_of_either_kind_opens_as_at_the_shell(
    store: dc.OpenedStore, tmp_path: Path, recipe: str
) -> None:
    from conftest import called

    if recipe == "ridge":
        run = dc.fit_baseline(store.pair(), recipe, out=tmp_path / "run")
    else:
        run = dc.train(store.pair(), recipe, epochs=1, ensemble=1, device="cpu", out=tmp_path / "run")
    opened = dc.open_run(run.path).open(store)
    rows = opened.rows("test")
    words = ["predict", str(run.path), "--store", str(store.path), "--split", "test", "--threads", "1", "-q"]
    assert called([*words, "-o", str(tmp_path / "shell.tsv")]) == 0
    shell = pd.read_csv(tmp_path / "shell.tsv", sep="\t", na_values=["NA"], keep_default_na=False)
    mine = opened.table(rows)
    assert list(mine.columns) == list(shell.columns)
    np.testing.assert_allclose(mine["log2fc_pred"], shell["log2fc_pred"], rtol=1e-5)
    np.testing.assert_array_equal(opened.predict(rows).log2fc, mine["log2fc_pred"])
    if recipe == "ridge":
        assert {"cell", "mark", "first_window", "coefficient"} <= set(opened.coefficients().columns)
        assert opened.rows(genes=["GENE3"]).tolist() == [3]


def test_what_the_shell_says_of_other_cells_is_said_in_python(tmp_path: Path) -> None:

    make_store(tmp_path / "s.h5", cells=("A", "B", "C"), marks=MARKS, n_genes=60)
    store = dc.open_store(tmp_path / "s.h5")
    run = dc.train(store.pair("A", "B"), epochs=1, ensemble=1, device="cpu")
    said: list[str] = []
    run.open(store, ("A", "C"), reporter=dc.BarReporter(lambda **_: None, said.append))
    assert any("interval" in line for line in said)
    assert any("without the shift" in line for line in said)


class Planted(nn.Module):
    """The difference of the marks around the TSS, weighted."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Linear(len(MARKS), 1)

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return self.weights((b - a)[:, :, 8:12].mean(dim=2))


def test_a_module_of_ones_own_learns_the_planted_rule_and_is_left_as_it_was(store: dc.OpenedStore) -> None:
    module = Planted()
    before = module.weights.weight.detach().clone()
    run = dc.train(store.pair(), model=module, epochs=40, batch_size=8, lr=0.05)
    assert torch.equal(module.weights.weight, before)
    assert run.config.kind == "module"
    assert run.config.variant == "Planted"
    assert run.metrics["pearson"] > 0.8
    assert run.metrics["asymmetry"] is not None
    opened = run.open(store, module=module)
    rows = opened.rows("test")
    stored = run.predictions().set_index("gene_id")["log2fc_pred"]
    predicted = opened.predict(rows)
    np.testing.assert_allclose(predicted.log2fc, stored[store.genes.id[rows]], rtol=1e-5)
    assert np.isfinite(predicted.low).all()
    with pytest.raises(RunError, match="not diffchrom's"):
        run.open(store)


def test_a_module_of_another_shape_is_refused_by_name(store: dc.OpenedStore) -> None:
    class Wrong(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))

        def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            return (b - a).mean(dim=2) * self.weight

    with pytest.raises(UsageError, match=r"Wrong gives \(\d+, 2\) for \d+ genes"):
        dc.train(store.pair(), model=Wrong(), epochs=1)


def test_results_are_labelled(store: dc.OpenedStore) -> None:
    run = dc.train(store.pair(), "raw", epochs=1)
    model = run.open(store)
    rows = model.rows(genes=["GENE3", store.genes.id[7]])
    assert rows.tolist() == [3, 7]
    attended = model.attend(rows)
    table = pd.DataFrame(attended.alpha.columns())
    assert list(table.columns) == ["gene", "sequence", "window", "alpha"]
    assert len(table) == 2 * 6 * 20
    sums = table.groupby(["gene", "sequence"])["alpha"].sum()
    np.testing.assert_allclose(sums, 1, atol=1e-5)
    np.testing.assert_array_equal(attended.alpha, attended.alpha.values)
    assert list(attended.beta["main"].axes["sequence"][:2]) == ["main:A H3K4me3", "main:A H3K27ac"]
    contribution = model.attribute(rows, "gradient_x_input")
    assert contribution.values.shape == (2, 2, 2, 20)
    changed = model.perturb(rows, H3K4me3=0, H3K27ac="E123")
    assert changed.axes["gene"].tolist() == store.genes.id[rows].tolist()
    with pytest.raises(DiffchromError, match="no gene NOSUCH"):
        model.rows(genes=["NOSUCH"])


def test_a_store_is_prepared_in_python_as_at_the_shell(tmp_path: Path) -> None:
    from diffchrom.demo.simulate import simulate

    files = simulate(tmp_path / "data", 60)
    store = dc.prepare_store(
        tmp_path / "s.h5",
        gtf=str(files.gtf),
        bigwigs=files.bigwigs,
        expression=files.expression,
        regions="body",
        threads=1,
    )
    assert store.cells() == ("H1", "K562") or store.cells() == ("K562", "H1")
    assert isinstance(store, Store)
    pair = store.pair("K562", "H1")
    assert pair.unit == "counts"
    assert pair.layout.names == ("tss", "body")


def test_it_works_where_stdout_is_no_file(
    store: dc.OpenedStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A notebook's stdout takes text and has no buffer."""
    from diffchrom.attention.export import ExportOptions, export

    class Notebook:
        def __init__(self) -> None:
            self.text = ""

        def write(self, text: str) -> None:
            self.text += text

        def flush(self) -> None:
            pass

    model = dc.train(store.pair(), "raw:d", epochs=1).open(store)
    monkeypatch.setattr(sys, "stdout", notebook := Notebook())
    export(model, np.array([0]), ExportOptions(level="mark"), Path("-"))
    assert notebook.text.startswith("gene_id\t")
