"""What `compare` does as the paper does: percent, the order of pairs, the best variant's name over each."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from conftest import called
from diffchrom.sweeps.comparison import compare
from diffchrom.sweeps.figure4 import figure_4
from diffchrom.sweeps.results import load_results
from test_compare import make_run

PAIRS = (("B2", "A1"), ("A1", "C3"), ("C3", "B2"), ("D4", "A1"))


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Two variants, each the better on half of the pairs, and a published baseline that is better still."""
    for number, pair in enumerate(PAIRS):
        noise = {"raw": (0.5, 3.0)[number % 2], "raw:d": (0.5, 3.0)[1 - number % 2], "svr-two-layer": 0.1}
        for method, much in noise.items():
            kind = "baseline" if method == "svr-two-layer" else "deepdiff"
            folder = tmp_path / f"{number}.{method}"
            make_run(folder, method, much, pair=pair, preset="published", kind=kind)
    return tmp_path


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as stream:
        return list(csv.DictReader(stream, delimiter="\t"))


def test_percent_is_of_the_published_baseline_where_it_is_the_only_one(sweep: Path) -> None:
    out = sweep / "t.tsv"
    assert called(["compare", str(sweep), "--summary", "-o", str(out), "-q"]) == 0
    shares = {row["method"]: float(row["mean_vs_svr-two-layer"]) for row in rows(out)}
    assert called(["compare", str(sweep), "--summary", "--percent", "-o", str(out), "-q"]) == 0
    percent = {row["method"]: float(row["mean_percent_of_svr-two-layer"]) for row in rows(out)}
    assert shares["svr-two-layer"] == 1
    assert 0 < shares["raw"] < 1
    assert percent == pytest.approx({method: 100 * share for method, share in shares.items()}, rel=1e-5)


def test_only_the_asked_pairs_are_compared_in_the_asked_order(sweep: Path) -> None:
    pairs, out = sweep / "pairs.txt", sweep / "t.tsv"
    pairs.write_text("# A B\nD4 A1\nB2 A1\nC3 B2\n")
    assert called(["compare", str(sweep), "--pairs", str(pairs), "-o", str(out), "-q"]) == 0
    assert list(dict.fromkeys(row["pair"] for row in rows(out))) == ["D4,A1", "B2,A1", "C3,B2"]
    figure = sweep / "f.svg"
    assert called(["compare", str(sweep), "--pairs", str(pairs), "--plot", str(figure), "-q"]) == 0
    drawn = figure.read_text()
    places = [drawn.index(f">{pair}<") for pair in ("D4, A1", "B2, A1", "C3, B2")]
    assert places == sorted(places)
    assert "A1, C3" not in drawn


def test_a_pair_without_runs_is_told(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert called(["compare", str(sweep), "--pairs", "A1,B2", "-q"]) == 1
    assert "no run of A1,B2 is among those given" in capsys.readouterr().err


def test_the_best_variants_name_stands_over_its_pair_and_no_baselines(sweep: Path) -> None:
    comparison = compare(load_results([sweep]), resamples=100)
    names = dict(zip(comparison.pairs, figure_4(comparison).best, strict=True))
    assert names == dict(zip(PAIRS, ("raw", "raw:d", "raw", "raw:d"), strict=True))
    for figure, much in (("many.svg", []), ("few.svg", ["--pairs", "B2,A1", "--pairs", "A1,C3"])):
        path = sweep / figure
        assert called(["compare", str(sweep), *much, "--plot", str(path), "--name-best", "-q"]) == 0
        n_pairs = 2 if much else 4
        drawn = path.read_text()
        assert drawn.count(">raw<") == drawn.count(">raw:d<") == 1 + n_pairs // 2  # once among the methods
