#!/usr/bin/env python3
"""Quantizes one model by many methods, judges each against the original, and prints one Markdown table.

    bench/method_table.py MODEL --data web.txt --text wiki.test.raw --text c4.jsonl --work out/table

A row is NAME=OPTIONS, the options of `bitsmith quantize` (the default: the rows of docs/results.md). Finished rows
are kept in WORK/rows.jsonl, so the same command goes on where it was stopped; delete a line to have it done again.
Time and memory are of `quantize` as a process, bits those of the file, tokens/s those of `bitsmith bench` on the result.
Standard library only.
"""
import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROWS = """
GPTQ=--representation int4g64
GPTQ=--representation int3g64
GPTQ=--representation int2g64
GPTVQ 1-D=--representation gvq1d4b
GPTVQ 1-D=--representation gvq1d4b-s32
GPTVQ 1-D=--representation gvq1d3b
GPTVQ 1-D=--representation gvq1d2b
GPTVQ 2-D=--representation gvq2d3b
GPTVQ 2-D=--representation gvq2d3b-s32
GPTVQ 2-D=--representation gvq2d2b-n4096-s32
GPTVQ 2-D=--representation gvq2d2b
GPTVQ 2-D, block fine-tune=--representation gvq2d2b --finetune-epochs 5
GPTVQ 4-D=--representation gvq4d2b-s32
GPTVQ 4-D=--representation gvq4d2b
GPTVQ 4-D=--representation gvq4d1.5b
GPTVQ 4-D=--representation gvq4d1b
AQLM=--representation aq4x8g8
AQLM=--representation aq3x8g8
AQLM=--representation aq3x6g8
AQLM=--representation aq2x8g8
AQLM, block fine-tune=--representation aq2x8g8 --finetune-epochs 5
AQLM=--representation aq2x6g8
QuIP#=--representation had:e8p4
QuIP#=--representation had:e8p3
QuIP#=--representation had:e8p
VQ=--representation aq1x10g8
VQ=--representation aq1x8g8
"""


def parse():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model", metavar="MODEL", help="the original")
    p.add_argument("--data", action="append", default=[], help="calibration text; may repeat")
    p.add_argument("--calibration-tokens", type=int, default=65536)
    p.add_argument("--text", action="append", required=True, help="text to judge on; may repeat")
    p.add_argument("--windows", type=int, default=12, help="of 2048 tokens of each text")
    p.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"], help="of the judging")
    p.add_argument("--row", action="append", help="NAME=OPTIONS of bitsmith quantize; may repeat")
    p.add_argument("--work", type=Path, required=True, help="folder of models and finished rows")
    p.add_argument("--keep-models", action="store_true", help="leave the quantized models in WORK")
    p.add_argument("--bitsmith", default="build/release/bitsmith")
    return p.parse_args()


def run(command, log):
    """Runs a command and returns its output, seconds and peak bytes."""
    start = time.monotonic()
    with open(log, "ab") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors)
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"failed, see {log}: {shlex.join(command)}")
    return output.decode(), time.monotonic() - start, usage.ru_maxrss * 1024


def evaluate(args, model, log):
    command = [args.bitsmith, "eval", model, "--windows", str(args.windows), "--json", "--quiet",
               "--dtype", args.dtype]
    if model != args.model:
        command += ["--teacher", args.model]
    for text in args.text:
        command += ["--text", text]
    facts = json.loads(run(command, log)[0])
    texts = facts.get("results", [facts])
    return {"bits": facts["bits"], "bytes": facts["file_bytes"],
            "texts": [{k: t.get(k) for k in ("perplexity", "kl", "kl_error", "top1")} for t in texts]}


def tokens_per_second(args, model, log):
    command = [args.bitsmith, "bench", model, "--prompt-tokens", "16", "--generate-tokens", "128", "--json",
               "--quiet"]
    return json.loads(run(command, log)[0])["tokens_per_second"]


def make_row(args, name, options):
    log = args.work / "log.txt"
    model, seconds, memory = args.model, None, None
    if options is not None:
        model = str(args.work / "".join(c if c.isalnum() else "_" for c in options).strip("_"))
        command = [args.bitsmith, "quantize", args.model, *shlex.split(options), "-o", model, "--quiet", "--force",
                   "--calibration-tokens", str(args.calibration_tokens)]
        for data in args.data:
            command += ["--data", data]
        _, seconds, memory = run(command, log)
    row = evaluate(args, model, log) | {"seconds": seconds, "memory": memory,
                                        "tokens_per_second": tokens_per_second(args, model, log)}
    if options is not None and not args.keep_models:
        shutil.rmtree(model)
    return row


def number(value):
    return "-" if value is None else f"{value:.2f}" if value < 1000 else f"{value:.0f}"


def table(args, rows):
    texts = [Path(t).name for t in args.text]
    head = ["", "options", "bits", "weights, MB"]
    for text in texts:
        head += [text, "KL", "top-1"]
    head += ["time", "memory", "tokens/s"]
    lines = [head, ["---"] * len(head)]
    for row in rows:
        cells = [row["name"], f"`{row['options']}`" if row["options"] else "", f"{row['bits']:.2f}",
                 f"{row['bytes'] / 1e6:.1f}"]
        for t in row["texts"]:
            cells += [number(t["perplexity"]), "-" if t["kl"] is None else f"{t['kl']:.4f}",
                      "-" if t["top1"] is None else f"{100 * t['top1']:.1f}"]
        cells += ["-", "-"] if row["seconds"] is None else [
            f"{row['seconds'] // 60:.0f}:{row['seconds'] % 60:02.0f}", f"{row['memory'] / 2**30:.2f} GiB"]
        cells.append(f"{row['tokens_per_second']:.0f}")
        lines.append(cells)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def main():
    args = parse()
    args.work.mkdir(parents=True, exist_ok=True)
    kept = args.work / "rows.jsonl"
    done = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    wanted = [("original", None)]
    for row in args.row or ROWS.strip().splitlines():
        name, _, options = row.partition("=")
        wanted.append((name, options))
    rows = []
    for name, options in wanted:
        found = [d for d in done if d["name"] == name and d["options"] == options]
        if not found:
            print(f"{name} ...", file=sys.stderr, flush=True)
            found = [{"name": name, "options": options} | make_row(args, name, options)]
            with open(kept, "a", encoding="utf-8") as file:
                file.write(json.dumps(found[0]) + "\n")
        rows.append(found[0])
    print(table(args, rows))


if __name__ == "__main__":
    main()
