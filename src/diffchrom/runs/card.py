"""A model card: what a model was made of, how good it is, and what it is not for, in Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from diffchrom.config import NORMALISE
from diffchrom.genome.regions import TSS
from diffchrom.pairs.choices import direction
from diffchrom.pairs.covariates import has_prior
from diffchrom.runs.folder import UNSEEN, RunConfig
from diffchrom.runs.pair_results import COLUMNS, PairResult, describe_results, read_results
from diffchrom.runs.tables import describe_accuracy, describe_labels


def model_card(config: RunConfig) -> str:
    """Markdown of a finished run."""
    sections = {
        "What it does": _purpose(config),
        "Data": _data(config),
        "Accuracy": _accuracy(config),
        "Checks and limits": _limits(config),
        "Made with": (f"{name} {version}" for name, version in config.versions.items()),
    }
    title = ",".join(config.pair) if not config.pairs else f"{len(config.pairs)} pairs of cells"
    parts = [f"# {config.method}, {title}"]
    for heading, lines in sections.items():
        parts.append("\n".join([f"## {heading}", "", *(f"- {line}" for line in lines)]))
        if heading == "Accuracy" and (table := _pairs_table(config)):
            parts.append(table)
    return "\n\n".join(parts) + "\n"


def _pairs_table(config: RunConfig) -> str:
    """Accuracy by pair, those with cells that were held out among them; empty of a run of one pair."""
    rows = [
        (result.pair, result.kind.replace("_", " "), str(result.n), *map(_brief, result.row()[3:]))
        for result in _results(config)
    ]
    header = ("pair", "cells", *(name.replace("_", " ") for name in COLUMNS[2:]))
    lines = [header, ("---",) * len(header), *rows] if rows else []
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _results(config: RunConfig) -> list[PairResult]:
    return read_results(config.details.get("pairs") or ())


def _brief(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _purpose(config: RunConfig) -> Iterator[str]:
    yield "Predicts log2 fold changes of genes' expression between two cells from their histone marks."
    yield f"{direction(config.pair)}; `diffchrom predict MODEL --pair C,D` for other cells."
    if has_prior(config.covariates):
        yield "It reads a gene prior: expression of the genes in two or more cells other than the pair's."


def _data(config: RunConfig) -> Iterator[str]:
    pairs = "; ".join(map(",".join, config.learnt))
    yield f"Trained on {pairs}; {config.store.get('n_genes', '?')} genes."
    if config.held_out:
        yield f"Cells held out, to be judged on them: {', '.join(config.held_out)}."
    if config.normalise != NORMALISE[0]:
        yield f"Signal is normalised ({config.normalise}): each cell's to the mean of those it learnt from."
    yield f"Marks, all of which it needs: {', '.join(config.marks)}."
    yield f"Windows: {config.window.described()}; regions {', '.join(tuple(config.regions) or (TSS,))}."
    yield f"Unit of expression: {config.unit or 'none, changes were given'}; split: {config.split}."
    yield f"Covariates: {', '.join(config.covariates) or 'none'}."


def _accuracy(config: RunConfig) -> Iterator[str]:
    yield f"Test genes of {','.join(config.pair)}: {describe_accuracy(config)}."
    test = config.metrics.get("test", {})
    yield from (f"Mean over pairs, {said}." for said in describe_results(_results(config)))
    if (without := test.get("pearson_without_shift")) is not None:
        yield f"Without the shift of its own pair, as for any other cells: r = {without:.3f}."
    yield from (f"{name}: {value:.4g}" for name, value in test.items() if name != "n" and value is not None)
    if coverage := (config.details.get("coverage") or {}).get("all"):
        yield f"90% intervals cover {coverage['coverage']:.1%} of {coverage['n']} test genes."


def _limits(config: RunConfig) -> Iterator[str]:
    yield (
        "Accuracy is of genes on chromosomes that were not trained on, in the cells that were: cells of "
        "other tissues, assays, depths or units of signal may be predicted worse."
    )
    unseen = "calibrated on cells that were left out in turn" if config.details.get(UNSEEN) else "missing"
    yield f"Intervals hold for its own cells; for others they are calibrated on measured genes, or {unseen}."
    yield "Predictions are associations: they do not say what would happen if a mark were changed."
    if said := describe_labels(config.details):
        yield f"Labels: {said}."
