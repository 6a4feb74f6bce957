#!/usr/bin/env bash
# What does a GPU say to everything this project asks? Each step adds to a folder of results/; a sitting does as many
# steps as it has time for, and the same step in a later sitting goes on where it stopped.
#
#     benchmarks/campaign.sh results/h200-2026-12-01 kernels compile accelerated-amp-nhwc mixer archive
#
# The steps, in the order in which they are wanted; on a fresh machine kernels and compile come first, because they fill
# Triton's cache from all cores, where a sweep compiles on one. The minutes are predictions for an H200 with 16 cores;
# every step but trust and the two of spread ends within ten by itself, unless a point hangs.
#
# kernels                right answers, then the goals G1 to G13 (kernel_goals.py)                      8 minutes
# tune                   the mixer's launches (tune_kernels.py), TUNE says where                            8
# compile                fills Triton's cache for the networks under AMP; measures nothing              7
# accelerated-amp-nhwc   InceptionNeXt-T stock and ours, ConvNeXt-T; train and infer                    7
# accelerated-amp-nchw                                                                                  7
# accelerated-tf32-nhwc  compiles for the blocks fused in TF32, too                                     8
# accelerated-tf32-nchw                                                                                 8
# mixer                  the Inception depthwise convolution at T's stages, cold                        7
# depthwise              ConvNeXt's 7x7                                                                 7
# trust                  can the clock, the verifier and the energy counter be believed here?           5
# tests                  every test marked gpu, as many as there is time for                            9
# sanitize               compute-sanitizer over our kernels: memcheck, racecheck                        8
# bytes                  roofs, and bytes by Nsight Compute where its counters may be read              7
# spread                 how far do processes differ, over operators?                                   6
# spread-networks        and over networks?                                                             8
# dispatch               what stock runs when forced, in half precision, under AMP, warm                7
# dispatch-cudnn         cuDNN's own, NHWC                                                              4
# compiled               the networks compiled; two sittings or more                                    7
# page                   docs/findings.md anew from results/; needs no GPU
# archive                the folder as one file, to carry home
#
# A name that is no step here is a plan of the suite (figure1, table1, ...). A plan is measured for as long as BUDGET
# says (default 8min, compiled and bytes 6min). A network of compiled may take three minutes; one that runs into them
# counts as failed, and bench sweep PLAN --retry-failed measures it again.
set -euo pipefail
cd "$(dirname "$0")/.."
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
python=${PYTHON:-python3}
folder=${1%/}
shift
mkdir -p "$folder"
number=$(date -u +%Y%m%d-%H%M%S)

# A point that fails is a result, and points without time are measured in the next sitting: 3 is no reason to stop.
bench() {
    local status=0
    "$python" -m benchbench "$@" --store "$folder" || status=$?
    [ $status -eq 3 ] || return $status
}

# What a command prints, under its name only when it is whole: a step that is killed leaves no half of a document.
keep() {
    local file=$1 status=0
    shift
    "$@" >"$file.part" || status=$?
    if [ -s "$file.part" ] && [ $status -lt 128 ]; then mv "$file.part" "$file"; else rm "$file.part"; fi
    return $status
}

measure() {
    local plan=benchmarks/campaign/$1.toml
    [ -f "$plan" ] || plan=$1
    bench -q sweep "$plan" --budget "$2" "${@:3}"
}

for step in "$@"; do
    case $step in
    kernels) "$python" benchmarks/gpu_kernels.py --json "$folder/kernels-$number.json" || echo "not all goals" >&2 ;;
    tune)
        # TUNE: the options of tune_kernels.py; each sitting tunes as many places as it has time for.
        read -ra places <<<"${TUNE:---dtypes bf16}"
        "$python" benchmarks/tune_kernels.py --json "$folder/tune-$number.json" "${places[@]}" || echo "WRONG" >&2
        ;;
    compile) "$python" benchmarks/gpu_compile.py benchmarks/campaign/accelerated-amp-*.toml || echo "not all" >&2 ;;
    trust) keep "$folder/trust-$number.json" "$python" benchmarks/gpu_trust.py --json || echo "a check failed" >&2 ;;
    tests) "$python" benchmarks/gpu_tests.py --json "$folder/tests-$number.json" || echo "not all passed" >&2 ;;
    sanitize) "$python" benchmarks/gpu_sanitize.py --json "$folder/sanitize-$number.json" || echo "not clean" >&2 ;;
    bytes)
        measure bytes "${BUDGET:-6min}" --tag bytes
        keep "$folder/roofs-$number.json" bench roofline @bytes --json || echo "no roofs" >&2
        # Whoever may not read the counters is told so; what was traced stands without them.
        bench roofline @bytes --ncu || echo "nothing was counted" >&2
        ;;
    spread)
        keep "$folder/aa-operators-$number.json" bench aa --op inception_dwconv --kernels 11 --rounds 5 --json \
            --set shape=96x56x56,384x14x14 --set mode=forward --set precision=fp32 --set layout=nchw
        ;;
    spread-networks)
        keep "$folder/aa-networks-$number.json" bench aa --model inception_next_tiny,resnet50 --kernels 11 --rounds 5 \
            --json --set backend=aten --set mode=infer --set precision=tf32 --set layout=nhwc
        ;;
    page) "$python" benchmarks/findings.py ;;
    archive)
        tar -C "$(dirname "$folder")" -czf "$folder.tar.gz" "$(basename "$folder")"
        echo "$folder.tar.gz"
        ;;
    compiled) measure compiled "${BUDGET:-6min}" --timeout 3min ;;
    *) measure "$step" "${BUDGET:-8min}" ;;
    esac
done
