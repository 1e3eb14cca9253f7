"""From runs to sections: what a report tells, and what it leaves out for want of a store."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from diffchrom.errors import StoreError
from diffchrom.pairs.choices import direction
from diffchrom.progress import SILENT, Reporter
from diffchrom.report import comparison as methods
from diffchrom.report import data, results
from diffchrom.report.charts import Palette, count
from diffchrom.report.methods_text import CITATIONS, methods_text
from diffchrom.report.page import Part, Section, render
from diffchrom.report.unseen import unseen_section
from diffchrom.report.verdicts import best_method, predicts
from diffchrom.runs.tables import describe_labels
from diffchrom.store.store import Store
from diffchrom.sweeps.comparison import Comparison, compare_groups
from diffchrom.sweeps.jobs import DEEPDIFF
from diffchrom.sweeps.results import Result, load_results

Pair = tuple[str, str]


def build_report(
    paths: Sequence[str | Path],
    *,
    store: str | Path | None = None,
    title: str | None = None,
    force: bool = False,
    reporter: Reporter = SILENT,
    device: str = "auto",
) -> str:
    """Make the HTML page about runs.

    Parameters
    ----------
    paths : runs, or folders of them.
    store : where the runs' store is now; None is where it was when they were made. Without it, what needs
        signal (quality of the data, attention) is left out with a warning.
    title : of the page.
    force : see `results.load_results`.
    reporter : where progress and warnings go.
    device : where attention is computed.
    """
    found = load_results(paths, force=force, reporter=reporter)
    stores = open_stores(found, store, reporter)
    comparisons = compare_groups(found, reporter=reporter)
    labels = list(dict.fromkeys(label for comparison in comparisons for label in comparison.labels))
    palette = Palette(labels)
    shown = results.shown_results(found)
    sections = [
        _summary(found, comparisons),
        _data(found, stores, reporter),
        _accuracy(found, comparisons, palette),
        unseen_section(paths, palette),
        _predictions(shown, palette),
        _training(found, palette),
        *_attention(shown, stores, reporter, device),
        _methods(found),
    ]
    pairs = sorted({", ".join(result.pair) for result in found})
    heading = title or f"Expression changes from histone marks: {'; '.join(pairs[:3])}"
    if title is None and len(pairs) > 3:
        heading += f" and {len(pairs) - 3} more pairs"
    subtitle = f"{count(len(found), 'run')} of {count(len(labels), 'method')}"
    subtitle += f" on {count(len(pairs), 'pair')} of cells"
    return render(heading, subtitle, [section for section in sections if section])


def open_stores(
    found: Sequence[Result], store: str | Path | None, reporter: Reporter = SILENT
) -> dict[Pair, Store]:
    """Open the store of each pair, as far as it is there and still holds what the runs were made from.

    Raises
    ------
    StoreError
        When `store` was named and cannot be opened, or holds something else.
    """
    stores: dict[Pair, Store] = {}
    opened: dict[str, Store] = {}
    missing: set[str] = set()
    for result in found:
        recorded = result.run.config.store
        path = str(store or recorded.get("path", ""))
        if result.pair in stores or path in missing:
            continue
        try:
            held = opened.setdefault(path, Store(path)) if path not in opened else opened[path]
            if held.fingerprint(result.pair) != recorded.get("fingerprint"):
                raise StoreError(f"{path}: is not what {result.run.path} was made from")
        except StoreError as error:
            if store is not None:
                raise
            missing.add(path)
            reporter.warn(f"{error}; without it the report has no tracks and no attention (give `store`)")
            continue
        stores[result.pair] = held
    return stores


def _summary(found: Sequence[Result], comparisons: Sequence[Comparison]) -> Section:
    sentences, parts = [f"{direction(*(result.pair for result in found))}."], []
    if len(comparisons) > 1:
        sentences.append(
            f"These runs are of {len(comparisons)} groups that cannot be compared with one another, as they "
            "were not tested on the same genes and data."
        )
    for comparison in comparisons:
        if len(comparison.labels) < 2:
            continue
        sentences.append(_ranking(comparison))
        title = "Methods (Table 1 of the paper)" + (f": {comparison.group}" if comparison.group else "")
        parts.append(Part("table", title, table=methods.table_1(comparison)))
    sentences += [_accuracy_of(result) for result in (found if len(found) == 1 else [])]
    return Section("summary", "Summary", parts, sentences)


def _ranking(comparison: Comparison) -> str:
    predicts, verdict = best_method(comparison)
    group = f"{comparison.group}: " if comparison.group else ""
    if not predicts:
        said = f"{group}{verdict}."
        return said[0].upper() + said[1:]
    where = f"{group}highest" if group else "Highest"
    return (
        f"{where} mean Pearson r on the test genes: {comparison.labels[0]}, "
        f"{methods.shown_mean(comparison.r[0])} over {count(len(comparison.pairs), 'pair')}; {verdict}."
    )


def _accuracy_of(result: Result) -> str:
    row = result.row()
    name = f"{result.label} on {', '.join(result.pair)}"
    if row["pearson"] is None:
        why = "r is undefined on one test gene" if row["n"] == 1 else "predicts one value for all genes"
        return f"{name}: {why}." if row["n"] == 1 else f"{name} {why}."
    doubt = "" if predicts(result) else ", not distinguishable from 0"
    return f"{name}: Pearson r {results.with_interval(row, 'pearson')} on {row['n']} test genes{doubt}."


def _data(found: Sequence[Result], stores: dict[Pair, Store], reporter: Reporter) -> Section:
    from diffchrom.inspection.summary import summarise_store

    parts = [Part("table", "What the runs were made from", table=data.provenance_table(found))]
    paths = list(dict.fromkeys(str(store.path) for store in stores.values()))
    for number, path in enumerate(paths):
        held = Store(path)
        summary = summarise_store(held, reporter=reporter)
        named = f" of {Path(path).name}" if len(paths) > 1 else ""
        parts += [
            Part("table", f"Tracks{named}: coverage and quality", table=data.tracks_table(summary)),
            Part("chart", chart=data.profiles(summary, held.window, f"profiles{number or ''}")),
            Part("table", f"Expression{named}", table=data.expression_table(summary)),
            Part("table", f"Splits{named}", table=data.splits_table(summary)),
        ]
    notes = (
        [] if stores else ["The store was not at hand when this report was made; its tracks are not shown."]
    )
    return Section("data", "Data", parts, notes)


def _accuracy(found: Sequence[Result], comparisons: Sequence[Comparison], palette: Palette) -> Section:
    parts = []
    if len(found) > 1:
        parts.append(Part("chart", chart=methods.methods_chart(comparisons, palette)))
    parts += [Part("chart", chart=chart) for chart in methods.contrast_charts(comparisons)]
    parts.append(Part("table", "All runs, test genes, with 95% intervals", table=results.runs_table(found)))
    known = {result.pair: describe_labels(result.run.config.details) for result in found}
    notes = [results.metrics_legend()]
    notes += [f"{', '.join(pair)}: {said}." for pair, said in known.items() if said]
    return Section("accuracy", "Accuracy", parts, notes)


def _predictions(shown: Sequence[Result], palette: Palette) -> Section:
    charts = (results.scatter(shown, palette), results.calibration(shown, palette))
    return Section("predictions", "Predictions", [Part("chart", chart=chart) for chart in charts])


def _training(found: Sequence[Result], palette: Palette) -> Section | None:
    chart = results.training_curves(found, palette)
    return Section("training-curves", "Training curves", [Part("chart", chart=chart)]) if chart else None


def _attention(
    shown: Sequence[Result], stores: dict[Pair, Store], reporter: Reporter, device: str
) -> list[Section]:
    if not any(result.run.config.kind == DEEPDIFF and result.pair in stores for result in shown):
        return []
    from diffchrom.report import attention, pictures

    attended = attention.attended_runs(shown, stores, reporter, device)
    if not attended:
        return []
    marks = (attention.figure_5(attended), attention.attention_around_tss(attended))
    return [
        Section("attention", "Attention", [Part("chart", chart=chart) for chart in marks]),
        Section("genes-section", "Genes", [Part("chart", chart=attention.genes(attended))]),
        Section("pictures", "Greatest changes", pictures.pictures(attended), [pictures.PARAGRAPH]),
    ]


def _methods(found: Sequence[Result]) -> Section:
    parts = [
        Part("text", "Text to paste", text=methods_text(found)),
        Part("list", "References", text=list(CITATIONS.values())),
    ]
    return Section("methods", "Methods", parts)
