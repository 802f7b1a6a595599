#!/usr/bin/env bash
# Full-budget runs that results/ does not have yet, on a machine with a GPU. Name the parts; the default is all but
# camvid:
#
#   bash recipes/full-budget.sh OUTPUT CWFID [cuda] [fields] [study] [camvid] [speed]
#
# cuda     the tests that need a GPU                                     OUTPUT/cuda-tests.txt
# fields   synthetic fields, and the networks trained on them alone      OUTPUT/fields_b0.safetensors, fields_b1
# study    recipes/cwfid-study.yaml: teacher, baseline, methods, seeds   OUTPUT/cwfid-study.md, .json, .png
# camvid   recipes/camvid-study.yaml, on the data set at $CAMVID         OUTPUT/camvid-study.md, .json, .png
# speed    the benchmark                                                 OUTPUT/speed/
#
# The same command continues where it was stopped. Environment variables: PYTHON, PARALLEL (runs at a time), STEPS and
# FIELDS (for the part fields), CAMVID, and ONLY (runs to train; name a single study).
set -euo pipefail

output=$(realpath -m "${1:?say where results go: full-budget.sh OUTPUT CWFID}")
cwfid=$(realpath -e "${2:?say where CWFID is: full-budget.sh OUTPUT CWFID}")
shift 2
if [[ " $* " == *" camvid "* ]]; then
    camvid=$(realpath -e "${CAMVID:?say where CamVid is: CAMVID=DIR}")
fi
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
cores=$(nproc)
mkdir -p "$output"

cuda() {
    "$python" -m pytest -m cuda -v 2>&1 | tee "$output/cuda-tests.txt"
}

draw() { # FOLDER COUNT SIZE
    [ -d "$output/$1" ] || "$python" datasets/prepare.py synthetic --variety mixed \
        --output "$output/$1" --count "$2" 200 --size "$3" --workers "$cores"
}

pretrain() { # RUN FOLDER STEPS MODEL FLAGS...
    local run=$1 folder=$2 steps=$3 model=$4 resume=()
    [ -f "$output/$run/last.pth" ] && resume=(--resume)
    "$python" train/train_student.py --config recipes/pretrain.yaml --datadir "$output/$folder" --model "$model" \
        --max-steps "$steps" --savedir "$output" --run-name "$run" --num-workers "$cores" "${@:5}" "${resume[@]}"
}

# Crops teach leaves and soils, many small whole fields rows, large fields both: see results/pretraining.md.
fields() {
    local count=${FIELDS:-12000} steps=${STEPS:-20000}
    draw fields "$count" 512
    draw small "$((4 * count))" 192
    for size in 0 1; do
        local model=SegformerB$size name=pretrain-b$size
        pretrain "$name-crops" fields "$steps" "$model" --batch-size 16
        pretrain "$name-small" small "$steps" "$model" --batch-size 32 --height 192 --image-size 192 --rotate 0 \
            --scale 0.9 1.3 --initial-checkpoint "$output/$name-crops"
        pretrain "$name" fields "$((steps / 2))" "$model" --batch-size 8 --height 384 --rotate 0 --scale 0.6 1.1 --lr 5e-4 \
            --initial-checkpoint "$output/$name-small"
        "$python" models/weights.py convert "$output/$name/last.pth" "$output/fields_b$size.safetensors"
    done
}

sweep() {
    # shellcheck disable=SC2086  # ONLY may contain several names
    "$python" train/sweep.py "recipes/$1.yaml" --datadir "$2" --parallel "${PARALLEL:-4}" \
        --output "$output/$1.md" ${ONLY:+--only $ONLY}
}

study() {
    sweep cwfid-study "$cwfid"
}

camvid() {
    sweep camvid-study "$camvid"
}

speed() {
    "$python" benchmarks/benchmark.py --output "$output/speed" --resume
}

(($#)) || set -- cuda fields study speed
for part in "$@"; do
    case $part in
        cuda | fields | study | camvid | speed) "$part" ;;
        *) echo "full-budget.sh: no part '$part'; known: cuda, fields, study, camvid, speed" >&2; exit 2 ;;
    esac
done
