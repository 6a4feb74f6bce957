#!/usr/bin/env bash
# What does a GPU say to everything this project asks? Each step adds to a folder of results/; a sitting does as many
# steps as it has time for, and the same step in a later sitting goes on where it stopped.
#
#     benchmarks/campaign.sh results/h200-2026-12-01 trust kernels spread operators accelerated
#
# trust        can the clock, the verifier and the energy counter be believed here?        2 minutes
# kernels      right answers, then the goals G1 to G12 (kernel_goals.py)                   8
# spread       how far do processes differ, over operators and networks?                   8
# page         docs/findings.md anew from results/; needs no GPU
# any other    a plan of benchmarks/campaign/ (operators, accelerated, compiled, dispatch), or of the suite (figure1,
#              table1, ...), for as long as BUDGET says (default 9min)
set -euo pipefail
cd "$(dirname "$0")/.."
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
python=${PYTHON:-python3}
folder=$1
shift
mkdir -p "$folder"
number=$(date -u +%Y%m%d-%H%M%S)

# A point that fails is a result, and points without time are measured in the next sitting: 3 is no reason to stop.
bench() {
    local status=0
    "$python" -m benchbench "$@" --store "$folder" || status=$?
    [ $status -eq 3 ] || return $status
}

for step in "$@"; do
    case $step in
    trust)
        "$python" benchmarks/gpu_trust.py --json >"$folder/trust-$number.json" || echo "a check failed" >&2
        [ -s "$folder/trust-$number.json" ] || rm "$folder/trust-$number.json"
        ;;
    kernels) "$python" benchmarks/gpu_kernels.py --json "$folder/kernels-$number.json" || echo "not all goals" >&2 ;;
    spread)
        bench aa --op inception_dwconv,depthwise_conv --rounds 8 --json >"$folder/aa-operators-$number.json"
        bench aa --model inception_next_tiny,resnet50 --rounds 8 --json >"$folder/aa-networks-$number.json"
        ;;
    page) "$python" benchmarks/findings.py ;;
    *)
        plan=benchmarks/campaign/$step.toml
        [ -f "$plan" ] || plan=$step
        bench -q sweep "$plan" --budget "${BUDGET:-9min}"
        ;;
    esac
done
