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
TOLERANCE = 1e-4
TINY = (
    "data.image_size=14 model.filters=4 outer.meta_batch=2 task.queries=2 eval.every=0 eval.test_episodes=4 "
    "outer.schedule=constant"
)
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

    def __init__(self, program, backend, software, folder):
        self.program, self.backend, self.software, self.folder = program, backend, software, Path(folder)
        self.failed = 0

    def say(self, name, problem, detail):
        self.failed += problem is not None
        print(f"{'ok     ' if problem is None else 'FAILED '} {self.backend}: {name}: {problem or detail}", flush=True)

    def run(self, *arguments):
        return subprocess.run([self.program, *arguments], capture_output=True, text=True)

    def train(self, name, steps, *settings, command=("train",), tiny=TINY):
        """A short training; returns its metrics, and what it printed if it failed."""
        run = self.folder / name
        to = ("--run-dir", run) if command == ("train",) else ()
        sets = [f"--set={setting}" for setting in (*tiny.split(), *settings)] if to else []
        backend = ("--backend", self.backend, "--progress", "none", "--steps", str(steps))
        ended = self.run(*command, *to, *backend, *sets)
        metrics = run / "metrics.jsonl"
        return metrics.read_text() if metrics.exists() else "", ended

    def golden(self):
        worst = 0.0
        expected = arrays(GOLDEN)
        for estimator, kind in [("exact", "exact."), ("first-order", "fo.")]:
            out = self.folder / f"{estimator}.safetensors"
            arguments = ("--case", GOLDEN, "--estimator", estimator, "--out", out, "--backend", self.backend)
            ended = self.run("gradient", *arguments)
            if ended.returncode != 0:
                return self.say("golden case", ended.stderr.strip(), "")
            ours = arrays(out)
            names = [name for name in ours if name.startswith(kind)]
            pairs = [pair for name in names for pair in zip(ours[name], expected[name], strict=True)]
            error = sqrt(sum((a - b) ** 2 for a, b in pairs) / sum(b**2 for _, b in pairs))
            worst = max(worst, error)
        problem = None if worst <= TOLERANCE else f"relative error {worst:.1e} is over {TOLERANCE:.0e}"
        self.say("golden case", problem, f"relative error {worst:.1e}")

    def training(self):
        """Graphs change no bit, and neither does an interruption."""
        for estimator, more in ESTIMATORS.items():
            name = f"{estimator}, 12 steps"
            settings = (f"estimator.name={estimator}", *more)
            began = time.monotonic()
            with_graphs, ended = self.train(f"{estimator}-graphs", 12, *settings)
            first = time.monotonic() - began
            if ended.returncode != 0:
                self.say(name, ended.stderr.strip(), "")
                continue
            plain, _ = self.train(f"{estimator}-plain", 12, *settings, "graphs=false")
            self.say(f"{name}, with and without graphs", None if plain == with_graphs else "they differ", "the same bits")
            self.train(f"{estimator}-resumed", 6, *settings)
            resumed, _ = self.train(
                f"{estimator}-resumed", 12, command=("resume", self.folder / f"{estimator}-resumed")
            )
            problem = None if resumed == plain else "the record is another"
            self.say(f"{name}, resumed after 6", problem, f"the same bits; {first:.1f} s from the start")

    def start(self):
        seconds = []
        for number in (1, 2):
            began = time.monotonic()
            _, ended = self.train(f"start-{number}", 1)
            seconds.append(time.monotonic() - began)
        problem = ended.stderr.strip() if ended.returncode != 0 else None
        self.say("start-up and one step", problem, ", again ".join(f"{value:.1f} s" for value in seconds))

    def memory(self):
        if self.software:
            return print(f"skipped {self.backend}: out of memory: it would be this machine's")
        _, ended = self.train("too-large", 1, tiny=TOO_LARGE)
        said = ended.stderr.strip()
        sound = ended.returncode == 1 and "lower outer.meta_batch" in said
        self.say("out of memory", None if sound else f"exit code {ended.returncode}: {said[-300:]}", "a clear error")


def main():
    program = sys.argv[1]
    listed = subprocess.run([program, "backends", "--json"], capture_output=True, text=True, check=True)
    failed = 0
    for line in map(json.loads, listed.stdout.splitlines()):
        if line["backend"] in ("cuda", "vulkan", "wgpu") and line["available"]:
            with tempfile.TemporaryDirectory() as folder:
                checks = Checks(program, line["backend"], not line["gpu"], folder)
                for check in (checks.golden, checks.start, checks.training, checks.memory):
                    check()
                failed += checks.failed
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
