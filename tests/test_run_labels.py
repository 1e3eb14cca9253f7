"""Which runs stand in one table, and what they are called there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from diffchrom.genome.genes import Window
from diffchrom.runs.differences import differing, facts
from diffchrom.runs.folder import Run
from diffchrom.sweeps.comparison import compare
from diffchrom.sweeps.labels import label_runs
from diffchrom.sweeps.results import find_runs, load_results
from diffchrom.sweeps.summary import summary_rows
from test_compare import Warnings, make_run, run_cli, table_of


@pytest.mark.parametrize(
    ("change", "said", "group"),
    [
        ({"store": {"fingerprint": "0" * 64}}, "content of the store f", "store 1"),
        ({"split": "published"}, "split", "split published"),
        ({"split": "chromosome-fold1of5"}, "split", "split chromosome-5folds"),
        ({"unit": "rpkm"}, "unit", "unit rpkm"),
        ({"window": Window(flank=2000, bin_size=100)}, "window", "+/-2000 bp"),
    ],
)
def test_runs_of_different_data_are_groups_of_their_own(
    tmp_path: Path,
    change: dict[str, Any],
    said: str,
    group: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    first, second = make_run(tmp_path / "a", "raw", 1.0), make_run(tmp_path / "b", "aux", 2.0, **change)
    third = make_run(tmp_path / "c", "ridge", 3.0, preset="", **change)
    runs = [str(run.path) for run in (first, second, third)]
    assert run_cli("compare", *runs, "--summary") == 0
    shown = capsys.readouterr()
    (warning,) = [line for line in shown.err.splitlines() if "warning" in line]
    assert f"{first.path} and {second.path} are not comparable: " in warning
    assert said in warning
    rows = table_of(shown.out)
    assert {row["label"]: row["group"] == rows[-1]["group"] for row in rows} == {
        "raw": False, "aux": True, "ridge": True,
    }  # fmt: skip
    assert {row["label"]: row["against"] for row in rows} == {"raw": "NA", "aux": "NA", "ridge": "aux"}
    assert any(row["group"].startswith(group) for row in rows)
    assert run_cli("compare", *runs, "--summary", "--force") == 0
    forced = capsys.readouterr()
    assert "warning" in forced.err
    assert {row["group"] for row in table_of(forced.out)} == {"NA"}
    assert [row["against"] for row in table_of(forced.out)] == ["NA", "raw", "raw"]


def test_folds_that_another_seed_dealt_are_not_compared(tmp_path: Path) -> None:
    for method, dealt in (("raw", 0), ("aux", 1)):
        make_run(tmp_path / method, method, 1.0, split=f"gene-fold1of5.seed{dealt}")
    warnings = Warnings()
    groups = {result.label: result.group for result in load_results([tmp_path], reporter=warnings)}
    assert len(set(groups.values())) == 2
    assert "folds of other genes gene-fold1of5.seed1 and gene-fold1of5.seed0" in warnings.said[0]
    # Each run's own seed deals its folds: seeds of one method are compared as they are.
    for seed in (0, 1):
        make_run(tmp_path / "seeds" / str(seed), "raw", 1.0, split=f"gene-fold1of5.seed{seed}", seed=seed)
    assert {result.group for result in load_results([tmp_path / "seeds"])} == {""}


def test_folds_of_one_cross_validation_are_compared(tmp_path: Path) -> None:
    for fold in (1, 2, 3):
        for method, noise in (("raw", 0.5), ("aux", 3.0)):
            name = f"chromosome-fold{fold}of3"
            make_run(tmp_path / f"{method}{fold}", method, noise, split=name)
    rows = summary_rows(compare(load_results([tmp_path])))
    assert [row["label"] for row in rows] == ["raw", "aux"]
    assert [row["averaged"] for row in rows] == ["3 folds"] * 2
    assert rows[1]["p_holm"] < 0.05


def test_a_method_that_lacks_a_fold_is_not_averaged_beside_whole_ones(tmp_path: Path) -> None:
    for method, folds in (("raw", (1, 2, 3)), ("aux", (1, 2, 3)), ("ridge", (2,))):
        for fold in folds:
            make_run(tmp_path / f"{method}{fold}", method, 1.0, split=f"chromosome-fold{fold}of3")
    groups = {result.label: result.group for result in load_results([tmp_path])}
    assert groups == {"raw": "folds 1, 2, 3", "aux": "folds 1, 2, 3", "ridge": "fold 2"}


# ---- labels


SETTINGS = {"epochs": 10, "ensemble": None, "aux_task": "regression", "dropout": 0.4}


def labels_of(folder: Path, *runs: dict[str, Any]) -> list[str]:
    for number, changes in enumerate(runs):
        make_run(folder / str(number), **({"method": "raw", "noise": 1.0 + number} | changes))
    results = load_results([folder])
    by_path = {result.run.path.name: result.label for result in results}
    return [by_path[str(number)] for number in range(len(runs))]


@pytest.mark.parametrize(
    ("first", "second", "labels"),
    [
        ({}, {"seed": 1}, ["raw", "raw"]),
        ({}, {"method": "aux"}, ["raw", "aux"]),
        ({}, {"preset": "published"}, ["raw (default)", "raw (published)"]),
        ({"marks": ("a", "b")}, {"marks": ("a",)}, ["raw (2 marks)", "raw (1 mark)"]),
        ({"marks": ("a", "b")}, {"marks": ("a", "c")}, ["raw (a+b)", "raw (a+c)"]),
        ({"hyperparameters": SETTINGS | {"ensemble": 5}}, {}, ["raw (ensemble 5)", "raw (ensemble 1)"]),
        (
            {"hyperparameters": SETTINGS | {"aux_task": "classification"}},
            {},
            ["raw (aux task classification)", "raw (aux task regression)"],
        ),
        ({"hyperparameters": SETTINGS | {"epochs": 3}}, {}, ["raw (epochs 3)", "raw (epochs 10)"]),
        ({"hyperparameters": SETTINGS | {"dropout": 0.1}}, {}, ["raw (dropout 0.1)", "raw (dropout 0.4)"]),
        ({"hyperparameters": SETTINGS}, {"hyperparameters": {}}, ["raw", "raw"]),  # the preset's own values
        (
            {"method": "ridge", "preset": "", "hyperparameters": {"grid": {"alpha": [1.0] * 40}}},
            {"method": "ridge", "preset": "", "hyperparameters": {"grid": {"alpha": [2.0] * 40}}},
            ["ridge (grid 1)", "ridge (grid 2)"],
        ),
    ],
)
def test_runs_that_differ_in_more_than_seed_and_fold_have_labels_of_their_own(
    tmp_path: Path, first: dict[str, Any], second: dict[str, Any], labels: list[str]
) -> None:
    assert labels_of(tmp_path, first, second) == labels
    rows = summary_rows(compare(load_results([tmp_path])))
    assert {row["label"] for row in rows} == set(labels)
    r = {run.path.name: run.config.metrics["test"]["pearson"] for run in find_runs([tmp_path])}
    if len(rows) == 2:  # neither is the mean of the two
        assert {round(row["mean_pearson"], 5) for row in rows} == {round(v, 5) for v in r.values() if v}


def test_a_label_says_no_more_than_it_must(tmp_path: Path) -> None:
    labels = labels_of(
        tmp_path,
        {"preset": "published"},
        {"hyperparameters": SETTINGS | {"epochs": 3}},
        {"hyperparameters": SETTINGS},
        {"method": "aux"},
    )
    assert labels == ["raw (published)", "raw (default, epochs 3)", "raw (default, epochs 10)", "aux"]


def test_regions_that_differ_are_told_and_a_run_without_any_is_of_the_tss(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a", "raw", 1.0)
    same, other = (
        replace(run.config, regions=dict.fromkeys(names, "")) for names in (("tss",), ("tss", "body"))
    )
    assert facts(run.config)["regions"] == ("tss",)
    assert differing(run.config, same) == []
    assert differing(run.config, other) == ["regions"]
    labels, _ = label_runs([run, Run(tmp_path / "b", other)])
    assert labels == ["raw (tss)", "raw (tss+body)"]


def test_marks_that_differ_from_pair_to_pair_make_no_other_method_and_are_told(tmp_path: Path) -> None:
    make_run(tmp_path / "a", "raw", 1.0, marks=("a", "b"))
    make_run(tmp_path / "b", "raw", 1.0, marks=("a", "b", "c"), pair=("A1", "C3"))
    warnings = Warnings()
    assert {result.label for result in load_results([tmp_path], reporter=warnings)} == {"raw"}
    assert warnings.said == ["raw: marks differ between its pairs"]


def test_what_a_label_leaves_unsaid_is_told_once(tmp_path: Path) -> None:
    for variant in ("raw", "aux"):
        make_run(tmp_path / variant, variant, 1.0, hyperparameters=SETTINGS)
        changed = SETTINGS | {"epochs": 3, "dropout": 0.1}
        make_run(tmp_path / f"{variant}2", variant, 2.0, hyperparameters=changed)
        make_run(tmp_path / f"{variant}3", variant, 2.0, preset="published")
    warnings = Warnings()
    labels = {result.label for result in load_results([tmp_path], reporter=warnings)}
    assert "raw (default, epochs 3)" in labels
    assert warnings.said == ["runs of aux, raw differ in dropout too, which their labels do not say"]


def test_a_run_that_was_made_twice_is_said_to_be_averaged(tmp_path: Path) -> None:
    assert labels_of(tmp_path, {}, {}) == ["raw", "raw"]
    (row,) = summary_rows(compare(load_results([tmp_path])))
    assert row["averaged"] == "2 runs alike"


def test_another_store_of_another_pair_is_fine(tmp_path: Path) -> None:
    make_run(tmp_path / "a", "raw", 1.0)
    make_run(tmp_path / "b", "raw", 1.0, pair=("A1", "C3"), store={"fingerprint": "0" * 64})
    assert [result.group for result in load_results([tmp_path])] == ["", ""]
