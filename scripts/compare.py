#!/usr/bin/env python3
"""Times metaburn's outer step against other programs. Called by compare.sh and bench-gpu.sh.

A program is a command that times a step and prints a JSON line: `metaburn bench --json`, or another
framework's program with the same keys (docs/speed.md lists them). Each round runs every program once, one
after the other; every second round is in reverse order, so that a drift of the machine affects all of them.
Ratios are taken within a round, and the median over rounds is printed.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median

DISTURBED = 0.15  # cores kept busy by other programs, above which a time is unreliable
HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Program:
    """A command, and which line of its output to use."""

    name: str
    command: tuple[str, ...]
    estimator: str
    env: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Case:
    """A step to time, and the programs that take it."""

    name: str
    ours: Program
    others: tuple[Program, ...]


class Programs:
    """The command line of each program."""

    def __init__(self, options):
        self.options = options
        self.missing = []
        python, peers = options.python, options.peers
        if peers is None:
            self.missing.append("no folder of other programs was given: ours are measured alone")
        self.has_jax = peers is not None and self._has("jax_maml.py", "jax", "optax")
        wants_torch = peers is not None and (options.full or options.machine == "gpu")
        self.has_torch = wants_torch and self._has("torch_maml.py", "torch")
        self.has_higher = self.has_torch and options.full and self._has("torch_maml.py", "higher")
        # torch_maml.py looks for learn2learn's sources in ../l2l_src; PYTHONPATH may name another place.
        self.has_l2l = self.has_torch and options.full and self._has("torch_maml.py", "learn2learn.algorithms.maml")

    def _has(self, script, *modules):
        path = os.pathsep.join([str(Path(self.options.peers) / ".." / "l2l_src"), os.environ.get("PYTHONPATH", "")])
        lacking = None if (Path(self.options.peers) / script).is_file() else f"{self.options.peers}/{script}"
        for module in modules:
            if lacking is None:
                asked = [self.options.python, "-c", f"import {module}"]
                found = subprocess.run(asked, env={**os.environ, "PYTHONPATH": path}, capture_output=True)
                lacking = None if found.returncode == 0 else f"{module} of {self.options.python}"
        if lacking is not None:
            self.missing.append(f"{lacking} is missing")
        return lacking is None

    def ours(self, config, steps, estimator, *more):
        command = (self.options.metaburn, "bench", "--json", "--config", config, "--steps", str(steps))
        once = ("--reps", "1") if self.options.quick else ()
        net = ("--set=model.pool=max",) if self.options.net == "maxpool" else ()
        isa = (("BILEVEL_ISA", self.options.isa),) if self.options.isa else ()
        return Program("metaburn", (*command, "--estimator", estimator, *once, *net, *more), estimator, isa)

    def other(self, name, script, config, steps, estimator, *more, line=None):
        words = (*self.script(script), "--config", config, "--r", str(steps), "--est", estimator, *more)
        once = ("--min-reps", "1", "--min-seconds", "0") if self.options.quick else ()
        net = ("--net", "maxpool") if self.options.net == "maxpool" else ()
        return Program(name, (self.options.python, *words, *once, *net), line or estimator, self.env())

    def script(self, name):
        path = str(Path(self.options.peers) / name)
        return (str(HERE / "on_gpu.py"), path) if self.options.machine == "gpu" else (path,)

    def env(self):
        # By default JAX reserves three quarters of the card's memory.
        on_gpu = (("JAX_PLATFORMS", "cuda"), ("XLA_PYTHON_CLIENT_PREALLOCATE", "false"))
        isa = (("XLA_FLAGS", f"--xla_cpu_max_isa={self.options.isa.upper()}"),) if self.options.isa else ()
        return on_gpu if self.options.machine == "gpu" else (("JAX_PLATFORMS", "cpu"), *isa)


def cpu_cases(programs):
    """A, B and C, first-order and exact, and a long inner loop; with `--full`, every variant."""
    cases = []
    for config, steps in [("A", 5), ("B", 10), ("C", 10)]:
        for estimator in ["first-order", "exact"]:
            cases.append(cpu_case(programs, config, steps, estimator))
    cases.append(cpu_case(programs, "C", 100, "exact"))
    if programs.options.full:
        sizes = [("A", 5), ("B", 10)]
        cases += [ufom_case(programs, config, steps, q) for config, steps in sizes for q in ["0.1", "0.2"]]
    return cases


def cpu_case(programs, config, steps, estimator):
    full, others = programs.options.full, []
    short = "fo" if estimator == "first-order" else "exact"
    if programs.has_jax:
        # The fastest variant found: `map` over tasks if there are several, with rematerialisation.
        tasks = "vmap" if config == "C" else "map"
        best = "fo" if short == "fo" else "remat"
        for which in [best, short] if full and best != short else [best]:
            others.append(programs.other(f"JAX {tasks} {which}", "jax_maml.py", config, steps, which, "--tasks", tasks))
    if programs.has_torch and full:
        ways = [("func", ("--bn", "manual")), ("loop", ())]
        ways += [("l2l", ())] * programs.has_l2l + [("higher", ())] * programs.has_higher
        for way, more in ways:
            name = {"l2l": "learn2learn", "higher": "higher"}.get(way, f"PyTorch {way}")
            others.append(programs.other(name, "torch_maml.py", config, steps, short, "--impl", way, *more))
    return Case(f"{config}, r = {steps}, {estimator}", programs.ours(config, steps, estimator), tuple(others))


def ufom_case(programs, config, steps, q):
    keys = (f"estimator.q={q}", "estimator.coin=stratified")
    often = () if programs.options.quick else ("--reps", "20")
    ours = programs.ours(config, steps, "ufom", *often, *(f"--set={key}" for key in keys))
    line, others = f"ufom{q}", []
    if programs.has_jax:
        others.append(programs.other("JAX map", "jax_maml.py", config, steps, "ufom", "--tasks", "map", line=line))
    if programs.has_torch:
        more = ("--impl", "func", "--bn", "manual")
        others.append(programs.other("PyTorch func", "torch_maml.py", config, steps, "ufom", *more, line=line))
    return Case(f"{config}, r = {steps}, UFOM({q})", ours, tuple(others))


def gpu_cases(programs):
    """A, B and L on each available backend, first-order and exact; with `--quick`, a tiny version of A."""
    cases, sizes, quick = [], [("A", 5), ("B", 10), ("L", 5)], ()
    if programs.options.quick:
        sizes, quick = [("A", 2)], ("--set=model.filters=4", "--set=outer.meta_batch=2")
    for backend in backends(programs):
        for config, steps in sizes:
            for estimator, short in [("first-order", "fo"), ("exact", "exact")]:
                others = []
                # With --quick metaburn uses a smaller network, so a comparison would be meaningless.
                if programs.has_jax and not quick:
                    others.append(programs.other("JAX vmap", "jax_maml.py", config, steps, short, "--tasks", "vmap"))
                if programs.has_torch and not quick:
                    more = ("--impl", "func", "--bn", "manual")
                    others.append(programs.other("PyTorch func", "torch_maml.py", config, steps, short, *more))
                ours = programs.ours(config, steps, estimator, "--backend", backend, *quick)
                cases.append(Case(f"{config}, r = {steps}, {estimator}, {backend}", ours, tuple(others)))
    return cases


def backends(programs):
    """The available GPU backends; software GPUs only with --quick."""
    asked = [programs.options.metaburn, "backends", "--json"]
    listed = subprocess.run(asked, capture_output=True, text=True, check=True)
    found = []
    for line in map(json.loads, listed.stdout.splitlines()):
        if line["backend"] not in ("cuda", "vulkan", "wgpu"):
            continue
        if not line["available"]:
            programs.missing.append(f"{line['backend']}: {line['reason']}")
        elif not line["gpu"] and not programs.options.quick:
            programs.missing.append(f"{line['backend']}: {line['device']}; --quick tries it all the same")
        else:
            print(f"{line['backend']}: {line['device']}", file=sys.stderr)
            found.append(line["backend"])
    return found


def run(program):
    """The JSON lines that `program` prints, and an error if there are none."""
    environment = {**os.environ, **dict(program.env)}
    try:
        ended = subprocess.run(program.command, env=environment, capture_output=True, text=True)
    except OSError as error:
        return [], str(error)
    lines = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{")]
    if ended.returncode == 0 and lines:
        return lines, None
    said = ended.stderr.strip().splitlines()
    # The last line that names an error; other lines may follow it.
    errors = [line for line in said if "rror" in line.split(":")[0]]
    return [], (errors or said or [f"exit code {ended.returncode}"])[-1]


def measure(cases, rounds, raw):
    """The output of each command in each round, and the errors of those that failed."""
    programs = {program.command: program for case in cases for program in (case.ours, *case.others)}
    found, failed = {command: [] for command in programs}, {}
    for number in range(rounds):
        order = list(programs) if number % 2 == 0 else list(reversed(programs))
        for place, command in enumerate(order, 1):
            if command in failed:
                continue
            program = programs[command]
            print(f"round {number + 1} of {rounds}, {place} of {len(order)}: {' '.join(command)}", file=sys.stderr)
            lines, reason = run(program)
            if reason is not None:
                failed[command] = reason
            found[command].append(lines)
            for line in lines:
                if raw:
                    print(json.dumps({"program": program.name, "round": number, **line}), file=raw, flush=True)
    return found, failed


def line_of(program, printed):
    """The line to use, among those of a round."""
    if program.name == "metaburn":
        return printed[0] if printed else None
    return next((line for line in printed if line["est"] == program.estimator), None)


def memory(line):
    return line.get("peak_rss_mb") or line.get("rss_peak_mb")


def milliseconds(line):
    """Milliseconds for a step, from episodes/s: from the median, or from the mean for random estimators."""
    return 1e3 * line["T"] / line["episodes_per_s"]


def table(cases, found, failed):
    head = ["step", "ms", "steps/s", "MB", "other program", "ms", "MB", "episodes/s, ours ÷ its", "memory, ours ÷ its"]
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for case in cases:
        mine = [line_of(case.ours, printed) for printed in found[case.ours.command]]
        if not any(mine):
            continue
        first = [case.name, *figures(mine)]
        rows = []
        for other in case.others:
            theirs = [line_of(other, printed) for printed in found[other.command]]
            if other.command not in failed and any(theirs):
                pairs = [(a, b) for a, b in zip(mine, theirs) if a and b]
                speed = median(a["episodes_per_s"] / b["episodes_per_s"] for a, b in pairs)
                sizes = [memory(a) / memory(b) for a, b in pairs if memory(a) and memory(b)]
                ms, _, peak = figures(theirs)
                size = f"{median(sizes):.2f}" if sizes else "-"
                rows.append((speed, [other.name, ms, peak, f"{speed:.2f}", size]))
        # The fastest first.
        for place, (_, row) in enumerate(sorted(rows, key=lambda row: row[0]) or [(0, [""] * 5)]):
            print("| " + " | ".join((first if place == 0 else [""] * 4) + row) + " |")


def figures(lines):
    lines = [line for line in lines if line]
    ms = median(map(milliseconds, lines))
    peaks = [memory(line) for line in lines if memory(line)]
    return [f"{ms:.1f}", f"{1e3 / ms:.2f}", f"{max(peaks):.0f}" if peaks else "-"]


def notes(cases, found, failed, missing):
    programs = {program.command: program for case in cases for program in (case.ours, *case.others)}
    lines = [line for printed in found.values() for lines in printed for line in lines]
    disturbed = [line for line in lines if (line.get("others_cores") or 0) > DISTURBED]
    if disturbed:
        share = f"{len(disturbed)} of {len(lines)} measurements"
        print(f"\n{share} were disturbed: others kept more than {DISTURBED} cores busy.")
    for reason in missing:
        print(f"\nLeft out: {reason}.")
    for command, reason in failed.items():
        print(f"\nFailed: {programs[command].name}, {' '.join(command)}: {reason}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("machine", choices=["cpu", "gpu"])
    parser.add_argument("--metaburn", required=True, help="our program, built")
    parser.add_argument("--peers", help="folder of jax_maml.py and torch_maml.py")
    parser.add_argument("--python", default=sys.executable, help="a Python that has what those need")
    network = "Conv4 with strides, or with max-pooling, which the other programs must offer as --net maxpool"
    parser.add_argument("--net", choices=["stride", "maxpool"], default="stride", help=network)
    isa = "hold metaburn's kernels and JAX to an instruction set that is older than the processor's newest"
    parser.add_argument("--isa", choices=["avx2"], help=isa)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--full", action="store_true", help="every program, and UFOM")
    parser.add_argument("--quick", action="store_true", help="one step each; for a GPU a tiny network")
    parser.add_argument("--raw", type=argparse.FileType("w"), help="file for every line as it was printed")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    if shutil.which(options.metaburn) is None:
        parser.error(f"{options.metaburn} is not an executable file")
    programs = Programs(options)
    cases = cpu_cases(programs) if options.machine == "cpu" else gpu_cases(programs)
    found, failed = measure(cases, options.rounds, options.raw)
    table(cases, found, failed)
    notes(cases, found, failed, programs.missing)
    return 0 if cases and not any(case.ours.command in failed for case in cases) else 1


if __name__ == "__main__":
    sys.exit(main())
