"""Which marks, which depth, how many genes: the tables of docs/which-data.md, by ridge.

python examples/which-data/measure.py SHARED_DATA WORK
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import diffchrom as dc
from diffchrom.store.store import Store, create

CORE = ["H3K4me1", "H3K4me3", "H3K9me3", "H3K27me3", "H3K36me3"]


def measured(store: str | Path, cells: tuple[str, str], **options: object) -> tuple[float, int]:
    """Pearson's r of ridge on the test genes, and their number."""
    pair = dc.open_store(store).pair(*cells, **options)
    metrics = dc.fit_baseline(pair, "ridge").metrics
    return metrics["pearson"], int(metrics["n"])


def prepared(store: Path, **inputs: object) -> Path:
    if not store.exists():
        dc.prepare_store(store, **inputs)
    return store


def genes(data: Path, work: Path) -> None:
    tracks = sorted((data / "segmentation").glob("E1[12][67]*.b*w*"))
    store = prepared(
        work / "segmentation.h5", gtf=data / "gtf/gencode_v10_genes_hg19.gtf.gz", bigwigs=tracks,
        regions=("tss",), expression=str(data / "expression/roadmap_rpkm.tsv.gz"),
    )  # fmt: skip
    for n in (100, 300, 1000, 3000, 6000, None):
        split = "chromosome" if n is None else f"chromosome.train{n}"
        r, tested = measured(store, ("E116", "E127"), split=split)
        print("genes", n or "all", f"{r:.3f}", tested, sep="\t", flush=True)


def marks(data: Path, work: Path) -> None:
    tracks = sorted((data / "binary5kb").glob("E1[12][86]*.b*w*"))
    store = prepared(
        work / "binary.h5", gtf=data / "gtf/gencode_v10_genes_hg19.gtf.gz", bigwigs=tracks, regions=("tss",),
        expression=str(data / "expression/roadmap_rpkm_53cells.tsv.gz"),
    )  # fmt: skip
    known = set(Store(store).common_marks(("E116", "E118")))
    for chosen in (
        ["H3K4me3"],
        ["H3K4me3", "H3K27ac"],
        CORE,
        *([*CORE, extra] for extra in sorted(known - set(CORE))),
    ):
        chosen = [mark for mark in chosen if mark in known]
        r, tested = measured(store, ("E116", "E118"), marks=chosen)
        print("marks", "+".join(chosen), f"{r:.3f}", tested, sep="\t", flush=True)
    r, tested = measured(store, ("E116", "E118"), marks=[*CORE, "H3K79me2", "H3K27ac"])
    print("marks", "core+H3K79me2+H3K27ac", f"{r:.3f}", tested, sep="\t", flush=True)


def depth(data: Path, work: Path) -> None:
    whole = Store(prepared(work / "sample.h5", deepdiff=data / "deepdiff_sample"))
    cells = whole.cells()
    for share in (1.0, 0.5, 0.25, 0.1, 0.05, 0.02, 0.01):
        values = []
        for seed in range(3 if share < 1 else 1):
            thin = work / f"thin.{share}.{seed}.h5"
            if not thin.exists():
                rng = np.random.default_rng(seed)
                store = create(thin, whole.genes, whole.window)
                with store.edit() as editor:
                    for cell in cells:
                        for mark in whole.marks(cell):
                            counts = whole.signal(cell, [mark])[:, 0].astype(np.int64)
                            signal = rng.binomial(counts, share).astype(np.float32)
                            editor.add_signal(cell, mark, signal, {"unit": "counts", "source": "thinned"})
                        editor.add_expression(cell, "counts", whole.expression(cell, "counts"))
                    editor.add_split("published", whole.split("published"))
            values.append(measured(thin, cells, split="published")[0])
        print("depth", share, f"{np.mean(values):.3f}", f"{np.std(values):.3f}", sep="\t", flush=True)


if __name__ == "__main__":
    shared, folder = map(Path, sys.argv[1:])
    folder.mkdir(parents=True, exist_ok=True)
    depth(shared, folder)
    marks(shared, folder)
    genes(shared, folder)
