#!/usr/bin/env python3
"""Runs another framework's program on a GPU: on_gpu.py PROGRAM ARGUMENTS…

The programs are written for a CPU. JAX uses the platform in JAX_PLATFORMS. For PyTorch, this script creates
the tensors on the GPU and synchronises after each timed step. It also adds configuration L to both.
"""

import runpy
import sys
from pathlib import Path


def move_torch(common):
    import torch

    torch.set_default_device("cuda")
    from_numpy = torch.from_numpy
    torch.from_numpy = lambda array: from_numpy(array).cuda()
    time_steps = common.time_steps

    def to_the_end(step, **options):
        def whole(number):
            step(number)
            torch.cuda.synchronize()

        return time_steps(whole, **options)

    common.time_steps = to_the_end


def main():
    program = Path(sys.argv[1]).resolve()
    sys.argv = sys.argv[1:]
    sys.path.insert(0, str(program.parent))
    import common

    common.CONFIGS.setdefault("L", dict(N=5, K=5, Q=5, T=256, alpha=0.4))
    if program.name.startswith("torch"):
        move_torch(common)
    runpy.run_path(str(program), run_name="__main__")


if __name__ == "__main__":
    main()
