"""Sheets and folders of pipelines as they are, one row of `PIPELINES` each.

A sheet of nf-core names samples, not bigWigs: these are looked for among the files given, under the names
that the pipeline makes of a row. Sources: the pages "usage" and "output", the check of the sheet and
``conf/modules.config`` of nf-core/chipseq 1.2.2, 2.0.0 and 2.1.0 and of nf-core/cutandrun 3.2.2.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from diffchrom.errors import InputError
from diffchrom.genome.ids import examples
from diffchrom.prepare.samples import Track, check_tracks
from diffchrom.prepare.sheets import SheetRow, Table, check_name
from diffchrom.prepare.track_names import (
    CONTROL,
    RNA,
    cell_name,
    find_marks,
    guess_unit,
    sample_id,
    take_replicate,
    understand,
)


@dataclass(frozen=True)
class Pipeline:
    """One pipeline: its sample sheet and where it leaves bigWigs.

    Attributes
    ----------
    header : lower-case columns that tell its sheet.
    sample : column that names the sample; with `file_id`, filled in from a row, the file's name is made.
    antibody : column of the mark; empty where the sample's name has it.
    folder : of bigWigs, as a pattern under the folder of results.
    """

    name: str
    header: frozenset[str]
    sample: str
    file_id: str
    folder: str
    antibody: str = ""
    control: str = "control"


#: In this order: what needs more columns stands first.
PIPELINES = (
    Pipeline(
        "nf-core/chipseq 2.1",
        frozenset({"sample", "replicate", "antibody", "control", "control_replicate"}),
        sample="sample",
        file_id="{sample}_REP{replicate}",
        folder="*/merged_library/bigwig",
        antibody="antibody",
    ),
    Pipeline(
        "nf-core/chipseq 1.2",
        frozenset({"group", "replicate", "antibody", "control"}),
        sample="group",
        file_id="{group}_R{replicate}",
        folder="*/mergedLibrary/bigwig",
        antibody="antibody",
    ),
    Pipeline(
        "nf-core/chipseq 2.0",
        frozenset({"sample", "fastq_1", "antibody", "control"}),
        sample="sample",
        file_id="{sample}",
        folder="*/mergedLibrary/bigwig",
        antibody="antibody",
    ),
    Pipeline(
        "nf-core/cutandrun",
        frozenset({"group", "replicate", "fastq_1", "control"}),
        sample="group",
        file_id="{group}_R{replicate}",
        folder="03_peak_calling/03_bed_to_bigwig",
    ),
)


#: Of what pipelines leave: coverage, scaled to a million reads, by spike-in or as asked for.
UNIT = "coverage"


@dataclass(frozen=True)
class Sheet:
    """What a pipeline's sheet and the files make together.

    Attributes
    ----------
    pipeline : its name, for messages.
    tracks : without controls.
    controls : by path of a track, the control that the sheet gives it.
    notes : what is left out, and why.
    """

    pipeline: str
    tracks: tuple[Track, ...]
    controls: Mapping[Path, Path]
    notes: tuple[str, ...]


def recognise(table: Table) -> Pipeline | None:
    """Return the pipeline whose sheet a table is."""
    return next((one for one in PIPELINES if one.header <= set(table.columns)), None)


@dataclass(frozen=True)
class _Sample:
    """A row with its file: what it was made with, before controls are told from marks."""

    row: SheetRow
    name: str
    replicate: str
    antibody: str
    control: str
    control_replicate: str
    path: Path | None


def _samples(table: Table, pipeline: Pipeline, files: Sequence[Path]) -> list[_Sample]:
    """Rows that differ in more than their run (``fastq_1``), with the file that the pipeline made of each."""
    by_id = {sample_id(path): path for path in files}
    samples: dict[str, _Sample] = {}
    for row in table.rows:
        values = {name: value.replace(" ", "_") for name, value in row.values.items()}
        check_name(f"{table.path}:{row.line}", pipeline.sample, values[pipeline.sample])
        identifier = pipeline.file_id.format(**values)
        name, replicate = values[pipeline.sample], values.get("replicate", "")
        if not replicate:
            name, replicate = take_replicate(name)
        samples.setdefault(
            identifier,
            _Sample(
                row=row,
                name=name.strip("-_. "),
                replicate=replicate,
                antibody=values.get(pipeline.antibody, ""),
                control=values[pipeline.control],
                control_replicate=values.get("control_replicate", ""),
                path=by_id.get(identifier),
            ),
        )
    return list(samples.values())


def pipeline_tracks(table: Table, pipeline: Pipeline, files: Sequence[Path]) -> Sheet:
    """Join a pipeline's sheet and its bigWigs.

    Raises
    ------
    InputError
        That names every row without a file, a mark or a cell.
    """
    samples = _samples(table, pipeline, files)
    controls = [sample for sample in samples if _is_control(sample, samples, pipeline)]
    tracks, given, wrong = [], {}, []
    notes: list[str] = []
    for sample in samples:
        if sample in controls:
            continue
        where = f"{table.path}:{sample.row.line}"
        if not (pipeline.antibody or find_marks(sample.name)) and understand(sample.name).kind == RNA:
            notes.append(f"{sample.name} is RNA and left out")
            continue
        mark, cell = _mark_and_cell(sample)
        if sample.path is None:
            wrong.append(f"{where}: no bigWig of {pipeline.file_id.format(**sample.row.values)}")
        elif not mark:
            wrong.append(f"{where}: {sample.name} names no histone mark that is known")
        elif not cell:
            wrong.append(f"{where}: {sample.name} names the mark {mark} but no cell")
        else:
            tracks.append(
                Track(cell, mark, sample.path, sample.replicate, unit=guess_unit(sample.path.name) or UNIT)
            )
            control = _control_of(sample, controls)
            if control is not None:
                given[sample.path] = control
    if wrong:
        raise InputError(
            f"{'; '.join(wrong)}; give {pipeline.name}'s folder of results with `bigwigs`, or draft a sheet "
            "to edit with `write_samples`"
        )
    used = {sample.path for sample in samples}
    others = [path.name for path in files if path not in used]
    if others:
        notes.append(f"{len(others)} bigWigs are not in {table.path.name} and left out: {examples(others)}")
    return Sheet(pipeline.name, check_tracks(tracks, table.path.name), given, tuple(notes))


def _is_control(sample: _Sample, samples: Sequence[_Sample], pipeline: Pipeline) -> bool:
    """Controls have no antibody and no control of their own, and others name them, or their names tell."""
    if sample.antibody or sample.control:
        return False
    named = any(take_replicate(other.control)[0].strip("-_. ") == sample.name for other in samples)
    return named or bool(pipeline.antibody) or understand(sample.name).kind == CONTROL


def _mark_and_cell(sample: _Sample) -> tuple[str, str]:
    """Mark in its standard spelling, and what of the sample's name is left without it."""
    text, marks = sample.name, find_marks(sample.antibody or sample.name)
    mark = marks[0][0] if marks else sample.antibody
    if sample.antibody:
        text = re.sub(
            rf"(?<![A-Za-z0-9]){re.escape(sample.antibody)}(?![A-Za-z0-9])", "", text, flags=re.IGNORECASE
        )
    for _, start, end in reversed(find_marks(text)):
        text = text[:start] + text[end:]
    return mark, cell_name(text)


def _control_of(sample: _Sample, controls: Sequence[_Sample]) -> Path | None:
    """File of the control that a sheet names: of the replicate said, else of the same, else the first."""
    name, replicate = take_replicate(sample.control)
    mine = [one for one in controls if one.name == name.strip("-_. ") and one.path is not None]
    for wanted in (sample.control_replicate, replicate, sample.replicate):
        for one in mine:
            if wanted and one.replicate == wanted:
                return one.path
    return min(mine, key=lambda one: one.replicate).path if mine else None
