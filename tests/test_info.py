"""``diffchrom info``: what a store or run holds, and what looks wrong in it."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt
import pytest

from diffchrom.cli import main
from diffchrom.errors import RunError, StoreError, UsageError
from diffchrom.genome.genes import Genes, Window
from diffchrom.inspection.summary import summarise_store
from diffchrom.inspection.text import json_text, plot_profiles, run_dict, run_text, store_text
from diffchrom.runs.folder import Run, RunConfig
from diffchrom.store.soundness import write_attrs
from diffchrom.store.store import Store, create

N_GENES = 60
WINDOW = Window(flank=50, bin_size=10, orient="transcription")
MARKS = ("H3K4me3", "H3K27me3", "H3K36me3")


def genes() -> Genes:
    tss = np.arange(N_GENES, dtype=np.int64) * 1000 + 500
    names = np.array([f"G{i}" for i in range(N_GENES)], dtype=object)
    chrom = np.array([("chr10", "chr2", "chr1")[i % 3] for i in range(N_GENES)], dtype=object)
    return Genes(names, names, chrom, np.full(N_GENES, "+", dtype=object), tss, tss + 100, tss, tss + 99)


def signals(seed: int) -> dict[str, npt.NDArray[np.float32]]:
    """Three marks, each with its own shape and genes, and a little noise of the cell's own."""
    pattern, noise = np.random.default_rng(0), np.random.default_rng(seed)
    return {
        mark: (
            pattern.gamma(1, 5, (N_GENES, 1)) * pattern.random((1, WINDOW.n_bins))
            + noise.random((N_GENES, WINDOW.n_bins))
        ).astype(np.float32)
        for mark in MARKS
    }


def build(path: Path, changes: dict[tuple[str, str], npt.NDArray[np.float32]] | None = None) -> Store:
    store = create(path, genes(), WINDOW, attrs={"gtf": "a.gtf"})
    with store.edit() as editor:
        for seed, cell in enumerate(("A", "B", "C"), 1):
            for mark, values in signals(seed).items():
                values = (changes or {}).get((cell, mark), values)
                editor.add_signal(cell, mark, values, {"unit": "counts", "source": f"{cell}-{mark}.bw"})
        expression = np.arange(N_GENES, dtype=np.float64)
        expression[-10:] = np.nan
        editor.add_expression("A", "tpm", expression)
        editor.add_split("random", np.repeat(np.array([0, 1, 2, -1], dtype=np.int8), N_GENES // 4))
        editor.set_attrs({"notes": json.dumps(["7 genes left out"])})
    return store


def test_a_store_is_counted_and_measured(tmp_path: Path) -> None:
    store = build(tmp_path / "s.h5")
    summary = summarise_store(store, verify=True)
    assert summary.chroms == {"chr1": 20, "chr2": 20, "chr10": 20}
    assert summary.splits == {"random": {"train": 15, "valid": 15, "test": 15, "unused": 15}}
    assert [(track.cell, track.mark) for track in summary.tracks] == [(c, m) for c in "ABC" for m in MARKS]
    first, values = summary.tracks[0], signals(1)["H3K4me3"]
    assert first.mean == pytest.approx(values.mean(dtype=float))
    assert first.maximum == values.max()
    np.testing.assert_allclose(first.profile, values.mean(axis=0, dtype=float))
    (expression,) = summary.expression
    assert (expression.known, expression.zero, expression.median) == (50, 1 / 50, 24.5)
    assert summary.verified is True
    assert not any(track.flags for track in summary.tracks)


def test_what_looks_wrong_is_flagged(tmp_path: Path) -> None:
    b = signals(2)
    zero = np.zeros((N_GENES, WINDOW.n_bins), dtype=np.float32)
    changes = {
        ("B", "H3K4me3"): b["H3K27me3"],
        ("B", "H3K27me3"): b["H3K4me3"],
        ("C", "H3K36me3"): zero,
        ("A", "H3K36me3"): signals(1)["H3K36me3"] * 1000,
    }
    summary = summarise_store(build(tmp_path / "s.h5", changes))
    flags = {(track.cell, track.mark): " ".join(track.flags) for track in summary.tracks}
    assert "more like H3K27me3 of the other cells" in flags["B", "H3K4me3"]
    assert "more like H3K4me3 of the other cells" in flags["B", "H3K27me3"]
    assert flags["C", "H3K36me3"] == "all zero"
    assert "times deeper than its peers" in flags["A", "H3K36me3"]
    assert "to look at:\n" in store_text(summary)


def test_real_tracks_are_not_flagged_and_swapped_ones_are(shared_data: Path, tmp_path: Path) -> None:
    from diffchrom.prepare.building import PrepareRequest, prepare

    request = PrepareRequest(
        store=tmp_path / "s.h5",
        gtf=shared_data / "gtf" / "roadmap_genes_hg19.gtf.gz",
        bigwigs=tuple(sorted((shared_data / "roadmap_pilot").glob("*.bigwig"))),
    )
    store = prepare(request).store
    flags = {(track.cell, track.mark): track.flags for track in summarise_store(store).tracks if track.flags}
    assert list(flags) == [("E003", "H3K27me3"), ("E003", "H3K4me3")]  # 12 and 4.8 times E116's p-values
    assert all("times deeper than its peers" in said for (said,) in flags.values())
    swap = {"H3K4me3": "H3K36me3", "H3K36me3": "H3K4me3"}
    with store.edit() as editor:
        for mark, other in swap.items():
            values = store.signal("E116", (other,))[:, 0]
            editor.add_signal("E116", mark, values, {"unit": "pvalue"}, replace=True)
    flagged = {(track.cell, track.mark) for track in summarise_store(store).tracks if track.flags}
    assert {("E116", mark) for mark in swap} <= flagged


def test_json_holds_the_same_with_null_for_what_is_unknown(tmp_path: Path) -> None:
    build(tmp_path / "s.h5")
    out = tmp_path / "info.json"
    main_quietly(["info", str(tmp_path / "s.h5"), "--json", "-o", str(out)])
    values = json.loads(out.read_text())
    assert values["n_genes"] == N_GENES
    assert values["tracks"][0]["covered"] is None
    assert values["tracks"][0]["source"] == "A-H3K4me3.bw"
    assert values["notes"] == ["7 genes left out"]


def main_quietly(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert not ended.value.code


def test_text_goes_to_stdout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build(tmp_path / "s.h5")
    main_quietly(["info", str(tmp_path / "s.h5"), "--verify"])
    shown = capsys.readouterr()
    assert shown.err == ""
    assert "split random: train 15, valid 15, test 15, unused 15" in shown.out
    assert "verified: every checksum agrees" in shown.out


def test_what_tracks_come_to_is_written_with_them_and_read_without_their_values(tmp_path: Path) -> None:
    path = tmp_path / "s.h5"
    written = summarise_store(build(path)).to_dict()
    with h5py.File(path, "r+") as file:
        for cell in "ABC":
            for mark in MARKS:
                file[f"cells/{cell}/signal/{mark}"][...] = np.inf
    assert json_text(summarise_store(Store(path)).to_dict()) == json_text(written)


@pytest.mark.parametrize("attribute", ["mean", "profile", "sketch"])
@pytest.mark.parametrize("value", [None, np.nan, "much", np.zeros((2, 2))])
def test_tracks_without_what_they_come_to_are_read_for_it(
    tmp_path: Path, attribute: str, value: object
) -> None:
    path = tmp_path / "s.h5"
    store = build(path)
    before, fingerprint = summarise_store(store).to_dict(), store.fingerprint(("A", "B"))
    with h5py.File(path, "r+") as file:
        for cell in "ABC":
            for mark in MARKS:
                held = file[f"cells/{cell}/signal/{mark}"].attrs
                del held[attribute]
                if value is not None:
                    write_attrs(file[f"cells/{cell}/signal/{mark}"], {attribute: value})
    assert json_text(summarise_store(Store(path)).to_dict()) == json_text(before)
    assert Store(path).fingerprint(("A", "B")) == fingerprint


def test_attributes_of_another_track_do_not_pass_for_a_tracks_own(tmp_path: Path) -> None:
    store = build(tmp_path / "s.h5")
    with store.edit() as editor:
        values = 2 * store.signal("A", ["H3K4me3"])[:, 0]
        editor.add_signal("D", "H3K4me3", values, store.signal_attrs("A", "H3K4me3"))
    means = {track.cell: track.mean for track in summarise_store(store).tracks if track.mark == "H3K4me3"}
    assert means["D"] == pytest.approx(2 * means["A"])


def test_bins_of_one_base_have_a_profile_too(tmp_path: Path) -> None:
    window = Window(10_000, 1, "transcription")
    store = create(tmp_path / "s.h5", genes(), window)
    values = np.random.default_rng(0).random((N_GENES, window.n_bins), dtype=np.float32)
    with store.edit() as editor:
        editor.add_signal("A", "H3K4me3", values)
    (track,) = summarise_store(store).tracks
    np.testing.assert_array_equal(track.profile, values.mean(axis=0, dtype=np.float64))


def test_changed_values_are_found_by_verify_only(tmp_path: Path) -> None:
    path = tmp_path / "s.h5"
    build(path)
    with h5py.File(path, "r+") as file:
        file["cells/A/signal/H3K4me3"][3, 4] += 1  # the chunk gets a new checksum, the digest is old
    summarise_store(Store(path))
    with pytest.raises(StoreError, match="H3K4me3 of A: values differ from those written"):
        summarise_store(Store(path), verify=True)


@pytest.mark.parametrize("column", ["splits/random", "genes/tss", "genes/id"])
def test_changed_columns_are_found_by_verify_only(tmp_path: Path, column: str) -> None:
    path = tmp_path / "s.h5"
    build(path)
    with h5py.File(path, "r+") as file:
        values = file[column][:]
        values[:2] = values[-1]
        file[column][...] = values
    summarise_store(Store(path))
    with pytest.raises(StoreError, match=f"{column}: values differ from those written"):
        summarise_store(Store(path), verify=True)


#: Groups of a store into which others may have put something of their own.
GROUPS = ["/", "genes", "chrom_sizes", "splits", "labels", "cells", "cells/A/signal", "cells/A/expression"]


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("foreign", ["scalar", "group", "table"])
def test_what_others_put_into_a_store_is_ignored(tmp_path: Path, group: str, foreign: str) -> None:
    path = tmp_path / "s.h5"
    build(path)
    before = summarise_store(Store(path), verify=True).to_dict()
    fingerprint = Store(path).fingerprint(("A", "B"))
    with h5py.File(path, "r+") as file:
        held = file.require_group(group)
        if foreign == "scalar":
            held["version"] = 1.5
        elif foreign == "group" and not group.startswith(("cells", "labels")):
            held.create_group("theirs")["version"] = 1.5
        else:
            held["table"] = np.zeros(3, dtype=[("name", "S4"), ("value", "f8")])
    store = Store(path)
    assert json_text(summarise_store(store, verify=True).to_dict()) == json_text(before)
    assert store.fingerprint(("A", "B")) == fingerprint
    with pytest.raises(StoreError, match="no split named version; it has random$"):
        store.split("version")
    with pytest.raises(StoreError, match="no cell named version; it has A, B, C$"):
        store.marks("version")


def test_a_column_of_ours_that_is_no_column_is_named_by_verify(tmp_path: Path) -> None:
    path = tmp_path / "s.h5"
    build(path)
    with h5py.File(path, "r+") as file:
        del file["genes/tes"]
        file["genes/tes"] = 3
    with pytest.raises(StoreError, match=r"s.h5: not a readable diffchrom store \(/genes/tes is no column"):
        summarise_store(Store(path), verify=True)


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_the_plot_is_drawn_and_the_same_twice(tmp_path: Path, ending: str) -> None:
    summary = summarise_store(build(tmp_path / "s.h5"))
    first, second = tmp_path / f"a.{ending}", tmp_path / f"b.{ending}"
    plot_profiles(summary, first)
    plot_profiles(summary, second)
    assert first.stat().st_size > 1000
    assert first.read_bytes() == second.read_bytes()
    with pytest.raises(UsageError, match=r"ends in .png"):
        plot_profiles(summary, tmp_path / "a.txt")


def a_run(folder: Path, status: str = "finished") -> Run:
    folder.mkdir()
    config = RunConfig(
        kind="baseline",
        variant="ridge",
        preset="",
        pair=("A", "B"),
        marks=MARKS,
        window=WINDOW,
        split="random",
        unit="tpm",
        seed=0,
        hyperparameters={},
        store={"path": "s.h5", "fingerprint": "0", "n_genes": N_GENES},
        status=status,
        metrics={"test": {"n": 15, "pearson": 0.5, "mse": None}},
    )
    run = Run(folder, config)
    run.save_config()
    return run


def test_a_run_is_described(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run")
    values = run_dict(run)
    assert json.loads(json_text(values))["metrics"]["test"]["pearson"] == 0.5
    text = run_text(values)
    assert "log2fc: positive = higher in B (A is A, B is B)" in text
    assert "0.5" in text
    assert values["files"] == ["config.json"]
    with pytest.raises(RunError, match=r"lacks predictions.tsv; train it again"):
        run_dict(run, verify=True)
    with pytest.raises(RunError, match="has not ended"):
        run_dict(a_run(tmp_path / "unfinished", "training"), verify=True)
