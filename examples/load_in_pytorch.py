#!/usr/bin/env python3
"""A learner that metaburn trained, in plain PyTorch: loads it, adapts it to a few images, names others.

    metaburn export RUN_DIR -o learner.safetensors
    metaburn predict RUN_DIR --support shots --query photos --json > answers.json
    python3 examples/load_in_pytorch.py learner.safetensors --support shots --answers answers.json

It names the images of answers.json and says by how much its logits differ from metaburn's; more than 1e-4 is a
failure. Needs torch, safetensors, numpy and pillow. The images must be PNG with 8 bits a channel: JPEG decoders
differ in a pixel's last bit.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn
from torch.func import functional_call

ALLOWED = 1e-4


class BatchNorm(nn.BatchNorm2d):
    """PyTorch's, with the statistics of the first `counted` images, and none kept from batch to batch."""

    def __init__(self, channels, epsilon):
        super().__init__(channels, eps=epsilon, track_running_stats=False)

    def forward(self, x, counted):
        some = x[:counted]
        mean = some.mean(dim=(0, 2, 3), keepdim=True)
        variance = some.var(dim=(0, 2, 3), keepdim=True, unbiased=False)
        scale = self.weight.view(1, -1, 1, 1)
        return (x - mean) / torch.sqrt(variance + self.eps) * scale + self.bias.view(1, -1, 1, 1)


class Conv4(nn.Module):
    """Blocks of [3x3 convolution, batch norm, leaky ReLU], then a linear layer.

    A convolution has stride 2, or stride 1 and 2x2 max-pooling after the activation.
    """

    def __init__(self, model, channels, side, ways, epsilon):
        super().__init__()
        self.blocks, filters = model["blocks"], model["filters"]
        self.max_pool, self.slope = model["pool"] == "max", model["negative_slope"]
        stride = 1 if self.max_pool else 2
        for block in range(1, self.blocks + 1):
            inputs = channels if block == 1 else filters
            convolution = nn.Conv2d(inputs, filters, 3, stride=stride, padding=1, bias=model["bias"])
            self.add_module(f"conv{block}", convolution)
            self.add_module(f"bn{block}", BatchNorm(filters, epsilon))
            side = side // 2 if self.max_pool else (side + 1) // 2
        self.linear = nn.Linear(filters * side * side, ways)

    def forward(self, images, counted):
        x = images
        for block in range(1, self.blocks + 1):
            x = getattr(self, f"conv{block}")(x)
            x = F.leaky_relu(getattr(self, f"bn{block}")(x, counted), self.slope)
            x = F.max_pool2d(x, 2) if self.max_pool else x
        return self.linear(x.flatten(1))


def load(path):
    """The network, its learned inner rates by name (none if they are fixed), and its configuration."""
    with safe_open(path, framework="pt") as file:
        text = file.metadata()
    config, epsilon = json.loads(text["config"]), float(text["epsilon"])
    model = config["model"]
    if model["kind"] != "conv4":
        sys.exit(f"{path} holds a network of kind {model['kind']}; this example builds a conv4 alone")
    arrays = load_file(path)
    rates = {name.removeprefix("rate."): arrays.pop(name) for name in list(arrays) if name.startswith("rate.")}
    data, ways = config["data"], config["task"]["ways"]
    network = Conv4(model, data.get("channels", 1), data["image_size"], ways, epsilon)
    network.load_state_dict(arrays, strict=True)
    return network, rates, config


def adapt(network, rates, inner, images, labels, steps):
    """The weights after `steps` of gradient descent on the support images."""
    weights = {name: value.detach() for name, value in network.named_parameters()}
    moves = [name for name in weights if inner["adapts"] == "all" or name.startswith("linear.")]
    start = {name: weights[name] for name in moves}
    for _ in range(steps):
        fast = {name: weights[name].detach().requires_grad_() for name in moves}
        logits = functional_call(network, {**weights, **fast}, (images, len(images)))
        loss = F.cross_entropy(logits, labels)
        loss = loss + inner["proximal"] / 2 * sum(((fast[name] - start[name]) ** 2).sum() for name in moves)
        gradients = torch.autograd.grad(loss, list(fast.values()))
        for name, gradient in zip(moves, gradients):
            weights[name] = (fast[name] - rates.get(name, inner["rate"]) * gradient).detach()
    return weights


def name_images(network, weights, support, query, batch_norm):
    """Logits of `query`, by batch norm with the support images' statistics or with the query images' own."""
    with torch.no_grad():
        if batch_norm == "transductive":
            return functional_call(network, weights, (query, len(query)))
        both = torch.cat([support, query])
        return functional_call(network, weights, (both, len(support)))[len(support) :]


def covered(old, new):
    """Which old pixels each new one covers, and how much of it each makes up, as metaburn weighs them."""
    for pixel in range(new):
        start, end = pixel * old, (pixel + 1) * old
        inside = range(start // new, -(-end // new))
        overlap = [min((i + 1) * new, end) - max(i * new, start) for i in inside]
        yield inside, np.array(overlap, dtype=np.float32) / np.float32(old)


def narrowed(rows, new):
    """`rows [n, old]` made `[n, new]` by area averaging, summed in metaburn's order and precision."""
    columns = []
    for inside, weights in covered(rows.shape[1], new):
        total = np.zeros(len(rows), dtype=np.float32)
        for i, weight in zip(inside, weights):
            total = total + weight * rows[:, i]
        columns.append(total)
    return np.stack(columns, axis=1)


def resized(plane, width, height):
    """A channel `[old height, old width]` resized by area averaging."""
    if plane.shape == (height, width):
        return plane
    return np.floor(narrowed(narrowed(plane, width).T, height).T + np.float32(0.5))


def square(planes, side, fit):
    """Channels `[channels, height, width]` as squares, as `data.fit` says."""
    height, width = planes.shape[1:]
    if fit == "crop":
        shorter = min(height, width)
        top, left = (height - shorter) // 2, (width - shorter) // 2
        planes = planes[:, top : top + shorter, left : left + shorter]
    if fit != "pad":
        return np.stack([resized(plane, side, side) for plane in planes])
    longer = max(height, width)
    new_width, new_height = (max((2 * old * side + longer) // (2 * longer), 1) for old in (width, height))
    left, top = (side - new_width) // 2, (side - new_height) // 2
    edge = np.ones((height, width), dtype=bool)
    edge[1:-1, 1:-1] = False
    padded = np.empty((len(planes), side, side), dtype=np.float32)
    for channel, plane in enumerate(planes):
        padded[channel] = np.floor(plane[edge].mean(dtype=np.float64) + 0.5)
        padded[channel, top : top + new_height, left : left + new_width] = resized(plane, new_width, new_height)
    return padded


def values(path, data, inverted):
    """An image `[channels, side, side]` as the network sees it."""
    pixels = np.array(ImageOps.exif_transpose(Image.open(path)).convert("RGBA"), dtype=np.int64)
    red, green, blue, alpha = np.moveaxis(pixels, 2, 0)
    planes = [red, green, blue]
    if data.get("channels", 1) == 1:
        grey = (2126 * red + 7152 * green + 722 * blue + 5000) // 10_000
        planes = [grey]
    on_white = [(plane * alpha + 255 * (255 - alpha) + 127) // 255 for plane in planes]
    planes = square(np.stack(on_white).astype(np.float32), data["image_size"], data.get("fit", "stretch"))
    if inverted:
        planes = 255 - planes
    planes = np.ascontiguousarray(planes, dtype=np.float32) / np.float32(255)
    mean = np.array(data.get("mean", [0] * len(planes)), dtype=np.float32)[:, None, None]
    deviation = np.array(data.get("deviation", [1] * len(planes)), dtype=np.float32)[:, None, None]
    return torch.from_numpy((planes - mean) / deviation)


def shots(folder, classes):
    """The support images' files and labels, class after class."""
    files, labels = [], []
    for label, name in enumerate(classes):
        found = [path for path in (Path(folder) / name).iterdir() if path.suffix.lower() in (".png", ".jpg", ".jpeg")]
        found = sorted(path for path in found if not path.name.startswith("."))
        files += found
        labels += [label] * len(found)
    return files, torch.tensor(labels)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("learner", help="what `metaburn export` wrote")
    arguments.add_argument("--support", required=True, help="folder of class folders to adapt to")
    arguments.add_argument("--answers", required=True, help="what `metaburn predict --json` printed")
    given = arguments.parse_args()

    network, rates, config = load(given.learner)
    answers = json.loads(Path(given.answers).read_text())
    data, inverted = config["data"], answers["inverted"]

    def stacked(files):
        return torch.stack([values(file, data, inverted) for file in files])

    files, labels = shots(given.support, answers["classes"])
    support = stacked(files)
    query = stacked([answer["file"] for answer in answers["predictions"]])
    weights = adapt(network, rates, config["inner"], support, labels, answers["steps"])
    logits = name_images(network, weights, support, query, answers["batch_norm"])

    expected = torch.tensor([answer["logits"] for answer in answers["predictions"]])
    difference = (logits - expected).abs().max().item()
    for answer, row, probabilities in zip(answers["predictions"], logits, logits.softmax(1)):
        best = int(probabilities.argmax())
        numbers = " ".join(f"{logit:9.5f}" for logit in row.tolist())
        print(f"{answer['file']}: {answers['classes'][best]} {100 * probabilities[best].item():.1f} %, logits {numbers}")
    print(f"largest difference of {logits.numel()} logits: {difference:.2e}")
    if not difference <= ALLOWED:
        sys.exit(f"the logits differ by {difference:.2e}, more than {ALLOWED}")


if __name__ == "__main__":
    main()
