#!/usr/bin/env python3
"""Checks that includes go one way, as docs/walkthrough.md draws it, and that what a folder alone should know stays
in it; run by ctest and ./ci.sh lint.

For every folder of src/: the folders that it may include, besides itself. A layer may use
everything below it, but the compressor and the runtime never see each other, and what is in no
folder `compressor` needs none. Heavy libraries stay where they belong: LibTorch in the folders
`compressor`, spdlog in base/terminal.cpp, CLI11 in src/apps, vector instructions in src/kernels. Names of a
model's modules are in src/architecture, and in tests, which make models.
"""
import re
import sys
import tempfile
from pathlib import Path

FILES = ["base", "kernels", "checkpoint", "architecture", "tokenizer", "format"]  # everything that knows file formats
MODEL = FILES + ["evaluate"]
COMPRESSOR = ["objective", "representation", "quantize", "model", "calibration", "quantize_model", "budget", "train", "tune"]  # each may use those before it

ALLOWED = {
    "base": [],
    "mpi": ["base"],
    "kernels": ["base"],
    "checkpoint": ["base", "kernels"],
    "architecture": ["base", "kernels", "checkpoint"],
    "tokenizer": ["base", "kernels", "checkpoint", "architecture"],
    "format": ["base", "kernels", "checkpoint", "architecture", "tokenizer"],
    "evaluate": FILES,
    "runtime/matrices": FILES,
    "runtime/grammar": FILES,
    "runtime": MODEL + ["runtime/matrices", "runtime/grammar"],
    **{f"compressor/{name}": MODEL + ["compressor"] + [f"compressor/{n}" for n in COMPRESSOR[:i]]
       for i, name in enumerate(COMPRESSOR)},
    "compressor": [],
    "server": MODEL + ["runtime/matrices", "runtime/grammar", "runtime"],
    "pipeline/report": FILES,
    "pipeline": MODEL + ["runtime"],
    "pipeline/compressor": MODEL + ["runtime", "pipeline"] + [f"compressor/{n}" for n in COMPRESSOR],
    "apps": MODEL + ["pipeline"],
    "apps/bitsmith": MODEL + ["runtime/matrices", "runtime/grammar", "runtime", "server", "pipeline", "pipeline/report", "apps"],
    "apps/compressor": MODEL + ["mpi", "runtime", "pipeline", "pipeline/compressor", "apps"] + [f"compressor/{n}" for n in COMPRESSOR],
}

# Header prefix -> the files that may include it.
LIBRARIES = {
    r"torch/|ATen/|c10/|caffe2/": r"(\w+/)?compressor/",
    r"spdlog/|fmt/": r"base/terminal\.cpp$",
    r"CLI/": r"apps/",
    r"httplib\.h": r"server/(connection\.h|http_server\.cpp)$",
    r"histedit\.h": r"apps/",
    r"mpi\.h$": r"mpi/",
    r"\w*intrin\.h|arm_neon\.h": r"kernels/",
}

# What chooses an instruction set belongs to kernels/ alone.
DISPATCH = re.compile(r"__builtin_cpu_\w+|__get_cpuid\w*|getauxval|target_clones|__attribute__\s*\(\(target\b")

# Names that a family gives its blocks, in both kinds of files.
MODULES = re.compile(r"model\.layers|\bblk\.")
OF_TESTS = re.compile(r"(^|/)test_\w+\.h$|_test\.cpp$")

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)


def layer_of(path):
    """The layer of a path relative to src/: its longest prefix among the folders of ALLOWED."""
    folder = path.rpartition("/")[0]
    while folder and folder not in ALLOWED:
        folder = folder.rpartition("/")[0]
    return folder


def violations(src):
    found = []
    for file in sorted(p for p in src.rglob("*") if p.suffix in (".h", ".cpp")):
        name = file.relative_to(src).as_posix()
        layer = layer_of(name)
        if not layer:
            found.append(f"{name}: its folder has no layer; add it to tests/layering_test.py")
            continue
        text = file.read_text()
        if layer != "kernels":
            found += [f"{name}: {word} belongs to kernels/" for word in sorted(set(DISPATCH.findall(text)))]
        if layer != "architecture" and not OF_TESTS.search(name):
            found += [f"{name}: {word} belongs to architecture/" for word in sorted(set(MODULES.findall(text)))]
        for bracket, target in INCLUDE.findall(text):
            for prefix, allowed in LIBRARIES.items():
                if re.match(prefix, target) and not re.match(allowed, name):
                    found.append(f"{name}: includes <{target}>, which only {allowed} may")
            if bracket == "<":
                continue
            if not (src / target).is_file():
                found.append(f'{name}: "{target}" is not a path from src/')
                continue
            other = layer_of(target)
            if other != layer and other not in ALLOWED[layer]:
                found.append(f'{name}: "{target}" breaks the layers: {layer} may not include {other}')
    return found


def self_check():
    """A small tree with one mistake of each kind must be found out, and nothing else."""
    good = {
        "base/error.h": "#include <string>\n",
        "base/terminal.cpp": "#include <spdlog/spdlog.h>\n",
        "mpi/communicator.cpp": '#include <mpi.h>\n#include "base/error.h"\n',
        "format/codes.h": '#include "base/error.h"\n#include "checkpoint/view.h"\n',
        "checkpoint/view.h": '#include "base/error.h"\n',
        "compressor/tune/trainer.cpp": '#include <torch/torch.h>\n#include "compressor/model/decoder.h"\n',
        "compressor/model/decoder.h": '#include "evaluate/language_model.h"\n',
        "compressor/model/decoder_test.cpp": 'const char* const kName = "model.layers.0";\n',
        "evaluate/language_model.h": "",
        "kernels/dot.h": "",
        "kernels/dot_avx2.cpp": '#include <immintrin.h>\n',
        "runtime/matrices/dense.h": '#include "kernels/dot.h"\n',
        "runtime/model.h": '#include "runtime/matrices/dense.h"\n',
        "pipeline/judge.h": '#include "runtime/model.h"\n',
        "pipeline/compressor/compress.h": '#include <torch/torch.h>\n#include "pipeline/judge.h"\n',
        "apps/command.h": '#include <CLI/CLI.hpp>\n',
        "apps/bitsmith/main.cpp": '#include "apps/command.h"\n#include "runtime/model.h"\n',
        "apps/compressor/main.cpp": '#include "apps/command.h"\n#include "pipeline/compressor/compress.h"\n',
    }
    bad = {
        "base/upward.h": '#include "checkpoint/view.h"\n',
        "tokenizer/upward.h": '  #  include "format/codes.h"\n',
        "tokenizer/bpe.h": '#include "bpe_table.h"\n',  # not a path from src/
        "compressor/representation/early.h": '#include "compressor/tune/trainer.h"\n',
        "compressor/tune/trainer.h": '#include "runtime/model.h"\n',
        "base/message.cpp": "#include <mpi.h>\n",
        "runtime/heavy.cpp": "#include <ATen/ATen.h>\n",
        "runtime/matrices/deep.h": '#include "runtime/model.h"\n',
        "evaluate/loud.cpp": "#include <spdlog/spdlog.h>\n",
        "evaluate/fast.cpp": "#include <immintrin.h>\n",
        "evaluate/fast_on_arm.cpp": "#include <arm_neon.h>\n",
        "runtime/names.cpp": 'const char* const kName = "blk.0";\n',
        "runtime/clones.cpp": '__attribute__((target_clones("avx2", "default"))) void f();\n',
        "pipeline/cli.h": "#include <CLI/CLI.hpp>\n",
        "compressor/tune/early.h": '#include "pipeline/cli.h"\n',
        "pipeline/heavy.h": "#include <torch/torch.h>\n",
        "pipeline/quantize.h": '#include "compressor/model/decoder.h"\n',
        "apps/bitsmith/compress.cpp": '#include "pipeline/compressor/compress.h"\n',
        "apps/upward.h": '#include "apps/compressor/main.cpp"\n',
        "stray/file.h": "",
    }
    with tempfile.TemporaryDirectory() as folder:
        for name, text in (good | bad).items():
            path = Path(folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        culprits = {line.partition(":")[0] for line in violations(Path(folder))}
    assert culprits == set(bad), f"self-check: found {culprits ^ set(bad)} wrongly"


def main():
    self_check()
    src = Path(__file__).resolve().parent.parent / "src"
    found = violations(src)
    for line in found:
        print(line)
    if found:
        sys.exit(f"{len(found)} places break the layers")
    print("the includes keep the layers")


if __name__ == "__main__":
    main()
