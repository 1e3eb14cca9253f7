#!/usr/bin/env bash
# Makes docs/figures/gene.png, the picture at the top of the README, from the demo.
set -euo pipefail
picture=$(realpath "$(dirname "$0")/../docs/figures")/gene.png
cd "$(mktemp -d)"
diffchrom demo --out demo --quiet
diffchrom gene demo/runs/additive DEMO527 --store demo/diffchrom.h5 -o gene.png
# Half the size and 64 colours: a page needs no 200 dots an inch. Pillow came with matplotlib.
python -c '
import sys
from PIL import Image
whole = Image.open("gene.png").convert("RGB")
half = whole.resize((whole.width // 2, whole.height // 2), Image.Resampling.LANCZOS)
half.quantize(64).save(sys.argv[1], optimize=True)
' "$picture"
