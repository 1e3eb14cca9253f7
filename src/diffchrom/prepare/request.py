"""What `prepare` can be asked, and which requests make no sense."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from diffchrom.config import PREPARE
from diffchrom.errors import UsageError, check_choice
from diffchrom.genome.genes import ORIENTATIONS, Window
from diffchrom.genome.regions import REGION_NAMES
from diffchrom.pairs.splits import SPLITS
from diffchrom.prepare.expression import ExpressionOptions
from diffchrom.prepare.track_names import UNITS
from diffchrom.prepare.track_reading import CONTROL_MODES
from diffchrom.prepare.tracks import TrackOptions
from diffchrom.signal.reads import COUNT_MODES

BLACKLIST_MODES = ("mask", "drop")


@dataclass(frozen=True)
class PrepareRequest:
    """Everything `prepare` is asked; None means the default, or what an existing store has.

    Attributes
    ----------
    store : path of the store to make or extend.
    gtf : gene annotation; needed for a new store.
    bigwigs, reads : tracks whose cell and mark are understood from their paths; or folders of bigWigs.
    samples : a sample sheet, diffchrom's own or a pipeline's.
    named_controls : use controls that are known by their names, or by a pipeline's sheet.
    expression : ``FILE`` or ``CELL=FILE``.
    labels : ``A,B=FILE``, tables of changes, B over A.
    chrom_sizes : chromosome lengths, for reads in text, which tell none.
    deepdiff : a folder in the published DeepDiff format; instead of all of the above.
    regions : `regions.REGION_NAMES` that every track is stored in; the TSS's always is.
    blacklist : BED of regions whose bins are set to 0 (``mask``), or whose genes are left out (``drop``).
    splits : names of splits to store.
    replace : renew what the store has already.
    force : go on where the inputs seem to contradict each other.
    threads : cores to read tracks with; None is all. With 1 tracks are read in this process, unguarded.
    dask : address of the Dask scheduler whose workers read the tracks; None reads them here.
    """

    store: Path
    gtf: Path | None = None
    bigwigs: tuple[Path, ...] = ()
    reads: tuple[Path, ...] = ()
    samples: Path | None = None
    named_controls: bool = False
    expression: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    chrom_sizes: Path | None = None
    deepdiff: Path | None = None
    flank: int | None = None
    bin_size: int | None = None
    orient: str | None = None
    biotype: str | None = None
    regions: tuple[str, ...] | None = None
    genes: Path | None = None
    exclude_chroms: tuple[str, ...] = ()
    blacklist: Path | None = None
    blacklist_mode: str = PREPARE.blacklist_mode
    min_coverage: float = PREPARE.min_coverage
    splits: tuple[str, ...] = ()
    seed: int = 0
    replace: bool = False
    force: bool = False
    threads: int | None = None
    dask: str | None = None
    track_options: TrackOptions = field(default_factory=TrackOptions)
    expression_options: ExpressionOptions = field(default_factory=ExpressionOptions)

    @property
    def window(self) -> Window:
        """The window of a new store."""
        asked = {name: getattr(self, name) for name in ("flank", "bin_size", "orient")}
        return Window(
            **{name: getattr(PREPARE, name) if value is None else value for name, value in asked.items()}
        )

    @property
    def biotypes(self) -> str:
        """Biotypes that a new store keeps, with commas between them."""
        return PREPARE.biotype if self.biotype is None else self.biotype


def check_request(request: PrepareRequest) -> None:
    """Refuse options that make no sense, alone or together, before any file is read.

    Raises
    ------
    UsageError
    """
    tracks = request.bigwigs or request.reads or request.samples
    others = tracks or request.expression or request.labels or request.chrom_sizes
    if request.deepdiff is not None and (others or request.gtf or request.regions):
        raise UsageError("`deepdiff` brings genes, tracks and expression of its own; give it alone")
    if request.deepdiff is None and not (others or request.splits):
        raise UsageError(
            "nothing to prepare; give `bigwigs`, `reads`, `samples`, `expression`, `labels` or `deepdiff`"
        )
    window = request.window
    if window.flank < 1 or window.bin_size < 1 or 2 * window.flank % window.bin_size:
        raise UsageError(
            f"`flank={window.flank}` `bin_size={window.bin_size}`: two flanks must be a whole number of bins"
        )
    for name in request.splits:
        check_choice("splits", name, SPLITS)
    settings = request.track_options.settings
    for name, value, choices in (
        ("orient", window.orient, ORIENTATIONS),
        *(("regions", region, REGION_NAMES) for region in request.regions or ()),
        ("control", settings.control, CONTROL_MODES),
        ("count", settings.count, COUNT_MODES),
        ("blacklist_mode", request.blacklist_mode, BLACKLIST_MODES),
        ("unit", request.track_options.unit or UNITS[0], UNITS),
    ):
        if value not in choices:
            raise UsageError(f"`{name}={value}`: choose one of {', '.join(choices)}")
    if not 0 <= request.min_coverage <= 1:
        raise UsageError(f"`min_coverage={request.min_coverage}`: give a share between 0 and 1")
