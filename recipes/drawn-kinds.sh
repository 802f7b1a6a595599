#!/usr/bin/env bash
# The effect of each kind of variation in the synthetic fields: a SegFormer-B0 from random weights without each kind in
# turn, one on beet fields alone, and one with all kinds. Each is scored on CWFID's training images and on fields with
# all kinds.
#
#   bash recipes/drawn-kinds.sh OUTPUT CWFID
#
# The tables are in OUTPUT/cwfid/comparison.md and OUTPUT/drawn/comparison.md. The same command continues where it was
# stopped. Environment variables: PYTHON, FIELDS (number to train on), STEPS, SEED (of training; the fields stay the
# same) and VARIANTS. Existing results in OUTPUT are kept, so use another OUTPUT for other values.
set -euo pipefail

output=$(realpath -m "${1:?say where results go: drawn-kinds.sh OUTPUT CWFID}")
cwfid=$(realpath -e "${2:?say where CWFID is: drawn-kinds.sh OUTPUT CWFID}")
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
variants=${VARIANTS:-all beet grounds tilt infrared shadows camera}

draw() {
    local fields=$output/fields-$1
    [ -d "$fields" ] && return
    case $1 in
        all) set -- "$1" --variety mixed ;;
        beet) set -- "$1" --variety beet ;;
        *) set -- "$1" --variety mixed --without "$1" ;;
    esac
    "$python" datasets/prepare.py synthetic --output "$fields" --count "${FIELDS:-600}" 100 1 --size 512 "${@:2}"
}

train() {
    local run=$output/runs/$1 resume=(--overwrite) # replaces a run killed before its first checkpoint
    [ -f "$run/results.json" ] && return
    [ -f "$run/last.pth" ] && resume=(--resume)
    "$python" train/train_student.py --config recipes/pretrain.yaml --datadir "$output/fields-$1" --max-steps "${STEPS:-1200}" \
        --seed "${SEED:-0}" --savedir "$output/runs" --run-name "$1" "${resume[@]}"
}

compare() {
    local runs=()
    for variant in $variants; do runs+=("$output/runs/$variant/last.pth"); done
    "$python" eval/compare.py "${runs[@]}" --merge vegetation=crop,weed "$@"
}

for variant in $variants; do
    draw "$variant"
    train "$variant"
done
compare --dataset CWFID --datadir "$cwfid" --subset train --output "$output/cwfid"
draw all
compare --dataset Synthetic --datadir "$output/fields-all" --subset val --output "$output/drawn"
