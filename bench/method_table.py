#!/usr/bin/env python3
"""Quantizes one model by many methods, judges each against the original, and prints one Markdown table.

    bench/method_table.py MODEL --data web.txt --text wiki.test.raw --text c4.jsonl --work out/table

A row is NAME=OPTIONS, the options of `bitsmith quantize` (the default: the rows of docs/results.md). With --lever OPTIONS,
which may repeat, every row is followed by itself with each lever alone and with all of them: an ablation. Finished rows
are kept in WORK/rows.jsonl, so the same command goes on where it was stopped; delete a line to have it done again.
Time and memory are of `quantize` as a process, bits those of the file, tokens/s those of `bitsmith bench` on the result.
Standard library only.
"""
import argparse
import json
import shlex
import shutil

import measured_rows as shared

ROWS = """
GPTQ=--representation int4g64 --rounds 0
GPTQ=--representation int3g64 --rounds 0
GPTQ=--representation int2g64 --rounds 0
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
    shared.add_model_options(p)
    p.add_argument("--calibration-tokens", type=int, default=65536)
    p.add_argument("--row", action="append", help="NAME=OPTIONS of bitsmith quantize; may repeat")
    p.add_argument("--lever", action="append", default=[], help="OPTIONS that are added to every row; may repeat")
    return p.parse_args()


def wanted_rows(args):
    """Names and options, the original's None."""
    together = [" ".join(args.lever)] if len(args.lever) > 1 else []
    yield "original", None
    for row in args.row or ROWS.strip().splitlines():
        name, _, options = row.partition("=")
        for lever in ["", *args.lever, *together]:
            yield name, f"{options} {lever}".strip()


def tokens_per_second(args, model, log):
    command = [args.bitsmith, "bench", model, "--prompt-tokens", "16", "--generate-tokens", "128", "--json",
               "--quiet"]
    return json.loads(shared.run(command, log)[0])["tokens_per_second"]


def make_row(args, options):
    log = args.work / "log.txt"
    model, seconds, memory = args.model, None, None
    if options is not None:
        model = shared.model_folder(args, options)
        made = shared.make_model(args, ["quantize", args.model, *shlex.split(options), "--force", "--calibration-tokens",
                                        args.calibration_tokens, *shared.data_options(args)], model, log)
        seconds, memory = made["process_seconds"], made["process_memory"]
    row = shared.evaluate(args, model, log) | {"seconds": seconds, "memory": memory,
                                               "tokens_per_second": tokens_per_second(args, model, log)}
    if options is not None and not args.keep_models:
        shutil.rmtree(model)
    return row


def table(args, rows):
    head = ["", "options", "bits", "weights, MB", *shared.text_head(args), "time", "memory", "tokens/s"]
    return shared.markdown(head, [
        [row["name"], f"`{row['options']}`" if row["options"] else "", f"{row['bits']:.2f}", f"{row['bytes'] / 1e6:.1f}",
         *shared.text_cells(row["texts"]), shared.minutes(row["seconds"]), shared.gibibytes(row["memory"]),
         f"{row['tokens_per_second']:.0f}"] for row in rows])


def main():
    args = parse()
    kept = shared.KeptRows(args.work, shared.common_settings(args) | {"calibration_tokens": args.calibration_tokens})
    print(table(args, [kept.row({"name": name, "options": options}, lambda options=options: make_row(args, options))
                       for name, options in wanted_rows(args)]))


if __name__ == "__main__":
    main()
