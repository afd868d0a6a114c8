#!/usr/bin/env bash
# Times metaburn's outer step against JAX's and PyTorch's on this machine's CPU:
# scripts/compare.sh [FOLDER] [OPTIONS]
#
# FOLDER (or PEERS): the other programs, jax_maml.py and torch_maml.py. PEERS_PYTHON: a Python with their
# dependencies, python3 by default. METABURN: the metaburn program; built if unset.
# --net maxpool (Conv4 with max-pooling, which the other programs must offer by the same option),
# --isa avx2 (holds both sides to it), --rounds N (3), --full (all programs, and UFOM), --raw FILE (every line as printed), --quick (a short test).
# Paths are relative to the folder in which the script is called.
set -euo pipefail

peers="${PEERS:-}"
if [[ $# -gt 0 && $1 != --* ]]; then
    peers=$1
    shift
fi
if [[ -z $peers || ! -f $peers/jax_maml.py ]]; then
    lacking="${peers:+$peers does not contain jax_maml.py}"
    echo "error: ${lacking:-no folder with jax_maml.py was given}; pass its folder: scripts/compare.sh FOLDER" >&2
    echo "docs/speed.md describes the programs in it" >&2
    exit 1
fi
python="${PEERS_PYTHON:-python3}"
if ! reason=$("$python" -c 'import jax, optax, numpy' 2>&1); then
    echo "error: $python cannot run $peers/jax_maml.py: ${reason##*$'\n'}" >&2
    echo "make a virtual environment and name its Python in PEERS_PYTHON:" >&2
    echo "  python3 -m venv VENV && VENV/bin/pip install jax optax numpy    # for --full: torch higher too" >&2
    exit 1
fi
source "$(dirname "$0")/program.sh"
exec python3 "$root/scripts/compare.py" cpu --metaburn "$METABURN" --peers "$peers" --python "$python" "$@"
