"""Table the runs of unseen_cells.sh: r on unseen cells, and as a share of the model of the pair itself.

unseen_cells.py FOLDER
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

from diffchrom.runs.folder import Run
from diffchrom.runs.pair_results import PairResult, read_results

HEADER = ("method", "pairs", "cases", "r", "r of the pair itself", "share of it", "interval coverage")


def r_of_pairs(folder: Path) -> tuple[dict[tuple[str, str], float], dict[tuple[str, str], list[PairResult]]]:
    """By method and pair: r of the pair's own model; by method and kind: results of the others."""
    own: dict[tuple[str, str], float] = {}
    several = defaultdict(list)
    for path in sorted(folder.glob("*/config.json")):
        config = Run.open(path.parent).config
        if not config.held_out:
            own[config.variant, ",".join(config.pair)] = float(config.metrics["test"]["pearson"] or np.nan)
        for result in read_results(config.details.get("pairs", ())):
            several[config.variant, result.kind].append(result)
    return own, several


def main(folder: Path) -> None:
    """Print the table."""
    own, several = r_of_pairs(folder)
    print("| " + " | ".join(HEADER) + " |")
    print("|" + "---|" * len(HEADER))
    for (method, kind), results in sorted(several.items()):
        r = np.array([result.pearson for result in results], dtype=float)
        ceiling = np.array([own[method, result.pair] for result in results])
        covered = [result.coverage for result in results if result.coverage is not None]
        coverage = f"{np.mean(covered):.1%}" if covered else "NA"
        row = (method, kind.replace("_", " "), str(len(r)), f"{r.mean():.3f}", f"{ceiling.mean():.3f}")
        print("| " + " | ".join((*row, f"{np.mean(r / ceiling):.1%}", coverage)) + " |")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
