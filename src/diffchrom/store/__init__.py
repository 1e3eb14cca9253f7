"""The store: one HDF5 file with genes, binned signal, expression and splits (docs/store.md)."""
