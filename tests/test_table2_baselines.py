"""The further studies of the paper's Table 2, as baselines, against definitions and other programs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression
from sklearn.metrics import roc_auc_score
from sklearn.svm import SVC

from baseline_data import examples, make_store, small
from conftest import called
from diffchrom.baselines import best_bins, classes, ranking, relief, rules, svm, svr
from diffchrom.baselines.features import Scaler, both_and_difference
from diffchrom.baselines.method import Context, Examples
from diffchrom.baselines.methods import METHODS
from diffchrom.errors import StoreError
from diffchrom.metrics import METRICS
from diffchrom.pairs.pair import Pair
from diffchrom.sweeps.estimate import BASELINE_SECONDS

#: Methods that predict no log2fc but what ranks genes as it does.
CLASSIFYING = (
    "random-forest-classes",
    "svm-best-bin",
    "forest-best-bins-classes",
    "relieff-rf-classes",
    "decision-list",
)


@pytest.fixture(scope="module")
def genes(tmp_path_factory: pytest.TempPathFactory) -> Examples:
    store = make_store(tmp_path_factory.mktemp("table2") / "store.h5", n_genes=240)
    return examples(Pair.of(store, ("A", "B")).load())


@pytest.fixture(scope="module")
def train(genes: Examples) -> Examples:
    return genes.take(slice(0, 160))


@pytest.fixture(scope="module")
def valid(genes: Examples) -> Examples:
    return genes.take(slice(160, None))


# ---- up against down


@pytest.mark.parametrize("name", CLASSIFYING)
def test_up_and_down_are_told_apart_whatever_the_unit_of_what_is_predicted(name, train, valid):
    method = small(name)
    fitted = method.fit(train, train.take(slice(0, 60)), method.grid(), Context())
    predicted = fitted.predict(valid.without_labels()).log2fc
    assert METRICS["auroc"](valid.log2fc, predicted) > 0.8


@pytest.mark.parametrize("name", CLASSIFYING)
def test_how_much_a_gene_changes_beyond_twofold_teaches_a_classification_nothing(name, train, valid):
    method = small(name)
    stronger = np.where(np.abs(train.log2fc) >= 1, train.log2fc * 3, train.log2fc)
    held_out = train.take(slice(0, 60))
    fits = [
        method.fit(replace(train, log2fc=labels), held_out, method.grid(), Context())
        for labels in (train.log2fc, stronger)
    ]
    if name.startswith("forest-best-bins"):
        return  # the bins are chosen by r with log2fc itself
    first, second = (fit.predict(valid).log2fc for fit in fits)
    np.testing.assert_array_equal(first, second)


def test_too_few_genes_of_a_direction_are_refused(train):
    up = train.take(np.flatnonzero(train.log2fc >= 1))
    with pytest.raises(StoreError, match=r"with known expression that are up .* gives \d+ and 0; choose"):
        classes.up_and_down(up, 2, "rules")


def test_a_forest_on_zeros_and_ones_is_scikit_learns_classifier(train, valid):
    grid = {"merge": (5,), "n_estimators": (40,), "max_features": (0.3,), "min_samples_leaf": (3,)}
    fitted = classes.random_forest_classes(train, valid, grid, Context(seed=5))
    changed = train.take(np.flatnonzero(np.abs(train.log2fc) >= 1))
    model = RandomForestClassifier(40, max_features=0.3, min_samples_leaf=3, random_state=5)
    model.fit(both_and_difference(changed, 5), changed.log2fc > 0)
    share = model.predict_proba(both_and_difference(valid, 5))[:, 1]
    expected = np.log((40 * share + 0.5) / (40 * (1 - share) + 0.5))
    np.testing.assert_allclose(fitted.predict(valid).log2fc, expected, rtol=1e-9)


def test_the_machine_of_the_best_bin_is_scikit_learns(train, valid):
    fitted = svm.svm_best_bin(train, valid, {"C": (0.1, 1.0)}, Context())
    number, penalty = fitted.chosen["bin"] - 1, fitted.chosen["C"]
    changed = train.take(np.flatnonzero(np.abs(train.log2fc) >= 1))
    signals = [svr.flanking_bins(some, False)[:, :, number] for some in (changed, valid)]
    scaler = Scaler.fit(signals[0])
    model = SVC(C=penalty, gamma="auto").fit(scaler.apply(signals[0]), changed.log2fc > 0)
    np.testing.assert_allclose(
        fitted.predict(valid).log2fc, model.decision_function(scaler.apply(signals[1])), atol=1e-4
    )


@given(st.lists(st.tuples(st.sampled_from((-2.0, -0.5, 0.5, 3.0)), st.integers(-3, 3)), min_size=2))
def test_auroc_is_scikit_learns_of_genes_that_are_up_or_down(pairs: list[tuple[float, int]]) -> None:
    truth, prediction = np.array(pairs, dtype=float).T
    counts = np.abs(truth) >= 1
    value = METRICS["auroc"](truth, prediction)
    if len(set(truth[counts])) < 2:
        assert np.isnan(value)
    else:
        assert value == pytest.approx(roc_auc_score(truth[counts] > 0, prediction[counts]))


# ---- ReliefF for two classes


def test_relieff_for_two_classes_is_its_definition_written_out():
    random = np.random.default_rng(0)
    x = random.uniform(size=(30, 6))
    x[:, 5] = 2.0
    up = (x[:, 0] + 0.2 * random.normal(size=30) > 0.5).astype(float)
    scaled = (x - x.min(axis=0)) / np.where(np.ptp(x, axis=0) > 0, np.ptp(x, axis=0), 1)
    expected = np.zeros(6)
    for i in range(30):
        apart = np.abs(scaled - scaled[i])
        distance = apart.sum(axis=1)
        distance[i] = np.inf
        for same, sign in ((True, -1), (False, 1)):
            members = np.flatnonzero((up == up[i]) == same)
            near = members[np.argsort(distance[members])[:4]]
            expected += sign * apart[near].mean(axis=0) / 30
    np.testing.assert_allclose(relief.relieff(x, up, n_neighbors=4), expected, atol=1e-6)
    assert relief.relieff(x, up)[5] == 0


def test_relieff_ranks_as_skrebate_does():
    skrebate = pytest.importorskip("skrebate", reason="skrebate is not installed")
    random = np.random.default_rng(1)
    x = random.uniform(size=(200, 10))
    up = (x[:, 0] + x[:, 1] > 1).astype(int)
    theirs = skrebate.ReliefF(n_neighbors=10).fit(x, up).feature_importances_
    ours = relief.relieff(x, up.astype(float), n_neighbors=10)
    assert set(np.argsort(-ours)[:2]) == set(np.argsort(-theirs)[:2]) == {0, 1}
    assert spearmanr(ours, theirs).statistic > 0.8


# ---- one cell's line, the best bin of every mark


def test_a_line_a_cell_is_least_squares_on_the_windows_mean(train, valid):
    fitted = METHODS["linear-cells"].fit(train, valid, {}, Context())
    predicted = fitted.predict(valid.without_labels())
    for cell in "ab":
        signals = [np.log2(getattr(some, f"signal_{cell}").mean(axis=2) + 1) for some in (train, valid)]
        model = LinearRegression().fit(signals[0], getattr(train, f"expr_{cell}"))
        np.testing.assert_allclose(predicted.expression[cell.upper()], model.predict(signals[1]), rtol=1e-4)
    np.testing.assert_array_equal(predicted.log2fc, predicted.expression["B"] - predicted.expression["A"])


def test_the_bin_that_says_most_about_change_is_found_for_each_mark(train):
    random = np.random.default_rng(0)
    n, m = len(train), len(train.marks)
    noise = random.poisson(3.0, (2, n, m, 20)).astype(np.float32)
    for mark, number in enumerate((4, 11, 19)):
        noise[1, :, mark, number] = (noise[0, :, mark, number] + 1) * np.exp2((-1) ** mark * train.log2fc) - 1
    planted = replace(train, signal_a=noise[0], signal_b=noise[1])
    assert best_bins.best_bins(planted, False).tolist() == [4, 11, 19]
    grid = METHODS["forest-best-bins"].grid()
    fitted = best_bins.forest_best_bins(planted, planted.take(slice(0, 0)), grid, Context())
    assert fitted.chosen["bins"] == [5, 12, 20]
    assert np.corrcoef(fitted.predict(planted).log2fc, train.log2fc)[0, 1] > 0.9


# ---- the ranking network


@given(st.lists(st.tuples(st.integers(-4, 4), st.booleans()), min_size=1, max_size=12))
def test_a_cut_has_the_highest_f_score_of_all_cuts(genes: list[tuple[int, bool]]) -> None:
    values, positive = np.array([v for v, _ in genes], float), np.array([p for _, p in genes])

    def f_score(threshold: float) -> float:
        called_positive = values > threshold
        return 2 * (called_positive & positive).sum() / max(1, called_positive.sum() + positive.sum())

    threshold, score = ranking.best_cut(values, positive)
    assert score == pytest.approx(f_score(threshold))
    assert score == pytest.approx(max(f_score(v - 0.5) for v in values))


def test_a_training_gene_is_judged_by_all_others_and_not_by_itself(train):
    grid = METHODS["ranking-network"].grid() | {"merge": (5,)}
    random = np.random.default_rng(0)
    noise = replace(train, log2fc=random.permutation(train.log2fc))
    fitted = ranking.ranking_network(noise, noise.take(slice(0, 0)), grid, Context())
    assert fitted.chosen["left_out_r"] < 0.3
    honest = ranking.ranking_network(train, train.take(slice(0, 0)), grid, Context())
    assert honest.chosen["left_out_r"] > 0.5


def test_genes_are_ranked_alike_whoever_else_is_asked_for(train, valid):
    grid = METHODS["ranking-network"].grid() | {"merge": (5,)}
    fitted = ranking.ranking_network(train, valid, grid, Context())
    whole, part = fitted.predict(valid).log2fc, fitted.predict(valid.take(slice(3, 9))).log2fc
    np.testing.assert_allclose(whole[3:9], part, rtol=1e-5)


# ---- rules


def test_planted_rules_are_found_in_order_and_said_in_words(genes):
    random = np.random.default_rng(0)
    n = len(genes)
    signal = np.ones((2, n, 3, 20), np.float32)
    on, off = random.random(n) < 0.3, random.random(n) < 0.4
    signal[1, on, 0, 5:10] = 15  # mark 0, bins 6-10: log2(16 / 2) = 3
    signal[0, off, 1, 10:15] = 31  # mark 1, bins 11-15: -4
    label = np.where(on, 3.0, np.where(off, -2.0, random.choice([-2.0, 2.0], n)))
    planted = replace(genes, signal_a=signal[0], signal_b=signal[1], log2fc=label)
    grid = {"merge": (5,), "max_rules": (5,), "max_depth": (1,), "min_samples_leaf": (5,)}
    fitted = rules.decision_list(planted.take(slice(0, 160)), planted.take(slice(160, None)), grid, Context())
    first, second = fitted.chosen["rules"][:2]
    assert first.startswith("H3K4me3:6-10 > 1.5: up, log-odds ")
    assert second.startswith("H3K27me3:11-15 <= -2: down, log-odds ")
    predicted = fitted.predict(planted.without_labels()).log2fc
    assert (predicted[on] > 2).all()
    assert (predicted[off & ~on] < -2).all()
    assert (np.abs(predicted[~on & ~off]) < 1).all()


@given(st.integers(0, 2**31), st.integers(1, 3), st.integers(1, 8))
def test_the_first_rule_that_covers_a_gene_speaks_for_it(seed: int, depth: int, leaf: int) -> None:
    random = np.random.default_rng(seed)
    values = random.integers(0, 4, (40, 3)).astype(np.float32)
    up = random.random(40) < 0.5
    learnt, otherwise = rules.learn_rules(values, up, max_rules=6, max_depth=depth, min_samples_leaf=leaf)
    predicted = rules.DecisionList(learnt, otherwise, 1, 3, {})
    decided = rules._decide(predicted.rules, otherwise, values)
    for gene, row in enumerate(values):
        speaking = [rule.log_odds for rule in learnt if rule.covers(row[None])[0]]
        assert decided[gene] == (speaking[0] if speaking else otherwise)
    assert all(len(rule.features) <= depth for rule in learnt)
    covered = np.zeros(40, dtype=bool)
    for rule in learnt:
        new = rule.covers(values) & ~covered
        assert new.sum() >= leaf
        assert rule.log_odds == pytest.approx(np.log((up[new].sum() + 1) / ((~up[new]).sum() + 1)))
        covered |= new


# ---- where they are listed


def test_the_help_lists_every_method_and_says_what_those_that_classify_predict(capsys):
    assert called(["baseline", "--help"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    for name, method in METHODS.items():
        assert f"{name} {method.summary[:20]}" in said
    for name in CLASSIFYING:
        assert METHODS[name].summary.endswith(("log-odds", "decision value"))


def test_a_sweep_can_estimate_every_method_at_every_preset_that_it_has() -> None:
    listed = {
        name if preset == "default" else f"{name} {preset}"
        for name, method in METHODS.items()
        for preset in method.grids
    }
    assert listed == set(BASELINE_SECONDS)
