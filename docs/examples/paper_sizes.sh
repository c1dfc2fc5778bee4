#!/bin/bash
# The paper's sizes on one GPU of 80 GB: trained until time is up, then their cards of 1,000
# instances. bash docs/examples/paper_sizes.sh [OUT [SECONDS of lambo-m [SECONDS of lambo-l]]]
# Metrics, curves and cards stay in OUT; so do the weights, 2.3 and 4.6 GB.
OUT=${1:-runs/paper-sizes}
one() { # recipe, seconds
    timeout -s TERM "$2" lambo train --recipe "$1" --device cuda --workers 6 --out "$OUT/$1"
    lambo card "$OUT/$1/weights.safetensors" --name "$1" --out "$OUT/cards" --device cuda \
        --trained-by "timeout -s TERM $2 lambo train --recipe $1 --device cuda --workers 6"
}
one lambo-m "${2:-330}"
one lambo-l "${3:-100}"
lambo curves "$OUT/lambo-m" "$OUT/lambo-l" --out "$OUT/curves"
