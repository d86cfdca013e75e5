#!/usr/bin/env python3
"""Table 1 of PV-Tuning: every strategy on the same base and data for the same wall time, or the same number of tokens, each
with the best rate of a grid.

    bench/tuning_table.py MODEL --base int2g64 --base aq2x8g8 --data web.txt --text wiki.test.raw --work out/table1

A base is made once, one-shot. Every setting of a strategy's grid (--grid STRATEGY=OPTIONS, the options of `bitsmith tune`)
then tunes it for --grid-minutes, and the one with the least KL on the held-out windows tunes it for --minutes: that is the
row. --tokens and --grid-tokens count tokens instead: the same rows on any machine, however busy. Finished rows, those of the grid too, are in WORK/rows.jsonl: the same command goes on where it was stopped, within a
tuning too. Standard library only.
"""
import argparse
import shlex
import shutil

import measured_rows as shared

BASES = ["int2g64", "aq2x8g8"]
# Steps in the units of docs/tuning.md. Those of the rules that may change every code are small: nothing bounds them.
GRID = """
continuous=--learning-rate 0.001
continuous=--learning-rate 0.003
continuous=--learning-rate 0.01
naive-pv=--code-step 0.01
naive-pv=--code-step 0.03
naive-pv=--code-step 0.1
stochastic-rounding=--temperature 0.2 --rounding-step 0.01
stochastic-rounding=--temperature 0.2 --rounding-step 0.03
stochastic-rounding=--temperature 0.2 --rounding-step 0.1
ste=--latent-rate 0.01
ste=--latent-rate 0.03
ste=--latent-rate 0.1
pv=--trust-ratio 0.01
pv=--trust-ratio 0.03
pv=--trust-ratio 0.1
pv+ste=--latent-rate 0.03
pv+ste=--latent-rate 0.1
pv+ste=--latent-rate 0.3
second-pass=
second-order=--longest-step 0.1
second-order=--longest-step 1
"""


def parse():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared.add_model_options(p)
    p.add_argument("--base", action="append", metavar="R", help=f"may repeat; default: {', '.join(BASES)}")
    p.add_argument("--quantize-options", default="", help="of bitsmith quantize, for the bases")
    p.add_argument("--calibration-tokens", type=int, default=65536)
    p.add_argument("--data-tokens", type=int, default=0, help="to tune on (default: all of --data)")
    length = p.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=float, help="of each row (default: 20)")
    length.add_argument("--tokens", type=int, help="of each row, in place of minutes")
    length = p.add_mutually_exclusive_group()
    length.add_argument("--grid-minutes", type=float, help="of each setting of a grid (default: 5)")
    length.add_argument("--grid-tokens", type=int, help="in place of these (default with --tokens: a quarter of them)")
    p.add_argument("--grid", action="append", metavar="STRATEGY=OPTIONS", help="in place of the default grid; may repeat")
    p.add_argument("--options", default="", help="of bitsmith tune, for all rows")
    args = p.parse_args()
    args.base = args.base or BASES
    if args.tokens is None and args.minutes is None:
        args.minutes = 20.0
    if args.grid_tokens is None and args.grid_minutes is None:
        if args.tokens is None:
            args.grid_minutes = 5.0
        else:
            args.grid_tokens = max(1, args.tokens // 4)
    for name in ("minutes", "tokens", "grid_minutes", "grid_tokens"):
        value = getattr(args, name)
        if value is not None and not value > 0:
            p.error(f"--{name.replace('_', '-')} {value}: nothing to tune for")
    args.grids = {}
    for line in args.grid or GRID.strip().splitlines():
        strategy, _, options = line.partition("=")
        args.grids.setdefault(strategy, []).append(options)
    return args


def base_folder(args, base):
    return shared.model_folder(args, "base", base)


def make_base(args, base):
    log = args.work / "log.txt"
    out = base_folder(args, base)
    made = shared.make_model(args, ["quantize", args.model, "--representation", base, "--force", "--calibration-tokens",
                                    args.calibration_tokens, *shared.data_options(args), *shlex.split(args.quantize_options)],
                             out, log)
    return shared.evaluate(args, out, log) | {"seconds": made["process_seconds"], "memory": made["process_memory"]}


def tune(args, base, strategy, options, judged):
    """A row, where it is `judged`, or a trial."""
    log = args.work / "log.txt"
    minutes, tokens = (args.minutes, args.tokens) if judged else (args.grid_minutes, args.grid_tokens)
    length = ["--minutes", minutes] if tokens is None else ["--tokens", tokens]
    out = shared.model_folder(args, base, strategy, options, length[1])
    command = ["tune", base_folder(args, base), "--teacher", args.model, "--strategy", strategy, *length,
               *shared.data_options(args), "--force", *shlex.split(options), *shlex.split(args.options)]
    if args.data_tokens > 0:
        command += ["--data-tokens", args.data_tokens]
    made = shared.make_model(args, command, out, log)
    row = {key: made[key] for key in ("kl_before", "kl", "tokens", "steps", "codes_changed", "diverged")}
    row |= {"seconds": made["process_seconds"], "memory": made["process_memory"]}
    if judged:
        row |= shared.evaluate(args, out, log)
    if not (judged and args.keep_models):
        shutil.rmtree(out)
    return row


def best_options(args, kept, base, strategy):
    """Of the strategy's grid: the least KL on the held-out windows."""
    settings = args.grids[strategy]
    if len(settings) == 1:
        return settings[0]
    trials = {options: kept.row(
        {"kind": "grid", "base": base, "strategy": strategy, "options": options},
        lambda options=options: tune(args, base, strategy, options, judged=False)) for options in settings}
    return min(trials, key=lambda options: trials[options]["kl"])


def table(args, rows):
    head = ["base", "strategy", "options", "KL, held out", *shared.text_head(args), "codes changed", "tokens", "time", "memory"]
    lines = []
    for row in rows:
        tuned = row["kind"] == "tuned"
        lines.append([f"`{row['base']}`", f"`{row['strategy']}`" if tuned else "calibration only",
                      f"`{row['options']}`" if tuned else "", shared.four_digits(row.get("kl")), *shared.text_cells(row["texts"]),
                      f"{100 * row['codes_changed']:.3f} %" if tuned else "-", str(row["tokens"]) if tuned else "-",
                      shared.minutes(row["seconds"]), shared.gibibytes(row["memory"])])
    return shared.markdown(head, lines)


def main():
    args = parse()
    settings = {name: getattr(args, name) for name in
                ("quantize_options", "calibration_tokens", "data_tokens", "minutes", "grid_minutes", "tokens", "grid_tokens",
                 "options")}
    kept = shared.KeptRows(args.work, shared.common_settings(args) | settings)
    rows = []
    for base in args.base:
        rows.append(kept.row({"kind": "base", "base": base}, lambda base=base: make_base(args, base)))
        for strategy in args.grids:
            options = best_options(args, kept, base, strategy)
            rows.append(kept.row(
                {"kind": "tuned", "base": base, "strategy": strategy, "options": options},
                lambda base=base, strategy=strategy, options=options:
                    tune(args, base, strategy, options, judged=True)))
    print(table(args, rows))


if __name__ == "__main__":
    main()
