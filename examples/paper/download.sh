#!/usr/bin/env bash
# Downloads what samples.tsv names (45 files of aligned reads, about 10 GB), expression and annotation into data/; goes on
# where it was stopped.
set -euo pipefail
cd "$(dirname "$0")"
roadmap=https://egg2.wustl.edu/roadmap/data
reads=$roadmap/byFileType/alignments/consolidated
expression=$roadmap/byDataType/rna/expression
gencode=https://ftp.ebi.ac.uk/pub/databases/gencode/Gencode_human/release_10

fetch() {
    local target=data/${1##*/}
    [ -s "$target" ] && return
    echo "$1" >&2
    # A name is given only to what arrived whole.
    curl --fail --location --silent --show-error --retry 5 --continue-at - --output "$target.part" "$1"
    mv "$target.part" "$target"
}

mkdir -p data
tail -n +2 samples.tsv | cut -f3 | while read -r path; do
    fetch "$reads/${path##*/}"
done
fetch "$expression/57epigenomes.N.pc.gz"
fetch "$expression/57epigenomes.RPKM.pc.gz"
fetch "$gencode/gencode.v10.annotation.gtf.gz"
