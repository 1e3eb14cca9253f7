"""Gene and transcript identifiers: versions, and the Y copies of pseudo-autosomal genes."""

from __future__ import annotations

import re
from collections.abc import Iterable

# Only identifiers whose version is known to be one: a symbol such as RP11-34P13.7, a StringTie id such as
# STRG.1 and a WormBase sequence name such as 2L52.1 end in a dot and digits that belong to the name.
_VERSIONED = re.compile(r"^(ENS[A-Z]*\d{11}|[NX][MRP]_\d{6,9}|LRG_\d+)\.\d+(_PAR_Y)?$")
#: GENCODE's suffix of genes on chromosome Y that are copies of one on chromosome X.
PAR_Y = "_PAR_Y"


def unversioned(identifier: str) -> str:
    """Return an Ensembl, RefSeq or LRG identifier without its version; anything else as it is.

    ``ENSG00000002586.20_PAR_Y`` becomes ``ENSG00000002586_PAR_Y``.
    """
    match = _VERSIONED.match(identifier)
    return match[1] + (match[2] or "") if match else identifier


def is_par_y(identifier: str) -> bool:
    """Tell whether GENCODE marks the gene as the Y copy of a pseudo-autosomal gene."""
    return identifier.endswith(PAR_Y)


def examples(values: Iterable[str], n: int = 3) -> str:
    """Return the first `n` of `values` for a message, with ``...`` where there are more."""
    listed = list(dict.fromkeys(values))
    return ", ".join(f"{value:.40}" for value in listed[:n]) + (", ..." if len(listed) > n else "")
