"""Start Dask workers as SLURM jobs, write the scheduler's address to a file, and wait until interrupted."""

from __future__ import annotations

import argparse
import signal
from pathlib import Path
from typing import Any

import yaml


def read_config(path: Path) -> dict[str, Any]:
    """Arguments of the cluster from a YAML file; those that are null are left to dask-jobqueue."""
    values = yaml.safe_load(path.read_text())
    return {name: value for name, value in values.items() if value is not None}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, default=Path(__file__).with_name("jobqueue.yaml"))
    parser.add_argument("--jobs", type=int, default=4, help="SLURM jobs at most")
    parser.add_argument("--address-file", type=Path, default=Path("scheduler.address"))
    parser.add_argument("--show", action="store_true", help="print the job script and leave")
    options = parser.parse_args()

    from dask_jobqueue import SLURMCluster

    with SLURMCluster(**read_config(options.config), scheduler_options={"dashboard": False}) as cluster:
        if options.show:
            print(cluster.job_script())
            return
        cluster.adapt(minimum_jobs=1, maximum_jobs=options.jobs)
        options.address_file.write_text(cluster.scheduler_address)
        print(cluster.scheduler_address, flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
        options.address_file.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
