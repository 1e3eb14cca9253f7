from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import make_genes
from diffchrom.cli import main
from diffchrom.errors import RunError, UsageError
from diffchrom.genome.genes import Window
from diffchrom.metrics import METRICS, paired_bootstrap, pearson, pearson_of_many, resample_weights
from diffchrom.pairs.pair import PairData
from diffchrom.progress import SilentReporter
from diffchrom.runs.folder import FINISHED, TRAINING, Run, RunConfig
from diffchrom.runs.tables import part_metrics, prediction_columns
from diffchrom.sweeps.comparison import REFERENCES, Comparison, compare, contrasts, holm, summary_table
from diffchrom.sweeps.results import COLUMNS, find_runs, load_results

N = 120
WINDOW = Window(flank=1000, bin_size=100)


def make_run(
    folder: Path,
    method: str,
    noise: float,
    *,
    pair: tuple[str, str] = ("A1", "B2"),
    preset: str = "default",
    seed: int = 0,
    recorded: bool = True,
    **changes: Any,
) -> Run:
    """A finished run whose predictions are the truth (the same for a pair) and so much noise."""
    truth = np.random.default_rng(sum(map(ord, "".join(pair)))).normal(0, 2, N)
    random = np.random.default_rng([seed, sum(map(ord, method + preset))])
    predicted = truth + noise * random.normal(size=N)
    data = PairData(
        pair, ("H3K4me3",), make_genes(N), *(np.zeros((N, 1, 20), np.float32),) * 2,
        np.tile([0, 1, 2], N // 3).astype(np.int8), truth, truth * 0, truth,
    )  # fmt: skip
    metrics, intervals = part_metrics(data, predicted)
    config = RunConfig(
        kind="deepdiff" if preset else "baseline",
        variant=method,
        preset=preset,
        pair=pair,
        marks=data.marks,
        window=WINDOW,
        split="chromosome",
        unit="counts",
        seed=seed,
        hyperparameters={},
        store={"fingerprint": "f" * 64},
        status=FINISHED,
        metrics=metrics,
        details={"test_intervals": intervals} if recorded else {},
    )
    folder.mkdir(parents=True, exist_ok=True)
    run = Run(folder, replace(config, **changes))
    run.save_predictions(prediction_columns(data.genes, data.parts, predicted, data.log2fc))
    run.save_config()
    return run


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Three methods on two pairs, the model with two seeds."""
    for number, pair in enumerate([("A1", "B2"), ("A1", "C3")]):
        for seed in (0, 1):
            make_run(tmp_path / f"{number}.raw.{seed}", "raw", 0.5, pair=pair, seed=seed)
        make_run(tmp_path / f"{number}.svr", "svr-two-layer", 2.0, pair=pair, preset="")
        make_run(tmp_path / f"{number}.ridge", "ridge", 6.0, pair=pair, preset="")
    return tmp_path


class Warnings(SilentReporter):
    def __init__(self) -> None:
        self.said: list[str] = []

    def warn(self, message: str) -> None:
        self.said.append(message)


def run_cli(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    return int(end.value.code or 0)


def test_a_row_a_run_with_every_metric_and_its_interval(sweep: Path) -> None:
    results = load_results([sweep])
    rows = [result.row() for result in results]
    assert all(tuple(row) == COLUMNS for row in rows)
    keys = [(row["pair"], row["method"], row["preset"], row["seed"]) for row in rows]
    assert len(set(keys)) == len(rows) == 8
    for row in rows:
        assert row["n"] == N // 3
        for name in METRICS:
            assert row[f"{name}_low"] <= row[name] <= row[f"{name}_high"]


def test_intervals_that_a_run_did_not_record_are_computed(tmp_path: Path) -> None:
    with_them = load_results([make_run(tmp_path / "a", "raw", 1.0).path])[0].row()
    without = load_results([make_run(tmp_path / "b", "raw", 1.0, recorded=False).path])[0].row()
    for name in METRICS:
        assert without[f"{name}_low"] == pytest.approx(with_them[f"{name}_low"], abs=1e-5)


def test_test_genes_are_read_back_exactly(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a", "raw", 1.0)
    (result,) = load_results([run.path])
    assert len(result.test.gene_id) == N // 3
    assert pearson(result.test.truth, result.test.prediction) == pytest.approx(
        run.config.metrics["test"]["pearson"], abs=1e-5
    )


# ---- the paper's Table 1


def test_the_summary_gives_table_1_worked_out_by_hand(sweep: Path) -> None:
    results = load_results([sweep])
    header, rows = summary_table(compare(results))
    table = [dict(zip(header, row, strict=True)) for row in rows]
    r: dict[tuple[str, tuple[str, str]], list[float]] = {}
    for result in results:
        value = result.run.config.metrics["test"]["pearson"]
        assert value is not None
        r.setdefault((result.run.config.variant, result.pair), []).append(value)
    means = {key: float(np.mean(values)) for key, values in r.items()}
    pairs = [("A1", "B2"), ("A1", "C3")]
    for row in table:
        of_method = np.array([means[row["method"], pair] for pair in pairs])
        svr = np.array([means["svr-two-layer", pair] for pair in pairs])
        assert row["mean_pearson"] == pytest.approx(of_method.mean(), abs=1e-5)
        assert row["median_pearson"] == pytest.approx(np.median(of_method), abs=1e-5)
        assert row["mean_vs_svr-two-layer"] == pytest.approx((of_method / svr).mean(), abs=1e-4)
        assert row["median_vs_svr-two-layer"] == pytest.approx(np.median(of_method / svr), abs=1e-4)
        assert row["mean_vs_attentivechrome"] is None
    assert [row["method"] for row in table] == ["raw", "svr-two-layer", "ridge"]
    assert [row["wins"] for row in table] == [2, 0, 0]
    assert table[0]["minus:ridge"] == pytest.approx(
        table[0]["mean_pearson"] - table[2]["mean_pearson"], abs=1e-5
    )
    assert table[2]["minus:raw (default)"] == -table[0]["minus:ridge"]
    assert table[0]["p:ridge"] == table[2]["p:raw (default)"] < 0.05
    assert table[0]["p:raw (default)"] is None


def test_the_contrast_of_two_runs_is_the_paired_bootstrap_of_metrics(tmp_path: Path) -> None:
    for name, noise in (("raw", 1.0), ("aux", 1.3)):
        make_run(tmp_path / name, name, noise)
    results = load_results([tmp_path])
    (contrast,) = contrasts(compare(results, resamples=1000))
    by_label = {result.label: result.test for result in results}
    first, second = by_label[contrast.first], by_label[contrast.second]
    order = np.argsort(first.gene_id.astype(str))
    expected = paired_bootstrap(
        first.truth[order], first.prediction[order], second.prediction[order], ["pearson"], resamples=1000
    )["pearson"]
    assert contrast.value == pytest.approx(expected.value)
    assert (contrast.low, contrast.high) == pytest.approx((expected.low, expected.high))
    assert contrast.p_value == pytest.approx(expected.p_value)


def test_a_method_against_itself_is_no_difference(tmp_path: Path) -> None:
    for folder, method in (("a", "raw"), ("b", "aux")):
        run = make_run(tmp_path / folder, "raw", 1.0)
        Run(run.path, replace(run.config, variant=method)).save_config()
    (contrast,) = contrasts(compare(load_results([tmp_path])))
    assert contrast.value == 0
    assert contrast.p_adjusted == 1


def test_a_constant_prediction_has_no_r_and_spoils_nothing(sweep: Path) -> None:
    run = make_run(sweep / "mean", "mean", 1.0, preset="")
    text = (run.path / "predictions.tsv").read_text().splitlines()
    column = text[0].split("\t").index("log2fc_pred")
    rows = [line.split("\t") for line in text[1:]]
    for row in rows:
        row[column] = "0.5"
    (run.path / "predictions.tsv").write_text("\n".join([text[0], *("\t".join(row) for row in rows)]) + "\n")
    header, table = summary_table(compare(load_results([sweep])))
    by_method = {row[0]: dict(zip(header, row, strict=True)) for row in table}
    assert by_method["mean"]["mean_pearson"] is None
    assert by_method["raw"]["wins"] == 2
    assert by_method["raw"]["p:ridge"] < 0.05


def test_more_methods_get_more_resamples_so_that_holm_can_find_something(tmp_path: Path) -> None:
    for i in range(12):
        make_run(tmp_path / f"{i}", f"m{i}", 0.1 + 0.6 * i)
    found = contrasts(compare(load_results([tmp_path])))
    assert len(found) == 66
    assert min(contrast.p_adjusted for contrast in found) < 0.05


def test_holm_is_the_worked_example() -> None:
    # Four p-values: 0.01 x 4, 0.03 x 3, 0.04 x 2 raised to the one before, 0.005 x 5.
    assert holm([0.01, 0.04, 0.03, 0.005, float("nan")]) == pytest.approx(
        [0.03, 0.06, 0.06, 0.02, float("nan")], nan_ok=True
    )


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_keeps_the_order_and_never_lowers_a_p_value(p: list[float]) -> None:
    adjusted = holm(p)
    assert all(a >= b for a, b in zip(adjusted, p, strict=True))
    assert max(adjusted) <= 1
    order = np.argsort(p, kind="stable")
    assert (np.diff(np.array(adjusted)[order]) >= 0).all()


@settings(max_examples=25)
@given(st.integers(3, 40), st.integers(1, 4), st.floats(-1e3, 1e3), st.integers(0, 99))
def test_r_of_many_is_that_of_each(n: int, k: int, shift: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    truth, predictions = random.normal(size=n), random.normal(size=(k, n)) + shift
    (weights,) = resample_weights(n, 20, seed)
    many = pearson_of_many(truth, predictions, weights)
    for column, prediction in zip(many.T, predictions, strict=True):
        np.testing.assert_allclose(column, METRICS["pearson"].of(truth, prediction, weights), atol=1e-9)


# ---- what can be compared


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"store": {"fingerprint": "0" * 64}}, "store content"),
        ({"split": "published"}, "split"),
        ({"split": "chromosome-fold1of5"}, "split"),
        ({"unit": "rpkm"}, "unit of expression"),
        ({"window": Window(flank=2000, bin_size=100)}, "window"),
    ],
)
def test_runs_of_different_data_are_not_compared_silently(
    tmp_path: Path, change: dict[str, Any], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = make_run(tmp_path / "a", "raw", 1.0), make_run(tmp_path / "b", "aux", 1.0, **change)
    assert run_cli("compare", str(first.path), str(second.path)) == 1
    refused = capsys.readouterr()
    assert refused.out == ""
    assert said in refused.err
    assert str(first.path) in refused.err
    assert str(second.path) in refused.err
    assert run_cli("compare", str(first.path), str(second.path), "--force") == 0
    forced = capsys.readouterr()
    assert "warning" in forced.err
    assert len(forced.out.splitlines()) == 3


def test_folds_that_another_seed_dealt_are_not_compared(tmp_path: Path) -> None:
    for method, dealt in (("raw", 0), ("aux", 1)):
        make_run(tmp_path / method, method, 1.0, split=f"gene-fold1of5.seed{dealt}")
    with pytest.raises(
        RunError, match=r"aux.* not comparable: folds of other genes|raw.* not comparable: folds"
    ):
        load_results([tmp_path])
    # Each run's own seed deals its folds: seeds of one method are compared as they are.
    for seed in (0, 1):
        make_run(tmp_path / "seeds" / str(seed), "raw", 1.0, split=f"gene-fold1of5.seed{seed}", seed=seed)
    assert len(load_results([tmp_path / "seeds"])) == 2


def test_folds_of_one_cross_validation_are_compared(tmp_path: Path) -> None:
    for fold in (1, 2, 3):
        for method, noise in (("raw", 0.5), ("aux", 3.0)):
            name = f"chromosome-fold{fold}of3"
            make_run(tmp_path / f"{method}{fold}", method, noise, split=name, seed=fold)
    header, rows = summary_table(compare(load_results([tmp_path])))
    assert [row[0] for row in rows] == ["raw", "aux"]
    assert dict(zip(header, rows[0], strict=True))["p:aux (default)"] < 0.05


def test_another_store_of_another_pair_is_fine(tmp_path: Path) -> None:
    make_run(tmp_path / "a", "raw", 1.0)
    make_run(tmp_path / "b", "raw", 1.0, pair=("A1", "C3"), store={"fingerprint": "0" * 64})
    assert len(load_results([tmp_path])) == 2


def test_half_written_runs_in_a_sweep_are_left_out_and_named(sweep: Path) -> None:
    unfinished = make_run(sweep / "x", "aux", 1.0, status=TRAINING)
    (sweep / "y").mkdir()
    (sweep / "y" / "config.json").write_text('{"format": "diffchrom-run", "form')
    (sweep / "z").mkdir()
    warnings = Warnings()
    assert len(find_runs([sweep], warnings)) == 8
    assert len(warnings.said) == 2
    assert any(str(unfinished.path) in said for said in warnings.said)
    with pytest.raises(RunError, match="has not ended"):
        find_runs([unfinished.path])


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no finished run"):
        find_runs([tmp_path])
    with pytest.raises(RunError, match="no such folder"):
        find_runs([tmp_path / "nowhere"])


def test_a_run_named_twice_counts_once(sweep: Path) -> None:
    assert len(find_runs([sweep, sweep / "0.ridge", sweep / "." / "0.ridge"])) == 8


@pytest.mark.parametrize("damage", ["missing", "truncated", "other table"])
def test_broken_predictions_are_an_error_that_names_the_file(sweep: Path, damage: str) -> None:
    file = sweep / "0.ridge" / "predictions.tsv"
    text = file.read_text()
    if damage == "missing":
        file.unlink()
    else:
        file.write_text(
            text[: len(text) // 2 - 3].rsplit("\t", 4)[0] if damage == "truncated" else "a\tb\n1\t2\n"
        )
    with pytest.raises(RunError, match=r"predictions\.tsv"):
        compare(load_results([sweep]))


# ---- the command


def test_the_summary_goes_to_a_file_and_the_bars_are_drawn(
    sweep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, plot = tmp_path / "t.tsv", tmp_path / "figure4.svg"
    assert run_cli("compare", str(sweep), "--summary", "--plot", str(plot), "-o", str(out), "-q") == 0
    assert capsys.readouterr().out == ""
    lines = [line.split("\t") for line in out.read_text().splitlines()]
    assert [line[0] for line in lines] == ["method", "raw", "svr-two-layer", "ridge"]
    assert {len(line) for line in lines} == {len(lines[0])}
    assert [f"mean_vs_{name}" in lines[0] for name in REFERENCES] == [True, True]
    drawn = plot.read_text()
    for text in ("A1, B2", "A1, C3", "svr-two-layer", "raw (default)"):
        assert text in drawn
    again = tmp_path / "again.svg"
    assert run_cli("compare", str(sweep), "--plot", str(again), "-q") == 0
    assert "<svg" in again.read_text()


@pytest.mark.parametrize("n_pairs", [1, 3, 5])
def test_every_method_and_pair_is_drawn(tmp_path: Path, n_pairs: int) -> None:
    from diffchrom.sweeps.plots import plot_methods

    pairs = tuple((f"A{i}", f"B{i}") for i in range(n_pairs))
    r = np.linspace(0.2, 0.7, 2 * n_pairs).reshape(2, n_pairs)
    r[1, 0] = np.nan  # a method that was not run on a pair
    resampled = r + np.array([-0.1, 0.0, 0.1])[:, None, None]
    comparison = Comparison(("ridge", "raw"), (("ridge", "NA"), ("raw", "NA")), pairs, r, resampled)
    plot_methods(comparison, tmp_path / "a.svg")
    drawn = (tmp_path / "a.svg").read_text()
    for text in ("ridge", "raw", *(f"{a}, {b}" for a, b in pairs)):
        assert f">{text}<" in drawn


def test_a_plot_of_an_unknown_format_is_refused(sweep: Path) -> None:
    from diffchrom.sweeps.plots import plot_methods

    with pytest.raises(UsageError, match=r"\.png, \.svg, \.pdf"):
        plot_methods(compare(load_results([sweep]), resamples=100), sweep / "figure.bmp")
