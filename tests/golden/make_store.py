"""Write the golden store of the current format version; run once a version, then keep the file."""

from pathlib import Path

import numpy as np

from diffchrom.genome.genes import Genes, Window
from diffchrom.genome.regions import Region
from diffchrom.store.format import FORMAT_VERSION
from diffchrom.store.store import create

BODY = Region("body", "gene", ((0, 1), (1, 2)), parts=2)
DISTAL = Region("distal", "tss", ((-800, -200), (200, 800)))


def column(*values: str) -> np.ndarray:
    return np.array(values, dtype=object)


def numbers(n_windows: int, first: float) -> np.ndarray:
    return np.arange(3 * n_windows, dtype=np.float32).reshape(3, n_windows) + np.float32(first)


if __name__ == "__main__":
    start, end = np.array([1000, 5000, 20000]), np.array([3000, 9000, 21000])
    genes = Genes(
        id=column("ENSG01", "ENSG02", "ENSG03"),
        name=column("ALPHA", "BETA", "γ"),
        chrom=column("chr1", "chr1", "chr2"),
        strand=column("+", "-", "+"),
        start=start,
        end=end,
        tss=np.array([1000, 8999, 20000]),
        tes=np.array([2999, 5000, 20999]),
    )
    path = Path(__file__).parent / f"store-v{FORMAT_VERSION}.h5"
    path.unlink(missing_ok=True)
    store = create(path, genes, Window(200, 100), chrom_sizes={"chr1": 10**5, "chr2": 10**5})
    with store.edit() as editor:
        for c, cell in enumerate(("E116", "E123")):
            for m, mark in enumerate(("H3K4me3", "H3K27me3")):
                attrs = {"unit": "coverage", "source": f"{cell}-{mark}.bw"}
                editor.add_signal(cell, mark, numbers(4, 100 * c + 10 * m), attrs)
                editor.add_signal(cell, mark, numbers(2, 1000 * c + 10 * m), attrs, region=BODY)
            counts = np.array([7.0, 0.0, np.nan]) * (c + 1)
            editor.add_expression(cell, "counts", counts, {"replicates": "a\nb"})
            editor.add_replicates(cell, "counts", np.stack([counts / 2, counts * 1.5], axis=1))
        editor.add_signal("E116", "H3K4me3", numbers(2, 0.5), region=DISTAL)
        editor.add_signal("E116", "H3K4me3", numbers(4, 0.25), region="tes_bins")
        editor.add_labels(("E116", "E123"), {"log2fc": np.array([1.0, 0.0, -2.0])}, {"source": "a.tsv"})
        editor.add_split("chromosome", np.array([0, 1, 2], np.int8))
