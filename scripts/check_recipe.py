#!/usr/bin/env python3
"""One outer step of MAML++'s whole recipe in JAX, in float64, compared with metaburn's.

    python3 -m venv venv && venv/bin/pip install jax safetensors
    venv/bin/python scripts/check_recipe.py --metaburn target/release/metaburn

The recipe (Antoniou, Edwards & Storkey, How to train your MAML, 2019): convolutions of stride 1 with bias, batch norm, leaky ReLU
and 2x2 max-pool; a learned inner rate for every tensor and inner step; gamma and beta of batch norm outside the inner loop, a row
for every inner step; the outer loss after every inner step. Nothing here is metaburn's: JAX differentiates through the unrolled inner loop.

Prints the relative error of every kind of result, and fails if one exceeds 1e-9. --write saves the case with JAX's results, which
is how tests/golden/recipe.safetensors was made.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile

os.environ.setdefault("JAX_PLATFORMS", "cpu")
import jax

jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp
import numpy as np
from jax import lax
from safetensors.numpy import load_file, save_file

TASKS, WAYS, SHOTS, QUERIES = 2, 3, 2, 2
SIDE, BLOCKS, FILTERS, STEPS = 20, 4, 3, 3  # 20 -> 10 -> 5 -> 2 -> 1 pixels: one pool leaves a row and a column out
SLOPE, EPSILON, TOLERANCE = 0.01, 1e-5, 1e-9
# w_1 .. w_r of the multi-step loss, 40 % along its annealing.
LOSS_WEIGHTS = [0.2, 0.2, 0.6]


def make_case(seed):
    """Random images, shuffled labels, weights and rates, under PyTorch's names and layouts."""
    random = np.random.default_rng(seed)
    arrays = {}
    for part, count in ("support", SHOTS), ("query", QUERIES):
        labels = np.stack([random.permutation(np.repeat(np.arange(WAYS), count)) for _ in range(TASKS)])
        # Each class has a pattern of its own under the noise.
        patterns = random.normal(size=(TASKS, WAYS, SIDE, SIDE))
        images = np.take_along_axis(patterns, labels[..., None, None], 1) + random.normal(size=(TASKS, WAYS * count, SIDE, SIDE))
        arrays[f"{part}_x"] = images[:, :, None].astype(np.float32).astype(np.float64)
        arrays[f"{part}_y"] = labels.astype(np.int64)
    theta, channels = {}, 1
    for block in range(1, BLOCKS + 1):
        bound = np.sqrt(6 / (9 * (channels + FILTERS)))
        theta[f"conv{block}.weight"] = random.uniform(-bound, bound, (FILTERS, channels, 3, 3))
        theta[f"conv{block}.bias"] = random.normal(size=FILTERS) * 0.1
        theta[f"bn{block}.weight"] = 1 + random.normal(size=(STEPS, FILTERS)) * 0.1
        theta[f"bn{block}.bias"] = random.normal(size=(STEPS, FILTERS)) * 0.1
        channels = FILTERS
    bound = np.sqrt(6 / (FILTERS + WAYS))
    theta["linear.weight"] = random.uniform(-bound, bound, (WAYS, FILTERS))
    theta["linear.bias"] = random.normal(size=WAYS) * 0.1
    rates = {name: 0.3 + random.normal(size=STEPS) * 0.1 for name in theta if not name.startswith("bn")}
    return arrays, theta, rates


def logits(weights, images, step):
    """Logits at inner step `step` (from 0), with the batch's own statistics."""
    x = images
    for block in range(1, BLOCKS + 1):
        x = lax.conv_general_dilated(
            x, weights[f"conv{block}.weight"], (1, 1), [(1, 1), (1, 1)], dimension_numbers=("NCHW", "OIHW", "NCHW")
        )
        x = x + weights[f"conv{block}.bias"][:, None, None]
        mean = x.mean((0, 2, 3), keepdims=True)
        variance = ((x - mean) ** 2).mean((0, 2, 3), keepdims=True)
        gamma, beta = (weights[f"bn{block}.{part}"][step][:, None, None] for part in ("weight", "bias"))
        x = (x - mean) / jnp.sqrt(variance + EPSILON) * gamma + beta
        x = jnp.where(x > 0, x, SLOPE * x)
        x = lax.reduce_window(x, -jnp.inf, lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")
    return x.reshape(x.shape[0], -1) @ weights["linear.weight"].T + weights["linear.bias"]


def cross_entropy(weights, images, labels, step):
    likelihoods = jax.nn.log_softmax(logits(weights, images, step))
    return -jnp.take_along_axis(likelihoods, labels[:, None], 1).mean()


def outer_loss(theta, rates, support, query):
    """The multi-step loss of one task; also the adapted weights and the last query loss."""
    fast = {name: theta[name] for name in rates}
    total = 0.0
    for step, weight in enumerate(LOSS_WEIGHTS):
        gradient = jax.grad(lambda fast: cross_entropy({**theta, **fast}, *support, step))(fast)
        fast = {name: fast[name] - rates[name][step] * gradient[name] for name in fast}
        last = cross_entropy({**theta, **fast}, *query, step)
        total = total + weight * last
    return total, (fast, last)


def solve(arrays, theta, rates):
    """The results of every task, in the layout of `metaburn gradient`."""
    differentiate = jax.jit(jax.value_and_grad(outer_loss, (0, 1), has_aux=True))
    found = {}
    for task in range(TASKS):
        support, query = ((jnp.asarray(arrays[f"{part}_x"][task]), jnp.asarray(arrays[f"{part}_y"][task])) for part in ("support", "query"))
        (_, (fast, last)), (slope, slope_of_rates) = differentiate(theta, rates, support, query)
        found.setdefault("query_loss", []).append(last)
        for name, value in fast.items():
            found.setdefault(f"phi.{name}", []).append(value)
        for prefix, group in ("exact.", slope), ("exact.rate.", slope_of_rates):
            for name, value in group.items():
                found.setdefault(prefix + name, []).append(value)
    found = {name: np.stack([np.asarray(value) for value in values]) for name, values in found.items()}
    means = {f"mean_{name}": value.mean(0) for name, value in found.items() if name.startswith("exact.")}
    return {**found, **means}


def compare(ours, expected):
    """Relative error of each kind of result; the largest."""
    worst = 0.0
    for kind in "query_loss", "phi.", "exact.rate.", "exact.", "mean_exact.":
        names = [name for name in expected if name.startswith(kind) and not (kind == "exact." and "rate." in name)]
        flat = lambda source: np.concatenate([np.asarray(source[name], np.float64).ravel() for name in names])
        error = np.linalg.norm(flat(ours) - flat(expected)) / np.linalg.norm(flat(expected))
        print(f"{kind:12} {len(names):3} arrays   relative error {error:.1e}")
        worst = max(worst, error)
    return worst


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--metaburn", help="the program to compare with")
    parser.add_argument("--write", help="file for the case and JAX's results (safetensors)")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if not (arguments.metaburn or arguments.write):
        parser.error("give --metaburn PROGRAM to compare with it, or --write FILE")

    arrays, theta, rates = make_case(arguments.seed)
    expected = solve(arrays, {name: jnp.asarray(value) for name, value in theta.items()}, rates)
    case = {
        **arrays,
        **{f"theta.{name}": value for name, value in theta.items()},
        **{f"rate.{name}": value for name, value in rates.items()},
    }
    text = {
        "n_way": str(WAYS),
        "inner_steps": str(STEPS),
        "alpha": "0.3",
        "bn_eps": str(EPSILON),
        "pool": "max",
        "negative_slope": str(SLOPE),
        "adapts": "all-but-norm",
        "loss_weights": json.dumps([0.0, *LOSS_WEIGHTS]),
    }
    if arguments.write:
        contiguous = {name: np.ascontiguousarray(value) for name, value in {**case, **expected}.items()}
        save_file(contiguous, arguments.write, text)
    if not arguments.metaburn:
        return
    with tempfile.TemporaryDirectory() as folder:
        files = [os.path.join(folder, name) for name in ("case.safetensors", "ours.safetensors")]
        save_file({name: np.ascontiguousarray(value) for name, value in case.items()}, files[0], text)
        command = [arguments.metaburn, "gradient", "--case", files[0], "--estimator", "exact", "--dtype", "f64", "--out", files[1]]
        subprocess.run(command, check=True)
        worst = compare(load_file(files[1]), expected)
    if not worst <= TOLERANCE:
        sys.exit(f"the largest relative error is {worst:.1e}, but {TOLERANCE} is allowed")
    print(f"metaburn and JAX agree to {worst:.1e}")


if __name__ == "__main__":
    main()
