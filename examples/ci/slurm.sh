#!/usr/bin/env bash
# A sweep in four parts on one kind of GPU, merged, then checked against the baseline. Submit with: bash slurm.sh
set -euo pipefail
store=${STORE:-$PWD/bench-runs}

parts=$(sbatch --parsable --array=1-4 --gpus=1 --exclusive --time=01:00:00 --wrap \
  "bench sweep table4 --shard \$SLURM_ARRAY_TASK_ID/4 --tag part\$SLURM_ARRAY_TASK_ID --store $store")

sbatch --dependency="afterok:$parts" --time=00:10:00 --wrap \
  "bench merge @part1 @part2 @part3 @part4 -o table4-\$SLURM_JOB_ID --store $store \
   && bench check table4-\$SLURM_JOB_ID --confirm 0 --store $store"
