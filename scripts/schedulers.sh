#!/usr/bin/env bash
# Runs the four runs of a small sweep under each installed scheduler, as docs/clusters.md describes, and compares the table with
# that of the same sweep without a scheduler: scripts/schedulers.sh PROGRAM [parallel] [hyperqueue] [slurm]
#
# Slurm is started for the purpose, on this machine alone, with its files in a temporary folder; that needs root and munged. One job
# of its array is told to stop while it trains, saves, and is put back into the queue.
set -euo pipefail

[ $# -ge 1 ] || { sed -n '2,6s/^# \{0,1\}//p' "$0" >&2; exit 2; }
program="$(realpath "$1")"
shift
schedulers=("$@")
[ $# -gt 0 ] || schedulers=(parallel hyperqueue slurm)
# A path to Python is relative to the folder in which the script is called.
hq_python="${HQ_PYTHON:-python3}"
[[ $hq_python != */* || $hq_python == /* ]] || hq_python="$PWD/$hq_python"

work="$(mktemp -d)"
processes=()
finish() {
    [ -z "${array:-}" ] || { timeout 20 scancel "$array" && sleep 2; } >/dev/null 2>&1 || true
    for process in "${processes[@]}"; do kill "$process" 2>/dev/null || true; done
    wait_for 10 all_ended || kill -9 "${processes[@]}" 2>/dev/null || true
    wait || true
    rm -rf "$work"
}
trap finish EXIT
cd "$work"

# Whether none of the daemons runs any more; `kill` succeeds if it reaches one of them.
all_ended() { ! kill -0 "${processes[@]}"; }

# wait_for SECONDS COMMAND…: waits until the command succeeds; fails if it does not within that time.
wait_for() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < end)) || return 1
        sleep 0.2
    done
}

# give_up REASON LOG…: ends the script, and shows the ends of the logs, which are deleted with the folder.
give_up() {
    echo "$1" >&2
    shift
    show "$@"
    exit 1
}

show() {
    local log
    for log in "$@"; do
        [ ! -s "$log" ] || { echo "--- $log:" && tail -n 20 "$log"; } >&2
    done
}

# logged LOG COMMAND…: runs the command with its output in LOG, which is shown if it fails.
logged() {
    local log="$1"
    shift
    "$@" >"$log" 2>&1 || give_up "this failed: $*" "$log"
}

cat >sweep.toml <<'TOML'
seeds = [0, 1]

[set]
data.image_size = 14
model.filters = 8
outer.meta_batch = 4
outer.steps = 400
checkpoint.every = 10
eval.every = 0
eval.test_episodes = 20
backend = "flex"
threads = 1

[grid]
inner.rate = [0.1, 0.4]
TOML

# The table without its last column, the seconds.
table() { sed -E 's/\|[^|]*\|$//' "$1/table.md"; }

logged plain.log "$program" sweep sweep.toml --out plain
# Seconds that a scheduler may take for the same runs: ten times as many, and some minutes in which nothing is trained, such as
# the two that Slurm lets pass before it starts a requeued job.
limit=$((300 + 10 * SECONDS))
failed=0
compare() {
    # The sweep would train what the scheduler left out.
    logged "$1-list.log" "$program" sweep sweep.toml --out "$1" --list --json
    if grep -q '"state":"open"' "$1-list.log"; then
        echo "$1: not every run was trained" >&2
        failed=1
    fi
    logged "$1-table.log" "$program" sweep sweep.toml --out "$1"
    if diff <(table plain) <(table "$1"); then
        echo "$1: the table is that of the sweep without a scheduler"
    else
        echo "$1: the table differs" >&2
        failed=1
    fi
}

with_parallel() {
    for tool in parallel jq; do
        command -v "$tool" >/dev/null || { echo "parallel: SKIPPED, $tool is not installed"; return; }
    done
    "$program" sweep sweep.toml --out parallel --list --json 2>parallel-names.log | jq -r '.runs[].name' >names ||
        give_up "parallel: the runs cannot be listed" parallel-names.log
    logged parallel-runs.log \
        parallel --jobs 2 --joblog parallel.log "$program" sweep sweep.toml --out parallel --only {} <names
    compare parallel
}

# By `hq`, or by the Python package `hyperqueue` of the Python that HQ_PYTHON names.
with_hyperqueue() {
    local only=("$program" sweep sweep.toml --out hyperqueue --only)
    if command -v hq >/dev/null; then
        export HQ_SERVER_DIR="$work/hq"
        hq server start >hq-server.log 2>&1 &
        processes+=($!)
        wait_for 60 hq server info || give_up "hyperqueue: its server did not start" hq-server.log
        hq worker start --cpus 2 >hq-worker.log 2>&1 &
        processes+=($!)
        timeout "$limit" hq submit --array 0-3 --cpus 1 --wait --stdout none --stderr none -- \
            bash -c '"$@" "$HQ_TASK_ID"' each "${only[@]}" >hq-submit.log 2>&1 ||
            give_up "hyperqueue: its jobs failed, or took more than $limit s" hq-{submit,worker,server}.log
    elif "$hq_python" -c "import hyperqueue" 2>/dev/null; then
        timeout "$limit" "$hq_python" - "${only[@]}" <<'PYTHON' >hq.log 2>&1 ||
import sys
from hyperqueue import Job, LocalCluster
from hyperqueue.cluster import WorkerConfig

with LocalCluster() as cluster:
    cluster.start_worker(WorkerConfig(cores=2))
    job = Job()
    for index in range(4):
        job.program([*sys.argv[1:], str(index)])
    client = cluster.client()
    client.wait_for_jobs([client.submit(job)])
PYTHON
            give_up "hyperqueue: its jobs failed, or took more than $limit s" hq.log
    else
        echo "hyperqueue: SKIPPED, there is neither hq nor Python's hyperqueue (HQ_PYTHON)"
        return
    fi
    compare hyperqueue
}

with_slurm() {
    for tool in slurmctld slurmd sbatch munged jq; do
        command -v "$tool" >/dev/null || { echo "slurm: SKIPPED, $tool is not installed"; return; }
    done
    [ "$(id -u)" -eq 0 ] || { echo "slurm: SKIPPED, its daemons are started as root"; return; }
    start_slurm
    cat >job.sh <<JOB
#!/bin/bash
#SBATCH --array=0-3 --ntasks=1 --cpus-per-task=1 --requeue --open-mode=append --output=$work/slurm-%a.log
srun "$program" sweep sweep.toml --out slurm --only "\$SLURM_ARRAY_TASK_ID" --progress plain
code=\$?
if [ "\$code" -eq 130 ]; then
    echo "stopped and saved; requeued"
    scontrol requeue "\$SLURM_JOB_ID"
fi
exit "\$code"
JOB
    array="$(sbatch --parsable job.sh)"
    # Once it trains, the first job is told to stop.
    local metrics job
    metrics="slurm/$("$program" sweep sweep.toml --out slurm --list --json | jq -r '.runs[0].name')/metrics.jsonl"
    wait_for "$limit" test -s "$metrics" ||
        give_up "slurm: the first job has not trained within $limit s" slurm-0.log daemon/*.log
    job="$(squeue --noheader --array --states=R --format='%A %K' | awk '$2 == 0 { print $1 }')"
    # A job that Slurm has only just started cannot be told anything yet.
    for _ in $(seq 50); do scancel --signal=TERM "$job" 2>/dev/null && break || sleep 0.2; done
    wait_for "$limit" queue_is_empty ||
        give_up "slurm: its jobs have not ended within $limit s" slurm-[0-3].log daemon/*.log
    grep -q "stopped and saved; requeued" slurm-0.log ||
        { echo "slurm: no job was requeued" >&2; show slurm-0.log; failed=1; }
    jq --slurp --exit-status 'last.step > 0' "${metrics%/*}/sessions.jsonl" >/dev/null ||
        { echo "slurm: the requeued job began anew" >&2; show slurm-0.log; failed=1; }
    compare slurm
}

queue_is_empty() { [ -z "$(squeue --noheader --jobs "$array" 2>/dev/null)" ]; }

node_is_up() { sinfo --noheader --format=%T | grep -E '^(idle|mixed)'; }

# A controller and a node on this machine.
start_slurm() {
    mkdir -p munge daemon/{state,spool} && chmod 700 munge
    dd if=/dev/urandom bs=1 count=1024 of=munge/key status=none && chmod 400 munge/key
    chmod 755 "$work"
    munged --force --foreground --key-file="$work/munge/key" --socket="$work/munge.socket" --pid-file="$work/munge/pid" \
        --seed-file="$work/munge/seed" --log-file="$work/munge/log" >munge/out 2>&1 &
    processes+=($!)
    cat >daemon/slurm.conf <<CONF
ClusterName=local
SlurmctldHost=$(hostname -s)(127.0.0.1)
AuthType=auth/munge
AuthInfo=socket=$work/munge.socket
SlurmUser=root
SlurmctldPort=16817
SlurmdPort=16818
StateSaveLocation=$work/daemon/state
SlurmdSpoolDir=$work/daemon/spool
SlurmctldPidFile=$work/daemon/slurmctld.pid
SlurmdPidFile=$work/daemon/slurmd.pid
SlurmctldLogFile=$work/daemon/slurmctld.log
SlurmdLogFile=$work/daemon/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
MpiDefault=none
NodeName=$(hostname -s) NodeAddr=127.0.0.1 CPUs=$(nproc) State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES State=UP
CONF
    export SLURM_CONF="$work/daemon/slurm.conf"
    wait_for 30 test -S munge.socket || give_up "slurm: munged did not start" munge/log munge/out
    slurmctld -D >daemon/slurmctld.out 2>&1 &
    processes+=($!)
    slurmd -D >daemon/slurmd.out 2>&1 &
    processes+=($!)
    wait_for 30 node_is_up || give_up "slurm: its node did not start" daemon/*.log daemon/*.out
}

for scheduler in "${schedulers[@]}"; do
    case "$scheduler" in
        parallel | hyperqueue | slurm) "with_$scheduler" ;;
        *) echo "there is no scheduler $scheduler; there are parallel, hyperqueue and slurm" >&2; exit 2 ;;
    esac
done
exit "$failed"
