from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import make_genes, make_store
from diffchrom.cli import main
from diffchrom.errors import RunError, UsageError
from diffchrom.genome.genes import Window
from diffchrom.genome.layout import Layout
from diffchrom.genome.regions import region_of
from diffchrom.metrics import METRICS, Resamples, holm, paired_bootstrap, pearson, pearson_of_many
from diffchrom.pairs.pair import PairData
from diffchrom.progress import SilentReporter
from diffchrom.runs.folder import FINISHED, TRAINING, Run, RunConfig
from diffchrom.runs.tables import label_details, part_metrics, prediction_columns
from diffchrom.sweeps.comparison import Comparison, compare, contrasts
from diffchrom.sweeps.results import COLUMNS, find_runs, load_results
from diffchrom.sweeps.summary import REFERENCES, SUMMARY_COLUMNS, summary_rows

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
    step: int = 1,
    **changes: Any,
) -> Run:
    """A finished run whose predictions are the truth (the same for a pair) and so much noise.

    Genes of a chromosome lie 30 kb times `step` apart.
    """
    truth = np.random.default_rng(sum(map(ord, "".join(pair)))).normal(0, 2, N)
    random = np.random.default_rng([seed, sum(map(ord, method + preset))])
    predicted = truth + noise * random.normal(size=N)
    genes = make_genes(N)
    moved = {name: getattr(genes, name) + genes.tss * (step - 1) for name in ("tss", "tes", "start", "end")}
    signal = np.zeros((N, 1, 20), np.float32)
    layout = Layout((region_of("tss", WINDOW),), WINDOW.orient)
    data = PairData(
        truth, truth * 0, truth, unit="counts", cells=pair, marks=("H3K4me3",), layout=layout,
        genes=replace(genes, **moved), signal_a=signal, signal_b=signal,
        parts=np.tile([0, 1, 2], N // 3).astype(np.int8),
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
        details={"test_intervals": intervals, **label_details(data, data.genes, data.rows("test"))}
        if recorded
        else {},
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

    note = warn


def run_cli(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    return int(end.value.code or 0)


def table_of(text: str) -> list[dict[str, str]]:
    header, *rows = (line.split("\t") for line in text.splitlines())
    return [dict(zip(header, row, strict=True)) for row in rows]


def test_a_row_a_run_with_every_metric_and_its_interval(sweep: Path) -> None:
    results = load_results([sweep])
    rows = [result.row() for result in results]
    assert all(tuple(row) == COLUMNS for row in rows)
    keys = [(row["pair"], row["method"], row["preset"], row["seed"]) for row in rows]
    assert len(set(keys)) == len(rows) == 8
    for row in rows:
        assert row["n"] == N // 3
        for name in METRICS:
            if name.startswith("top100") or name == "pearson_expressed":
                assert row[name] is None  # 40 genes have no first hundred, and A expresses none
            else:
                assert row[f"{name}_low"] <= row[name] <= row[f"{name}_high"]


def test_a_run_of_before_blocks_and_new_metrics_is_measured_again(tmp_path: Path) -> None:
    new = make_run(tmp_path / "a", "raw", 1.0, step=100)
    old = make_run(tmp_path / "b", "raw", 1.0, step=100)
    first = ("n", "pearson", "spearman", "mse", "r2", "sign_accuracy", "auprc")
    metrics = {"test": {name: old.config.metrics["test"][name] for name in first}}
    intervals = {name: [-9.0, 9.0] for name in first[1:]}  # gene by gene, as they were
    Run(old.path, replace(old.config, metrics=metrics, details={"test_intervals": intervals})).save_config()
    expected, row = (load_results([run.path])[0].row() for run in (new, old))
    assert row["blocks"] == expected["blocks"] > 20
    for name in COLUMNS[13:]:
        assert row[name] == pytest.approx(expected[name], abs=1e-5), name
    assert row["pearson_changed"] > 0


@pytest.mark.parametrize("folds", [(), ("--folds", "3")], ids=["split", "folds"])
def test_runs_record_every_metric_with_its_interval(tmp_path: Path, folds: tuple[str, ...]) -> None:
    store = make_store(tmp_path / "s.h5", n_genes=400)
    with store.edit() as editor:  # of every third gene, A has next to nothing
        counts = store.expression("A1", "counts")
        counts[::3] = 3
        editor.add_expression("A1", "counts", counts, replace=True)
    out = tmp_path / "run"
    said = f"baseline --method ridge --store {store.path} --out {out} --threads 1 -q".split()
    assert run_cli(*said, *folds) == 0
    config = Run.open(out).config
    values, intervals = config.metrics["test"], config.details["test_intervals"]
    assert set(METRICS) <= set(values)
    assert set(METRICS) == set(intervals)
    for name in METRICS:
        if name.startswith("top100") and not folds:
            assert values[name] is None  # of 80 test genes
        else:
            low, high = intervals[name]
            assert low <= values[name] <= high
    table = pd.read_csv(out / "predictions.tsv", sep="\t")
    least = np.minimum(*(store.expression(cell, "counts") for cell in ("A1", "B2")))
    both = (table["split"] == "test") & (least >= 10)
    r = pearson(table["log2fc"][both], table["log2fc_pred"][both])
    assert values["pearson_expressed"] == pytest.approx(r, abs=1e-6)
    (result,) = load_results([out])
    assert result.row()["pearson_expressed"] == values["pearson_expressed"]


def test_a_gene_is_drawn_with_its_neighbours_on_either_strand(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a", "raw", 1.0, step=100)
    (result,) = load_results([run.path])
    genes, tested = make_genes(N), np.tile([False, False, True], N // 3)
    expected = [f"{c}:{100 * p // 5_000_000}" for c, p in zip(genes.chrom, genes.tss, strict=True)]
    assert result.test.block.tolist() == np.array(expected)[tested].tolist()
    assert set(genes.strand[tested]) == {"+", "-"}
    assert run.config.details["resampled"] == {"blocks": len(set(result.test.block)), "genes": 0}


def test_genes_without_coordinates_are_drawn_alone_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path / "a", "raw", 1.0, step=100, recorded=False)
    table = [line.split("\t") for line in (run.path / "predictions.tsv").read_text().splitlines()]
    for row in table[1:]:
        row[2:6] = ["NA"] * 4
    (run.path / "predictions.tsv").write_text("".join("\t".join(row) + "\n" for row in table))
    assert run_cli("compare", str(run.path)) == 0
    shown = capsys.readouterr()
    assert "in 1 of 1 runs, test genes without coordinates" in shown.err
    assert dict(zip(*(line.split("\t") for line in shown.out.splitlines()), strict=True))["blocks"] == "0"
    make_run(tmp_path / "b", "raw", 1.0, step=100)
    assert run_cli("compare", str(tmp_path / "b")) == 0
    assert "drawn" not in capsys.readouterr().err


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
    table = summary_rows(compare(results))
    assert all(tuple(row) == SUMMARY_COLUMNS for row in table)
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
    assert [row["averaged"] for row in table] == ["seeds 0, 1", "", ""]
    assert [row["n_runs"] for row in table] == [4, 2, 2]
    assert table[0]["against"] is table[0]["difference"] is table[0]["p_holm"] is None
    for row in table[1:]:
        assert row["against"] == "raw"
        assert row["difference"] == pytest.approx(row["mean_pearson"] - table[0]["mean_pearson"], abs=1e-5)
        assert row["difference_low"] < row["difference"] < row["difference_high"] < 0
        assert row["p"] < row["p_holm"] < 0.05
    mse = [result.row()["mse"] for result in results if result.label == "raw"]
    assert table[0]["mean_mse"] == pytest.approx(np.mean(mse))


def test_differences_are_taken_from_the_method_that_was_named(
    sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    comparison = compare(load_results([sweep]))
    best, named = summary_rows(comparison), summary_rows(comparison, "ridge")
    assert [row["against"] for row in named] == ["ridge", "ridge", None]
    assert named[0]["difference"] == pytest.approx(-best[2]["difference"])
    assert named[0]["difference_low"] == pytest.approx(-best[2]["difference_high"])
    # Holm: three comparisons of all with one another, two with the one that was named beforehand.
    assert best[2]["p_holm"] == pytest.approx(3 * best[2]["p"])
    assert named[0]["p_holm"] == pytest.approx(2 * named[0]["p"])
    assert run_cli("compare", str(sweep), "--summary", "--against", "rigde") == 2
    assert "among the methods: raw, svr-two-layer, ridge" in capsys.readouterr().err
    assert run_cli("compare", str(sweep), "--against", "ridge") == 2


@pytest.mark.parametrize("step", [1, 100], ids=["genes", "blocks"])
def test_the_contrast_of_two_runs_is_the_paired_bootstrap_of_metrics(tmp_path: Path, step: int) -> None:
    for name, noise in (("raw", 1.0), ("aux", 1.3)):
        make_run(tmp_path / name, name, noise, step=step)
    results = load_results([tmp_path])
    (contrast,) = contrasts(compare(results, resamples=1000))
    by_label = {result.label: result.test for result in results}
    first, second = by_label[contrast.first], by_label[contrast.second]
    order = np.argsort(first.gene_id.astype(str))
    expected = paired_bootstrap(
        *(first.truth[order], first.prediction[order], second.prediction[order], first.block[order]),
        names=["pearson"],
        resamples=1000,
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
    by_method = {row["method"]: row for row in summary_rows(compare(load_results([sweep])))}
    assert by_method["mean"]["mean_pearson"] is None
    assert by_method["raw"]["wins"] == 2
    assert by_method["ridge"]["p_holm"] < 0.05


def test_holm_over_hundreds_of_contrasts_finds_what_differs_with_few_resamples(tmp_path: Path) -> None:
    # 406 contrasts: a share of 300 resamples is 0.007 at least, which Holm would make 1.
    for i in range(29):
        make_run(tmp_path / f"{i}", f"m{i}", 0.1 + 0.3 * i)
    all_of_them = contrasts(compare(load_results([tmp_path]), resamples=300))
    assert len(all_of_them) == 406
    assert min(contrast.p_adjusted for contrast in all_of_them) < 0.001
    near = next(one for one in all_of_them if {one.first, one.second} == {"m27", "m28"})
    assert near.p_adjusted > 0.05


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
    draws = Resamples.draw(np.arange(n), n, 20, seed)
    (weights,) = draws.weights()
    many = pearson_of_many(truth, predictions, draws)
    for column, prediction in zip(many.T, predictions, strict=True):
        for value, weight in zip(column, weights, strict=True):
            x, y = np.repeat([truth, prediction], weight.astype(int), axis=1)
            if np.ptp(x) and np.ptp(y):
                np.testing.assert_allclose(value, np.corrcoef(x, y)[0, 1], atol=1e-9)


# ---- what is read


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
    for text in ("A1, B2", "A1, C3", "svr-two-layer", "raw"):
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
    one = Comparison(("ridge", "raw"), ((), ()), pairs, r, resampled, (50,), "split one")
    other = replace(one, labels=("mean", "aux"), group="split two")
    plot_methods([one, other], tmp_path / "a.svg")
    drawn = (tmp_path / "a.svg").read_text()
    for text in ("ridge", "raw", "split one", "split two", "aux", *(f"{a}, {b}" for a, b in pairs)):
        assert f">{text}<" in drawn


def test_a_plot_of_an_unknown_format_is_refused(sweep: Path) -> None:
    from diffchrom.sweeps.plots import plot_methods

    with pytest.raises(UsageError, match=r"\.png, \.svg, \.pdf"):
        plot_methods([compare(load_results([sweep]), resamples=100)], sweep / "figure.bmp")


# ---- on a terminal


def shown_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str
) -> str:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert run_cli("compare", *words, "-q") == 0
    return capsys.readouterr().out


def test_a_terminal_gets_a_short_table_with_a_legend_and_a_file_all_columns(
    sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = shown_on_a_terminal(monkeypatch, capsys, str(sweep))
    head, titles, *rows = shown.splitlines()
    assert head == "genes 40"
    assert " ".join(titles.split()) == "method pair seed r [95%] rho MSE r changed AP up AP down sign changed"
    assert len(rows[: rows.index("")]) == 8
    assert "\t" not in shown
    assert max(map(len, shown.splitlines())) <= 120
    assert "NA" not in shown
    for metric in METRICS.values():  # of 40 genes, no first hundred; in A no gene is expressed
        known = not metric.name.startswith("top100") and metric.name != "pearson_expressed"
        assert (bool(metric.title) and metric.summary in shown) == (bool(metric.title) and known)
    out = tmp_path / "all.tsv"
    assert run_cli("compare", str(sweep), "-o", str(out), "-q") == 0
    assert tuple(out.read_text().splitlines()[0].split("\t")) == COLUMNS


def test_a_terminal_gets_differences_with_intervals_group_by_group(
    sweep: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(sweep / "x", "ridge", 1.0, preset="", split="published")
    shown = shown_on_a_terminal(monkeypatch, capsys, str(sweep), "--summary", "--against", "ridge")
    first, second = shown.split("\n\n")[:2]
    head, titles, *rows = first.splitlines()
    assert head == "split chromosome; pair A1, B2; A1, C3"
    for title in ("mean over", "pairs", "won", "r [95%]", "less ridge [95%]", "p"):
        assert title in titles
    row = next(
        row for row in summary_rows(compare(load_results([sweep])[:-1]), "ridge") if row["label"] == "raw"
    )
    cells = next(line for line in rows if line.startswith("raw"))
    assert f"{row['difference']:.3f} [{row['difference_low']:.3f}, {row['difference_high']:.3f}]" in cells
    assert "seeds 0, 1" in cells
    assert second.splitlines()[0] == "split published; pair A1, B2"
    assert "less" not in second
    assert "Holm" in shown
