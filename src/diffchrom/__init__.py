"""Differential gene expression from histone-modification tracks of two cell types."""

from diffchrom._version import __version__

__all__ = ["__version__"]
