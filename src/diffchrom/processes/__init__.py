"""Work in other processes, here or on a cluster, and what this machine has."""
