#!/usr/bin/env python3
"""What each switch of GPTVQ does to single layers (van Baalen et al. 2024, tables 10-14), as Markdown tables.

    bitsmith hessian MODEL --module '\\.14\\.' ... -o layers      # matrices with the Hessians of their inputs
    bench/layer_ablations.py layers/*.safetensors

Each row is one `bitsmith layer` with the options shown; an error is tr((W-Q) H (W-Q)^T) / tr(W H W^T) at the end, the
mean over layers is geometric, and seconds are those of all layers. Standard library only.
"""
import argparse
import json
import math
import shlex
import subprocess
from pathlib import Path

STUDIES = {
    "Start of the codebooks (table 10)": """
gvq2d3b --codebook-init best
gvq2d3b --codebook-init mahalanobis
gvq2d2b --codebook-init best
gvq2d2b --codebook-init mahalanobis
gvq1d2b --codebook-init best
gvq1d2b --codebook-init kmeans++
gvq1d2b --codebook-init mahalanobis
gvq1d2b --codebook-init quantiles
""",
    "Iterations of EM (table 11)": """
gvq2d3b --em-iterations 3
gvq2d3b --em-iterations 10
gvq2d3b --em-iterations 30
gvq2d3b --em-iterations 50
gvq2d3b --em-iterations 100
""",
    "Codebooks fitted to the sweep's codes": """
gvq2d2b --feedback-rounds 0
gvq2d2b --feedback-rounds 1
gvq2d2b --feedback-rounds 2
gvq2d2b --feedback-rounds 4
""",
    "Update of codebooks and codes (table 12)": """
gvq1d2b --no-codebook-update
gvq1d2b
gvq1d3b --no-codebook-update
gvq1d3b
gvq2d2b --no-codebook-update
gvq2d2b
gvq2d3b --no-codebook-update
gvq2d3b
""",
    "Codebooks in int8 or fp16, and their size (table 12)": """
gvq2d2b-n1024
gvq2d2b-n2048-c16
gvq2d2b-n2048
gvq2d2b-n4096-c16
gvq2d2b-n4096
gvq2d2b-n8192-c16
gvq2d2b-n8192
""",
    "Scale block size (table 13)": """
gvq2d2b
gvq2d2b-n2048-s64
gvq2d2b-n2048-s32
gvq2d2b-n2048-s16
gvq2d3b
gvq2d3b-n8192-s64
gvq2d3b-n8192-s32
gvq2d3b-n8192-s16
""",
    "Scales at an equal cost (table 14)": """
gvq1d2b-n256
gvq1d2b-n512-s64
gvq1d3b-n512
gvq1d3b-n1024-s64
gvq2d2b-n2048
gvq2d2b-n4096-s64
gvq2d3b-n8192
gvq2d3b-n16384-s64
gvq2d3b-s32
gvq1d4b-n1024
gvq1d4b-s32
""",
    "Rank of the codebooks (scalars)": """
gvq1d2b-n256
gvq1d2b-n256-r3
gvq1d2b-n256-r2
gvq1d2b-n256-r1
gvq1d2b-n512
gvq1d3b-n512
gvq1d3b-n512-r4
gvq1d3b-n512-r2
gvq1d3b-n1024
""",
}


def measure(bitsmith, options, layer):
    command = [bitsmith, "layer", str(layer), "--json", "--quiet", "--representation", *shlex.split(options)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)["results"][0]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("layers", metavar="LAYER", nargs="+", type=Path, help="safetensors file with weight and hessian")
    p.add_argument("--study", action="append", help="only studies whose title has this text; may repeat")
    p.add_argument("--bitsmith", default="build/release/bitsmith")
    args = p.parse_args()
    for title, rows in STUDIES.items():
        if args.study and not any(text.lower() in title.lower() for text in args.study):
            continue
        names = [layer.stem for layer in args.layers]
        print(f"\n### {title}\n\n| `--representation` | bits | " + " | ".join(names) + " | mean | seconds |")
        print("|---" * (len(names) + 4) + "|")
        for options in rows.strip().splitlines():
            results = [measure(args.bitsmith, options, layer) for layer in args.layers]
            errors = [r["relative_error"] for r in results]
            mean = math.exp(sum(map(math.log, errors)) / len(errors))
            bits = sum(r["bits"] for r in results) / len(results)
            cells = [f"`{options}`", f"{bits:.3f}", *(f"{e:.5f}" for e in errors), f"{mean:.5f}",
                     f"{sum(r['seconds'] for r in results):.1f}"]
            print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
