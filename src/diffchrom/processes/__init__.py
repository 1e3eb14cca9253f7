"""Work in other processes, here or on a cluster; what this machine has: cores, memory, compiled code."""
