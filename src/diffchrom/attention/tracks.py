"""Attention as signal tracks, one for each block and mark: bedGraph and bigWig.

Windows of neighbouring genes, and of the regions of one gene, overlap. Where they do, a base's value is the
largest in size of the weights that lie over it (or their mean), so that a track is sorted and never overlaps
itself. Bases outside every window have no value.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from diffchrom.deepdiff.opened import AttentionBatch, LevelOneSequence, OpenedModel
from diffchrom.errors import OutputError, StoreError, UsageError, check_choice
from diffchrom.files.bulk import ByteWriter, Names, bulk_lines, output_bytes
from diffchrom.files.whole import STDOUT, remove_folder, staged
from diffchrom.genome.layout import GeneWindows

COMBINATIONS = ("max", "mean")
BIGWIG_SUFFIXES = (".bw", ".bigwig")


@dataclass(frozen=True)
class Stretch:
    """A stretch of a chromosome in pieces of constant value, sorted and without overlaps.

    Attributes
    ----------
    chrom : str
    start, end : int64 [n]
    values : float32 [n_sequences, n]
    """

    chrom: str
    start: npt.NDArray[np.int64]
    end: npt.NDArray[np.int64]
    values: npt.NDArray[np.float32]


@dataclass
class _Pending:
    """Genes of one chromosome whose windows are not finished, and their weights."""

    rows: npt.NDArray[np.intp]
    weights: npt.NDArray[np.float32]
    size: int


def combine(
    opened: OpenedModel, batches: Iterable[AttentionBatch], keep: npt.NDArray[np.intp], how: str = "max"
) -> Iterator[Stretch]:
    """Yield the tracks of the sequences `keep` from genes in genome order (`GeneWindows.genome_order`).

    Parameters
    ----------
    how : ``max`` (in size) or ``mean`` of the weights of the windows over a base.
    """
    check_choice("combine", how, COMBINATIONS)
    windows = opened.windows
    pending: _Pending | None = None
    chrom = ""
    done = 0
    for batch in batches:
        rows, weights = batch.rows, batch.alpha[:, keep]
        sizes = windows.parts[0].chrom_ends(rows, opened.pair.store.chrom_sizes)
        for name in dict.fromkeys(windows.chrom[rows].tolist()):
            part = np.flatnonzero(windows.chrom[rows] == name)
            if pending is not None and name == chrom:
                pending.rows = np.concatenate([pending.rows, rows[part]])
                pending.weights = np.concatenate([pending.weights, weights[part]])
            else:
                if pending is not None:
                    yield from _stretch(windows, pending, chrom, done, pending.size, how)
                pending = _Pending(rows[part], weights[part], int(sizes[part[0]]))
                chrom, done = name, 0
            # No later gene of the chromosome has a window that starts before this part's last one.
            ready = min(max(int(windows.start[pending.rows[-1]]), 0), pending.size)
            yield from _stretch(windows, pending, chrom, done, ready, how)
            done = max(done, ready)
            open_still = windows.end[pending.rows] > done
            pending = _Pending(pending.rows[open_still], pending.weights[open_still], pending.size)
    if pending is not None:
        yield from _stretch(windows, pending, chrom, done, pending.size, how)


def _stretch(
    windows: GeneWindows, pending: _Pending, chrom: str, first: int, last: int, how: str
) -> Iterator[Stretch]:
    """Yield what the windows of `pending` say about the bases from `first` to `last`."""
    if last <= first or not len(pending.rows):
        return
    start, end = (
        np.clip(edges, first, last) for edges in windows.intervals(pending.rows, {chrom: pending.size})
    )
    cuts = np.unique(np.stack([start, end]))
    if len(cuts) < 2:
        return
    piece, window = _pieces_under(np.searchsorted(cuts, start), np.searchsorted(cuts, end))
    depth = np.bincount(piece, minlength=len(cuts) - 1)
    values = np.stack(
        [_combined(of.ravel()[window], piece, depth, how) for of in pending.weights.swapaxes(0, 1)]
    )
    covered = depth > 0
    if covered.any():  # windows that lie wholly elsewhere leave cuts, too
        yield Stretch(chrom, cuts[:-1][covered], cuts[1:][covered], values[:, covered])


def _pieces_under(
    first: npt.NDArray[np.intp], last: npt.NDArray[np.intp]
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Pieces first, first + 1, ..., last - 1 of each window, and which window each is of."""
    count = (last - first).ravel()
    window = np.repeat(np.arange(len(count)), count)
    begun = np.cumsum(count) - count
    return first.ravel()[window] + np.arange(len(window)) - begun[window], window


def _combined(
    weights: npt.NDArray[np.float32], piece: npt.NDArray[np.intp], depth: npt.NDArray[np.intp], how: str
) -> npt.NDArray[np.float32]:
    """One value a piece, of weights of which the i-th lies over ``piece[i]``; 0 where none does."""
    highest, lowest = np.zeros((2, len(depth)), dtype=np.float32)
    if how == "mean":
        np.add.at(highest, piece, weights)
        return (highest / np.maximum(depth, 1)).astype(np.float32)
    np.maximum.at(highest, piece, weights)
    np.minimum.at(lowest, piece, weights)
    return np.where(-lowest > highest, lowest, highest)


def track_name(sequence: LevelOneSequence) -> str:
    """Name of a sequence's track, fit for a file name: ``main_A-B.H3K4me3``."""
    return f"{sequence.block}.{sequence.mark}".replace(":", "_").replace("/", "_").replace(" ", "_")


@contextlib.contextmanager
def output_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside `path`; on success its files are moved into `path`, all or none.

    Raises
    ------
    OutputError
        When the folder can't be made or written.
    """
    try:
        if path.exists() and not path.is_dir():
            raise OutputError(f"{path}: is a file; several tracks need a folder, give another -o")
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from error
    try:
        yield temporary
        temporary.chmod(0o755)
        if path.exists():
            for file in sorted(temporary.iterdir()):
                file.replace(path / file.name)
        else:
            temporary.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        remove_folder(temporary)


def bedgraph_rows(stretch: Stretch) -> tuple[bytes, ...]:
    """Text of a stretch, one piece of bedGraph a sequence."""
    place = Names([stretch.chrom], np.array(0)), stretch.start, stretch.end
    return tuple(bulk_lines(stretch.start.shape, (*place, values)) for values in stretch.values)


def write_bedgraphs(folder: Path, names: list[str], stretches: Iterable[Stretch]) -> None:
    """Write ``NAME.bedgraph`` for each track into a folder."""
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context((folder / f"{name}.bedgraph").open("wb")) for name in names]
        for stretch in stretches:
            for file, text in zip(files, bedgraph_rows(stretch), strict=True):
                file.write(text)


def stream_bedgraphs(output: Path, names: list[str], stretches: Iterable[Stretch]) -> None:
    """Write all tracks to one file or stdout, each under its ``track`` line; one alone goes without it."""
    if len(names) == 1:
        with output_bytes(output) as stream:
            for stretch in stretches:
                stream.write(bedgraph_rows(stretch)[0])
        return
    # Tracks come side by side and are wanted one after the other: they wait on disk, not in memory.
    with tempfile.TemporaryDirectory(prefix="diffchrom-") as spool:
        write_bedgraphs(Path(spool), names, stretches)
        with output_bytes(output) as stream:
            for name in names:
                stream.write(f'track type=bedGraph name="{name}"\n'.encode())
                with (Path(spool) / f"{name}.bedgraph").open("rb") as file:
                    _copy(file.read, stream)


def _copy(read: Callable[[int], bytes], stream: ByteWriter) -> None:
    while piece := read(1 << 20):
        stream.write(piece)


def write_bigwigs(opened: OpenedModel, paths: list[Path], stretches: Iterable[Stretch]) -> None:
    """Write one bigWig a track."""
    from diffchrom.signal.bigwig_writer import open_bigwig

    sizes = known_sizes(opened)
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(open_bigwig(path, sizes)) for path in paths]
        for stretch in stretches:
            for file, values in zip(files, stretch.values, strict=True):
                file.add(stretch.chrom, stretch.start, stretch.end, values)


def known_sizes(opened: OpenedModel) -> dict[str, int]:
    """Chromosome lengths of the store in byte order, in which bigWig's index wants them."""
    sizes = opened.pair.store.chrom_sizes
    return {chrom: sizes[chrom] for chrom in sorted(sizes, key=str.encode)}


def write_tracks(
    opened: OpenedModel,
    sequences: list[LevelOneSequence],
    stretches: Iterable[Stretch],
    output: Path,
    *,
    bigwig: bool,
) -> None:
    """Write tracks: to a file, to a folder, or (bedGraph) to stdout.

    `output` is a file where there is one track and its name ends as a file's should; for bedGraph also where
    it is no folder. Everything else is a folder with one file a track.
    """
    names = [track_name(sequence) for sequence in sequences]
    if len(set(names)) != len(names):
        raise OutputError(f"tracks would have equal names: {', '.join(names)}; choose some with `block`")
    if not bigwig and not _is_folder(output):
        stream_bedgraphs(output, names, stretches)
    elif str(output) == STDOUT:
        raise UsageError("`format=bigwig`: a bigWig cannot go to stdout; give `output=FOLDER`")
    elif bigwig and len(names) == 1 and output.suffix.lower() in BIGWIG_SUFFIXES:
        with staged(output) as temporary:
            write_bigwigs(opened, [temporary], stretches)
    else:
        with output_folder(output) as folder:
            if bigwig:
                write_bigwigs(opened, [folder / f"{name}.bw" for name in names], stretches)
            else:
                write_bedgraphs(folder, names, stretches)


def _is_folder(output: Path) -> bool:
    return str(output) != STDOUT and (output.is_dir() or not output.suffix)


def require_sizes(opened: OpenedModel, rows: npt.NDArray[np.intp]) -> None:
    """Raise StoreError where a chromosome of the genes `rows` has no known length: bigWig needs it."""
    store = opened.pair.store
    sizes = store.chrom_sizes
    unknown = sorted({str(chrom) for chrom in opened.genes.chrom[rows]} - set(sizes))
    if unknown:
        raise StoreError(
            f"{store.path}: the length of {', '.join(unknown[:5])} is not known, which bigWig needs; add it "
            f"with `prepare_store(store={store.path}, chrom_sizes=FILE)`, or use `format=bedgraph`"
        )
