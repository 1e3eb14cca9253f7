"""Every format for every variant on measured data, read back by parsers that are not ours."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pyBigWig
import pytest

from attention_tools import random_source
from diffchrom.attention.export import ExportOptions, export
from diffchrom.attention.tracks import track_name
from diffchrom.errors import InputError
from diffchrom.prepare.building import prepare
from diffchrom.prepare.request import PrepareRequest
from diffchrom.store.store import Store
from diffchrom.variants import VARIANTS


@pytest.fixture(scope="module")
def pilot(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Two marks of H1 and GM12878 in the ENCODE pilot regions."""
    folder = tmp_path_factory.mktemp("pilot")
    bigwigs = tuple(
        path
        for path in sorted((shared_data / "roadmap_pilot").rglob("*"))
        if path.suffix.lower() in (".bw", ".bigwig") and ("H3K4me3" in path.name or "H3K27me3" in path.name)
    )
    gtf = shared_data / "gtf" / "roadmap_genes_hg19.gtf.gz"
    prepare(PrepareRequest(folder / "s.h5", gtf=gtf, bigwigs=bigwigs, threads=1))
    return Store(folder / "s.h5")


def some_genes(store: Store) -> np.ndarray:
    """A dozen genes with signal, on both strands."""
    cell = store.cells()[0]
    covered = np.flatnonzero(store.signal(cell, store.marks(cell)).any(axis=(1, 2)))
    return covered[:: max(1, len(covered) // 12)][:12]


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_format_is_produced_from_measured_tracks(pilot: Store, tmp_path: Path, variant: str) -> None:
    source = random_source(pilot, variant)
    rows = some_genes(pilot)
    n = len(source.sequences)
    export(source, rows, ExportOptions(), tmp_path / "x.tsv.gz")
    table = pd.read_csv(tmp_path / "x.tsv.gz", sep="\t")
    assert len(table) == len(rows) * n * 200
    np.testing.assert_allclose(table.groupby(["gene_id", "block", "mark"])["alpha"].sum(), 1, atol=1e-5)
    export(source, rows, ExportOptions(wide=True), tmp_path / "wide.tsv")
    assert len(pd.read_csv(tmp_path / "wide.tsv", sep="\t")) == len(rows) * n
    export(source, rows, ExportOptions(level="mark"), tmp_path / "mark.tsv")
    beta = pd.read_csv(tmp_path / "mark.tsv", sep="\t")
    np.testing.assert_allclose(beta.groupby(["gene_id", "task"])["beta"].sum(), 1, atol=1e-5)

    export(source, rows, ExportOptions(format="bed", top=5), tmp_path / "x.bed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pyranges 0.1 under pandas 3
        import pyranges

        bed = pyranges.read_bed(str(tmp_path / "x.bed"), as_df=True)
    assert (bed["End"] - bed["Start"]).sum() == len(rows) * n * 5 * 100
    assert set(bed["Strand"]) == {"+", "-"}

    export(source, rows, ExportOptions(format="bedgraph"), tmp_path / "bedgraph")
    export(source, rows, ExportOptions(format="bigwig"), tmp_path / "bigwig")
    for sequence in source.sequences:
        name = track_name(sequence)
        lines = pd.read_csv(tmp_path / "bedgraph" / f"{name}.bedgraph", sep="\t", header=None)
        with pyBigWig.open(str(tmp_path / "bigwig" / f"{name}.bw")) as file:
            assert file.header()["nBasesCovered"] == (lines[2] - lines[1]).sum()
            chrom, start, end, value = lines.iloc[len(lines) // 2]
            assert file.values(chrom, start, end)[0] == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_authors_sample_has_tables_but_no_coordinates(
    shared_data: Path, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, variant: str
) -> None:
    folder = tmp_path_factory.getbasetemp() / "sample"
    folder.mkdir(exist_ok=True)
    if not (folder / "s.h5").exists():
        prepare(PrepareRequest(folder / "s.h5", deepdiff=shared_data / "deepdiff_sample", threads=1))
    source = random_source(Store(folder / "s.h5"), variant)
    rows = np.arange(0, 400, 40)
    export(source, rows, ExportOptions(), tmp_path / "x.tsv")
    text = (tmp_path / "x.tsv").read_bytes()
    table = pd.read_csv(io.BytesIO(text), sep="\t")
    assert len(table) == 10 * len(source.sequences) * 200
    assert table[["chrom", "start", "end"]].isna().all().all()
    np.testing.assert_allclose(table.groupby(["gene_id", "block", "mark"])["alpha"].sum(), 1, atol=1e-5)
    for name in ("bed", "bedgraph", "bigwig"):
        with pytest.raises(InputError, match="10 of 10 genes have no genome coordinates"):
            export(source, rows, ExportOptions(format=name), tmp_path / "out")
