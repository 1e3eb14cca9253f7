"""Cell, mark, replicate and unit from paths, and the sample sheet."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from diffchrom.errors import InputError
from diffchrom.prepare.samples import Track, check_tracks, grid, named_tracks, refuse_unknown
from diffchrom.prepare.sheets import own_tracks, read_table
from diffchrom.prepare.track_names import understand

UNDERSTOOD = [
    ("E116-H3K4me3.fc.signal.bigwig", "E116", "H3K4me3", "", "fold-change"),
    ("E116/H3K4me3.bw", "E116", "H3K4me3", "", ""),
    ("E116_H3K4me3_rep1.bw", "E116", "H3K4me3", "1", ""),
    ("E003-H3K27me3.pilot.pval.bigwig", "E003", "H3K27me3", "", "pvalue"),
    ("E116-H3K27me3.seglevel.bw", "E116", "H3K27me3", "", ""),
    ("E116-H3K4me3.pval.signal.bigwig", "E116", "H3K4me3", "", "pvalue"),
    ("/data/K562/h3k27AC.rpkm.bw", "K562", "H3K27ac", "", "coverage"),
    ("H3K4me3_E116.bw", "E116", "H3K4me3", "", ""),
    ("H3K4me3/E116.bw", "E116", "H3K4me3", "", ""),
    ("primary_T_cell-H3K4me1.bw", "primary_T_cell", "H3K4me1", "", ""),
    ("GSM733_K562_H3K9me3_rep2.bw", "K562", "H3K9me3", "2", ""),
    ("control_H3K4me3_treat_pileup.bw", "control", "H3K4me3", "", ""),
    ("T-cell/rep1/H2A.Z.bw", None, None, None, None),
    ("T-cell/H2A.Z_rep1.bw", "T-cell", "H2A.Z", "1", ""),
    ("E116-H3K4me3_r2.bw", "E116", "H3K4me3", "2", ""),
    ("E116/H3K4me3_2.bw", "E116", "H3K4me3", "2", ""),
    ("H3K4me3_R1.bw", None, None, None, None),
    ("H3K4me3_wt_R1.bw", "wt", "H3K4me3", "1", ""),
    ("WT_H3K27AC_IP_REP2.mLb.clN.bigWig", "WT", "H3K27ac", "2", ""),
    ("h3k27me3_wt_R1.bigWig", "wt", "H3K27me3", "1", ""),
    ("wgEncodeBroadHistoneGm12878H3k4me3StdSig.bigWig", "Gm12878", "H3K4me3", "", ""),
    ("wgEncodeUwHistoneK562H3k36me3StdRawRep2.bigWig", "K562", "H3K36me3", "2", ""),
    ("wgEncodeLicrHistoneMelH3k04me1MImmortalC57bl6StdSig.bigWig", "Mel", "H3K4me1", "", ""),
    ("HeLa.DNase.bw", "HeLa", "DNase", "", ""),
]


def guess_tracks(paths: Iterable[str | Path]) -> tuple[Track, ...]:
    """The tracks whose names say what they are, as `prepare` takes them."""
    files = [understand(path) for path in paths]
    refuse_unknown(files)
    return check_tracks(named_tracks(files))


@pytest.mark.parametrize(("path", "cell", "mark", "replicate", "unit"), UNDERSTOOD)
def test_a_path_that_can_mean_one_thing_is_understood(
    path: str, cell: str | None, mark: str, replicate: str, unit: str
) -> None:
    if cell is None:
        with pytest.raises(InputError, match="`samples="):
            guess_tracks([path])
        return
    (track,) = guess_tracks([path])
    assert (track.cell, track.mark, track.replicate, track.unit) == (cell, mark, replicate, unit)


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("H3K4me3.bw", "no cell"),
        ("data/H3K4me3.bw", "no cell"),
        ("E116.bw", "no histone mark"),
        ("E116-H3K4me3-treated.bw", "E116 or treated"),
        ("E116-H3K4me1-H3K4me3.bw", "2 marks"),
    ],
)
def test_an_ambiguous_path_is_refused_with_the_way_out(path: str, why: str) -> None:
    with pytest.raises(InputError, match=f"{why}.*`samples=sheet.tsv`"):
        guess_tracks([path])


def test_all_real_tracks_are_understood(shared_data: Path) -> None:
    for folder, cells in (("roadmap_pilot", ("E003", "E116")), ("segmentation", ("E116", "E122", "E127"))):
        tracks = guess_tracks(sorted((shared_data / folder).glob("*.b*w*")))
        header, rows = grid(tracks)
        assert header == ("cell", "H3K27me3", "H3K36me3", "H3K4me1", "H3K4me3", "H3K9me3")
        assert tuple(row[0] for row in rows) == cells
        assert all(all(row) for row in rows)


def test_two_files_for_one_cell_and_mark_are_refused() -> None:
    with pytest.raises(InputError, match="both are H3K4me3 of E116"):
        guess_tracks(["a/E116-H3K4me3.fc.bw", "b/E116-H3K4me3.pval.bw"])
    with pytest.raises(InputError, match="beside replicates 1"):
        guess_tracks(["E116-H3K4me3.bw", "E116-H3K4me3_rep1.bw"])
    assert len(guess_tracks(["E116-H3K4me3_rep1.bw", "E116-H3K4me3_rep2.bw"])) == 2


def sheet(folder: Path, text: str) -> Path:
    for name in ("a.bw", "b.bw"):
        (folder / name).touch()
    path = folder / "sheet.tsv"
    path.write_text(text)
    return path


def test_a_sheet_finds_its_files_beside_it(tmp_path: Path) -> None:
    text = (
        "path\tcell\tmark\tscale\treplicate\tcontrol\tunit\n"
        "a.bw\tX\tH3K4me3\t0.5\t1\tb.bw\tcoverage\nb.bw\tY\tany\tNA\t\t\t\n"
    )
    first, second = own_tracks(read_table(sheet(tmp_path, text)))
    assert (first.cell, first.mark, first.path) == ("X", "H3K4me3", tmp_path / "a.bw")
    assert (first.scale, first.replicate, first.control, first.unit) == (
        0.5,
        "1",
        tmp_path / "b.bw",
        "coverage",
    )
    assert (second.mark, second.scale, second.control) == ("any", 1.0, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cell\tmark\nX\tH3K4me3\n", "sheet.tsv:1: the header lacks path"),
        ("cell\tmark\tpath\tcolour\n", "sheet.tsv:1: the header has colour"),
        ("cell\tmark\tpath\nX\tH3K4me3\tnone.bw\n", "sheet.tsv:2: "),
        ("cell\tmark\tpath\n\tH3K4me3\ta.bw\n", "sheet.tsv:2: column cell is empty"),
        ("cell\tmark\tpath\tscale\nX\tH3\ta.bw\t-1\n", "sheet.tsv:2: scale is '-1'"),
        ("cell\tmark\tpath\tunit\nX\tH3\ta.bw\tfc\n", "sheet.tsv:2: unit is 'fc'"),
        ("cell\tmark\tpath\nX\tH3\ta.bw\nX\tH3\tb.bw\n", "both are H3 of X"),
        ("cell\tmark\tpath\nX\tH3\ta.bw\nY\tH3\ta.bw\n", "given twice"),
        ("cell\tmark\tpath\n", "lists no tracks"),
        ("", "lists no tracks"),
    ],
)
def test_a_wrong_sheet_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        own_tracks(read_table(sheet(tmp_path, text)))
    assert message in str(caught.value)
