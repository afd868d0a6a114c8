#!/usr/bin/env bash
# Kills a random rank of a run at a random moment, 20 times, and resumes each run with another number of ranks (one means without a
# launcher). Each must end with what one process that nothing interrupts ends with: scripts/kill-ranks.sh PROGRAM [KILLS] [SEED]
#
# PROGRAM was built with --features mpi. Compared are the metrics, the test result and the last checkpoint: weights, the
# optimiser's state, what the estimator has learnt; all but seconds. A third of the runs is exact, a third adaptive, a third
# has step coins. A kill counts only if it ended a run that trained. SEED decides all choices; when a kill hits also depends on the
# machine. LAUNCH is the launcher, without its number of ranks (default, and tried: Open MPI's mpirun --bind-to none --oversubscribe).
set -euo pipefail

[ $# -ge 1 ] || { sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2; }
program="$(realpath "$1")"
kills="${2:-20}" seed="${3:-$RANDOM}"
read -ra launch <<<"${LAUNCH:-mpirun --bind-to none --oversubscribe}"
command -v "${launch[0]}" >/dev/null || { echo "there is no ${launch[0]}" >&2; exit 2; }
# On this machine alone, which root may.
[ "$(id -u)" -ne 0 ] || export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

work="$(mktemp -d)"
launcher=
finish() {
    [ -z "$launcher" ] || kill "$launcher" 2>/dev/null || true
    wait || true
    rm -rf "$work"
}
trap finish EXIT
cd "$work"
RANDOM=$seed

steps=300 every=10 tasks=5
estimators=(exact adaptive step-coins)
arguments_of() {
    echo "train --run-dir $2 --steps $steps --threads 1 --progress none --backend flex --set data.image_size=14 \
        --set model.filters=8 --set outer.meta_batch=$tasks --set inner.steps=2 --set estimator.name=$1 \
        --set checkpoint.every=$every --set eval.every=40 --set eval.episodes=20 --set eval.test_episodes=20"
    [ "$1" = exact ] || echo "--set estimator.costs=counted --set estimator.floor=0.3"
}

# What must not differ, as text: metrics, the test result, and the last checkpoint. Seconds, and what is made of them, are left out.
state() {
    python3 - "$1" <<'PYTHON'
import hashlib, json, pathlib, sys

def untimed(value):
    if isinstance(value, dict):
        return {key: untimed(value[key]) for key in sorted(value) if key not in ("seconds", "mixed", "seal")}
    return value

run = pathlib.Path(sys.argv[1])
print((run / "metrics.jsonl").read_text(), untimed(json.loads((run / "results/test.json").read_text())))
last = max(run.glob("checkpoints/step-*"))
checkpoint = last.read_bytes()
arrays = 8 + int.from_bytes(checkpoint[:8], "little")
header = json.loads(checkpoint[8:arrays])
text = header.pop("__metadata__")
learnt = untimed(json.loads(text.pop("metaburn")))
print(last.name, learnt, sorted(text.items()), sorted(header.items()), hashlib.sha256(checkpoint[arrays:]).hexdigest())
PYTHON
}

# The processes of the program in this folder, of which each launch has one for each rank.
ranks_alive() {
    local process
    for process in $(pgrep -x "$(basename "$program" | cut -c 1-15)"); do
        [ "$(readlink "/proc/$process/cwd")" != "$work" ] || echo "$process"
    done
}

# The step of the last checkpoint of the run that is killed; -1 if there is none.
saved_step() {
    local files=(run/checkpoints/step-*.safetensors)
    local last="${files[-1]##*/step-}"
    last="${last%.safetensors}"
    [[ $last =~ ^[0-9]+$ ]] && echo $((10#$last)) || echo -1
}

rank_of() { tr '\0' '\n' 2>/dev/null <"/proc/$1/environ" | sed -nE 's/^(OMPI_COMM_WORLD_RANK|PMI_RANK|SLURM_PROCID)=//p' | head -1; }

declare -A longest
for estimator in "${estimators[@]}"; do
    began=$(date +%s%N)
    # shellcheck disable=SC2046 # words
    "$program" $(arguments_of "$estimator" "alone-$estimator") >/dev/null
    longest[$estimator]=$((($(date +%s%N) - began) / 1000000))
    state "alone-$estimator" >"$estimator.state"
done

echo "seed $seed"
echo "| kill | estimator | ranks | killed rank | saved at step | resumed with ranks | result |"
echo "|---|---|---|---|---|---|---|"
failed=0 missed=0 counted=0
while ((counted < kills)); do
    estimator=${estimators[counted % 3]}
    count=$((2 + RANDOM % (tasks - 1)))
    other=$((1 + RANDOM % (tasks - 1)))
    ((other < count)) || other=$((other + 1))
    rm -rf run
    # shellcheck disable=SC2046
    "${launch[@]}" -n "$count" "$program" $(arguments_of "$estimator" run) >log 2>&1 &
    launcher=$!
    # After a random checkpoint, up to as long as two checkpoints take one process.
    after=$((RANDOM % (steps / every) * every))
    milliseconds=$((RANDOM * longest[$estimator] * 2 * every / steps / 32768))
    until [ "$(saved_step)" -ge "$after" ] || ! kill -0 "$launcher" 2>/dev/null; do sleep 0.02; done
    sleep "$((milliseconds / 1000)).$(printf %03d $((milliseconds % 1000)))"
    mapfile -t alive < <(ranks_alive)
    victim=${alive[RANDOM % (${#alive[@]} + (${#alive[@]} == 0))]:-}
    rank=$(rank_of "$victim" || true)
    kill -9 "$victim" 2>/dev/null || true
    code=0
    wait "$launcher" || code=$?
    launcher=
    saved=$(saved_step)
    if [ "$code" -eq 0 ] || [ "$saved" -lt 0 ] || [ "$saved" -eq "$steps" ]; then
        missed=$((missed + 1))
        ((missed <= 5 * kills)) || { echo "no kill hits a run that trains" >&2; cat log >&2; exit 1; }
        continue
    fi
    counted=$((counted + 1))
    resume=("$program" resume run --progress none)
    ((other == 1)) || resume=("${launch[@]}" -n "$other" "${resume[@]}")
    if ! "${resume[@]}" >log 2>&1; then
        result="NOT RESUMED: $(tail -n 1 log)"
        failed=1
    elif state run | cmp -s - "$estimator.state"; then
        result="the same bits"
    else
        result="DIFFERS"
        failed=1
    fi
    echo "| $counted | $estimator | $count | $rank | $saved | $other | $result |"
done
echo "kills that came too late, and do not count: $missed"
[ "$failed" -eq 0 ] || echo "a run did not end as one process does" >&2
exit "$failed"
