"""Genes from what users have: GTF, GFF3 and BED, their identifiers, chromosomes and assemblies."""
