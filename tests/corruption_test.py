#!/usr/bin/env python3
"""Truncates real files and flips their bits: the program must say what is wrong, or work.

usage: corruption_test.py [--cases N] [--seed S]
"""
import argparse
import os
import random
import resource
import shutil
import sys
import tempfile
from pathlib import Path

from support import CALIBRATION, HAS_COMPRESSOR, TESTDATA, TRAINED, bitsmith


def victims(folder):
    """(model, file to damage) of every format that the program reads."""
    models = [TESTDATA / "tiny_llama", TESTDATA / "tiny_mistral", TESTDATA / "tiny_llama_gguf"]
    if HAS_COMPRESSOR:
        for representation in ["int4g32", "aq1x8g8", "aq1x8g8-s4", "gvq2d2b-n1024", "gvq1d2b-n1024-s16", "had:e8p3"]:
            result = bitsmith("quantize", TRAINED, "--representation", representation, "--data", CALIBRATION,
                              "--calibration-tokens", 1024, "--context", 256, "-o", folder / representation)
            assert result.code == 0, str(result)
            models.append(folder / representation)
    for model in [TRAINED, *models[3:]]:
        packed = folder / f"packed_{model.name}"
        packed.mkdir()
        result = bitsmith("pack", model, "-o", packed / "model.packed")
        assert result.code == 0, str(result)
        models.append(packed)
    return [(model, file) for model in models for file in sorted(model.iterdir())
            if file.suffix in (".safetensors", ".json", ".gguf", ".packed") and file.name != "golden.safetensors"]


def damage(data, rng):
    kind = rng.randrange(4)
    if kind == 0 or not data:
        return data[:rng.randrange(len(data) + 1)], "truncated"
    data = bytearray(data)
    # Headers are short and decide everything: half of the flips hit the first 2 kB.
    end = len(data) if kind == 1 else min(len(data), 2048)
    flips = rng.choice([1, 1, 2, 8])
    for _ in range(flips):
        data[rng.randrange(end)] ^= 1 << rng.randrange(8)
    return bytes(data), f"{flips} bits flipped"


def limit_memory():
    # Address space: LibTorch alone maps some GB; a length taken from a damaged header must not ask
    # for more. Sanitizers map terabytes.
    if not os.environ.get("BITSMITH_SANITIZE"):
        resource.setrlimit(resource.RLIMIT_AS, (12 << 30, 12 << 30))


def commands(model, rng):
    files = [model / name for name in ("model.gguf", "model.packed") if (model / name).exists()]
    target = files[0] if files else model
    return rng.choice([
        ["inspect", target, "--tensors"],
        ["logits", target, "--ids", "5,6,7", "--engine", "runtime", "-o", model / "out.safetensors"],
        ["tokenize", target, "--text", "Anna has 3 apples.<|im_end|>"],
        ["run", target, "-p", "Anna has", "--quiet"],
    ])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", type=int, default=60)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    options = parser.parse_args()
    print(f"seed {options.seed}")
    rng = random.Random(options.seed)
    counts = {}
    folder = Path(tempfile.mkdtemp(prefix="bitsmith_corruption_"))
    try:
        files = victims(folder)
        for case in range(options.cases):
            model, file = rng.choice(files)
            copy = folder / "copy"
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(model, copy)
            data, what = damage(file.read_bytes(), rng)
            (copy / file.name).write_bytes(data)
            command = commands(copy, rng)
            result = bitsmith(*command, timeout=60, preexec_fn=limit_memory)
            told = f"case {case}: {model.name}/{file.name} {what}, {' '.join(map(str, command))}: {result}"
            if result.code not in (0, 1):
                sys.exit(told)
            if result.code == 1 and ("bitsmith: " not in result.err or "std::" in result.err):
                sys.exit("no clear message: " + told)
            counts[result.code] = counts.get(result.code, 0) + 1
        print(f"{options.cases} damaged files: {counts.get(1, 0)} refused with a message, {counts.get(0, 0)} read")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
