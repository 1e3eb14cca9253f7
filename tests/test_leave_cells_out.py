"""A sweep that leaves cells out: which runs it makes, and what is said of cells that they have not seen."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from conftest import called, make_store
from diffchrom.errors import UsageError
from diffchrom.pairs.covariates import cell_names
from diffchrom.processes.pool import Pool
from diffchrom.runs.differences import differing
from diffchrom.runs.folder import Run, RunConfig
from diffchrom.store.store import Store
from diffchrom.sweeps.estimate import estimate_jobs, relative_cost
from diffchrom.sweeps.folder import read_jobs, status_of
from diffchrom.sweeps.jobs import Job, jobs_of
from diffchrom.sweeps.plan import Plan, make_plan
from diffchrom.sweeps.results import find_runs
from diffchrom.sweeps.running import run_sweep
from diffchrom.sweeps.unseen import COLUMNS, unseen_cells

CELLS = ("A", "B", "C", "D")
PAIRS = tuple(combinations(CELLS, 2))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_store(tmp_path_factory.mktemp("cells") / "s.h5", n_genes=150, cells=CELLS)


@pytest.fixture(scope="module")
def sweep(store: Store, tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, list[Job]]:
    """Ridge, with every choice of two cells left out."""
    plan = Plan(store.path, tmp_path_factory.mktemp("sweep") / "out", baselines=("ridge",), leave_cells_out=2)
    jobs = jobs_of(plan)
    assert all(outcome.status == "finished" for outcome in run_sweep(jobs, plan.out, Pool()))
    return plan, jobs


def pairs_table(run: Path) -> pd.DataFrame:
    return pd.read_csv(run / "pairs.tsv", sep="\t", na_values=["NA"], keep_default_na=False)


def test_every_choice_is_a_job_beside_the_pairs_themselves(store: Store, tmp_path: Path) -> None:
    plan = Plan(store.path, tmp_path, variants=("raw:d",), baselines=("mean",), leave_cells_out=1)
    names = [job.name for job in jobs_of(plan)]
    assert len(names) == len(set(names)) == 2 * (6 + 4)
    assert "A-B.mean.seed0" in names
    assert "without-C.raw-d.default.seed0" in names
    two = jobs_of(replace(plan, leave_cells_out=2, variants=()))
    assert {job.held_out for job in two} == {(), *PAIRS}
    without = next(job for job in two if job.held_out == ("A", "C"))
    assert (without.pair, without.learnt, without.pairs) == (("B", "D"), (("B", "D"),), PAIRS)


def test_models_stand_beside_the_default_baselines_unless_others_are_named(
    store: Store, tmp_path: Path
) -> None:
    def methods(**given: tuple[str, ...]) -> list[str]:
        plan = Plan(store.path, tmp_path, leave_cells_out=1, **given)
        return list(dict.fromkeys(job.method for job in jobs_of(plan)))

    assert methods() == ["ridge", "gradient-boosting", "cell-mean", "additive"]
    assert methods(variants=("raw",)) == ["ridge", "gradient-boosting", "cell-mean", "raw"]
    assert methods(baselines=("mean",)) == ["mean"]
    # With two of four cells left out, and two that are learnt, cell-mean has no cell to look at.
    two = jobs_of(Plan(store.path, tmp_path, leave_cells_out=2))
    assert "cell-mean" not in {job.method for job in two}


def test_a_plan_file_says_the_same_as_the_options(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "plan.toml"
    file.write_text(
        f'store = "{store.path}"\nout = "here"\nbaselines = ["ridge"]\n'
        'leave_cells_out = 1\ngene_prior = true\nnormalise = "quantile"\n'
    )
    given = {"store": store.path, "out": tmp_path / "here", "baselines": ("ridge",), "leave_cells_out": 1}
    jobs = jobs_of(make_plan(file, {}))
    assert jobs == jobs_of(make_plan(None, given | {"gene_prior": True, "normalise": "quantile"}))
    assert jobs[0].name == "A-B.ridge.gene-prior.normalise-quantile.seed0"
    assert jobs[-1].name == "without-D.ridge.gene-prior.seed0"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"leave_cells_out": 2, "pairs": ("A,B", "A,C", "B,C")}, "takes pairs of 4 cells or more"),
        ({"leave_cells_out": 3}, "one or two cells"),
        ({"leave_cells_out": 1, "pairs": ("A,B", "B,A", "B,C")}, "is A,B exchanged"),
        ({"leave_cells_out": 1, "normalise": "depth"}, "`normalise=depth`: unknown"),
        ({"gene_prior": True}, "`gene_prior`: none of the methods reads it"),
    ],
)
def test_what_cannot_be_left_out_is_refused_before_anything_is_run(
    store: Store, tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        jobs_of(replace(Plan(store.path, tmp_path, baselines=("mean",)), **changes))


def test_a_cell_that_does_not_go_with_the_others_is_told_once(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "s.h5"
    path.write_bytes(store.path.read_bytes())
    signal = {mark: store.signal("A", [mark])[:, 0] for mark in store.marks("A")}
    with Store(path).edit() as editor:
        for mark, values in signal.items():
            editor.add_signal("rpm", mark, values, {"unit": "RPM", "source": mark})
            editor.add_signal("tpm", mark, values, store.signal_attrs("A", mark))
        editor.add_signal("half", "H3K4me3", signal["H3K4me3"], store.signal_attrs("A", "H3K4me3"))
        for cell, unit in (("rpm", "counts"), ("half", "counts"), ("tpm", "tpm")):
            editor.add_expression(cell, unit, store.expression("A", "counts"))
    said = {
        "rpm": "H3K4me3 is coverage in A and RPM in rpm",
        "tpm": "no unit of expression is common to all cells (A: counts; B: counts; tpm: tpm)",
        "half": "cell half lacks H3K27me3; add it with `diffchrom prepare`, or use --marks H3K4me3\n",
    }
    for cell, expected in said.items():
        pairs = ["--pairs", "A,B", f"A,{cell}", f"B,{cell}"]
        words = ["sweep", "--store", str(path), "--leave-cells-out", "1", "--baselines", "ridge", *pairs]
        assert called([*words, "--out", str(tmp_path / "out")]) == 1
        error = capsys.readouterr().err
        assert expected in error
        assert len(error.strip().splitlines()) == 1
        assert not (tmp_path / "out").exists()


def test_kinds_are_means_of_their_own_beside_the_pairs_own_models(sweep: tuple[Plan, list[Job]]) -> None:
    out = sweep[0].out
    rows = {row.kind: dict(zip(COLUMNS, row.row(), strict=True)) for row in unseen_cells(find_runs([out]))}
    assert {kind: row["cases"] for kind, row in rows.items()} == {
        "seen": 6, "one_unseen": 24, "both_unseen": 6
    }  # fmt: skip
    own = {
        f"{a},{b}": Run.open(out / f"{a}-{b}.ridge.seed0").config.metrics["test"]["pearson"] for a, b in PAIRS
    }
    judged = pd.concat(pairs_table(run) for run in out.glob("without-*"))
    for kind, row in rows.items():
        cases = judged[judged["kind"] == kind]
        ceiling = cases["pair"].map(own)
        assert row["pearson"] == pytest.approx(cases["pearson"].mean(), abs=1e-6)
        assert row["pearson_min"] == pytest.approx(cases["pearson"].min(), abs=1e-6)
        assert row["own_pair"] == pytest.approx(ceiling.mean(), abs=1e-6)
        assert row["share_of_own"] == pytest.approx((cases["pearson"] / ceiling).mean(), abs=1e-6)
        assert row["coverage"] is None


def test_shifts_of_the_cells_that_are_learnt_from_make_no_method_of_its_own(
    sweep: tuple[Plan, list[Job]],
) -> None:
    def with_shifts(config: RunConfig) -> RunConfig:
        cells = sorted({cell for pair in config.pairs for cell in pair}) if config.held_out else ()
        return replace(config, covariates=("log_length", *cell_names(cells)))

    runs = find_runs([sweep[0].out])
    rows = unseen_cells([Run(run.path, with_shifts(run.config)) for run in runs])
    assert {row.label: len(row.pearson) for row in rows if row.kind == "one_unseen"} == {"ridge": 24}
    assert all(np.isfinite(row.own).all() for row in rows)


def test_runs_without_shifts_of_cells_are_another_method(sweep: tuple[Plan, list[Job]]) -> None:
    older = [run for run in find_runs([sweep[0].out]) if run.config.held_out]
    newer = [
        Run(run.path, replace(run.config, covariates=(*run.config.covariates, "cell:A", "cell:B")))
        for run in older
    ]
    assert differing(older[0].config, newer[0].config) == ["cell_shifts"]
    labels = {row.label for row in unseen_cells([*older, *newer])}
    assert labels == {"ridge (no cell shifts)", "ridge (cell shifts learnt)"}


def test_runs_of_another_seed_or_of_several_seen_pairs_are_no_ceiling(
    sweep: tuple[Plan, list[Job]], tmp_path: Path
) -> None:
    runs = [run for run in find_runs([sweep[0].out]) if run.config.held_out]
    others = [
        Run(run.path, replace(run.config, **change))
        for run in find_runs([sweep[0].out])
        if not run.config.held_out
        for change in ({"seed": 1}, {"pairs": PAIRS}, {"variant": "mean"})
    ]
    assert all(np.isnan(row.own).all() for row in unseen_cells([*runs, *others]))


def test_what_is_finished_stays_and_a_run_of_other_pairs_is_not_taken_for_it(
    sweep: tuple[Plan, list[Job]],
) -> None:
    plan, jobs = sweep
    assert run_sweep(jobs, plan.out, Pool()) == []
    table = read_jobs(plan.out)
    assert table["without-A-B.ridge.seed0"]["held_out"] == "A,B"
    assert table["A-B.ridge.seed0"]["held_out"] is None
    fewer = jobs_of(replace(plan, pairs=("A,B", "A,C", "A,D", "B,C", "C,D"), leave_cells_out=1))
    job = replace(fewer[-1], name="without-A-B.ridge.seed0")
    outcome = run_sweep([job], plan.out, Pool())[0]
    assert "holds a run with other" in outcome.reason
    assert "held_out" in outcome.reason
    prior = replace(jobs[0], gene_prior=True)
    assert "covariates" in run_sweep([prior], plan.out, Pool())[0].reason


def test_estimates_count_pairs_and_the_models_behind_intervals(store: Store, tmp_path: Path) -> None:
    plan = Plan(
        store.path, tmp_path, variants=("additive",), baselines=("ridge",), leave_cells_out=1,
        settings={"epochs": 2, "ensemble": 1, "min_steps": 1},
    )  # fmt: skip
    jobs = jobs_of(plan)
    cost = relative_cost(jobs)
    # Three pairs are learnt, ridge in both orders; of additive, three models more leave a cell out of three.
    assert cost["without-A.ridge.seed0"] == pytest.approx(6 * cost["A-B.ridge.seed0"])
    # Their larger batches halve what an example costs.
    assert cost["without-A.additive.default.seed0"] > 3 * cost["A-B.additive.default.seed0"]
    past = {
        name: {"status": "finished", "method": "ridge", "preset": None, "held_out": held_out,
               "seconds": seconds, "memory_mb": "100"}
        for name, held_out, seconds in (("one", None, "1"), ("other", "A", "9"))
    }  # fmt: skip
    estimates = dict(zip((job.name for job in jobs), estimate_jobs(jobs, past), strict=True))
    assert estimates["B-C.ridge.seed0"].seconds == 1
    assert estimates["without-D.ridge.seed0"].seconds == 9


def test_the_commands_table_and_draw_them_and_keep_them_out_of_other_tables(
    sweep: tuple[Plan, list[Job]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan, _ = sweep
    words = ["--store", str(plan.store), "--out", str(plan.out), "--baselines", "ridge", "--threads", "1"]
    assert called(["sweep", "--leave-cells-out", "2", *words]) == 0
    printed = capsys.readouterr().out
    assert called(["compare", str(plan.out), "--unseen", "--plot", str(tmp_path / "f.svg")]) == 0
    assert capsys.readouterr().out == printed
    drawn = (tmp_path / "f.svg").read_text()
    assert all(title in drawn for title in ("both unseen, 2 left out", "one unseen, 2 left out"))
    assert called(["compare", str(plan.out)]) == 0
    compared = capsys.readouterr()
    assert len(compared.out.splitlines()) == 1 + len(PAIRS)
    assert "6 runs with cells held out stand in tables of their own" in compared.err
    assert called(["report", str(plan.out), "-o", str(tmp_path / "r.html")]) == 0
    assert "Accuracy in unseen cells" in (tmp_path / "r.html").read_text()
    assert called(["compare", str(plan.out / "A-B.ridge.seed0"), "--unseen"]) == 1
    assert "no run has cells held out" in capsys.readouterr().err
    assert called(["compare", str(plan.out), "--unseen", "--summary"]) == 2


def test_a_gene_prior_leaves_the_cells_out_too(store: Store, tmp_path: Path) -> None:
    five = make_store(tmp_path / "five.h5", n_genes=150, cells=(*CELLS, "E"))
    plan = Plan(
        five.path, tmp_path / "out", pairs=("A,B", "A,C", "B,C"), baselines=("ridge", "mean"),
        leave_cells_out=1, gene_prior=True,
    )  # fmt: skip
    jobs = jobs_of(plan)
    assert all(outcome.status == "finished" for outcome in run_sweep(jobs, plan.out, Pool()))
    run = Run.open(plan.out / "without-C.ridge.gene-prior.seed0")
    assert run.config.method == "ridge + gene prior"
    assert run.config.held_out == ("C",)
    assert {status_of(job, plan.out) for job in jobs} == {"finished"}
    labels = {row.label for row in unseen_cells(find_runs([plan.out]))}
    assert labels == {"ridge + gene prior", "mean"}
