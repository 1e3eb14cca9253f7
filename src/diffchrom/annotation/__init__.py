"""Genes from GTF, GFF3, UCSC's tables or BED, and whether they and the tracks are of one genome."""
