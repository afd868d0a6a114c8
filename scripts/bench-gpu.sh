#!/usr/bin/env bash
# Checks this machine's GPU with wgpu, vulkan and cuda, and times outer steps on it, and with JAX and PyTorch on the same
# card if they are available: scripts/bench-gpu.sh [--quick] [OPTIONS]
#
# METABURN: the metaburn program, with the backends to measure. If unset, it is built with FEATURES
# (vulkan,cuda by default). PEERS and PEERS_PYTHON: see compare.sh; the Python needs jax[cuda13] and torch.
# --quick tests the script on a tiny network, also on a software GPU. --rounds and --raw: see compare.sh. Paths are
# relative to the folder in which the script is called.
set -euo pipefail

FEATURES="${FEATURES:-vulkan,cuda}"
source "$(dirname "$0")/program.sh"
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null ||
    echo "no NVIDIA GPU answers (nvidia-smi)"

arguments=(gpu --metaburn "$METABURN")
if [[ -n ${PEERS:-} ]]; then
    arguments+=(--peers "$PEERS" --python "${PEERS_PYTHON:-python3}")
fi
if [[ " $* " == *" --quick "* ]]; then
    # Full kernel tuning is not needed here.
    export CUBECL_AUTOTUNE_LEVEL="${CUBECL_AUTOTUNE_LEVEL:-minimal}"
    arguments+=(--rounds 1)
fi
status=0
python3 "$root/scripts/check_gpu.py" "$METABURN" || status=$?
echo
python3 "$root/scripts/compare.py" "${arguments[@]}" "$@" || status=$?

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
