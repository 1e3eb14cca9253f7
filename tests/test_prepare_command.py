"""`diffchrom prepare` on the command line: options that take globs, and what they ask of the library."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffchrom.commands.greedy import expand
from diffchrom.prepare.request import PrepareRequest

GREEDY = ("--bigwigs", "--expression")


def test_values_up_to_the_next_option_are_taken() -> None:
    args = ["--bigwigs", "a", "b", "--store", "s", "--bigwigs", "c", "-q"]
    want = ["--bigwigs", "a", "--bigwigs", "b", "--store", "s", "--bigwigs", "c", "-q"]
    assert expand(args, GREEDY) == (want, {"--bigwigs": [2, 1]})


def test_an_equals_sign_starts_a_group_that_may_go_on() -> None:
    expanded, sizes = expand(["--bigwigs=a", "b", "--expression=A=x.tsv", "B=y.tsv"], GREEDY)
    assert expanded == [
        "--bigwigs",
        "a",
        "--bigwigs",
        "b",
        "--expression",
        "A=x.tsv",
        "--expression",
        "B=y.tsv",
    ]
    assert sizes == {"--bigwigs": [2], "--expression": [2]}


def test_nothing_is_changed_behind_two_dashes_and_empty_groups_are_counted() -> None:
    assert expand(["--bigwigs", "--", "--bigwigs", "a"], GREEDY) == (
        ["--", "--bigwigs", "a"],
        {"--bigwigs": [0]},
    )


def test_a_lone_dash_is_a_value() -> None:
    assert expand(["--bigwigs", "-", "x"], GREEDY)[1] == {"--bigwigs": [2]}


@given(st.lists(st.sampled_from(["--bigwigs", "--store", "-q", "a", "b c", "-", "--bigwigs=d"])))
def test_no_value_is_lost_or_invented(args: list[str]) -> None:
    expanded, sizes = expand(args, GREEDY)
    values = [word.removeprefix("--bigwigs=") for word in args if word != "--bigwigs"]
    assert [word for word in expanded if word != "--bigwigs"] == values
    assert expanded.count("--bigwigs") == sum(sizes.get("--bigwigs", []))


def asked(monkeypatch: pytest.MonkeyPatch, *words: str) -> PrepareRequest:
    """What the command asks of the library."""
    from diffchrom import cli

    caught: list[Any] = []
    monkeypatch.setattr(
        "diffchrom.prepare.building.prepare", lambda request, reporter: caught.append(request)
    )
    with pytest.raises(SystemExit) as ended:
        cli.main(["prepare", *words])
    assert not ended.value.code
    return caught[0]


def test_the_command_passes_on_what_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    request = asked(
        monkeypatch,
        *("--gtf", "g.gtf", "--bigwigs", "a.bw", "b.bw", "--store", "s.h5", "--bigwigs", "c.bw"),
        *("--expression", "A=x.tsv", "B=y.tsv", "--flank", "500", "--exclude-chroms", "chrY,chrM"),
        *("--split", "random", "--split", "published", "--count", "start", "--threads", "3"),
        *("--dask", "tcp://host:8786", "--chrom-sizes", "hg19.chrom.sizes"),
    )
    assert request.bigwigs == (Path("a.bw"), Path("b.bw"), Path("c.bw"))
    assert request.expression == ("A=x.tsv", "B=y.tsv")
    assert request.store == Path("s.h5")
    assert request.flank == 500
    assert request.bin_size is None
    assert request.exclude_chroms == ("chrY", "chrM")
    assert request.splits == ("random", "published")
    assert request.track_options.settings.count == "start"
    assert request.threads == 3
    assert request.chrom_sizes == Path("hg19.chrom.sizes")
    assert request.dask == "tcp://host:8786"


def test_left_out_options_ask_for_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    # No number of threads is asked for, also where there is one core: 1 is for a debugger.
    request = asked(monkeypatch, "--bigwigs", "a.bw", "--store", "s.h5")
    assert request == PrepareRequest(store=Path("s.h5"), bigwigs=(Path("a.bw"),))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--bigwigs", "--store", "s.h5"], "--bigwigs needs at least one file"),
        (["--bigwigs", "a.bw", "--orient", "up"], "--orient up: choose one of transcription, genome"),
        (["--bigwigs", "a.bw", "--around", "middle"], "--around middle: tes means --regions tes_bins"),
        (["--bigwigs", "a.bw", "--unit", "rpm"], "--unit rpm: choose one of fold-change"),
        (["--bigwigs", "a.bw", "--split", "odd"], "--split odd: unknown; choose one of chromosome"),
        ([], "nothing to prepare"),
    ],
)
def test_usage_errors_are_told_in_a_line_with_code_2(tmp_path: Path, words: list[str], message: str) -> None:
    command = [sys.executable, "-m", "diffchrom", "prepare", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
