"""Standard errors of log2fc, the ceiling that they set on r, and weights made of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import called, make_store
from diffchrom.inspection.summary import summarise_store
from diffchrom.pairs.label_noise import (
    inverse_variance_weights,
    log2fc_error_variance,
    log2fc_se,
    noise_ceiling,
    shrunken_variance,
)
from diffchrom.pairs.pair import Pair
from diffchrom.runs.folder import Run
from diffchrom.store.store import Store


def simulated(
    n: int, spread: float, seed: int = 0, *, change: float = 1.5, unequal: float = 0.0, more_in_b: float = 1.0
) -> tuple[np.ndarray, ...]:
    """Replicates (3 of A, 2 of B) of known log expression, and the true log2fc.

    The standard deviations of the genes are log-normal around `spread` (by a factor of exp(`unequal`)), those
    in B `more_in_b` times as large.
    """
    random = np.random.default_rng(seed)
    a = random.uniform(4, 10, n)
    true = random.normal(0, change, n)
    sd = spread * np.exp(random.normal(0, unequal, (n, 1)))
    replicates = [
        np.exp2(level[:, None] + more * sd * random.normal(0, 1, (n, count))) - 1
        for level, count, more in ((a, 3, 1.0), (a + true, 2, more_in_b))
    ]
    return *(values.clip(0) for values in replicates), true


def measured(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.asarray(np.log2(b.mean(axis=1) + 1) - np.log2(a.mean(axis=1) + 1))


def test_equal_spread_gives_the_textbook_standard_error() -> None:
    a, b, _ = simulated(4000, 0.3)
    se = log2fc_se(a, b)
    assert se is not None
    # sqrt(0.3^2 (1/3 + 1/2)), the same for all genes: shrinkage should find that there is one variance.
    np.testing.assert_allclose(se, 0.3 * np.sqrt(5 / 6), rtol=0.1)


def test_without_a_prior_the_variance_is_the_genes_own() -> None:
    # Variances of 0.01 and 100, each on 20 degrees of freedom, are too different for a prior to be sure.
    squares, freedom = np.array([0.01, 100.0] * 200), np.full(400, 20.0)
    shrunken = shrunken_variance(squares * 20, freedom, np.zeros(400))
    np.testing.assert_allclose(shrunken, squares, rtol=0.2)


def test_one_variance_for_all_is_recovered_from_two_replicates() -> None:
    random = np.random.default_rng(0)
    squares = 0.25 * random.chisquare(1, 5000)
    shrunken = shrunken_variance(squares, np.ones(5000), random.normal(size=5000))
    assert np.std(np.log(shrunken)) < 0.15
    assert np.mean(shrunken) == pytest.approx(0.25, rel=0.1)


def test_noisier_weakly_expressed_genes_keep_their_larger_error() -> None:
    random = np.random.default_rng(1)
    level = random.uniform(0, 10, 4000)
    spread = np.where(level < 5, 1.0, 0.1)
    squares = spread**2 * random.chisquare(2, 4000)
    shrunken = shrunken_variance(squares, np.full(4000, 2.0), level)
    assert np.median(shrunken[level < 4]) == pytest.approx(1.0, rel=0.25)
    assert np.median(shrunken[level > 6]) == pytest.approx(0.01, rel=0.25)


def test_what_is_unknown_stays_unknown_and_one_cell_may_stand_for_both() -> None:
    a, b, _ = simulated(300, 0.3)
    a[0], b[1, 0] = np.nan, np.nan
    se = log2fc_se(a, b)
    assert se is not None
    assert np.isnan(se[0])
    assert np.isfinite(se[1:]).all()
    assert se[1] > se[2:].min()  # one replicate of B is left
    alone = log2fc_se(a, None)
    assert alone is not None
    np.testing.assert_allclose(alone[5:].mean(), 0.3 * np.sqrt(1 / 3 + 1), rtol=0.15)
    assert log2fc_se(None, None) is None
    assert log2fc_se(a[:, :1], b[:, :1]) is None


def test_a_perfect_prediction_of_the_truth_reaches_the_ceiling() -> None:
    a, b, true = simulated(5000, 0.6)
    ceiling = noise_ceiling(measured(a, b), log2fc_error_variance(a, b))
    assert ceiling is not None
    assert ceiling.pearson == pytest.approx(np.corrcoef(true, measured(a, b))[0, 1], abs=0.02)
    assert ceiling.pearson == pytest.approx(np.sqrt(ceiling.reliability))
    # By hand: the variance of -2, 2, 0 is 8 / 2 = 4, the mean squared error 1.
    by_hand = noise_ceiling(np.array([-2.0, 2.0, 0.0]), np.full(3, 1.0))
    assert by_hand is not None
    assert by_hand.reliability == pytest.approx(1 - 1 / 4)
    assert noise_ceiling(measured(a, b), None) is None


@pytest.mark.parametrize(("unequal", "more_in_b"), [(0.7, 1.0), (0.3, 3.0)])
def test_the_ceiling_is_right_where_genes_and_cells_differ_in_their_variance(
    unequal: float, more_in_b: float
) -> None:
    a, b, true = simulated(20_000, 0.1, change=0.3, unequal=unequal, more_in_b=more_in_b)
    log2fc, se = measured(a, b), log2fc_se(a, b)
    assert se is not None
    attainable = np.corrcoef(true, log2fc)[0, 1]
    ceiling, moderated = noise_ceiling(log2fc, log2fc_error_variance(a, b)), noise_ceiling(log2fc, se**2)
    assert ceiling is not None
    assert ceiling.pearson == pytest.approx(attainable, abs=0.01)
    assert moderated is not None  # moderated variances leave out the noisiest genes' share
    assert moderated.pearson > attainable + 0.03


def test_a_cell_with_one_replicate_is_as_noisy_as_the_other() -> None:
    a = np.array([[1.0, 7.0], [1.0, 7.0], [3.0, np.nan], [3.0, 3.0]])
    b = np.array([[3.0, 15.0], [3.0, np.nan], [7.0, np.nan], [np.nan, np.nan]])
    # log2(x + 1) of the first gene: 1 and 3 in A, 2 and 4 in B; both of variance 2.
    np.testing.assert_allclose(log2fc_error_variance(a, b), [2 / 2 + 2 / 2, 2 / 2 + 2 / 1, np.nan, np.nan])
    np.testing.assert_allclose(log2fc_error_variance(a, None), [3, 3, np.nan, 0])
    assert log2fc_error_variance(None, None) is None
    assert log2fc_error_variance(a[:, :1], b[:, :1]) is None


def test_the_prior_is_learnt_from_the_training_genes_alone() -> None:
    a, b, _ = simulated(900, 0.3)
    training = np.arange(900) < 600
    before = log2fc_se(a, b, training)
    a[~training] = np.exp2(np.log2(a[~training] + 1) * [0.5, 1.0, 1.5]) - 1
    after = log2fc_se(a, b, training)
    assert before is not None
    assert after is not None
    np.testing.assert_array_equal(before[training], after[training])
    assert (after[~training] > before[~training]).all()
    everything = log2fc_se(a, b)
    assert everything is not None
    assert (everything[training] != after[training]).any()


@settings(deadline=None)
@given(st.lists(st.floats(0.01, 5), min_size=2, max_size=50), st.integers(0, 5))
def test_weights_have_mean_one_and_fall_with_the_error(errors: list[float], seed: int) -> None:
    se = np.array([*errors, np.nan])
    weights = inverse_variance_weights(np.random.default_rng(seed).normal(0, 2, len(se)), se)
    assert weights.mean() == pytest.approx(1)
    order = np.argsort(se[:-1])
    assert (np.diff(weights[:-1][order]) <= 1e-12).all()
    assert weights[order].min() - 1e-9 <= weights[-1] <= weights[order].max() + 1e-9


def replicate_table(path: Path, store: Store, spread: float) -> Path:
    """Three replicates of A1 and two of B2, as columns."""
    random = np.random.default_rng(3)
    names, columns = [], []
    for cell, count in (("A1", 3), ("B2", 2)):
        for number in range(count):
            names.append(f"{cell}_rep{number + 1}")
            noisy = store.expression(cell, "counts") * np.exp2(random.normal(0, spread, store.n_genes))
            columns.append(np.round(noisy))
    lines = ["\t".join(["gene_id", *names])]
    lines += ["\t".join([gene, *(f"{c[i]:.0f}" for c in columns)]) for i, gene in enumerate(store.genes.id)]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_replicates_are_stored_and_reach_training_and_its_summary(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = make_store(tmp_path / "s.h5", n_genes=120)
    assert Pair.of(store, ("A1", "B2")).load().se is None
    table = replicate_table(tmp_path / "counts.tsv", store, 0.5)
    said = ["--store", str(store.path)]
    assert called(["prepare", *said, "--expression", str(table), "--replace", "--threads", "1", "-q"]) == 0
    store = Store(store.path)
    held = store.replicates("A1", "counts")
    assert held is not None
    assert held.shape == (120, 3)
    assert [one.replicates for one in summarise_store(store, verify=True).expression] == [3, 2]
    np.testing.assert_allclose(store.expression("A1", "counts"), held.mean(axis=1))
    before = store.path.read_bytes()
    assert called(["prepare", *said, "--expression", str(table), "--threads", "1", "-q"]) == 0
    assert store.path.read_bytes() == before
    data = Pair.of(store, ("A1", "B2")).load()
    assert data.se is not None
    np.testing.assert_allclose(np.median(data.se), 0.5 * np.sqrt(5 / 6), rtol=0.25)
    np.testing.assert_array_equal(Pair.of(store, ("B2", "A1")).load().se, data.se)
    first, second = (store.replicates(cell, "counts") for cell in ("A1", "B2"))
    np.testing.assert_array_equal(data.se, log2fc_se(first, second, store.split("chromosome") == 0))
    np.testing.assert_array_equal(data.error_variance, log2fc_error_variance(first, second))

    train = ["train", *said, "--variant", "raw:d", "--epochs", "1", "--threads", "1", "--device", "cpu"]
    assert called([*train, "--out", str(tmp_path / "plain")]) == 0
    assert "noise of the labels leaves r at most" in capsys.readouterr().err
    assert called([*train, "--out", str(tmp_path / "weighted"), "--weight-by-se", "-q"]) == 0
    runs = [Run.open(tmp_path / name) for name in ("plain", "weighted")]
    assert [run.config.hyperparameters["weight_by_se"] for run in runs] == [False, True]
    assert runs[0].config.details["noise_ceiling"]["n"] == int((store.split("chromosome") == 2).sum())
    first, second = ((run.path / "predictions.tsv").read_bytes() for run in runs)
    assert first != second


def test_expression_that_replaces_another_takes_its_replicates_away(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s.h5", n_genes=120)
    table = replicate_table(tmp_path / "counts.tsv", store, 0.5)
    single = tmp_path / "single.tsv"
    single.write_text(
        "gene_id\tA1\tB2\n" + "".join(f"{gene}\t{i}\t{i + 7}\n" for i, gene in enumerate(store.genes.id))
    )
    for source in (table, single):
        said = ["prepare", "--store", str(store.path), "--expression", str(source), "--replace"]
        assert called([*said, "--threads", "1", "-q"]) == 0
    store = Store(store.path)
    assert store.replicates("A1", "counts") is None
    assert Pair.of(store, ("A1", "B2")).load().se is None


def test_other_replicates_of_the_same_mean_need_replace(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = make_store(tmp_path / "s.h5", n_genes=120)
    table = tmp_path / "counts.tsv"

    def prepare(columns: str, spread: int, *more: str) -> int:
        rows = [f"{gene}\t{i + 9 + spread}\t{i + 9 - spread}" for i, gene in enumerate(store.genes.id)]
        table.write_text("\n".join([f"gene_id\t{columns}", *rows]) + "\n")
        said = ["--store", str(store.path), "--expression", str(table), "--threads", "1", "-q"]
        return called(["prepare", *said, *more])

    assert prepare("A1_rep1\tA1_rep2", 3, "--replace") == 0
    assert prepare("A1\tB3", 0) == 0  # B3 has no tracks, and is kept for the gene prior
    held = store.path.read_bytes()
    assert prepare("A1_rep2\tA1_rep1", -3) == 0  # the same columns in another order
    assert prepare("A1\tB3", 0) == 0  # the means alone
    assert store.path.read_bytes() == held
    assert prepare("A1_rep1\tA1_rep2", 5) == 1
    assert "has expression of A1 in counts already, with other replicates" in capsys.readouterr().err
    assert store.path.read_bytes() == held
    assert prepare("A1_rep1\tA1_rep2", 5, "--replace") == 0
    replicates = Store(store.path).replicates("A1", "counts")
    assert replicates is not None
    np.testing.assert_array_equal(replicates[:, 0] - replicates[:, 1], np.full(120, 10))


def test_weights_without_errors_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = make_store(tmp_path / "s.h5")
    arguments = ["train", "--store", str(store.path), "--weight-by-se", "--out", str(tmp_path / "r")]
    assert called(arguments) == 1
    assert "no standard errors of log2fc for A1,B2" in capsys.readouterr().err
