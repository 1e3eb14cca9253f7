"""Genes from what users have: GTF, GFF3 and BED, and whether they and the tracks are of one genome."""
