#!/usr/bin/env bash
# What reads files of others, fed with noise, one kind of file after the other: scripts/fuzz.sh [SECONDS] [TARGET...]
#
# SECONDS are for each target (600 by default), TARGETs those of fuzz/fuzz_targets (all by default). Needs
# `cargo install cargo-fuzz`, a C++ compiler and python3. Ends with 1 if anything was found; fuzz/README.md says
# what to do then.
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

# Built apart from the program, whose own build then stays as it is.
export CARGO_TARGET_DIR="${FUZZ_TARGET_DIR:-$PWD/fuzz/target}"
# Coverage needs flags that a stable compiler hides; a sanitizer would find little, where nothing is unsafe.
export RUSTC_BOOTSTRAP=1
options=(--sanitizer none)

python3 fuzz/seeds.py
for target in "${targets[@]}"; do
    cargo fuzz build "${options[@]}" "$target"
done

status=0
for target in "${targets[@]}"; do
    log=$(mktemp)
    # Longer than ten seconds or more than two gigabytes is a finding too.
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
