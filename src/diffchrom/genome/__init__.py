"""Genes and the windows around them: coordinates, orientation, identifiers, assemblies."""
