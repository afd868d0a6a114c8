#!/usr/bin/env bash
# Outer steps on this machine's GPU, by wgpu, vulkan and cuda, beside JAX and PyTorch on the same card where
# they are there: scripts/bench-gpu.sh [--quick] [OPTIONS]
#
# METABURN is our program, with the backends to measure: built if it is not named, with FEATURES (vulkan,cuda
# by default). PEERS and PEERS_PYTHON are as for compare.sh, the latter with jax[cuda13] and torch.
# --quick tries the machinery on a tiny network, on a GPU in software too; --rounds and --raw are as there.
set -euo pipefail
cd "$(dirname "$0")/.."

FEATURES="${FEATURES:-vulkan,cuda}"
source scripts/program.sh
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null ||
    echo "no NVIDIA GPU answers (nvidia-smi)"

arguments=(gpu --metaburn "$METABURN")
if [[ -n ${PEERS:-} ]]; then
    arguments+=(--peers "$PEERS" --python "${PEERS_PYTHON:-python3}")
fi
if [[ " $* " == *" --quick "* ]]; then
    # A quick look need not try every kernel there is.
    export CUBECL_AUTOTUNE_LEVEL="${CUBECL_AUTOTUNE_LEVEL:-minimal}"
    arguments+=(--rounds 1)
fi
status=0
python3 scripts/compare.py "${arguments[@]}" "$@" || status=$?

echo
profiled=("$METABURN" bench --config L --estimator exact --reps 5 --backend cuda)
if command -v nsys >/dev/null && "$METABURN" backends | grep -q '^cuda *yes'; then
    report=$(mktemp -d)/outer-step
    nsys profile --trace cuda --output "$report" "${profiled[@]}"
    nsys stats --report cuda_gpu_kern_sum,cuda_api_sum "$report.nsys-rep"
else
    echo "Where the time goes, on a machine with CUDA and nsys:"
    echo "  nsys profile --trace cuda --output outer-step ${profiled[*]}"
    echo "  nsys stats --report cuda_gpu_kern_sum,cuda_api_sum outer-step.nsys-rep"
fi
exit "$status"
