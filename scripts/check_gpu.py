#!/usr/bin/env python3
"""Checks a program on each GPU backend of this machine. Called by bench-gpu.sh.

Prints a line for each check, and ends with 1 if any fails. Needs only the program, the golden case in
tests/golden and Python's standard library.
"""

import json
import struct
import subprocess
import sys
import tempfile
import time
from math import prod, sqrt
from pathlib import Path

GOLDEN = Path(__file__).resolve().parent.parent / "tests/golden/golden.safetensors"
FORMATS = {"F32": "f", "F64": "d", "I64": "q"}
BACKENDS = ("cuda", "vulkan", "wgpu")
TOLERANCE = 1e-4
LONGEST = 180  # seconds that a command may take
SMALL = "data.image_size=14 model.filters=4 outer.meta_batch=2 task.queries=2"
TINY = f"{SMALL} eval.every=0 eval.test_episodes=4 outer.schedule=constant"
# Statistics learned from measured times differ from run to run.
ESTIMATORS = {"exact": (), "step-coins": ("estimator.costs=counted",)}
# More than any card holds: 65536 tasks of 20-way 5-shot with 512 filters.
TOO_LARGE = "outer.meta_batch=65536 model.filters=512 task.ways=20 task.shots=5 task.queries=5"


def arrays(path):
    """The arrays of a safetensors file, by name."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    found = {}
    for name, entry in header.items():
        if name != "__metadata__":
            first, last = entry["data_offsets"]
            count = prod(entry["shape"])
            found[name] = struct.unpack(f"<{count}{FORMATS[entry['dtype']]}", data[first:last])
    return found


class Checks:
    """The checks of a program on a backend, in a folder of its own."""

    def __init__(self, program, backend, folder):
        self.program, self.backend, self.folder, self.failed = program, backend, Path(folder), 0

    def say(self, name, problem, detail):
        self.failed += problem is not None
        state = "ok    " if problem is None else "FAILED"
        print(f"{state}  {self.backend}: {name}: {problem or detail}", flush=True)

    def run(self, *arguments):
        """The exit code and the errors of a command; a command that takes too long fails."""
        try:
            ended = subprocess.run([self.program, *arguments], capture_output=True, text=True, timeout=LONGEST)
        except subprocess.TimeoutExpired:
            return 124, f"no end after {LONGEST} s", ""
        return ended.returncode, ended.stderr.strip()[-400:], ended.stdout

    def train(self, name, steps, *settings, command="train"):
        """A short training: its metrics, and what went wrong."""
        run = self.folder / name
        place = ("train", "--run-dir", run, *(f"--set={setting}" for setting in (*TINY.split(), *settings)))
        arguments = place if command == "train" else ("resume", run)
        code, errors, _ = self.run(*arguments, "--backend", self.backend, "--progress", "none", "--steps", str(steps))
        if code != 0:
            return None, f"exit code {code}: {errors}"
        return (run / "metrics.jsonl").read_text(), None

    def golden(self):
        worst = 0.0
        expected = arrays(GOLDEN)
        for estimator, kind in [("exact", "exact."), ("first-order", "fo.")]:
            out = self.folder / f"{estimator}.safetensors"
            arguments = ("--case", GOLDEN, "--estimator", estimator, "--out", out, "--backend", self.backend)
            code, errors, _ = self.run("gradient", *arguments)
            if code != 0:
                return self.say("golden case", f"exit code {code}: {errors}", "")
            ours = arrays(out)
            names = [name for name in expected if name.startswith(kind)]
            pairs = [pair for name in names for pair in zip(ours[name], expected[name], strict=True)]
            error = sqrt(sum((a - b) ** 2 for a, b in pairs) / sum(b**2 for _, b in pairs))
            # Not max, which loses a NaN.
            worst = worst if error <= worst else error
        problem = None if worst <= TOLERANCE else f"relative error {worst:.1e} is over {TOLERANCE:.0e}"
        self.say("golden case", problem, f"relative error {worst:.1e}")

    def training(self):
        """Graphs change no bit, and neither does an interruption."""
        for estimator, more in ESTIMATORS.items():
            settings = (f"estimator.name={estimator}", *more)
            expected, problem = self.train(f"{estimator}-plain", 12, *settings, "graphs=false")
            if problem is not None:
                self.say(estimator, problem, "")
                continue
            found, problem = self.train(f"{estimator}-graphs", 12, *settings)
            problem = problem or (None if found == expected else "they differ")
            self.say(f"{estimator}, 12 steps with and without graphs", problem, "the same bits")
            _, problem = self.train(f"{estimator}-parts", 6, *settings)
            if problem is None:
                found, problem = self.train(f"{estimator}-parts", 12, command="resume")
            problem = problem or (None if found == expected else "the record is another")
            self.say(f"{estimator}, resumed after 6 steps", problem, "the same bits")

    def graphs(self):
        """Graphs are recorded: otherwise the training above compares launches with launches."""
        settings = [f"--set={setting}" for setting in SMALL.split()]
        arguments = ("bench", "--config", "A", "--estimator", "exact", "--reps", "1", "--launches", "--json")
        code, errors, printed = self.run(*arguments, "--backend", self.backend, *settings)
        if code != 0:
            return self.say("graphs", f"exit code {code}: {errors}", "")
        counts = json.loads(printed)["launches"]
        found = counts.get("with_graphs")
        problem = None if found and found["graphs"] >= 1 else "none was recorded"
        self.say("graphs", problem, f"{counts['total']:.0f} launches without, {found and found['total']:.0f} with")

    def start(self):
        seconds = []
        for number in (1, 2):
            began = time.monotonic()
            _, problem = self.train(f"start-{number}", 1)
            seconds.append(time.monotonic() - began)
            if problem is not None:
                break
        self.say("start-up and one step", problem, ", again ".join(f"{value:.1f} s" for value in seconds))

    def memory(self):
        if self.backend != "cuda":
            return print(f"skipped {self.backend}: out of memory: the memory could be the machine's")
        settings = [f"--set={setting}" for setting in TOO_LARGE.split()]
        arguments = ("--backend", self.backend, "--progress", "none", "--steps", "1", "--run-dir", self.folder / "large")
        code, errors, _ = self.run("train", *arguments, *settings)
        sound = code == 1 and "lower outer.meta_batch" in errors
        self.say("out of memory", None if sound else f"exit code {code}: {errors}", "a clear error")


def main():
    program = sys.argv[1]
    listed = subprocess.run([program, "backends", "--json"], capture_output=True, text=True, check=True)
    lines = map(json.loads, listed.stdout.splitlines())
    found = [line["backend"] for line in lines if line["available"] and line["backend"] in BACKENDS]
    if not found:
        sys.exit("no GPU backend can be used here: nothing was checked (`metaburn backends` says why)")
    failed = 0
    for backend in found:
        with tempfile.TemporaryDirectory() as folder:
            checks = Checks(program, backend, folder)
            for check in (checks.golden, checks.start, checks.graphs, checks.training, checks.memory):
                check()
            failed += checks.failed
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
