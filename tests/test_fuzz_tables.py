"""Damaged text tables: each is read or refused in one line, quickly, and nothing else is ever raised.

A few copies by default; `make fuzz` sets DIFFCHROM_FUZZ to many more.
"""

from __future__ import annotations

import gzip
import os
import random
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from diffchrom.annotation.formats import read_transcripts
from diffchrom.annotation.reading import genes_from_records, read_annotation, read_blacklist
from diffchrom.annotation.records import GeneRecord
from diffchrom.errors import DiffchromError
from diffchrom.expression.joining import join_expression
from diffchrom.expression.reading import read_expression
from diffchrom.expression.transcripts import read_tx2gene
from diffchrom.pairs.selection import read_gene_list
from diffchrom.prepare.deepdiff_format import read_deepdiff
from diffchrom.prepare.sheets import own_tracks, read_table

#: Damaged copies of each table below.
COPIES = int(os.environ.get("DIFFCHROM_FUZZ", "10"))
#: Lines taken from a real file: enough for its header and its dialect.
LINES = 60
TIME_LIMIT = 10.0

GENES = genes_from_records(
    [
        GeneRecord(f"ENSG{i:011d}", f"S{i}", "chr1", "+-"[i % 2], 1000 * i, 1000 * i + 500, None)
        for i in range(1, 50)
    ]
)
EXPRESSION_NAMES = (
    "roadmap_rpkm.tsv.gz",
    "rsem.genes.results.gz",
    "salmon.quant.sf.gz",
    "kallisto.abundance.tsv.gz",
    "featurecounts.txt.gz",
    "htseq_counts.txt.gz",
    "star.ReadsPerGene.out.tab.gz",
    "deseq2_results.csv.gz",
)
GTF_NAMES = ("ensembl_grch37.gtf", "gencode_human.gtf.gz", "stringtie.gtf", "flybase.gtf")
GFF3 = "##gff-version 3\n" + "".join(
    f"1\tensembl\tgene\t{i}01\t{i}99\t.\t-\t.\tID=gene:ENSG{i};Name=N%3B{i};biotype=protein_coding\n"
    f"1\tensembl\tmRNA\t{i}01\t{i}99\t.\t-\t.\tID=transcript:ENST{i};Parent=gene:ENSG{i}\n"
    for i in range(1, 20)
)
BED = "".join(f"chr1\t{1000 * i}\t{1000 * i + 9}\tG{i}\t0\t{'+-'[i % 2]}\n" for i in range(1, 30))
GENEPRED = "".join(
    f"585\tNM_{i:06d}\tchr1\t{'+-'[i % 2]}\t{1000 * i}\t{1000 * i + 9}\t{1000 * i}\t{1000 * i + 3}\t1\t"
    f"{1000 * i},\t{1000 * i + 9},\t0\tS{i // 2}\tcmpl\tcmpl\t0,\n"
    for i in range(1, 30)
)
SHEET = "cell\tmark\tpath\treplicate\tscale\tunit\n" + "".join(
    f"C{i % 3}\tH3K4me{i}\t{i}.bw\t{i}\t1.5\tcounts\n" for i in range(1, 10)
)
TX2GENE = "TXNAME,GENEID\n" + "".join(f"NM_{i:06d},S{i}\n" for i in range(1, 40))
MATRIX = "gene_id\tA_rep1\tA_rep2\tB\n" + "".join(
    f"ENSG{i:011d}.4\t{i}\t{i + 0.5}\tNA\n" for i in range(1, 50)
)

_WORDS = b'" = / # , ; -1 1e999 nan inf 99999999999999999999 _ .'
HOSTILE = (
    *_WORDS.split(),
    *(
        b"\x00",
        b"\t",
        b"\n",
        b"\r",
        b" ",
        b"\xff\xfe",
        b"\xe2\x80\xae",
        b"\xc2\xb2",
        b"9" * 5000,
        b"1\n" * 50,
    ),
)


def damaged(data: bytes, chance: random.Random) -> bytes:
    """Return `data` after one to five accidents: cut, doubled, flipped, shuffled or filled with nonsense."""
    broken = bytearray(data)
    for _ in range(chance.randint(1, 5)):
        at = chance.randrange(len(broken) + 1)
        to = min(len(broken), at + chance.choice((1, 2, 10, 100)))
        accident = chance.randrange(7)
        if accident == 0:
            del broken[at:]
        elif accident == 1:
            del broken[at:to]
        elif accident == 2:
            broken[at:at] = broken[at:to] * 2
        elif accident == 3 and broken:
            at = min(at, len(broken) - 1)
            broken[at] ^= 1 << chance.randrange(8)
        elif accident == 4:
            broken[at:at] = chance.choice(HOSTILE)
        elif accident == 5:
            broken[at:to] = chance.choice(HOSTILE)
        else:
            lines = bytes(broken).split(b"\n")
            chance.shuffle(lines)
            broken = bytearray(b"\n".join(lines))
    result = bytes(broken)
    dress = chance.randrange(6)
    if dress == 0:
        return gzip.compress(result, 1)
    if dress == 1:
        packed = bytearray(gzip.compress(result, 1))
        packed[chance.randrange(2, len(packed))] ^= 1 << chance.randrange(8)
        return bytes(packed[: chance.randrange(2, len(packed) + 1)])
    return result


def survives(read: Callable[[Path], object], path: Path, data: bytes, seed: int) -> None:
    """Damage `data` and read it: a result or one DiffchromError of one line, in time."""
    for copy in range(COPIES):
        path.write_bytes(damaged(data, random.Random(seed * 1_000_003 + copy)))
        started = time.monotonic()
        message = "none"
        try:
            read(path)
        except DiffchromError as error:
            message = str(error).strip()
        assert 0 < len(message) < 3000, f"seed {seed}, copy {copy}: {message}"
        assert time.monotonic() - started < TIME_LIMIT, f"seed {seed}, copy {copy}"


def beginning(path: Path) -> bytes:
    data = path.read_bytes()
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    return b"\n".join(data.split(b"\n")[:LINES]) + b"\n"


def read_and_join(path: Path) -> None:
    transcripts = {f"NM_{i:06d}": f"S{i}" for i in range(1, 50)}
    tables = read_expression(f"K562={path}", cells=("K562",), transcripts=lambda: transcripts)
    for table in tables:
        assert np.isfinite(table.values[~np.isnan(table.values)]).all()
        assert not (table.values < 0).any()
        assert len(set(table.ids)) == len(table.ids)
    joined = join_expression(tables, GENES)
    assert all(one.values.shape == (len(GENES),) for one in joined)


def read_genes(path: Path) -> None:
    annotation = read_annotation(path, biotype="any")
    genes = annotation.genes
    assert len(set(genes.id)) == len(genes) > 0
    assert (genes.start >= 0).all()
    assert (genes.start < genes.end).all()
    assert set(genes.strand) <= {"+", "-"}


@pytest.mark.parametrize("name", EXPRESSION_NAMES)
def test_a_damaged_expression_table_is_read_or_refused(shared_data: Path, tmp_path: Path, name: str) -> None:
    data = beginning(shared_data / "expression" / name)
    survives(read_and_join, tmp_path / name.removesuffix(".gz"), data, EXPRESSION_NAMES.index(name))


def test_a_damaged_matrix_is_read_or_refused(tmp_path: Path) -> None:
    survives(read_and_join, tmp_path / "tpm.tsv", MATRIX.encode(), 20)


@pytest.mark.parametrize("name", GTF_NAMES)
def test_a_damaged_gtf_is_read_or_refused(shared_data: Path, tmp_path: Path, name: str) -> None:
    data = beginning(shared_data / "gtf" / name)
    survives(read_genes, tmp_path / "a.gtf", data, 30 + GTF_NAMES.index(name))
    survives(read_transcripts, tmp_path / "a.gtf", data, 40 + GTF_NAMES.index(name))


@pytest.mark.parametrize(("seed", "text"), [(50, GFF3), (51, BED), (52, GENEPRED)])
def test_a_damaged_gff3_bed_or_genepred_is_read_or_refused(tmp_path: Path, seed: int, text: str) -> None:
    survives(read_genes, tmp_path / "a.txt", text.encode(), seed)


@pytest.mark.parametrize(
    ("seed", "text", "read"),
    [
        (60, TX2GENE, read_tx2gene),
        (61, BED, lambda path: read_blacklist(path, GENES)),
        (62, TX2GENE, read_gene_list),
    ],
)
def test_a_damaged_small_table_is_read_or_refused(
    tmp_path: Path, seed: int, text: str, read: Callable[[Path], object]
) -> None:
    survives(read, tmp_path / "table.txt", text.encode(), seed)


def test_a_damaged_sample_sheet_is_read_or_refused(tmp_path: Path) -> None:
    for i in range(1, 10):
        (tmp_path / f"{i}.bw").touch()
    survives(lambda path: own_tracks(read_table(path)), tmp_path / "sheet.tsv", SHEET.encode(), 70)


def test_a_damaged_folder_of_the_published_format_is_read_or_refused(tmp_path: Path) -> None:
    for cell in ("A", "B"):
        for number, part in enumerate(("train", "valid", "test")):
            rows = "".join(f"G{number}_S_{bin_},{bin_},0,0,0,{number}\n" for bin_ in range(1, 201))
            (tmp_path / f"{cell}.{part}.csv").write_text(rows)
        (tmp_path / f"{cell}.expr.csv").write_text("G0,5\nG1,6\nG2,7\n")
    for seed, name in enumerate(("A.train.csv", "B.test.csv", "A.expr.csv"), 80):
        path = tmp_path / name
        whole = path.read_bytes()
        survives(lambda _: read_deepdiff(tmp_path), path, whole, seed)
        path.write_bytes(whole)


def test_a_gzip_bomb_without_newlines_is_refused(tmp_path: Path) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(packer.compress(b"a" * (1 << 20)) for _ in range(64)) + packer.flush()
    path = tmp_path / "bomb.gtf"
    path.write_bytes(bomb)
    for read in (read_annotation, read_expression):
        with pytest.raises(DiffchromError, match="a line of more than"):
            read(path)
