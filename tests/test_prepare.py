"""`prepare` from the first file to the store: what it understands, refuses, skips and leaves behind."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyBigWig
import pytest

import worker_tasks
from diffchrom.errors import DiffchromError, InputError, StoreError, UsageError
from diffchrom.genome.windows import Windows
from diffchrom.inspection.summary import summarise_store
from diffchrom.prepare.building import prepare
from diffchrom.prepare.genes import assayed, is_dense
from diffchrom.prepare.request import PrepareRequest
from diffchrom.prepare.track_reading import read_track
from diffchrom.store.store import Store

SIZES = {"chr1": 40_000, "chr2": 30_000}
#: id, chrom, start, end (1-based, closed, as in GTF), strand
GENES = [
    ("ENSG00000000001", "chr1", 10_001, 12_000, "+"),
    ("ENSG00000000002", "chr1", 18_001, 20_000, "-"),
    ("ENSG00000000003", "chr2", 501, 900, "+"),
    ("ENSG00000000004", "chr2", 15_001, 16_000, "-"),
]


def write_gtf(path: Path, genes: list[tuple[str, str, int, int, str]] = GENES) -> Path:
    lines = [
        f'{chrom}\tx\tgene\t{start}\t{end}\t.\t{strand}\t.\tgene_id "{gene}"; gene_name "N{gene[-1]}"; '
        'gene_type "protein_coding";\n'
        for gene, chrom, start, end, strand in genes
    ]
    path.write_text("".join(lines))
    return path


def write_bigwig(path: Path, seed: int, sizes: dict[str, int] = SIZES, step: int = 50) -> Path:
    rng = np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    with pyBigWig.open(str(path), "w") as track:
        track.addHeader(list(sizes.items()))
        for chrom, size in sizes.items():
            values = rng.integers(1, 100, size // step).astype(float)
            track.addEntries(chrom, 0, values=values, span=step, step=step)
    return path


@pytest.fixture
def inputs(tmp_path: Path) -> PrepareRequest:
    """Two cells x two marks, four genes, a matrix of expression."""
    names = ("E1-H3K4me3", "E1-H3K27me3", "E2-H3K4me3", "E2-H3K27me3")
    tracks = tuple(write_bigwig(tmp_path / f"{name}.bw", seed) for seed, name in enumerate(names))
    expression = tmp_path / "rpkm.tsv"
    rows = [f"{gene[0]}\t{i}.5\t{2 * i}.25\n" for i, gene in enumerate(GENES)]
    expression.write_text("gene_id\tE1\tE2\n" + "".join(rows))
    return PrepareRequest(
        store=tmp_path / "s.h5",
        gtf=write_gtf(tmp_path / "genes.gtf"),
        bigwigs=tracks,
        expression=(str(expression),),
        flank=1000,
        threads=1,
    )


def window_values(path: Path, chrom: str, first: int, n_bins: int, bin_size: int) -> np.ndarray:
    """One window through pyBigWig, base by base, zeros beyond the ends."""
    with pyBigWig.open(str(path)) as track:
        base = np.zeros(n_bins * bin_size)
        low, high = max(first, 0), min(first + len(base), track.chroms(chrom))
        base[low - first : high - first] = np.nan_to_num(track.values(chrom, low, high, numpy=True))
    return base.reshape(n_bins, bin_size).mean(axis=1).astype(np.float32)


def leftovers(folder: Path) -> set[str]:
    """What is hidden in a folder beside lock files, which stay."""
    names = {path.name for path in folder.iterdir() if path.name.startswith(".")}
    return {name for name in names if not name.endswith(".lock")}


def test_signal_stands_by_hand_computed_windows_and_strands(inputs: PrepareRequest) -> None:
    store = prepare(inputs).store
    assert store.cells() == ("E1", "E2")
    assert store.marks("E1") == ("H3K4me3", "H3K27me3")
    signal = store.signal("E2", ["H3K27me3"])[:, 0]
    path = inputs.bigwigs[3]
    # + strand, first base (0-based) 10,000: window 9,000 to 11,000.
    np.testing.assert_array_equal(signal[0], window_values(path, "chr1", 9_000, 20, 100))
    # - strand, last base (0-based) 19,999: its 5' edge is 20,000; bin 1 is upstream, so it is flipped.
    np.testing.assert_array_equal(signal[1], window_values(path, "chr1", 19_000, 20, 100)[::-1])
    # The window begins 500 bases before the chromosome.
    np.testing.assert_array_equal(signal[2], window_values(path, "chr2", -500, 20, 100))
    assert (signal[2, :5] == 0).all()


def test_genome_orientation_flips_nothing(inputs: PrepareRequest) -> None:
    store = prepare(replace(inputs, orient="genome")).store
    signal = store.signal("E1", ["H3K4me3"])[1, 0]
    np.testing.assert_array_equal(signal, window_values(inputs.bigwigs[0], "chr1", 19_000, 20, 100))


def test_expression_is_joined_and_attributes_tell_where_all_came_from(inputs: PrepareRequest) -> None:
    result = prepare(inputs)
    np.testing.assert_array_equal(result.store.expression("E2", "rpkm"), [0.25, 2.25, 4.25, 6.25])
    attrs = result.store.signal_attrs("E1", "H3K4me3")
    assert attrs["source"] == str(inputs.bigwigs[0])
    assert attrs["source_size"] == inputs.bigwigs[0].stat().st_size
    assert json.loads(result.store.attrs["notes"]) == list(result.notes)
    assert leftovers(inputs.store.parent) == set()


def test_a_second_run_reads_nothing_again(inputs: PrepareRequest) -> None:
    prepare(inputs)
    before = inputs.store.read_bytes()
    again = prepare(inputs)
    assert len(again.unchanged) == 4
    assert again.added == ()
    assert inputs.store.read_bytes() == before


def test_cells_marks_and_labels_can_be_added_later(inputs: PrepareRequest, tmp_path: Path) -> None:
    whole = prepare(replace(inputs, store=tmp_path / "whole.h5")).store
    prepare(replace(inputs, bigwigs=inputs.bigwigs[:1], expression=()))
    prepare(PrepareRequest(store=inputs.store, bigwigs=inputs.bigwigs[1:], threads=1))
    grown = prepare(PrepareRequest(store=inputs.store, expression=inputs.expression)).store
    for cell in whole.cells():
        marks = whole.marks(cell)
        np.testing.assert_array_equal(grown.signal(cell, marks), whole.signal(cell, marks))
        np.testing.assert_array_equal(grown.expression(cell, "rpkm"), whole.expression(cell, "rpkm"))


def test_a_changed_file_is_refused_until_replace_is_given(inputs: PrepareRequest) -> None:
    prepare(inputs)
    write_bigwig(inputs.bigwigs[0], seed=99)
    with pytest.raises(StoreError, match=r"has H3K4me3 of E1 already.*`replace`"):
        prepare(inputs)
    result = prepare(replace(inputs, replace=True))
    assert result.added == (("E1", "H3K4me3"),)
    signal = result.store.signal("E1", ["H3K4me3"])[0, 0]
    np.testing.assert_array_equal(signal, window_values(inputs.bigwigs[0], "chr1", 9_000, 20, 100))


def test_tes_windows_stand_beside_tss_windows(inputs: PrepareRequest) -> None:
    prepare(inputs)
    store = prepare(replace(inputs, regions=("tes_bins",))).store
    signal = store.region_signal("E1", "tes_bins", ["H3K4me3"])[:, 0]
    # + strand, last base 11,999; its 5' edge is 11,999.
    np.testing.assert_array_equal(signal[0], window_values(inputs.bigwigs[0], "chr1", 10_999, 20, 100))


def test_replicates_are_scaled_and_averaged(inputs: PrepareRequest, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.tsv"
    one, two = inputs.bigwigs[0].name, inputs.bigwigs[1].name
    sheet.write_text(
        f"cell\tmark\tpath\treplicate\tscale\nA\tH3K4me3\t{one}\t1\t2\nA\tH3K4me3\t{two}\t2\t0.5\n"
    )
    store = prepare(replace(inputs, bigwigs=(), expression=(), samples=sheet)).store
    want = (
        2 * window_values(inputs.bigwigs[0], "chr1", 9_000, 20, 100)
        + 0.5 * window_values(inputs.bigwigs[1], "chr1", 9_000, 20, 100)
    ) / 2
    np.testing.assert_allclose(store.signal("A", ["H3K4me3"])[0, 0], want, rtol=1e-6)
    attrs = store.signal_attrs("A", "H3K4me3")
    assert attrs["source"].count("\n") == 1
    assert attrs["scale"].tolist() == [2, 0.5]


@pytest.mark.parametrize("mode", ["subtract", "log-ratio"])
def test_a_control_is_subtracted_or_divided_by(inputs: PrepareRequest, tmp_path: Path, mode: str) -> None:
    sheet = tmp_path / "sheet.tsv"
    one, two = inputs.bigwigs[0].name, inputs.bigwigs[1].name
    sheet.write_text(f"cell\tmark\tpath\tcontrol\nA\tH3K4me3\t{one}\t{two}\n")
    options = inputs.track_options
    options = replace(options, settings=replace(options.settings, control=mode))
    store = prepare(replace(inputs, bigwigs=(), expression=(), samples=sheet, track_options=options)).store
    signal, control = (
        window_values(path, "chr1", 9_000, 20, 100).astype(float) for path in inputs.bigwigs[:2]
    )
    want = np.maximum(signal - control, 0) if mode == "subtract" else np.log2((signal + 1) / (control + 1))
    np.testing.assert_allclose(store.signal("A", ["H3K4me3"])[0, 0], want, rtol=2e-6, atol=1e-6)


def test_chromosome_names_with_and_without_chr_meet(inputs: PrepareRequest, tmp_path: Path) -> None:
    plain = tuple(
        write_bigwig(tmp_path / "plain" / path.name, seed, {"1": 40_000, "2": 30_000})
        for seed, path in enumerate(inputs.bigwigs)
    )
    same = prepare(inputs).store
    other = prepare(replace(inputs, bigwigs=plain, store=tmp_path / "plain.h5"))
    np.testing.assert_array_equal(other.store.signal("E1", ["H3K4me3"]), same.signal("E1", ["H3K4me3"]))


Change = Callable[[PrepareRequest], PrepareRequest]


def no_track(request: PrepareRequest) -> PrepareRequest:
    return replace(request, bigwigs=(*request.bigwigs, request.store.with_name("E3-H3K4me3.bw")))


def text_track(request: PrepareRequest) -> PrepareRequest:
    request.bigwigs[0].write_text("chr1\t0\t100\t5\n")
    return request


def truncated_track(request: PrepareRequest) -> PrepareRequest:
    whole = request.bigwigs[0].read_bytes()
    request.bigwigs[0].write_bytes(whole[: len(whole) // 2])
    return request


def broken_block(request: PrepareRequest) -> PrepareRequest:
    whole = bytearray(request.bigwigs[2].read_bytes())
    at = int.from_bytes(whole[16:24], "little") + 8
    whole[at + 40 : at + 80] = bytes(40)
    request.bigwigs[2].write_bytes(whole)
    return request


def empty_gtf(request: PrepareRequest) -> PrepareRequest:
    assert request.gtf is not None
    request.gtf.write_text("#!genome-build\n")
    return request


def foreign_chromosomes(request: PrepareRequest) -> PrepareRequest:
    write_bigwig(request.bigwigs[0], 0, {"scaffold_9": 50_000})
    return request


def foreign_ids(request: PrepareRequest) -> PrepareRequest:
    Path(request.expression[0]).write_text("gene_id\tE1\tE2\nFBgn0000001\t1\t2\n")
    return request


def two_files_for_one_track(request: PrepareRequest) -> PrepareRequest:
    twin = request.bigwigs[0].with_name("E1_H3K4me3.bigwig")
    twin.write_bytes(request.bigwigs[0].read_bytes())
    return replace(request, bigwigs=(*request.bigwigs, twin))


WRONG_INPUTS: list[tuple[Change, str]] = [
    (no_track, r"E3-H3K4me3.bw: no such track"),
    (text_track, r"E1-H3K4me3.bw: is text, not a bigWig"),
    (truncated_track, r"E1-H3K4me3.bw: truncated or damaged"),
    (broken_block, r"E2-H3K4me3.bw: truncated or damaged"),
    (empty_gtf, r"genes.gtf: "),
    (foreign_chromosomes, r"E1-H3K4me3.bw: .*scaffold_9"),
    (foreign_ids, r"rpkm.tsv: none of its ids"),
    (two_files_for_one_track, r"both are H3K4me3 of E1"),
    (lambda request: replace(request, gtf=None), r"needs `gtf`"),
    (lambda request: replace(request, flank=1050, bin_size=200), r"whole number of bins"),
    (lambda request: replace(request, bigwigs=(), expression=()), r"nothing to prepare"),
]


@pytest.mark.parametrize(("change", "message"), WRONG_INPUTS, ids=[message for _, message in WRONG_INPUTS])
def test_wrong_input_gets_one_line_and_makes_no_store(
    inputs: PrepareRequest, change: Change, message: str
) -> None:
    with pytest.raises(DiffchromError, match=message) as caught:
        prepare(change(inputs))
    assert "\n" not in str(caught.value)
    assert not inputs.store.exists()


@pytest.mark.parametrize("threads", [1, 2])
def test_what_was_read_before_a_failure_is_not_read_again(inputs: PrepareRequest, threads: int) -> None:
    inputs = replace(inputs, threads=threads)
    good = inputs.bigwigs[2].read_bytes()
    with pytest.raises(InputError, match="damaged"):
        prepare(broken_block(inputs))
    inputs.bigwigs[2].write_bytes(good)
    result = prepare(inputs)
    assert any("3 tracks were read by an earlier prepare" in note for note in result.notes)
    assert leftovers(inputs.store.parent) == set()


def test_a_track_that_crashes_its_process_costs_one_error_that_names_it(
    inputs: PrepareRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("diffchrom.prepare.tracks.read_track", worker_tasks.crash_on_h3k27me3_of_e2)
    with pytest.raises(
        InputError, match=r"E2-H3K27me3\.bw: reading it crashed its worker process \(SIGSEGV\)"
    ):
        prepare(replace(inputs, threads=2))
    monkeypatch.undo()
    result = prepare(inputs)
    assert any("3 tracks were read by an earlier prepare" in note for note in result.notes)


def test_one_thread_reads_tracks_in_this_process_to_the_same_store(
    inputs: PrepareRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = prepare(replace(inputs, threads=2)).store.path.read_bytes()
    read = []

    def read_here(part: Path, *arguments: Any, **more: Any) -> None:
        read.append(part)
        read_track(part, *arguments, **more)

    monkeypatch.setattr("diffchrom.prepare.tracks.read_track", read_here)
    inputs.store.unlink()
    assert prepare(inputs).store.path.read_bytes() == whole
    assert len(read) == 4


DEBUGGED = """
import sys
from diffchrom.cli import main
from diffchrom.prepare import track_reading

def stopping(source, check=track_reading.check_same_file):
    breakpoint()
    check(source)

track_reading.check_same_file = stopping
main(sys.argv[1:])
"""


def test_a_breakpoint_in_the_reading_of_a_track_works(inputs: PrepareRequest) -> None:
    words = ["prepare", "--gtf", str(inputs.gtf), "--bigwigs", str(inputs.bigwigs[0]), "--flank", "1000"]
    words += ["--store", str(inputs.store), "--threads", "1", "-q"]
    done = subprocess.run(
        [sys.executable, "-c", DEBUGGED, *words],
        input="p source.path[-13:]\ncontinue\n",
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "(Pdb) 'E1-H3K4me3.bw'" in done.stdout
    assert done.returncode == 0, done.stderr
    assert Store(inputs.store).cells() == ("E1",)


def test_an_existing_store_is_unchanged_by_a_failure(inputs: PrepareRequest) -> None:
    prepare(replace(inputs, bigwigs=inputs.bigwigs[:2]))
    before = inputs.store.read_bytes()
    with pytest.raises(InputError):
        prepare(broken_block(inputs))
    assert inputs.store.read_bytes() == before


@pytest.mark.parametrize("option", [{"flank": 2000}, {"bin_size": 50}, {"orient": "genome"}])
def test_a_store_keeps_its_windows(inputs: PrepareRequest, option: dict) -> None:
    prepare(inputs)
    with pytest.raises(UsageError, match="was made with"):
        prepare(replace(inputs, **option))


def test_another_annotation_is_refused(inputs: PrepareRequest, tmp_path: Path) -> None:
    prepare(inputs)
    with pytest.raises(UsageError, match="was made with another file"):
        prepare(replace(inputs, gtf=write_gtf(tmp_path / "other.gtf", GENES[:2])))


@pytest.mark.parametrize("asked", [{"flank": 0}, {"bin_size": 0}, {"orient": ""}, {"bin_size": 300}])
def test_an_impossible_window_is_refused_and_no_default_put_in_its_place(
    inputs: PrepareRequest, asked: dict[str, object]
) -> None:
    (name,) = asked
    with pytest.raises(UsageError, match=f"`{name}="):
        prepare(replace(inputs, **asked))
    assert not inputs.store.exists()


def test_only_listed_genes_are_prepared_and_those_that_are_absent_are_told(
    inputs: PrepareRequest, tmp_path: Path
) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text("gene_id\nENSG00000000003.9\nN1 # a symbol\nNOBODY\n")
    result = prepare(replace(inputs, genes=listed))
    assert result.store.genes.id.tolist() == ["ENSG00000000001", "ENSG00000000003"]
    assert f"{listed}: 1 genes are not in genes.gtf: NOBODY" in result.notes
    assert "genes.gtf: 2 genes left out: not in list.txt" in result.notes
    listed.write_text("NOBODY\n")
    with pytest.raises(InputError, match=r"none of its 1 genes \(NOBODY\) is in genes.gtf"):
        prepare(replace(inputs, store=tmp_path / "t.h5", genes=listed))


@pytest.mark.parametrize("damaged", ["[", "7", "[" * 100_000, ""])
def test_damaged_notes_are_told_and_cost_nothing_else(inputs: PrepareRequest, damaged: str) -> None:
    store = prepare(replace(inputs, bigwigs=inputs.bigwigs[:2])).store
    with store.edit() as editor:
        editor.set_attrs({"notes": damaged})
    assert "its notes are damaged" in " ".join(summarise_store(Store(store.path)).notes)
    result = prepare(replace(inputs, gtf=None))
    assert result.store.cells() == ("E1", "E2")
    assert sum("its notes are damaged" in note for note in result.notes) == 1
    assert result.store.notes == result.notes


def test_genes_outside_the_assayed_regions_are_left_out_and_counted(inputs: PrepareRequest) -> None:
    for path in inputs.bigwigs:
        with pyBigWig.open(str(path), "w") as track:
            track.addHeader(list(SIZES.items()))
            track.addEntries("chr1", 8_000, values=np.ones(260), span=50, step=50)  # 8,000 to 21,000
    result = prepare(inputs)
    assert result.store.genes.id.tolist() == ["ENSG00000000001", "ENSG00000000002"]
    assert any("2 genes left out: no track has data over 90%" in note for note in result.notes)


def test_sparse_tracks_lose_no_gene(inputs: PrepareRequest) -> None:
    for path in inputs.bigwigs:
        with pyBigWig.open(str(path), "w") as track:
            track.addHeader(list(SIZES.items()))
            track.addEntries(["chr1"], [10_100], ends=[10_300], values=[5.0])
    assert prepare(inputs).store.n_genes == 4


def test_a_blacklist_masks_bins_or_drops_genes(inputs: PrepareRequest, tmp_path: Path) -> None:
    blacklist = tmp_path / "black.bed"
    blacklist.write_text("chr1\t9150\t9301\n")  # bins 2, 3 and 4 of the first gene's window from 9,000
    plain = prepare(inputs).store.signal("E1", ["H3K4me3"])[:, 0]
    masked = prepare(replace(inputs, store=tmp_path / "m.h5", blacklist=blacklist))
    signal = masked.store.signal("E1", ["H3K4me3"])[:, 0]
    assert np.argwhere(signal != plain).tolist() == [[0, 1], [0, 2], [0, 3]]
    assert (signal[0, 1:4] == 0).all()
    dropped = prepare(replace(inputs, store=tmp_path / "d.h5", blacklist=blacklist, blacklist_mode="drop"))
    np.testing.assert_array_equal(dropped.store.signal("E1", ["H3K4me3"])[:, 0], plain[1:])
    with pytest.raises(UsageError, match="give the same `blacklist`"):
        prepare(replace(inputs, store=tmp_path / "m.h5"))


def test_a_masked_store_takes_later_tracks_masked_alike_only(inputs: PrepareRequest, tmp_path: Path) -> None:
    blacklist = tmp_path / "black.bed"
    blacklist.write_text("chr1\t9150\t9301\n")
    first = replace(inputs, bigwigs=inputs.bigwigs[:1], blacklist=blacklist)
    prepare(first)
    later = replace(inputs, gtf=None, bigwigs=inputs.bigwigs[1:2])
    with pytest.raises(UsageError, match="give the same `blacklist`"):
        prepare(later)
    other = tmp_path / "other.bed"
    other.write_text("chr1\t1\t2\n")
    with pytest.raises(UsageError, match="give the same `blacklist`"):
        prepare(replace(later, blacklist=other))
    with pytest.raises(UsageError, match="`blacklist_mode=mask`"):
        prepare(replace(later, blacklist=blacklist, blacklist_mode="drop"))
    store = prepare(replace(later, blacklist=blacklist)).store
    for cell in store.cells():
        signal = store.signal(cell, store.marks(cell))
        assert (signal[0, :, 1:4] == 0).all()
        assert signal[0, :, 4:].any()


def test_reads_are_counted_beside_bigwigs(inputs: PrepareRequest, tmp_path: Path) -> None:
    reads = tmp_path / "E1-H3K9me3.bed"
    reads.write_text("chr1\t9095\t9105\tr\t0\t+\nchr1\t9500\t9600\tr\t0\t-\n")
    store = prepare(replace(inputs, bigwigs=inputs.bigwigs[:1], reads=(reads,))).store
    signal = store.signal("E1", ["H3K9me3"])[0, 0]
    assert np.flatnonzero(signal).tolist() == [0, 1, 5]
    attrs = store.signal_attrs("E1", "H3K9me3")
    assert attrs["unit"] == "counts"
    assert attrs["depth"].tolist() == [2]
    assert not store.signal_attrs("E1", "H3K4me3")["depth"].size


def test_a_store_of_text_reads_gets_chromosome_lengths_at_once_or_later(
    inputs: PrepareRequest, tmp_path: Path
) -> None:
    reads = tmp_path / "E1-H3K9me3.tagAlign"
    reads.write_text("chr1\t9095\t9105\tN\t1000\t+\nchr2\t600\t700\tN\t1000\t-\n")
    lengths = tmp_path / "g.chrom.sizes"
    lengths.write_text("".join(f"{chrom}\t{size}\n" for chrom, size in SIZES.items()))
    request = replace(inputs, bigwigs=(), reads=(reads,), chrom_sizes=lengths)
    assert prepare(request).store.chrom_sizes == SIZES
    later = replace(request, store=tmp_path / "later.h5", chrom_sizes=None)
    store = prepare(later).store
    assert store.chrom_sizes == {}
    signal = store.signal("E1", ["H3K9me3"])
    grown = prepare(PrepareRequest(store=later.store, chrom_sizes=lengths)).store
    assert grown.chrom_sizes == SIZES
    np.testing.assert_array_equal(grown.signal("E1", ["H3K9me3"]), signal)
    assert set(grown.columns_intact().values()) == {True}
    other = tmp_path / "other.chrom.sizes"
    other.write_text("chr1\t39\n")
    with pytest.raises(InputError, match=r"chr1 has 39 bases"):
        prepare(PrepareRequest(store=later.store, chrom_sizes=other))


def test_tracks_of_two_genomes_are_refused_until_forced(inputs: PrepareRequest) -> None:
    write_bigwig(inputs.bigwigs[3], 3, {"chr1": 45_000, "chr2": 30_000})
    with pytest.raises(InputError, match=r"chr1 has 45000 bases.*`force`"):
        prepare(inputs)
    result = prepare(replace(inputs, force=True))
    assert any(note.startswith("`force`: ") for note in result.notes)


def test_density_decides_what_missing_data_means() -> None:
    nowhere = np.zeros(4, bool)
    dense = np.array([1, 1, 0.2, 0], np.float32)
    sparse = np.array([0.3, 0.1, 1, 0], np.float32)
    assert is_dense(dense, 0.9)
    assert not is_dense(sparse, 0.9)
    assert assayed(dense, nowhere, 0.9).tolist() == [True, True, False, False]
    assert assayed(sparse, np.array([False, False, False, True]), 0.9).tolist() == [True, True, True, False]


def test_the_pilot_tracks_give_the_genes_inside_the_regions(shared_data: Path, tmp_path: Path) -> None:
    tracks = tuple(sorted((shared_data / "roadmap_pilot").glob("*.bigwig")))
    result = prepare(
        PrepareRequest(
            store=tmp_path / "pilot.h5",
            gtf=shared_data / "gtf/roadmap_genes_hg19.gtf.gz",
            bigwigs=tracks,
            expression=(str(shared_data / "expression/roadmap_rpkm.tsv.gz"),),
            threads=2,
        )
    )
    store = result.store
    assert store.cells() == ("E003", "E116")
    assert set(store.marks("E003")) == {"H3K4me1", "H3K4me3", "H3K9me3", "H3K27me3", "H3K36me3"}
    assert 350 <= store.n_genes <= 370
    assert store.signal_attrs("E003", "H3K4me1")["unit"] == "pvalue"
    genes = store.genes
    starts = Windows.around(genes, store.window).start
    signal = store.signal("E116", ["H3K4me3"])[:, 0]
    path = shared_data / "roadmap_pilot/E116-H3K4me3.pilot.pval.bigwig"
    for row in range(0, store.n_genes, 10):
        want = window_values(path, genes.chrom[row], int(starts[row]), 200, 100)
        np.testing.assert_allclose(signal[row], want[::-1] if genes.minus[row] else want, rtol=2e-7)


def test_the_published_format_keeps_split_and_order(shared_data: Path, tmp_path: Path) -> None:
    store = prepare(PrepareRequest(store=tmp_path / "s.h5", deepdiff=shared_data / "deepdiff_sample")).store
    assert store.cells() == ("Cell1", "Cell2")
    assert store.marks("Cell1") == ("H3K4me1", "H3K4me3", "H3K9me3", "H3K27me3", "H3K36me3")
    assert store.splits() == ("published",)
    assert np.bincount(store.split("published")).tolist() == [240, 80, 80]
    assert store.window.orient == "genome"
    assert Store(store.path).n_genes == 400
