"""Many runs: planned, computed here or on a cluster, and compared."""
