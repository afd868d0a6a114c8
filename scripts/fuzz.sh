#!/usr/bin/env bash
# Fuzzes the readers of untrusted files, one target after the other: scripts/fuzz.sh [SECONDS] [TARGET...]
#
# SECONDS: time for each target (600 by default). TARGET: one of fuzz/fuzz_targets (all by default). Needs
# `cargo install cargo-fuzz`, a C++ compiler and python3. Exits with 1 if anything was found; fuzz/README.md
# explains what to do then.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=600
if [[ ${1:-} =~ ^[0-9]+$ ]]; then
    seconds=$1
    shift
fi
targets=("$@")
if [[ ${#targets[@]} == 0 ]]; then
    targets=(archive case checkpoint config idx image_folder)
fi

# A separate build folder, so that the program's own build is not affected.
export CARGO_TARGET_DIR="${FUZZ_TARGET_DIR:-$PWD/fuzz/target}"
# Coverage needs unstable compiler flags. No sanitizer: the code under test has no unsafe code.
export RUSTC_BOOTSTRAP=1
options=(--sanitizer none)

python3 fuzz/seeds.py
for target in "${targets[@]}"; do
    cargo fuzz build "${options[@]}" "$target"
done

status=0
for target in "${targets[@]}"; do
    log=$(mktemp)
    # More than ten seconds or two gigabytes also counts as a finding.
    cargo fuzz run "${options[@]}" "$target" -- -max_total_time="$seconds" -max_len=16384 -timeout=10 \
        -rss_limit_mb=2048 -print_final_stats=1 >"$log" 2>&1 && found=none || found=see
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    if [[ $found == none ]]; then
        echo "$target: ${executions:-no} executions in $seconds s, nothing found"
    else
        status=1
        echo "$target: found something after ${executions:-unknown} executions:"
        grep -E 'panicked|ERROR|Test unit written|^error' "$log" | head -20 || tail -20 "$log"
    fi
    rm "$log"
done
exit "$status"
