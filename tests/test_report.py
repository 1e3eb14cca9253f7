from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from attention_tools import adding_source
from conftest import make_store
from diffchrom.attention.groups import GroupRule, collect
from diffchrom.attention.weights import Weights
from diffchrom.cli import main
from diffchrom.errors import RunError, StoreError
from diffchrom.progress import SilentReporter
from diffchrom.report.attention import Attended, attention_around_tss, choose_genes, genes
from diffchrom.report.build import build_report
from diffchrom.report.charts import Chart, Palette, View
from diffchrom.report.methods_text import methods_text
from diffchrom.report.page import shown
from diffchrom.report.results import calibration_groups, read_history, shown_results, training_curves
from diffchrom.runs.tables import HISTORY_COLUMNS
from diffchrom.store.store import Store
from diffchrom.sweeps.jobs import jobs_of
from diffchrom.sweeps.plan import Plan
from diffchrom.sweeps.results import Result, TestGenes, load_results
from diffchrom.sweeps.running import run_job
from test_compare import make_run

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
MAX_BYTES = 10 * 1024 * 1024


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store and a sweep of two models and two baselines on it."""
    folder = tmp_path_factory.mktemp("report")
    store = make_store(folder / "s.h5")
    settings = {"hidden": 4, "epochs": 2}
    plan = Plan(
        store.path,
        folder / "sweep",
        variants=("raw:d", "aux"),
        baselines=("ridge", "mean"),
        settings=settings,
    )
    for job in jobs_of(plan):
        assert run_job(job, plan.out, 1).reason == ""
    return folder


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    return build_report([folder / "sweep"])


class Page(HTMLParser):
    """What the tests look at in a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._inside: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._inside and tag == self._inside[-1]:
            self._inside.pop()

    def handle_data(self, data: str) -> None:
        if not self._inside:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


def charts(html: str) -> dict[str, list[dict[str, Any]]]:
    found = re.findall(r'<script type="application/json" id="([\w-]+)-data">(.*?)</script>', html, re.S)
    return {name: json.loads(text) for name, text in found}


def test_the_page_has_everything_the_issue_lists(page: str) -> None:
    assert list(charts(page)) == [
        "profiles", "figure4", "contrasts", "scatter", "calibration", "training", "figure5", "tss", "genes",
    ]  # fmt: skip
    text = Page(page).text
    for expected in (
        "Table 1 of the paper", "coverage and quality", "Predicted against measured", "Calibration",
        "validation r", "doi:10.1093/bioinformatics/bty612", "Software: diffchrom", "torch", "H3K27me3",
    ):  # fmt: skip
        assert expected in text


def test_genes_with_the_greatest_changes_are_pictured(page: str, folder: Path) -> None:
    pictures = [image for image in Page(page).all("img") if image.get("class") == "picture"]
    store = Store(folder / "s.h5")
    a, b = (store.expression(cell, "counts") for cell in store.cells())
    log2fc = np.log2((b + 1) / (a + 1))
    test = np.flatnonzero(store.split("chromosome") == 2)
    order = test[np.argsort(-log2fc[test])]
    assert len(pictures) == 4
    for row, image in zip([*order[:2], order[-1], order[-2]], pictures, strict=True):
        assert f" over {store.genes.name[row]}, " in str(image["alt"])
        assert f"measured {log2fc[row]:.2f}" in str(image["alt"])
        head, _, data = str(image["src"]).partition(",")
        assert head == "data:image/svg+xml;base64"
        assert ElementTree.fromstring(base64.b64decode(data)).tag.endswith("svg")


def test_attention_to_every_region_has_a_view_at_its_own_places(
    folder: Path, whole_gene_store: Store
) -> None:
    source = adding_source(whole_gene_store)
    groups = collect(Weights.of(source), np.arange(60), GroupRule(quantile=0.2))
    (result, *_) = [one for one in load_results([folder / "sweep"]) if one.run.config.kind == "deepdiff"]
    test = source.pair.rows("test")
    values = source.pair.labels.log2fc[test], source.predict(test).log2fc
    result.__dict__["test"] = TestGenes(
        source.genes.id[test], *values, source.genes.chrom[test], source.genes.located[test]
    )
    attended = Attended(result, source, np.arange(60), "test genes", groups)
    views = attention_around_tss([attended]).views
    assert [view.name.rpartition(": ")[2] for view in views] == ["tss", "body", "tes", "distal"]
    for view, region in zip(views, source.pair.layout.regions, strict=True):
        for trace in view.traces:
            assert np.shape(trace["z"]) == (2, len(region.windows))
            assert len(trace["x"]) == len(region.windows)
    assert views[3].traces[0]["x"][0] == "-200 to -100 kb from the TSS"
    assert "uniform attention would be 0.0043" in attention_around_tss([attended]).caption
    for view in genes([attended]).views:
        shown = [(trace["xaxis"], len(trace["x"]), len(trace["y"])) for trace in view.traces]
        assert set(shown) == {("x", 200, 200), ("x2", 10, 10), ("x3", 12, 12), ("x4", 8, 8)}
        ends = [view.layout[f"xaxis{number}"]["domain"] for number in ("", 2, 3, 4)]
        assert [first for first, _ in ends] == sorted(first for first, _ in ends)
        assert all(first < last for first, last in ends)


def test_the_page_loads_nothing(page: str) -> None:
    parsed = Page(page)
    for tag, attrs in parsed.tags:
        for name in ("src", "href", "data", "srcset", "poster", "action"):
            value = attrs.get(name) or ""
            assert not value or value.startswith(("#", "data:")), (tag, name, value)
    (policy,) = [meta for meta in parsed.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert str(policy["content"]).startswith("default-src 'none'")
    styles = re.findall(r"<style>(.*?)</style>", page, re.S)
    assert not any("url(" in style or "@import" in style for style in styles)


def test_every_chart_has_a_name_and_a_sentence_for_those_who_cannot_see_it(page: str) -> None:
    parsed = Page(page)
    ids = [str(attrs["id"]) for _, attrs in parsed.tags if "id" in attrs]
    assert len(set(ids)) == len(ids)
    drawn = [attrs for attrs in parsed.all("div") if attrs.get("role") == "img"]
    assert len(drawn) == len(charts(page))
    for attrs in drawn:
        assert all(name in ids for name in str(attrs["aria-labelledby"]).split())
    for views in charts(page).values():
        for view in views:
            assert len(view["alt"]) > 20
            assert view["traces"]
    for select in parsed.all("select"):
        assert any(label.get("for") == select["id"] for label in parsed.all("label"))


def test_drawn_numbers_are_those_of_the_runs(page: str, folder: Path) -> None:
    results = load_results([folder / "sweep"])
    by_label = {result.label: result.run.config.metrics["test"]["pearson"] for result in results}
    [drawn] = charts(page)["figure4"][0]["traces"]  # one pair
    r = dict(zip(drawn["y"], drawn["x"], strict=True))
    assert r["mean"] is None
    for label in ("ridge", "raw:d", "aux"):
        assert r[label] == pytest.approx(by_label[label], abs=1e-3)
    points = charts(page)["scatter"][0]["traces"][0]
    shown_first = shown_results(results)[0]
    assert points["x"] == pytest.approx(list(shown_first.test.truth), rel=1e-3)
    assert points["text"] == list(shown_first.test.gene_id)


def test_without_the_store_the_page_says_what_is_missing(folder: Path, tmp_path: Path) -> None:
    class Warnings(SilentReporter):
        said: list[str] = []  # noqa: RUF012

        def warn(self, message: str) -> None:
            self.said.append(message)

    sweep = shutil.copytree(folder / "sweep", tmp_path / "sweep")
    for config in sweep.glob("*/config.json"):
        config.write_text(config.read_text().replace(str(folder), "/nowhere"))
    html = build_report([sweep], reporter=Warnings())
    assert len(Warnings.said) == 1
    assert "give `store`" in Warnings.said[0]
    assert "store was not at hand" in Page(html).text
    assert set(charts(html)) == {"figure4", "contrasts", "scatter", "calibration", "training"}
    with_store = build_report([sweep], store=folder / "s.h5")
    assert "figure5" in charts(with_store)


def test_another_store_is_refused(folder: Path, tmp_path: Path) -> None:
    other = make_store(tmp_path / "other.h5", seed=5)
    with pytest.raises(StoreError, match="is not what"):
        build_report([folder / "sweep"], store=other.path)


@pytest.mark.parametrize("name", ["raw-d.default.seed0", "ridge.seed0", "mean.seed0"])
def test_one_run_is_a_report_too(folder: Path, name: str) -> None:
    html = build_report([folder / "sweep" / f"A1-B2.{name}"])
    assert "scatter" in charts(html)
    assert ("training" in charts(html)) == ("raw" in name)
    assert "figure4" not in charts(html)


def test_names_from_files_cannot_become_markup(tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script>"
    make_run(tmp_path / "a", "raw", 1.0, pair=("A<b>", evil), store={"fingerprint": "", "path": "none.h5"})
    html = build_report([tmp_path])
    assert "alert(1)</script>" not in html
    assert evil in Page(html).text
    assert "<script>alert" not in html
    views = charts(html)["scatter"]
    assert evil in views[0]["name"]


def test_numbers_that_are_not_finite_are_no_broken_json() -> None:
    view = View("v", "alt", [{"y": np.array([1.23456789, np.nan, np.inf]), "x": np.arange(2)}])
    assert json.loads(Chart("c", "t", "x", [view]).to_json())[0]["traces"][0] == {
        "y": [1.235, None, None],
        "x": [0, 1],
    }


def test_cells_of_tables_are_read_by_people() -> None:
    values = [None, float("nan"), "x", 3, 0.12345, 1234567.8, 0.00001234, 0.0, True]
    assert [shown(v) for v in values] == [
        "NA",
        "NA",
        "x",
        "3",
        "0.123",
        "1,234,568",
        "1.2e-05",
        "0.000",
        "True",
    ]


def test_a_calibrated_prediction_lies_on_the_diagonal() -> None:
    random = np.random.default_rng(0)
    prediction = random.normal(0, 2, 4000)
    predicted, measured, error = calibration_groups(prediction + random.normal(0, 1, 4000), prediction)
    assert len(predicted) == 10
    assert (np.abs(predicted - measured) < 4 * error).all()


def test_genes_predicted_best_change_and_those_predicted_worst_are_the_worst() -> None:
    truth = np.array([10.0, 9.0, 8.0, 7.0, 0.1, 0.2, 0, 0, 0, 0, 0, 0])
    predicted = np.array([9.9, 1.0, 7.5, 7.0, 0.1, 3.0, 1, 0, 0, 0, 0, np.nan])
    # A quarter of the 11 known genes change by at least 7.5; the rest of 7.0 is right, but changes less.
    assert choose_genes(truth, predicted) == [
        (0, "predicted well"), (1, "predicted badly"), (5, "predicted badly"), (6, "predicted badly"),
    ]  # fmt: skip


def test_a_hundred_runs_stay_under_ten_megabytes(tmp_path: Path) -> None:
    pairs = [("C0", f"C{i}") for i in range(1, 11)]
    for pair in pairs:
        for method in range(5):
            for seed in (0, 1):
                name = f"{pair[1]}.m{method}.{seed}"
                path = make_run(tmp_path / name, f"m{method}", 1.0 + method, pair=pair, seed=seed).path
                rows = [f"{e}\t{1 / e:.6f}\t{1 - 1 / e:.6f}\t0.5\t1\n" for e in range(1, 91)]
                (path / "history.tsv").write_text("\t".join(HISTORY_COLUMNS) + "\n" + "".join(rows))
    html = build_report([tmp_path])
    assert "100 runs of 5 methods on 10 pairs" in Page(html).text
    assert len(html.encode()) < MAX_BYTES


def test_the_models_of_an_ensemble_are_lines_of_their_own(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", "antisymmetric", 1.0)
    rows = ["1 3 0.1 9 1", "2 2 0.2 8 1", "1 4 NA 9 2", "2 1 0.4 7 2"]
    (run.path / "history.tsv").write_text("\n".join(["\t".join(HISTORY_COLUMNS), *rows]).replace(" ", "\t"))
    history = read_history(Result(run))
    np.testing.assert_array_equal(history["epoch"], [1, 2, np.nan, 1, 2])
    np.testing.assert_array_equal(history["valid_pearson"], [0.1, 0.2, np.nan, np.nan, 0.4])
    chart = training_curves([Result(run)], Palette(["antisymmetric (default)"]))
    assert chart is not None
    assert chart.table is not None
    assert chart.table.rows[0][3:5] == ["2, 2", "2, 2"]
    (run.path / "history.tsv").write_text("epoch\ttrain_loss\tvalid_pearson\tvalid_mse\n1\t2\t0.5\t3\n")
    np.testing.assert_array_equal(read_history(Result(run))["epoch"], [1])  # as models had one line each


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no column epoch"),
        ("epoch\n1\n", "no column train_loss"),
        ("\t".join(HISTORY_COLUMNS) + "\n1\t2\t3\t4\t1\n1\t2\n", "line 3: 2 of 5 fields"),
        ("\t".join(HISTORY_COLUMNS) + "\n1\t2\tNA\tlow\t1\n", "line 2: valid_mse: .*low"),
    ],
)
def test_what_is_no_training_history_is_refused(text: str, reason: str, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", "raw", 1.0)
    (run.path / "history.tsv").write_text(text)
    with pytest.raises(
        RunError, match=rf"history.tsv: not a training history \({reason}.*make the run again"
    ):
        read_history(Result(run))


def test_the_command_writes_the_page_and_refuses_what_is_no_run(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "r.html"
    for arguments, code in (([str(folder / "sweep"), "-o", str(out)], 0), ([str(tmp_path / "no"), "-q"], 1)):
        with pytest.raises(SystemExit) as end:
            main(["report", *arguments])
        assert (end.value.code or 0) == code
    assert out.read_text().startswith("<!doctype html>")
    assert capsys.readouterr().out == ""
    assert not (tmp_path / "report.html").exists()
    with pytest.raises(RunError, match="no finished run"):
        build_report([tmp_path])


@pytest.fixture
def browser(tmp_path: Path) -> list[str]:
    if CHROMIUM is None:
        pytest.skip("chromium is not installed (apt-get install chromium)")
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
    ]
    return [
        CHROMIUM, *flags, "--enable-logging=stderr", "--virtual-time-budget=20000",
        f"--user-data-dir={tmp_path / 'profile'}",
    ]  # fmt: skip


def test_a_browser_draws_every_chart_and_complains_of_nothing(
    page: str, tmp_path: Path, browser: list[str]
) -> None:
    file = tmp_path / "report.html"
    file.write_text(page)
    done = subprocess.run(
        [*browser, "--window-size=500,900", "--dump-dom", file.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    # Anything that the page asks of the network would be refused by its own policy, and be told here.
    assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == []
    drawn = re.findall(r'id="([\w-]+)-chart"[^>]*>.{0,2000}?main-svg', done.stdout, re.S)
    assert set(drawn) == set(charts(page))


def test_a_browser_would_tell_if_the_page_asked_the_network(
    tmp_path: Path, page: str, browser: list[str]
) -> None:
    file = tmp_path / "report.html"
    file.write_text(page.replace("</main>", '<img src="https://example.org/x.png" alt=""></main>'))
    done = subprocess.run(
        [*browser, "--dump-dom", file.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    assert any("Content Security Policy" in line for line in done.stderr.splitlines() if "CONSOLE" in line)


def test_the_store_of_a_report_is_only_read(folder: Path) -> None:
    before = (folder / "s.h5").read_bytes()
    build_report([folder / "sweep"])
    assert (folder / "s.h5").read_bytes() == before
    assert Store(folder / "s.h5").splits() == ("chromosome",)


def test_the_methods_section_names_the_labels_that_were_predicted(tmp_path: Path) -> None:
    make_run(tmp_path / "a", "raw:d", 1.0)
    derived = methods_text(load_results([tmp_path / "a"]))[0]
    assert "The target was log2((B + 1) / (A + 1)) of expression (counts) for 1 pair" in derived
    table = {"labels": {"dialect": "DESeq2 results", "source": "d.csv"}}
    make_run(tmp_path / "b", "raw:d", 1.0, pair=("A1", "C3"), details=table)
    given = methods_text(load_results([tmp_path / "b"]))[0]
    assert "The target was the log2 fold change, B over A, that DESeq2 estimated for 1 pair" in given
    both = methods_text(load_results([tmp_path]))[0]
    assert "of expression (counts) or the log2 fold change, B over A, that DESeq2 estimated (A1, C3)" in both


def test_groups_that_cannot_be_compared_are_not_ranked_together(tmp_path: Path) -> None:
    for method, noise in (("raw", 1.0), ("aux", 2.0)):
        make_run(tmp_path / method, method, noise)
        make_run(tmp_path / f"{method}2", method, 3.0 - noise, split="published")
    html = build_report([tmp_path])
    text = Page(html).text
    assert "2 groups that cannot be compared with one another" in text
    assert "split chromosome: highest mean Pearson r on the test genes: raw," in text
    assert "split published: highest mean Pearson r on the test genes: aux," in text
    drawn = charts(html)
    assert [view["name"] for view in drawn["figure4"]] == ["split chromosome", "split published"]
    assert {"contrasts", "contrasts1"} <= set(drawn)
    for view, best in zip(drawn["figure4"], ("raw", "aux"), strict=True):
        assert view["traces"][0]["y"][0] == best


def test_what_differs_between_runs_of_a_method_is_in_its_name(tmp_path: Path) -> None:
    for number, marks in enumerate([("H3K4me3",), ("H3K4me3", "H3K27me3")]):
        make_run(tmp_path / str(number), "raw", 1.0 + number, marks=marks)
    html = build_report([tmp_path])
    labels = ["raw (1 mark)", "raw (2 marks)"]
    assert charts(html)["figure4"][0]["traces"][0]["y"] == labels
    assert all(label in Page(html).text for label in labels)
    assert "(2 marks)" in charts(html)["calibration"][0]["traces"][1]["name"]


def test_the_methods_section_says_how_the_intervals_were_made(tmp_path: Path) -> None:
    said = []
    for name, step in (("a", 100), ("b", 1)):
        make_run(tmp_path / name, "raw:d", 1.0, step=step)
        said.append(" ".join(methods_text(load_results([tmp_path / name]))))
    assert "bootstrap over blocks of 5 Mb (Künsch 1989)" in said[0]
    assert "bootstrap over genes" in said[1]
    assert "Methods were compared" not in said[0]  # there is one
