"""One gene, one picture: what it shows is what the model says."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

import diffchrom as dc
from attention_tools import adding_source, random_source
from conftest import called, fitting, genes_of, train, training
from diffchrom.attention.gene_picture import draw_gene, write_pictures
from diffchrom.attention.gene_view import GeneView, gene_views, telling_kind
from diffchrom.config import hyperparameters
from diffchrom.deepdiff.ensemble import Ensemble
from diffchrom.deepdiff.opened import OpenedModel
from diffchrom.errors import UsageError
from diffchrom.genome.genes import Window
from diffchrom.store.store import Store
from test_attention_regions import MARKS, store_at


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> OpenedModel:
    """Eight genes on both strands, in a store of genome order; contributions are known."""
    genes = genes_of(["chr1"] * 8, np.arange(8) * 9000 + 250_000, np.full(8, 3000), [True, False] * 4)
    path = tmp_path_factory.mktemp("genes") / "s.h5"
    return adding_source(store_at(path, genes, window=Window(1000, 100, "genome")))


def view_of(source: OpenedModel, row: int, by: str | None = None) -> GeneView:
    (view,) = gene_views(source, np.array([row]), by)
    return view


@pytest.mark.parametrize("row", [0, 1])
def test_a_view_runs_in_the_direction_of_transcription_and_adds_up(source: OpenedModel, row: int) -> None:
    at = np.array([row])
    view = view_of(source, row)
    a, b = source.pair.signal(at)
    (batch,) = source.attend_batches(at)
    assert batch.contribution is not None
    for span in source.pair.layout.spans.values():
        step = -1 if row == 0 else 1  # gene 0 is on minus
        np.testing.assert_allclose(view.signal[0][:, span], a[0][:, span][:, ::step])
        np.testing.assert_allclose(view.signal[1][:, span], b[0][:, span][:, ::step])
        np.testing.assert_allclose(view.weights[:, span], batch.contribution[0][:, span][:, ::step])
    assert view.log2fc == pytest.approx(view.of_marks.sum() + 0.25, abs=1e-4)
    assert view.measured == pytest.approx(source.pair.labels.log2fc[row])


def test_the_change_is_that_of_giving_a_mark_of_b_the_signal_of_a(source: OpenedModel) -> None:
    """In a sum of marks' contributions it is just what the mark contributed, taken away."""
    view = view_of(source, 3)
    np.testing.assert_allclose(view.change, -view.of_marks, rtol=1e-4)
    assert np.isnan(view.spread).all()
    members = Ensemble([source.model, adding_source(source.pair.store, seed=1).model])
    both = view_of(replace(source, model=members), 3, "attention")
    each = [view_of(adding_source(source.pair.store, seed=seed), 3).change for seed in (0, 1)]
    np.testing.assert_allclose(both.change, np.mean(each, axis=0), rtol=1e-4)
    np.testing.assert_allclose(both.spread, np.std(each, axis=0, ddof=1), rtol=1e-3)


def test_contributions_are_shown_where_there_are_any_and_attention_sums_to_one(source: OpenedModel) -> None:
    assert telling_kind(source) == "contribution"
    other = random_source(source.pair.store, "raw:d", regions=None)
    assert telling_kind(other) == "integrated-gradients"
    assert view_of(other, 0).kind.of_windows == "integrated_gradients"
    attention = view_of(other, 0, "attention")
    assert attention.of_marks.sum() == pytest.approx(1, abs=1e-5)


def texts(figure: Figure) -> list[str]:
    from matplotlib.text import Text

    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def test_a_picture_names_gene_cells_marks_regions_and_numbers(source: OpenedModel) -> None:
    view = view_of(source, 0)
    figure = draw_gene(view)
    shown = texts(figure)
    title = next(text for text in shown if text.startswith("G0"))
    assert title == "G0, chr1:247,002-250,001 (-); A to B"
    *tracks, _, by_mark, by_swap = figure.axes
    named = [text.get_text() for text in tracks[0].texts]
    assert [text for text in named if text in MARKS] == list(MARKS)
    for axis in (by_mark, by_swap):
        assert [label.get_text() for label in axis.get_yticklabels()] == list(MARKS)
    assert {"A", "B", f"predicted {view.log2fc:+.2f}", f"measured {view.measured:+.2f}"} <= set(shown)
    assert [text.split("\n")[0] for text in shown if "\n(" in text] == [
        "distance from the TSS", "body", "tes", "distal",
    ]  # fmt: skip
    assert by_mark.get_title("left") == "contribution by mark"
    np.testing.assert_allclose([bar.get_width() for bar in by_mark.patches], view.of_marks)


def test_the_area_below_a_track_is_what_its_windows_weigh(source: OpenedModel) -> None:
    """A single bin and a distal window of the same contribution cover the same area of the page."""
    from matplotlib.patches import StepPatch

    spans = source.pair.layout.spans
    weights = np.zeros((2, source.pair.n_windows))
    weights[0, [spans["tss"].start, spans["distal"].start]] = 1.5, -1.5
    figure = draw_gene(replace(view_of(source, 0), weights=weights))
    areas = {}
    for axis in figure.axes[:4]:
        size = axis.get_window_extent()
        across = size.width / np.diff(axis.get_xlim())[0], size.height / np.diff(axis.get_ylim())[0]
        for patch in axis.patches:
            assert isinstance(patch, StepPatch)
            if patch.get_hatch() is not None or patch.get_facecolor()[:3] == (213 / 255, 94 / 255, 0):
                values, edges, baseline = patch.get_data()
                heights = np.abs(values - baseline)
                areas[axis.get_xlabel().split("\n")[0]] = (heights * np.diff(edges)).sum() * np.prod(across)
    assert list(areas) == ["distance from the TSS", "distal"]
    assert areas["distal"] == pytest.approx(areas["distance from the TSS"], rel=1e-6)


def test_names_are_text_and_no_formulas(source: OpenedModel, tmp_path: Path) -> None:
    view = view_of(source, 0)
    name = np.array([r"G$\frac$<b>&"], dtype=object)
    odd = replace(view, gene=replace(view.gene, name=name), marks=("H3$", "H3$K"), cells=("A$", "$B"))
    figure = draw_gene(odd)
    figure.savefig(tmp_path / "x.svg")
    assert "G$\\frac$&lt;b&gt;&amp;" in (tmp_path / "x.svg").read_text()


def test_the_same_gene_is_the_same_file_and_several_are_pages(source: OpenedModel, tmp_path: Path) -> None:
    for name in ("one.svg", "two.svg"):
        write_pictures(source, np.array([2]), tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    for name in ("one.pdf", "two.pdf"):
        write_pictures(source, np.array([2, 0, 5]), tmp_path / name)
    data = (tmp_path / "one.pdf").read_bytes()
    assert data == (tmp_path / "two.pdf").read_bytes()
    assert len(re.findall(rb"/Type /Page\b", data)) == 3


@pytest.fixture(scope="module")
def run(toy_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    job = training(toy_store.path, "raw:d", settings=hyperparameters("default", epochs=1, hidden=4))
    return train(job, tmp_path_factory.mktemp("runs") / "run").path


def draw(run: Path, store: Store, genes: str, *words: object) -> int:
    return called(["gene", str(run), genes, "--store", str(store.path), "--threads", "1", *map(str, words)])


@pytest.mark.parametrize("suffix", ["svg", "png", "pdf"])
def test_the_command_draws_a_gene_by_name_or_id(
    run: Path, toy_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    assert draw(run, toy_store, "GENE7", "-o", tmp_path / f"name.{suffix}") == 0
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "positive = higher in B2" in shown.err
    assert draw(run, toy_store, toy_store.genes.id[7], "-o", tmp_path / f"id.{suffix}", "-q") == 0
    assert capsys.readouterr().err == ""
    assert (tmp_path / f"name.{suffix}").read_bytes() == (tmp_path / f"id.{suffix}").read_bytes()


@pytest.mark.parametrize(
    ("genes", "words", "code", "message"),
    [
        ("GENE99", ("-o", "x.svg"), 1, "no gene GENE99; did you mean GENE9"),
        ("GENE1,GENE2", ("-o", "x.svg"), 2, "2 genes (ENSG00000000001, ENSG00000000002) need a PDF"),
        ("GENE1", ("-o", "x.doc"), 2, "--output x.doc: give a name that ends in .png, .svg, .pdf"),
        ("GENE1", ("-o", "x.svg", "--by", "contribution"), 2, "raw:d does not add up its prediction"),
        ("GENE1", ("-o", "x.svg", "--by", "beta"), 2, "--by beta: unknown; choose one of attention"),
        ("GENE1", ("-o", "file/x.svg"), 1, "file/x.svg: cannot be written"),
    ],
)
def test_what_cannot_be_drawn_is_one_line_and_leaves_nothing(
    run: Path,
    toy_store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    genes: str,
    words: tuple[str, ...],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("kept")
    assert draw(run, toy_store, genes, *words) == code
    shown = capsys.readouterr().err
    assert message in shown
    assert shown.count("\n") == 1
    assert os.listdir(tmp_path) == ["file"]


def test_a_baseline_has_no_picture(
    toy_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ridge = fitting(toy_store.path, "ridge").make(tmp_path / "ridge")
    assert draw(ridge.path, toy_store, "GENE1", "-o", tmp_path / "x.svg") == 1
    assert "a baseline (ridge) has no model" in capsys.readouterr().err


def test_one_call_gives_the_figure(run: Path, toy_store: Store) -> None:
    model = dc.open_run(run).open(dc.open_store(toy_store.path))
    assert isinstance(model, dc.Model)
    figure = model.picture("GENE3")
    assert isinstance(figure, Figure)
    assert next(text for text in texts(figure) if text.startswith("GENE3 (ENSG"))
    with pytest.raises(UsageError, match="no gene GENE99"):
        model.picture("GENE99")
