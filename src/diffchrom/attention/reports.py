"""What `diffchrom attend` reports: attention, groups of genes, checks, perturbations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

import numpy.typing as npt

from diffchrom.attention.chance import no_better_than_chance
from diffchrom.attention.check import SAMPLE, Check, check
from diffchrom.attention.evenness import even_attention
from diffchrom.attention.export import ExportOptions, export
from diffchrom.attention.groups import GroupRule, collect, group_table
from diffchrom.attention.perturbation import parse_perturbations, write_perturbations
from diffchrom.attention.plots import heat_map_path, plot_curves, plot_distance, plot_groups
from diffchrom.attention.rivals import open_others, sibling_runs
from diffchrom.attention.verdicts import Finding
from diffchrom.attention.weights import ATTENTION, Weights
from diffchrom.deepdiff.opened import OpenedModel
from diffchrom.files.figures import check_figure_path, save_figure
from diffchrom.files.tables import format_row, write_table
from diffchrom.files.whole import output_text
from diffchrom.genome.genes import Rows
from diffchrom.progress import SILENT, Reporter, noting
from diffchrom.runs.folder import Run


def report_weights(
    opened: OpenedModel,
    rows: Rows,
    wanted: ExportOptions,
    output: Path,
    reporter: Reporter = SILENT,
) -> None:
    """Write weights as `export` does, and say of attention where it is no better than chance."""

    def said() -> list[str]:
        return [no_better_than_chance(opened)] if wanted.by == ATTENTION else []

    with noting(reporter, said):
        export(opened, rows, wanted, output, reporter)


def report_groups(
    opened: OpenedModel,
    rows: Rows,
    rule: GroupRule,
    output: Path,
    plot: Path | None = None,
    *,
    by: str = ATTENTION,
    seed: int = 0,
    reporter: Reporter = SILENT,
) -> None:
    """Write Figure 5's table, and with `plot` its bars there and the heat map beside it."""
    if plot is not None:
        check_figure_path(plot)
    weights = Weights.of(opened, by)
    groups = collect(weights, rows, rule, reporter)
    table = group_table(groups, seed)

    def said() -> list[str]:
        return [] if weights.kind.signed else [even_attention(opened, rows, seed)]

    with noting(reporter, said), output_text(output) as stream:
        write_table(stream, table)
    if plot is not None:
        save_figure(plot_groups(table, groups.kind), plot)
        save_figure(plot_distance(groups), heat_map_path(plot))
        bars, map_ = groups.kind.of_marks, groups.kind.of_windows
        reporter.note(f"bars of {bars} in {plot}, heat map of {map_} in {heat_map_path(plot)}")


def report_check(
    run: Run,
    opened: OpenedModel,
    rows: Rows,
    others: Sequence[Path],
    output: Path,
    plot: Path | None = None,
    *,
    size: int = SAMPLE,
    seed: int = 0,
    device: str = "auto",
    reporter: Reporter = SILENT,
) -> Check:
    """Check a run's attention, write the table (and the curves to `plot`), and say what came out.

    Without `others`, runs beside `run` that differ only in the seed, or in the fold, are compared.
    """
    if plot is not None:
        check_figure_path(plot)
    runs = [Run.open(path) for path in others] or sibling_runs(run)
    with output_text(output) as stream:
        siblings = open_others(opened, runs, opened.pair.store, device)
        result = check(opened, rows, siblings, size=size, seed=seed, reporter=reporter)
        for sentence in result.notes:
            reporter.note(sentence)
        for sentence in result.warnings:
            reporter.warn(sentence)
        stream.write(format_row(field.name for field in fields(Finding)) + "\n")
        stream.writelines(format_row(astuple(finding)) + "\n" for finding in result.findings)
    if plot is not None:
        save_figure(plot_curves(result.curves), plot)
    return result


def report_perturbations(
    opened: OpenedModel,
    rows: Rows,
    texts: Sequence[str],
    output: Path,
    summary: Path | None = None,
    *,
    reporter: Reporter = SILENT,
) -> Mapping[str, npt.NDArray[Any]]:
    """Write each gene's change under each perturbation, and one line a perturbation to `summary`."""
    perturbations = parse_perturbations(opened, texts)
    table = write_perturbations(opened, rows, perturbations, output, reporter)
    if summary is not None:
        with output_text(summary) as stream:
            write_table(stream, table)
    return table
