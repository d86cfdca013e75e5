#!/usr/bin/env python3
"""Checks that every header compiles alone. usage: header_test.py COMPILER [FLAG ...]

Headers of the compressor, and what includes them, need LibTorch and minutes; there every header is
the first include of its own .cpp file instead, which is checked for all folders.
"""
import os
import platform
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SRC = Path(__file__).resolve().parent.parent / "src"


def includes(file):
    return re.findall(r'^#include [<"]([^>"]+)[>"]', file.read_text(), re.MULTILINE)


def needs_compressor(header, seen=()):
    return header.startswith("compressor/") or any(
        needs_compressor(i, (*seen, header)) for i in includes(SRC / header)
        if i not in seen and (SRC / i).is_file())


# What is named after an instruction set needs its flags.
AVX2 = ["-mavx2", "-mfma", "-mf16c"]
AVX512 = [f"-mavx512{x}" for x in ("f", "bw", "dq", "vl", "vnni")]
ISA_FLAGS = {
    "avx2": AVX2,
    "avxvnni": AVX2 + ["-mavxvnni"],
    "avx512": AVX512,
    "avx512vbmi": AVX512 + ["-mavx512vbmi"],
    "neon": ["-march=armv8.2-a+dotprod"],
}


def isa_of(header):
    found = re.search(r"_(avx2|avxvnni|avx512|avx512vbmi|neon)(_impl)?\.h$", header)
    return found[1] if found else ""


def of_another_processor(header):
    return bool(isa_of(header)) and (isa_of(header) == "neon") != (platform.machine() == "aarch64")


def compiles_alone(command, header):
    flags = ISA_FLAGS.get(isa_of(header), [])
    text = f'#include "{header}"\n'
    if "httplib.h" in includes(SRC / header):  # an optional library
        text = f"#if __has_include(<httplib.h>)\n{text}#endif\n"
    run = subprocess.run(command + flags + ["-fsyntax-only", "-x", "c++", "-I", str(SRC), "-"], text=True,
                         input=text, capture_output=True)
    return "" if run.returncode == 0 else f"{header} does not compile alone:\n{run.stderr}"


def main():
    headers = sorted(p.relative_to(SRC).as_posix() for p in SRC.rglob("*.h"))
    errors = []
    for header in headers:
        own = (SRC / header).with_suffix(".cpp")
        if own.is_file() and includes(own)[:1] != [header]:
            errors.append(f"{own.relative_to(SRC)}: its first include must be its own header {header}")
    light = [h for h in headers if not needs_compressor(h) and not of_another_processor(h)]
    # The build tells tests where testdata is.
    command = sys.argv[1:] + ['-DBITSMITH_TESTDATA=""', "-std=c++20", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror"]
    with ThreadPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
        errors += filter(None, pool.map(lambda h: compiles_alone(command, h), light))
    for error in errors:
        print(error)
    if errors:
        sys.exit(f"{len(errors)} of {len(headers)} headers failed")
    print(f"{len(light)} headers compile alone, {len(headers)} looked at")


if __name__ == "__main__":
    main()
