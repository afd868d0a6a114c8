#!/usr/bin/env bash
# Times metaburn's outer step against JAX's and PyTorch's on this machine's CPU:
# scripts/compare.sh [FOLDER] [OPTIONS]
#
# FOLDER (or PEERS): the other programs, jax_maml.py and torch_maml.py. PEERS_PYTHON: a Python with their
# dependencies, python3 by default. METABURN: the metaburn program; built if unset.
# --net maxpool (Conv4 with max-pooling, which the other programs must offer by the same option),
# --isa avx2 (holds both sides to it), --rounds N (3), --full (all programs, and UFOM), --raw FILE (every line as printed), --quick (a short test).
set -euo pipefail
cd "$(dirname "$0")/.."

peers="${PEERS:-}"
if [[ $# -gt 0 && $1 != --* ]]; then
    peers=$1
    shift
fi
if [[ -z $peers || ! -f $peers/jax_maml.py ]]; then
    echo "error: ${peers:-no folder} with jax_maml.py and torch_maml.py; name it: scripts/compare.sh FOLDER" >&2
    echo "docs/speed.md describes them" >&2
    exit 1
fi
python="${PEERS_PYTHON:-python3}"
if ! reason=$("$python" -c 'import jax, optax, numpy' 2>&1); then
    echo "error: $python cannot run $peers/jax_maml.py: ${reason##*$'\n'}" >&2
    echo "make a virtual environment and name its Python in PEERS_PYTHON:" >&2
    echo "  python3 -m venv VENV && VENV/bin/pip install jax optax numpy    # for --full: torch higher too" >&2
    exit 1
fi
source scripts/program.sh
exec python3 scripts/compare.py cpu --metaburn "$METABURN" --peers "$peers" --python "$python" "$@"
