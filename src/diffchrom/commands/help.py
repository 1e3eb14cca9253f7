"""What ``--help`` shows beyond options: two examples a command, and what few need in a panel of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ADVANCED = "Advanced options"
#: Parameters that go to the panel `ADVANCED`, by command; others stay where they are declared.
ADVANCED_OPTIONS: Mapping[str, frozenset[str]] = {
    "prepare": frozenset({"dask", "time_limit", "threads", "seed", "force", "replace"}),
    "train": frozenset(
        {"epochs", "batch_size", "lr", "patience", "ensemble", "hidden", "dropout", "precision"}
        | {"aux_task", "cell_weight", "weight_by_se", "memory", "no_ridge", "unit", "force", "normalise"}
        | {"contrastive", "contrastive_weight", "contrastive_dropout", "margin", "change_threshold"}
    ),
    "predict": frozenset({"device", "threads"}),
    "attend": frozenset(
        {"wide", "combine", "min_weight", "other", "sample", "summary", "group_by", "genome"}
        | {"device", "seed"}
    ),
    "gene": frozenset({"device", "threads"}),
    "baseline": frozenset({"unit", "force", "seeds", "device", "normalise"}),
    "sweep": frozenset({"dask", "presets", "epochs", "unit", "normalise"}),
    "compare": frozenset({"force", "resamples", "seed"}),
    "report": frozenset({"force", "title", "device"}),
}
#: Command lines that work where a store and a run are.
EXAMPLES: Mapping[str, tuple[str, str]] = {
    "prepare": (
        "prepare --gtf genes.gtf --bigwigs E116/*.bw --bigwigs E123/*.bw --expression counts.tsv",
        "prepare --gtf genes.gtf --bigwigs results/ --samples samplesheet.csv --control subtract",
    ),
    "train": ("train", "train --pair E116,E123 --variant aux+siamese --folds 5"),
    "predict": (
        "predict runs/E116-E123.additive.default.seed0 > predictions.tsv",
        "predict runs/E116-E123.additive.default.seed0 --split test --top 50 --up",
    ),
    "attend": (
        "attend runs/E116-E123.aux+siamese.default.seed0 --level mark",
        "attend runs/E116-E123.aux+siamese.default.seed0 --format bed -o attention.bed.gz",
    ),
    "gene": (
        "gene runs/E116-E123.additive.default.seed0 RUNX1 -o runx1.svg",
        "gene runs/E116-E123.additive.default.seed0 RUNX1,GATA1,TAL1 -o genes.pdf",
    ),
    "export": (
        "export runs/E116-E123.additive.default.seed0 -o model.diffchrom",
        "export runs/E116-E123.additive.default.seed0 -o model.diffchrom --card model.md",
    ),
    "baseline": ("baseline", "baseline --method ridge,svr-two-layer --pair E116,E123"),
    "sweep": (
        "sweep --pairs E116,E123 E116,E003 --variants additive --baselines ridge --dry-run",
        "sweep --plan plan.toml --out sweep",
    ),
    "compare": ("compare runs/*", "compare sweep --summary --plot figure4.svg"),
    "report": ("report runs/E116-E123.additive.default.seed0", "report sweep -o sweep.html"),
    "info": ("info", "info runs/E116-E123.additive.default.seed0 --json"),
    "demo": ("demo", "demo --out trial --seed 1"),
}


def panel_of(command: str, parameter: Any) -> str:
    """Return the heading under which a parameter stands."""
    if parameter.param_type_name == "argument":
        return "Arguments"
    if parameter.name in ADVANCED_OPTIONS.get(command, ()):
        return ADVANCED
    return parameter.rich_help_panel or "Options"


def write_options(command: str, parameters: list[Any], context: Any, formatter: Any) -> None:
    """Write parameters under their headings, the advanced ones last."""
    panels: dict[str, list[tuple[str, str]]] = {}
    for parameter in parameters:
        record = parameter.get_help_record(context)
        if record is not None:
            panels.setdefault(panel_of(command, parameter), []).append(record)
    for heading in sorted(panels, key=lambda heading: heading == ADVANCED):
        with formatter.section(heading):
            formatter.write_dl(panels[heading])


def write_examples(command: str, formatter: Any) -> None:
    """Write the examples as they are typed, each on one line."""
    if command in EXAMPLES:
        with formatter.section("Examples"):
            for example in EXAMPLES[command]:
                formatter.write(f"{'':{formatter.current_indent}}diffchrom {example}\n")
