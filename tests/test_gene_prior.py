"""The gene prior: expression of cells without tracks, kept in the store and read where it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import diffchrom
from conftest import called, fitting, make_store, training
from diffchrom.baselines.coefficients import coefficients
from diffchrom.baselines.opened import open_predictor
from diffchrom.baselines.saved import load_fitted
from diffchrom.config import hyperparameters
from diffchrom.errors import RunError, StoreError
from diffchrom.pairs.covariates import covariates_of, prior_cells, prior_names
from diffchrom.pairs.pair import Pair
from diffchrom.pairs.pair_set import PairSet
from diffchrom.runs.folder import Run
from diffchrom.runs.making import make
from diffchrom.store.elsewhere import cells_elsewhere, expression_elsewhere, units_elsewhere
from diffchrom.store.store import Store
from diffchrom.sweeps.labels import label_runs

QUICK = hyperparameters("default", "additive", hidden=8, epochs=1, ensemble=1, min_steps=1)
NAMES = ("prior_mean:counts", "prior_sd:counts")
OF_GENE = ("log_length", "log_gene_density", "log_end_distance")
FURTHER = ("X1", "X2", "X3")


def with_further_cells(path: Path, cells: tuple[str, ...] = ("A1", "B2", "C3", "D4")) -> Store:
    """A store whose last cells have tracks, and three that have expression alone."""
    store = make_store(path, cells=cells)
    random = np.random.default_rng(7)
    with store.edit() as editor:
        for cell in FURTHER:
            values = np.round(np.exp2(random.normal(6, 2, store.n_genes)))
            values[5] = np.nan
            editor.add_expression_elsewhere(cell, "counts", values)
    return Store(path)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return with_further_cells(tmp_path_factory.mktemp("prior") / "store.h5")


def changed(store: Store, path: Path, cells: tuple[str, ...]) -> Store:
    """The store with other expression of some of its cells, elsewhere or not."""
    path.write_bytes(store.path.read_bytes())
    copy = Store(path)
    random = np.random.default_rng(11)
    with copy.edit() as editor:
        for cell in cells:
            values = np.round(np.exp2(random.normal(6, 2, store.n_genes)))
            add = editor.add_expression_elsewhere if cell in FURTHER else editor.add_expression
            add(cell, "counts", values, replace=True)
    return Store(path)


def prior_of(store: Store, pair: tuple[str, str]) -> np.ndarray:
    return covariates_of(store.genes, prior_names(store, pair, "counts"), store, pair)


def test_the_prior_is_mean_and_spread_of_log2_expression_in_all_other_cells(store: Store) -> None:
    others = ("C3", "D4", *FURTHER)
    assert prior_cells(store, ("A1", "B2"), "counts") == others
    values = [store.expression(cell, "counts") for cell in ("C3", "D4")]
    values += [expression_elsewhere(store, "counts", cell) for cell in FURTHER]
    levels = np.log2(np.array(values) + 1)
    expected = np.stack([np.nanmean(levels, axis=0), np.nanstd(levels, axis=0)], axis=1)
    np.testing.assert_allclose(prior_of(store, ("A1", "B2")), expected, rtol=1e-5)


def test_expression_of_the_pair_changes_nothing_that_the_prior_sees(store: Store, tmp_path: Path) -> None:
    pair = ("A1", "B2")
    other_labels = changed(store, tmp_path / "labels.h5", pair)
    assert not np.array_equal(other_labels.expression("A1", "counts"), store.expression("A1", "counts"))
    np.testing.assert_array_equal(prior_of(other_labels, pair), prior_of(store, pair))
    for cell in ("C3", "X1"):
        other = changed(store, tmp_path / f"{cell}.h5", (cell,))
        assert not np.array_equal(prior_of(other, pair), prior_of(store, pair))


@pytest.mark.parametrize("name", ["additive", "random-forest", "ridge"])
def test_another_pair_is_predicted_without_its_own_expression(
    store: Store, tmp_path: Path, name: str
) -> None:
    if name == "additive":
        case = training(store.path, name, settings=QUICK, device="cpu", gene_prior=True, pair="A1,B2")
    else:
        case = fitting(store.path, name, pair="A1,B2", gene_prior=True)
    run = case.make(tmp_path / "run")
    rows = np.arange(60)

    def predicted(of: Store) -> np.ndarray:
        opened, _ = open_predictor(run, of, ("C3", "D4"), device="cpu")
        return np.asarray(opened.predict(rows).log2fc)

    before = predicted(store)
    np.testing.assert_array_equal(predicted(changed(store, tmp_path / "cd.h5", ("C3", "D4"))), before)
    assert not np.array_equal(predicted(changed(store, tmp_path / "a.h5", ("A1",))), before)


@pytest.mark.parametrize("name", ["additive", "ridge"])
def test_labels_of_cells_that_are_held_out_change_nothing_that_is_learnt(
    store: Store, tmp_path: Path, name: str
) -> None:
    """Pairs are learnt from whose prior would have the held-out cell among its other cells."""
    recipe = (
        training(store.path, name, settings=QUICK, device="cpu", gene_prior=True).recipe
        if name == "additive"
        else fitting(store.path, name, gene_prior=True).recipe
    )
    file = "model.safetensors" if name == "additive" else "fitted.safetensors"
    stores = {"as it is": store}
    stores["held out"] = changed(store, tmp_path / "held.h5", ("C3",))
    stores["learnt from"] = changed(store, tmp_path / "learnt.h5", ("D4",))
    written = {}
    for number, (which, held) in enumerate(stores.items()):
        pairs = PairSet.of(held, [("A1", "B2"), ("A1", "D4"), ("A1", "C3")], held_out=("C3",))
        written[which] = (make(recipe, pairs, tmp_path / str(number)).path / file).read_bytes()
    assert written["held out"] == written["as it is"]
    assert written["learnt from"] != written["as it is"]


@pytest.mark.parametrize("name", ["ridge", "random-forest", "gradient-boosting"])
def test_a_baseline_reads_the_prior_where_asked_and_is_what_it_was_without(
    store: Store, tmp_path: Path, name: str
) -> None:
    plain = fitting(store.path, name, pair="A1,B2").make(tmp_path / "plain")
    without = fitting(make_store(tmp_path / "s.h5", cells=("A1", "B2", "C3", "D4")).path, name, pair="A1,B2")
    fitted = (plain.path / "fitted.safetensors").read_bytes()
    assert (without.make(tmp_path / "without").path / "fitted.safetensors").read_bytes() == fitted
    run = fitting(store.path, name, pair="A1,B2", gene_prior=True).make(tmp_path / "prior")
    assert run.config.covariates == (*OF_GENE, *NAMES)
    assert (run.path / "fitted.safetensors").read_bytes() != fitted
    opened, _ = open_predictor(run, store)
    written = [line.split("\t") for line in (run.path / "predictions.tsv").read_text().splitlines()]
    column = written[0].index("log2fc_pred")
    np.testing.assert_allclose(
        opened.predict(np.arange(60)).log2fc, [float(line[column]) for line in written[1:]], atol=2e-5
    )


def test_the_prior_is_declared_in_the_run_and_in_labels(store: Store, tmp_path: Path) -> None:
    plain, prior = (
        fitting(store.path, "ridge", pair="A1,B2", gene_prior=asked).make(tmp_path / str(asked))
        for asked in (False, True)
    )
    assert prior.summary()[1] == "ridge + gene prior"
    assert label_runs([plain, prior]) == (["ridge", "ridge + gene prior"], [])
    assert label_runs([Run.open(prior.path)])[0] == ["ridge + gene prior"]


@pytest.mark.parametrize(
    "again",
    [lambda counts: counts, lambda counts: np.round(1.3 * counts, 2)],
    ids=["the same values", "other depth"],
)
def test_a_cell_that_is_there_again_under_another_name_is_no_part_of_the_prior(
    store: Store,
    tmp_path: Path,
    again: Callable[[np.ndarray], np.ndarray],
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "s.h5"
    path.write_bytes(store.path.read_bytes())
    random = np.random.default_rng(3)
    with Store(path).edit() as editor:
        # C3 again, A1 with tracks again, and a replicate of A1, which is another measurement.
        editor.add_expression_elsewhere("liver", "counts", again(store.expression("C3", "counts")))
        editor.add_signal("A1.rep", "H3K4me3", np.ones((60, 20), np.float32))
        editor.add_expression("A1.rep", "counts", again(store.expression("A1", "counts")))
        noise = random.normal(1, 0.2, 60).clip(0.1)
        editor.add_expression_elsewhere("other", "counts", store.expression("A1", "counts") * noise)
    twice = Store(path)
    assert Pair.of(twice, ("A1", "B2")).doubles == {}
    words = ["--store", str(path), "--pair", "A1,B2", "--gene-prior", "--method", "ridge"]
    assert called(["baseline", *words, "--out", str(tmp_path / "run")]) == 0
    assert "left out: A1.rep (of A1)" in capsys.readouterr().err
    run = Run.open(tmp_path / "run")
    for cells, expected in ((("A1", "B2"), {"A1.rep": "A1"}), (("C3", "B2"), {"liver": "C3"})):
        pair = open_predictor(run, twice, cells)[0].pair
        assert pair.doubles == expected
        kept = [cell for cell in prior_cells(twice, cells, "counts") if cell not in expected]
        assert {"other", "X1"} <= set(kept)
        without = covariates_of(twice.genes, (*OF_GENE, *NAMES), twice, (*cells, *expected))
        np.testing.assert_array_equal(pair.covariates, without)
    assert called(["predict", str(run.path), "--store", str(path), "--pair", "C3,B2"]) == 0
    assert "left out: liver (of C3)" in capsys.readouterr().err


def test_cell_mean_does_not_look_at_the_pairs_own_cells_under_other_names(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "s.h5"
    path.write_bytes(make_store(tmp_path / "plain.h5", cells=("A1", "B2", "C3")).path.read_bytes())
    plain = fitting(path, "cell-mean", pair="A1,B2").make(tmp_path / "plain")
    with Store(path).edit() as editor:
        editor.add_signal("again", "H3K4me3", np.ones((60, 20), np.float32))
        editor.add_expression("again", "counts", Store(path).expression("B2", "counts"))
    asked = ["baseline", "--method", "cell-mean", "--pair", "A1,B2", "--store", str(path)]
    assert called([*asked, "--out", str(tmp_path / "twice")]) == 0
    assert "cell-mean: cells with the expression" in capsys.readouterr().err
    written = [(run / "predictions.tsv").read_bytes() for run in (plain.path, tmp_path / "twice")]
    assert written[0] == written[1]


def test_the_prior_is_a_row_of_its_own_among_what_a_baseline_weighs(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, weight in (("ridge", "per_sd"), ("random-forest", "importance")):
        run = fitting(store.path, name, pair="A1,B2", gene_prior=True).make(tmp_path / name)
        columns = diffchrom.open_run(run.path).open(diffchrom.open_store(store.path)).coefficients()
        genes = columns[columns["cell"] == "gene"]
        assert genes["mark"].tolist() == [*OF_GENE, *NAMES]
        assert (genes["region"] == "").all()
        fit = load_fitted(run.path / "fitted.safetensors")
        expected = fit.fit.coefficients[-5:] if name == "ridge" else fit.trees.importance[-5:]
        np.testing.assert_array_equal(genes[weight], expected)
        signal = fitting(store.path, name, pair="A1,B2").make(tmp_path / f"{name}-alone")
        alone = coefficients(load_fitted(signal.path / "fitted.safetensors"), ("H3K4me3", "H3K27me3"),
                             run.config.layout, OF_GENE)  # fmt: skip
        assert list(alone) == list(columns)
        with pytest.raises(RunError):
            coefficients(fit, ("H3K4me3", "H3K27me3"), run.config.layout)
    assert called(["info", str(tmp_path / "ridge")]) == 0
    assert "largest weights" in capsys.readouterr().out


def test_too_few_other_cells_are_refused(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s.h5", cells=("A1", "B2", "C3"))
    with pytest.raises(StoreError, match=r"needs expression of 2 or more cells .* it has 1; add a table"):
        fitting(store.path, "ridge", pair="A1,B2", gene_prior=True).make(tmp_path / "run")


def test_who_reads_signal_alone_refuses_the_prior(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in (["train", "--variant", "raw"], ["baseline", "--method", "deepchrome"]):
        options = [
            "--store",
            str(store.path),
            "--pair",
            "A1,B2",
            "--gene-prior",
            "--out",
            str(tmp_path / "r"),
        ]
        assert called([*command, *options]) == 2
        assert "reads signal alone" in capsys.readouterr().err


def test_a_cell_that_gets_tracks_takes_its_expression_along(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "s.h5"
    path.write_bytes(store.path.read_bytes())
    before = expression_elsewhere(store, "counts", "X2")
    with Store(path).edit() as editor:
        editor.add_signal("X2", "H3K4me3", np.ones((60, 20), np.float32))
    after = Store(path)
    assert "X2" in after.cells()
    np.testing.assert_array_equal(after.expression("X2", "counts"), before)
    assert cells_elsewhere(after, "counts") == ("X1", "X3")
    assert all(intact for intact in after.columns_intact().values() if intact is not None)


def test_prepare_keeps_the_columns_of_cells_without_tracks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_store(tmp_path / "s.h5").path
    genes = Store(path).genes.id
    table = tmp_path / "matrix.tsv"
    lines = ["gene_id\tX1\tX2", *(f"{gene}\t{i}\t{2 * i}" for i, gene in enumerate(genes))]
    table.write_text("\n".join(lines) + "\n")
    asked = ["prepare", "--store", str(path), "--expression", str(table), "--expression-unit", "counts"]
    assert called(asked) == 0
    assert "expression of 2 cells without tracks is kept for --gene-prior: X1, X2" in capsys.readouterr().err
    store = Store(path)
    assert store.cells() == make_store(tmp_path / "same.h5").cells()  # pairs are made of cells with tracks
    assert units_elsewhere(store) == ("counts",)
    np.testing.assert_array_equal(expression_elsewhere(store, "counts", "X2"), 2.0 * np.arange(len(genes)))
    assert replace(Pair.of(store), covariate_names=NAMES).covariates.shape == (len(genes), 2)
    written = path.read_bytes()
    assert called(asked) == 0
    assert path.read_bytes() == written
    table.write_text("\n".join(["gene_id\tX1", *(f"{gene}\t9" for gene in genes)]) + "\n")
    assert called(asked) != 0
    assert "use --replace to renew it" in capsys.readouterr().err
