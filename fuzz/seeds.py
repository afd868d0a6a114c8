#!/usr/bin/env python3
"""Writes the fuzzing seeds to fuzz/corpus/TARGET/: small valid files of every kind, and some that are almost valid."""

import gzip
import json
import struct
import zipfile
import zlib
from io import BytesIO
from pathlib import Path

HERE = Path(__file__).resolve().parent


def keep(target, seeds):
    folder = HERE / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in seeds.items():
        (folder / f"seed-{name}").write_bytes(content)


def configs():
    seeds = {path.stem: path.read_bytes() for path in sorted((HERE.parent / "configs").glob("*.toml"))}
    seeds["overridden"] = b"outer.steps = 10\n\0outer.optimizer=sgd"
    seeds["table"] = b"outer.steps = 10\n\0estimator={ name = 'ufom', q = 0.2 }"
    seeds["odd"] = b"[a.b.c]\n[[a.b.d]]\n'x\\u001b' = [1, 2.5e3, 1979-05-27, { y = true }]\n\"\\u00e9\" = '''\n'''"
    return seeds


def idx(sizes, values):
    return struct.pack(f">BBBB{len(sizes)}I", 0, 0, 8, len(sizes), *sizes) + bytes(values)


def idx_files():
    seeds = {"labels": idx([3], [9, 0, 7]), "images": idx([2, 3, 2], range(12)), "none": idx([0], [])}
    seeds |= {f"{name}-gzipped": gzip.compress(content, mtime=0) for name, content in seeds.items()}
    return seeds


def png(width, height, bits, colour, rows, before=(), after=(), interlaced=0):
    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlaced))
    data = chunk(b"IDAT", zlib.compress(bytes(rows)))
    extra = [b"".join(chunk(name, content) for name, content in chunks) for chunks in (before, after)]
    return b"\x89PNG\r\n\x1a\n" + head + extra[0] + data + extra[1] + chunk(b"IEND", b"")


def frame(number):
    return b"fcTL", struct.pack(">IIIIIHHBB", number, 2, 2, 0, 0, 1, 10, 0, 0)


def pngs():
    control = (b"acTL", struct.pack(">II", 2, 0))
    second = (b"fdAT", struct.pack(">I", 2) + zlib.compress(bytes([0, 9, 9, 0, 9, 9])))
    packed = (b"zTXt", b"key\0\0" + zlib.compress(b"x" * 99))
    palette = (b"PLTE", bytes([10, 10, 10, 250, 0, 0]))
    return {
        "grey": png(3, 2, 8, 0, [0, 0, 100, 255, 1, 4, 5, 6]),
        "one-bit": png(9, 2, 1, 0, [0, 0xAA, 0x80, 2, 0x55, 0]),
        "four-bit": png(3, 1, 4, 0, [0, 0x1F, 0x70]),
        "sixteen-bit": png(1, 2, 16, 0, [0, 1, 2, 0, 3, 4]),
        "colour": png(2, 1, 8, 2, [0, 1, 2, 3, 4, 5, 6]),
        "deep-colour": png(1, 1, 16, 6, [0, 1, 2, 3, 4, 5, 6, 7, 8]),
        "transparent": png(2, 1, 8, 4, [0, 1, 2, 3, 255]),
        "palette": png(9, 1, 1, 3, [0, 0xA5, 0x80], [palette, (b"tRNS", bytes([255, 0]))]),
        "interlaced": png(3, 3, 8, 0, [0, 1, 0, 2, 0, 3, 4, 0, 5, 6, 0, 7, 8, 9], interlaced=1),
        "animated": png(2, 2, 8, 0, [0, 3, 4, 0, 5, 6], [control, frame(0)], [frame(1), second]),
        "talkative": png(1, 1, 8, 0, [0, 7], [(b"tEXt", b"key\0text"), packed]),
    }


def jpeg(components, progressive=False, sampling=0x11, adobe=None):
    """Blocks of one colour: 24 of 8x8 pixels, each its mean alone."""

    def segment(marker, content):
        return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content

    ids = range(1, components + 1)
    parts = [b"\xff\xd8"]
    if adobe is not None:
        parts.append(segment(0xEE, b"Adobe\0\x64\0\0\0\0" + bytes([adobe])))
    parts.append(segment(0xDB, b"\0" + bytes([255] * 64)))
    of_each = b"".join(bytes([number, sampling if number == 1 else 0x11, 0]) for number in ids)
    parts.append(segment(0xC2 if progressive else 0xC0, bytes([8, 0, 16, 0, 24, components]) + of_each))
    parts.append(segment(0xC4, bytes([0x00, 1, 1]) + bytes(14) + bytes([0, 3])))
    parts.append(segment(0xC4, bytes([0x10, 1]) + bytes(15) + bytes([0])))
    scans = [(0, 0, ids)] + [(1, 63, [number]) for number in ids] if progressive else [(0, 63, ids)]
    for first, last, scanned in scans:
        of_each = b"".join(bytes([number, 0]) for number in scanned)
        parts.append(segment(0xDA, bytes([len(scanned)]) + of_each + bytes([first, last, 0])))
        parts.append(bytes([0xA2, 0x8A, 0x28, 0x9A, 0x69, 0xA6] * 4))
    return b"".join(parts) + b"\xff\xd9"


def jpegs():
    return {
        "jpeg-grey": jpeg(1),
        "jpeg-colour": jpeg(3),
        "jpeg-sampled": jpeg(3, sampling=0x22),
        "jpeg-progressive": jpeg(3, progressive=True),
        "jpeg-cmyk": jpeg(4, adobe=0),
        "jpeg-ycck": jpeg(4, adobe=2),
    }


def zipped(files, method):
    content = BytesIO()
    with zipfile.ZipFile(content, "w", method) as archive:
        for name, data in files:
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return content.getvalue()


def zips():
    drawing = png(3, 2, 8, 0, [0, 0, 100, 255, 1, 4, 5, 6])
    files = [("half/a/b/1.png", drawing), ("half/a/b/2.png", jpeg(1)), ("half/notes.txt", b"n" * 50)]
    link = zipfile.ZipInfo("half/a/b/3.png")
    link.external_attr, link.create_system = 0o120777 << 16, 3
    linked = BytesIO()
    with zipfile.ZipFile(linked, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    large = BytesIO()
    with zipfile.ZipFile(large, "w") as archive, archive.open("half/a/b/1.png", "w", force_zip64=True) as entry:
        entry.write(drawing)
    return {
        "stored": zipped(files, zipfile.ZIP_STORED),
        "deflated": zipped(files, zipfile.ZIP_DEFLATED),
        "climbing": zipped([("half/../../a.png", drawing), ("half/\u00e9/b/1.png", drawing)], zipfile.ZIP_STORED),
        "nested": zipped([("half/a/b/1.png", zipped(files, zipfile.ZIP_DEFLATED))], zipfile.ZIP_DEFLATED),
        "linked": linked.getvalue(),
        "zip64": large.getvalue(),
        "empty": zipped([], zipfile.ZIP_STORED),
    }


def safetensors(arrays, text):
    header, data = {"__metadata__": text}, b""
    for name, (kind, shape, values) in arrays.items():
        content = struct.pack(f"<{len(values)}{'q' if kind == 'I64' else 'f'}", *values)
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    header = json.dumps(header, separators=(",", ":")).encode()
    return struct.pack("<Q", len(header)) + header + data


def floats(*shape):
    count = 1
    for size in shape:
        count *= size
    return "F32", list(shape), [(place * 37 % 101 - 50) / 100 for place in range(count)]


def network():
    shapes = {"conv1.weight": (2, 1, 3, 3), "bn1.weight": (2,), "bn1.bias": (2,)}
    shapes |= {"linear.weight": (2, 32), "linear.bias": (2,)}
    return {name: floats(*shape) for name, shape in shapes.items()}


def cases():
    arrays = {f"theta.{name}": array for name, array in network().items()}
    for part in ["support", "query"]:
        arrays |= {f"{part}_x": floats(1, 2, 1, 8, 8), f"{part}_y": ("I64", [1, 2], [0, 1])}
    text = {"n_way": "2", "inner_steps": "1", "alpha": "0.1", "bn_eps": "1e-5"}
    long = text | {"inner_steps": "100000"}
    return {"sound": safetensors(arrays, text), "bare": safetensors({}, text), "long": safetensors(arrays, long)}


def checkpoints():
    average = {"sum": 0.5, "weight": 0.25}
    prices = {name: average for name in ["products", "seconds", "squares", "mixed"]}
    step = {"product": average, "direct": average, "curvature": 0.5, "steepest": 0.5, "seen": 20}
    tracker = {"weight": 0.1, "squared_norm": 0.1}
    tracker |= {name: average for name in ["along", "length", "plain", "tracked"]}
    coins = {"steps": [step] * 3, "estimate": average, "exact": average, "slope": average, "seen": 8, "prices": prices}
    products = [[average] * (row + 1) for row in range(3)]
    adaptive = {"exact": average, "error": average, "draws": 3, "prices": prices}
    states = {
        "none": None,
        "tracked": tracker,
        "adaptive": adaptive | {"tracker": None},
        "adaptive-tracked": adaptive | {"tracker": tracker},
        "step-coins": coins,
        "telescoping": {"exact": average, "products": products, "draws": 3, "prices": prices},
    }
    seeds = {}
    for name, state in states.items():
        arrays = {f"theta.{leaf}": array for leaf, array in network().items()}
        if "tracked" in name:
            arrays |= {f"estimator.theta.{leaf}": array for leaf, array in network().items()}
        # In the order in which the program writes them, for the checksum is of the text.
        evaluations = {"inner": 3, "outer": 1, "products": 2, "recomputed": 0}
        header = {"format": 1, "seal": "", "step": 1, "evaluations": evaluations, "seconds": 1.5}
        header |= {"best": {"step": 1, "accuracy": 50.0}, "estimator": state, "data": "0" * 64}
        text = {"metaburn": json.dumps(header, separators=(",", ":")), "optimizer": "sgd"}
        seeds[name] = safetensors(arrays, text)
        moments = {f"optimizer.0.momentum.moment_{number}": floats(1, 9, 2) for number in (1, 2)}
        adam = text | {"optimizer": "adam", "optimizer.0.momentum.time": "2"}
        seeds[f"{name}-adam"] = safetensors(arrays | moments, adam)
    return seeds


keep("config", configs())
keep("idx", idx_files())
keep("image_folder", pngs() | jpegs())
keep("archive", zips())
keep("case", cases())
keep("checkpoint", checkpoints())
