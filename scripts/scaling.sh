#!/usr/bin/env bash
# Times outer steps on 1, 2, 4, … ranks: with the same meta-batch (strong scaling) and with the same tasks for each rank (weak
# scaling), fits what a step costs, and predicts from that steps on up to 64 hosts: scripts/scaling.sh [CONFIG] [--set KEY=VALUE …]
#
# On a cluster, run it in an allocation of all its nodes. Paths are relative to the folder in which it is called. Variables:
# METABURN  a program built with --features mpi; if unset, it is built
# RANKS     numbers of ranks (default: powers of two up to the cores)
# THREADS   threads of each rank (default 1)
# TASKS     tasks of each rank in weak scaling; strong scaling has TASKS times the largest number of ranks (default 4)
# STEPS     outer steps of each measurement (default 30)
# LAUNCH    the launcher, without its number of ranks (default: mpirun --bind-to none)
# EXCHANGE  ms of one mean between two ranks, for the prediction; if unset, the benchmark `ranks` is built and measures it
# FIXED     ms of a step besides its tasks, for the prediction; if unset, that of the fit, which is noise beside long tasks. It can
#           be measured with --set task.ways=2 --set inner.steps=1
set -euo pipefail

FEATURES="${FEATURES:-mpi}"
source "$(dirname "$0")/program.sh"
THREADS="${THREADS:-1}" TASKS="${TASKS:-4}" STEPS="${STEPS:-30}"
LAUNCH="${LAUNCH:-mpirun --bind-to none}"
if [[ -z ${RANKS:-} ]]; then
    RANKS=1
    for ((count = 2; count * THREADS <= $(nproc); count *= 2)); do RANKS+=" $count"; done
fi
most=1
for count in $RANKS; do ((count > most)) && most=$count; done

exchange="${EXCHANGE:-$(cd "$root" && RANKS=2 LAUNCH="$LAUNCH" cargo bench --quiet --features mpi --bench ranks |
    awk -F'|' '/mean among processes/ { print $3 / 1000 }')}"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# measure RANKS TASKS: median seconds of a step, after the first five.
measure() {
    rm -rf "$work/run"
    $LAUNCH -n "$1" "$METABURN" train "${arguments[@]}" --run-dir "$work/run" --threads "$THREADS" --progress none \
        --steps "$STEPS" --set "outer.meta_batch=$2" --set eval.every=0 --set eval.test_episodes=2 \
        --set "checkpoint.every=$STEPS" >/dev/null
    python3 - "$work/run/clock.jsonl" <<'PY'
import json, statistics, sys
seconds = [json.loads(line)["seconds"] for line in open(sys.argv[1])]
print(statistics.median(after - before for before, after in zip(seconds[5:], seconds[6:])))
PY
}

arguments=("$@")
echo "| scaling | ranks | tasks | ms a step | efficiency |"
echo "|---|---|---|---|---|"
for kind in strong weak; do
    first=
    for count in $RANKS; do
        if [[ $kind == strong ]]; then tasks=$((TASKS * most)); else tasks=$((TASKS * count)); fi
        seconds=$(measure "$count" "$tasks")
        echo "$count $tasks $seconds" >>"$work/measured"
        [[ -n $first ]] || first="$count $seconds"
        python3 - "$kind" "$count" "$tasks" "$seconds" $first <<'PY'
import sys
kind, count, tasks, seconds, first_count, first = sys.argv[1:]
count, seconds, first_count, first = int(count), float(seconds), int(first_count), float(first)
ideal = first * first_count / count if kind == "strong" else first
print(f"| {kind} | {count} | {tasks} | {1e3 * seconds:.1f} | {ideal / seconds:.2f} |")
PY
    done
done
checkpoints=("$work"/run/checkpoints/step-*.safetensors)
python3 - "$work/measured" "${checkpoints[-1]}" "$exchange" "${FIXED:-}" <<'PY'
import json, math, sys
# seconds = fixed + task · tasks of the busiest rank + sharing · (ranks − 1)/ranks, by least squares of relative errors. Ranks of one
# machine share caches, memory and sometimes cores, which costs far more than what they exchange.
rows, values = [], []
for line in open(sys.argv[1]):
    ranks, tasks, seconds = line.split()
    ranks, tasks, seconds = int(ranks), int(tasks), float(seconds)
    rows.append([term / seconds for term in (1.0, -(-tasks // ranks), (ranks - 1) / ranks)])
    values.append(1.0)
names = ["fixed", "task", "sharing"]
if all(row[2] == 0 for row in rows):
    print("one number of ranks: nothing to fit"); sys.exit()
def solve(columns):
    size = len(columns)
    matrix = [[sum(row[a] * row[b] for row in rows) for b in columns] + [sum(row[a] for row in rows)] for a in columns]
    for at in range(size):
        pivot = max(range(at, size), key=lambda row: abs(matrix[row][at]))
        matrix[at], matrix[pivot] = matrix[pivot], matrix[at]
        for other in range(size):
            if other != at:
                share = matrix[other][at] / matrix[at][at]
                matrix[other] = [x - share * y for x, y in zip(matrix[other], matrix[at])]
    return {column: matrix[at][size] / matrix[at][at] for at, column in enumerate(columns)}
columns = [0, 1, 2]
found = solve(columns)
while min(found.values()) < 0:  # A cost below zero is noise: without it.
    columns.remove(min(found, key=found.get))
    found = solve(columns)
costs = [found.get(column, 0.0) for column in range(3)]
print("\na step costs " + ", ".join(f"{name} {1e3 * cost:.2f} ms" for name, cost in zip(names, costs)))
worst = max(abs(1 - sum(x * cost for x, cost in zip(row, costs))) for row in rows)
print(f"(fixed + task × tasks of the busiest rank + sharing × (ranks − 1)/ranks; the largest error of the fit is {100 * worst:.0f} %)")

# On paper: a host is one rank like those measured, alone on its machine. In a step, a rank sends and receives 2 (n − 1)/n times θ's
# bytes. Of its ten calls of MPI, the two that move θ are taken to send n − 1 messages one after another, the eight small ones log2 n.
with open(sys.argv[2], "rb") as file:
    arrays = json.loads(file.read(int.from_bytes(file.read(8), "little")))
size = 4 * sum(math.prod(array["shape"]) for name, array in arrays.items() if not name.startswith(("__", "optimizer.")))
fixed, task, _ = costs
if sys.argv[4]:
    fixed = 1e-3 * float(sys.argv[4])
exchange = 1e-3 * float(sys.argv[3])
networks = {"25 Gbit/s Ethernet, 20 µs": (20e-6, 25e9), "100 Gbit/s InfiniBand, 2 µs": (2e-6, 100e9)}
hosts = [1, 2, 4, 8, 16, 64]
def exchanged(count, latency, rate):
    messages = 2 * (count - 1) + 8 * math.ceil(math.log2(count))
    return 2 * (count - 1) / count * (exchange + 8 * size / rate) + messages * latency
def cell(tasks, count, task, network):
    if count > tasks:
        return "–"
    seconds = lambda count: fixed + task * -(-tasks // count) + exchanged(count, *network)
    return f"{1e3 * seconds(count):.0f} ({seconds(1) / count / seconds(count):.2f})"
print(f"\nOn paper: ms a step on n hosts (efficiency); θ has {size / 1e6:.2f} MB, and a mean between two ranks takes {1e3 * exchange:.2f} ms")
print("| tasks | ms a task | network | " + " | ".join(f"n = {count}" for count in hosts) + " |")
print("|---" * (3 + len(hosts)) + "|")
for faster in (1, 10, 100):
    for tasks, networks_shown in ((8, 1), (16, 1), (64, 2)):
        for name, network in list(networks.items())[:networks_shown]:
            cells = " | ".join(cell(tasks, count, task / faster, network) for count in hosts)
            print(f"| {tasks} | {1e3 * task / faster:.1f} | {name} | {cells} |")
for name, network in networks.items():
    print(f"On 64 hosts by {name}, exchanges take {1e3 * exchanged(64, *network):.1f} ms")
PY
