"""The methods paragraph of the report: what was done, ready to paste, with citations and versions."""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping, Sequence
from typing import Any

from diffchrom._version import __version__
from diffchrom.baselines.methods import METHODS
from diffchrom.report.charts import count
from diffchrom.runs.folder import RunConfig
from diffchrom.sweeps.plan import BASELINE, DEEPDIFF
from diffchrom.sweeps.results import Result
from diffchrom.variants import VARIANTS

#: What is cited, by the word in the text.
CITATIONS = {
    "DeepDiff": (
        "Sekhon A, Singh R, Qi Y. DeepDiff: DEEP-learning for predicting DIFFerential gene expression from "
        "histone modifications. Bioinformatics 34(17):i891-i900, 2018. doi:10.1093/bioinformatics/bty612"
    ),
    "bootstrap": (
        "Künsch HR. The jackknife and the bootstrap for general stationary observations. Annals of "
        "Statistics 17:1217-1241, 1989."
    ),
    "intervals": (
        "Hesterberg TC. What teachers should know about the bootstrap. The American Statistician "
        "69:371-386, 2015."
    ),
    "Holm": (
        "Holm S. A simple sequentially rejective multiple test procedure. Scandinavian Journal of Statistics "
        "6:65-70, 1979."
    ),
    "Adam": "Kingma DP, Ba J. Adam: a method for stochastic optimization. ICLR 2015.",
}


def methods_text(results: Sequence[Result]) -> list[str]:
    """Paragraphs of the methods section."""
    configs = [result.run.config for result in results]
    models = [config for config in configs if config.kind == DEEPDIFF]
    baselines = sorted({config.variant for config in configs if config.kind == BASELINE})
    paragraphs = [_data(configs)]
    if models:
        paragraphs.append(_models(models))
    if baselines:
        described = "; ".join(map(_described, baselines))
        paragraphs.append(f"They were compared with {described}." if models else f"Methods: {described}.")
    paragraphs.append(_accuracy(results))
    versions = sorted(
        {f"{name} {version}" for config in configs for name, version in config.versions.items()}
    )
    paragraphs.append(
        f"Software: {', '.join(versions)}. This report: diffchrom {__version__} on Python "
        f"{platform.python_version()}."
    )
    return paragraphs


def _accuracy(results: Sequence[Result]) -> str:
    """How intervals were made, and methods compared where there are several."""
    blocks = {result.resampled["blocks"] > 0 for result in results}
    drawn = "blocks of 5 Mb (Künsch 1989)" if all(blocks) else "genes"
    if len(blocks) > 1:
        drawn = "blocks of 5 Mb (Künsch 1989), or over genes where coordinates are not known"
    said = (
        "Accuracy is reported on the test genes, with expanded percentile intervals (Hesterberg 2015) from a "
        f"bootstrap over {drawn}."
    )
    if len({result.label for result in results}) > 1:
        said += (
            " Methods were compared by the mean difference in Pearson's r, with its standard deviation over "
            "resamples drawn for both and Student's t, and p-values corrected after Holm (1979)."
        )
    return said


def _data(configs: Sequence[RunConfig]) -> str:
    first = configs[0]
    window = first.window
    pairs = sorted({", ".join(config.pair) for config in configs})
    marks = list(dict.fromkeys(mark for config in configs for mark in config.marks))
    splits = sorted({config.split for config in configs})
    train, valid, test = (_n(first, part) for part in ("train", "valid", "test"))
    if first.folds:
        dealt = (
            f"Models were cross-validated over {first.folds} folds of "
            f"{'whole chromosomes' if first.split.startswith('chromosome') else 'genes'}: each was tested "
            f"on one fold, chosen on the next and trained on the others ({test} genes of known change)."
        )
    else:
        dealt = (
            "Genes were divided into training, validation and test genes by the "
            f"split{'s' if len(splits) > 1 else ''} {', '.join(splits)} (for {', '.join(first.pair)}: "
            f"{train}, {valid} and {test} genes of known change)."
        )
    return (
        f"Signal of {len(marks)} histone marks ({', '.join(marks)}) was averaged in {window.n_bins} bins of "
        f"{window.bin_size} bp around the transcription start site (±{window.flank:,} bp, {window.orient} "
        f"orientation) of each gene. The target was {_target(configs)} for "
        f"{count(len(pairs), 'pair')} of cells ({'; '.join(pairs)}). {dealt}"
    )


def _target(configs: Sequence[RunConfig]) -> str:
    """What was predicted: changes derived from expression, changes of a table, or both."""
    tables = {config.pair: config.details.get("labels", {}).get("dialect", "") for config in configs}
    tools = sorted({dialect.removesuffix(" results") for dialect in tables.values() if dialect})
    units = sorted({config.unit for config in configs if not tables[config.pair]})
    named = [f"log2((B + 1) / (A + 1)) of expression ({', '.join(units)})"] if units else []
    if tools:
        pairs = "; ".join(", ".join(pair) for pair in sorted(tables) if tables[pair])
        where = f" ({pairs})" if units else ""
        named.append(f"the log2 fold change, B over A, that {' and '.join(tools)} estimated{where}")
    return " or ".join(named)


def _models(models: Sequence[RunConfig]) -> str:
    used = {config.variant for config in models}
    presets = {config.preset: config.hyperparameters for config in models}
    seeds = {config.seed for config in models}
    recipes = "; ".join(f"{preset}: {_recipe(values)}" for preset, values in sorted(presets.items()))
    names = ", ".join(name for name in VARIANTS if name in used)
    return (
        f"DeepDiff models (Sekhon et al. 2018; variants {names}) were trained with Adam (Kingma and Ba 2015) "
        f"and {count(len(seeds), 'seed')} ({recipes}); the weights of the epoch with the highest validation "
        "Pearson correlation were kept."
    )


def _recipe(values: Mapping[str, Any]) -> str:
    scaled = ", standardised by mark on the training genes" if values.get("standardise") else ""
    return (
        f"learning rate {values.get('lr')}, batches of {values.get('batch_size')}, at most "
        f"{values.get('epochs')} epochs, {values.get('transform')} signal{scaled}"
    )


def _described(baseline: str) -> str:
    """A baseline with its summary and, where the table cites one, its paper."""
    if baseline not in METHODS:
        return baseline
    method = METHODS[baseline]
    cited = f"; {method.reference}" if re.search(r"\d{4}", method.reference) else ""
    return f"{baseline} ({method.summary}{cited})"


def _n(config: RunConfig, part: str) -> str:
    value = config.metrics.get(part, {}).get("n")
    return "?" if value is None else f"{int(value):,}"
