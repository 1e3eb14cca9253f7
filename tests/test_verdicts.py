"""What reports and `attend` may claim, and that of chance they claim nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from attention_tools import random_source
from conftest import called, make_store
from diffchrom.attention.check import check
from diffchrom.attention.evenness import even_attention, perplexity_share
from diffchrom.report.build import build_report
from diffchrom.report.methods_text import methods_text
from diffchrom.report.verdicts import MARK_RATIO, gene_verdict, outstanding
from diffchrom.runs.folder import Run
from diffchrom.store.store import Store
from diffchrom.sweeps.results import load_results
from test_compare import make_run

CLAIMS = (
    "attend most",
    "it peaks",
    "ighest mean Pearson",
    "(predicted well)",
    "(predicted badly)",
    "differs from",
)


def train(store: Store, out: Path, *more: str) -> None:
    command = ["train", "--variant", "raw", "--epochs", "2", "--device", "cpu", "--threads", "1", "-q"]
    assert called([*command, "--store", str(store.path), "--out", str(out), *more]) == 0


@pytest.mark.parametrize("seed", range(3))
def test_the_report_of_runs_on_random_labels_claims_nothing(tmp_path: Path, seed: int) -> None:
    store = make_store(tmp_path / "s.h5", n_genes=300, seed=seed)
    random = np.random.default_rng(seed)
    with store.edit() as editor:
        for cell in store.cells():
            shuffled = random.permutation(store.expression(cell, "counts"))
            editor.add_expression(cell, "counts", shuffled, replace=True)
    runs = tmp_path / "runs"
    train(store, runs / "raw")
    fit = ["baseline", "--store", str(store.path), "--threads", "1", "-q"]
    assert called([*fit, "--out", str(runs / "ridge")]) == 0
    page = build_report([runs])
    assert [claim for claim in CLAIMS if claim in page] == []
    assert "othing stands out" in page


def test_the_report_of_a_model_that_predicts_names_it(tmp_path: Path) -> None:
    for method, noise in (("good", 0.1), ("bad", 9.0)):
        make_run(tmp_path / "runs" / method, method, noise, step=100)
    page = build_report([tmp_path / "runs"])
    assert "Highest mean Pearson r on the test genes: good" in page
    assert "good differs from the next, bad" in page


@pytest.mark.parametrize(
    ("measured", "predicted", "verdict"),
    [
        (-1.61, 0.02, "predicted badly"),
        (-1.61, -1.0, "predicted well"),
        (1.2, 0.4, ""),
        (0.1, 0.1, ""),
        (0.0, 1.5, "predicted badly"),
    ],
)
def test_a_gene_is_predicted_well_when_most_of_its_change_is(
    measured: float, predicted: float, verdict: str
) -> None:
    assert gene_verdict(measured, predicted) == verdict


def test_no_mark_stands_out_of_even_attention() -> None:
    even = 1 / 25
    values = np.full(25, even)
    values[3] = 0.041
    assert outstanding(values, values, even, MARK_RATIO) is None
    values[3] = 0.12
    assert outstanding(values, values - 0.01, even, MARK_RATIO) == 3
    assert outstanding(values, values - 0.1, even, MARK_RATIO) is None  # its interval reaches the next one


def test_attend_says_once_that_attention_is_practically_even(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = make_store(tmp_path / "s.h5")
    train(store, tmp_path / "run", "--lr", "0")
    at = ["attend", str(tmp_path / "run"), "--store", str(store.path), "--threads", "1", "-o"]
    for more in (["--level", "mark"], ["--up-quantile", "0.3"]):
        assert called([*at, str(tmp_path / "out.tsv"), *more]) == 0
        assert capsys.readouterr().err.count("attention is practically even") == 1
    pointed = random_source(store, "raw")
    with torch.no_grad():
        for parameter in pointed.model.parameters():
            parameter.mul_(20)
    assert even_attention(pointed, np.arange(60)) == ""


@pytest.mark.parametrize("random_labels", [False, True])
def test_train_says_what_its_r_is_worth_beside_ridge(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], random_labels: bool
) -> None:
    store = make_store(tmp_path / "s.h5", n_genes=200)
    if random_labels:
        random = np.random.default_rng(0)
        with store.edit() as editor:
            for cell in store.cells():
                shuffled = random.permutation(store.expression(cell, "counts"))
                editor.add_expression(cell, "counts", shuffled, replace=True)
    at = ["--store", str(store.path), "--threads", "1", "--out"]
    train = ["train", "--variant", "raw:d", "--epochs", "30", "--device", "cpu", *at]
    assert called([*train, str(tmp_path / "run")]) == 0
    said = capsys.readouterr().err
    metrics, details = (getattr(Run.open(tmp_path / "run").config, name) for name in ("metrics", "details"))
    low, high = details["test_intervals"]["pearson"]
    r = metrics["test"]["pearson"]
    assert f"r = {r:.3f} (95% interval {low:.3f} to {high:.3f}) on 40 test genes" in said
    assert ("not distinguishable from 0" in said) == random_labels
    assert called(["baseline", *at, str(tmp_path / "ridge"), "-q"]) == 0
    ridge = Run.open(tmp_path / "ridge").config.metrics["test"]["pearson"]
    assert f"ridge, a linear baseline, has r = {ridge:.3f} on the same genes" in said
    capsys.readouterr()
    assert called([*train, str(tmp_path / "alone"), "--no-ridge"]) == 0
    assert "ridge" not in capsys.readouterr().err


def test_the_perplexity_of_uniform_attention_is_all_places() -> None:
    assert perplexity_share(np.full((4, 3, 200), 1 / 200)) == pytest.approx(1)
    assert perplexity_share(np.eye(200)[None, :3]) == pytest.approx(1 / 200)


def test_one_gene_has_no_verdict_and_no_interval(tmp_path: Path) -> None:
    source = random_source(make_store(tmp_path / "s.h5"), "raw")
    result = check(source, np.array([3]))
    assert result.warnings == []
    assert result.notes == ["one gene: neither intervals nor verdicts"]
    assert all(np.isnan([one.low, one.high]).all() for one in result.findings)
    assert any(np.isfinite(one.value) for one in result.findings)


def test_the_methods_section_tells_what_happened(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s.h5")
    train(store, tmp_path / "run", "--ensemble", "2")
    text = " ".join(methods_text(load_results([tmp_path / "run"])))
    assert "of the 2 epochs that were made of each" in text
    assert "batches of 2," in text  # of 36 training genes, not the preset's 64
    assert "mean of 2 models" in text
    assert "Holm" not in text
    assert "Methods were compared" not in text


def test_methods_of_different_groups_were_not_compared(tmp_path: Path) -> None:
    make_run(tmp_path / "a", "raw", 1.0)
    make_run(tmp_path / "b", "aux", 1.0, split="published")
    assert "Methods were compared" not in " ".join(methods_text(load_results([tmp_path])))
