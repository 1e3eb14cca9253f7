"""One HTML page about a run or a sweep; opens from disk, needs no network (docs/report.md)."""
