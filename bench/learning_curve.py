#!/usr/bin/env python3
"""KL over the number of calibration tokens: on the calibration text, on held-out text of its kind, and on other texts.

    bench/learning_curve.py MODEL --data c4.txt --data wiki.txt --text wiki.test.raw --text c4.jsonl --work out/curve
    bench/learning_curve.py MODEL ... --work out/curve-shrunk --options='--shrink-hessian --estimate-cross-term'

Every representation is made one-shot with every number of tokens, of the corpus (--data) and of text that the model
writes itself. "Quantizing" is the time without that of reading or writing text; "all" is the whole process. The model's own
text is kept in WORK/own, so that only the first representation of a number of tokens waits for it. Finished rows are in
WORK/rows.jsonl: the same command goes on where it was stopped. Standard library only.
"""
import argparse
import shlex
import shutil

import measured_rows as shared

REPRESENTATIONS = ["gvq2d3b-s32", "aq2x8g8", "int4g64"]
TOKENS = [16384, 32768, 65536, 131072, 262144, 524288]


def parse():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared.add_model_options(p)
    p.add_argument("--representation", action="append", help=f"may repeat; default: {', '.join(REPRESENTATIONS)}")
    p.add_argument("--tokens", type=int, action="append", help=f"may repeat; default: {', '.join(map(str, TOKENS))}")
    p.add_argument("--source", action="append", choices=["corpus", "own"], help="may repeat; default: both, own without --data")
    p.add_argument("--options", default="", help="of bitsmith quantize, for all rows")
    args = p.parse_args()
    args.representation = args.representation or REPRESENTATIONS
    args.tokens = args.tokens or TOKENS
    args.source = args.source or (["corpus", "own"] if args.data else ["own"])
    if "corpus" in args.source and not args.data:
        p.error("the corpus is --data: give some")
    return args


def make_row(args, source, representation, tokens):
    log = args.work / "log.txt"
    out = shared.model_folder(args, source, representation, tokens)
    text = shared.data_options(args) if source == "corpus" else ["--cache", args.work / "own"]
    made = shared.make_model(args, ["quantize", args.model, "--representation", representation, "--force",
                                    "--calibration-tokens", tokens, *text, *shlex.split(args.options)], out, log)
    row = shared.evaluate(args, out, log) | {
        "learned": made["tokens"], "kl_calibration": made.get("kl_calibration"), "kl_heldout": made.get("kl_heldout"),
        "seconds": made["seconds"], "process_seconds": made["process_seconds"], "memory": made["process_memory"]}
    if not args.keep_models:
        shutil.rmtree(out)
    return row


def table(args, rows):
    head = ["text", "representation", "bits", "tokens", "KL, calibration", "KL, held out", *shared.text_head(args), "quantizing",
            "all", "memory"]
    return shared.markdown(head, [
        [row["source"], f"`{row['representation']}`", f"{row['bits']:.2f}", str(row["learned"]),
         shared.four_digits(row["kl_calibration"]), shared.four_digits(row["kl_heldout"]), *shared.text_cells(row["texts"]),
         shared.minutes(row["seconds"]), shared.minutes(row["process_seconds"]), shared.gibibytes(row["memory"])]
        for row in rows])


def main():
    args = parse()
    kept = shared.KeptRows(args.work, shared.common_settings(args) | {"options": args.options})
    print(table(args, [
        kept.row({"source": source, "representation": representation, "tokens": tokens},
                 lambda source=source, representation=representation, tokens=tokens:
                     make_row(args, source, representation, tokens))
        for source in args.source for representation in args.representation for tokens in args.tokens]))


if __name__ == "__main__":
    main()
