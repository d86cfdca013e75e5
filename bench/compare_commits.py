#!/usr/bin/env python3
"""Two commits' speed on one model: `bitsmith bench` of each by turns, and the ratio of every measurement.

usage: compare_commits.py COMMIT COMMIT [--rounds N] -- ARGUMENT...

COMMIT is anything that git names, or a program that is built already. The arguments are those of `bitsmith bench`
(a model, --prompt-tokens, --after, --batch, --over-threads, ...). Each commit is built by the preset `runtime-only`
in a worktree under build/compare, which stays for the next time. A machine's speed changes from minute to minute,
so that the programs take turns, and the ratio is of the best of all rounds.
"""
import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def run(*command, **options):
    return subprocess.run(command, check=True, **options)


def program_of(commit):
    """The path of the commit's program, built where it is not there yet."""
    if os.access(commit, os.X_OK) and Path(commit).is_file():
        return Path(commit)
    sha = run("git", "-C", ROOT, "rev-parse", "--verify", f"{commit}^{{commit}}", capture_output=True, text=True).stdout.strip()
    tree = ROOT / "build/compare" / sha
    program = tree / "build/runtime-only/bitsmith"
    if not program.exists():
        if not tree.exists():
            run("git", "-C", ROOT, "worktree", "add", "--detach", tree, sha, stdout=sys.stderr)
        run("cmake", "--preset", "runtime-only", cwd=tree, stdout=sys.stderr)
        run("cmake", "--build", "build/runtime-only", "--target", "bitsmith", cwd=tree, stdout=sys.stderr)
    return program


def measurements(program, arguments):
    """What was measured -> tokens a second, the best of the repeats."""
    result = run(program, "bench", *arguments, "--json", capture_output=True, text=True)
    found = json.loads(result.stdout)
    if "measurements" not in found:  # before bench measured more than one point
        return {("prompt", found["threads"], found["prompt_tokens"], 0, 1): found["prompt_tokens_per_second_best"],
                ("generate", found["threads"], found["generate_tokens"], 0, 1): found["tokens_per_second_best"]}
    return {(m["what"], m["threads"], m["tokens"], m.get("after", 0), m.get("batch", 1)): m["tokens_per_second_best"]
            for m in found["measurements"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commits", nargs=2, metavar="COMMIT")
    parser.add_argument("--rounds", type=int, default=3, help="how often each program measures (default: 3)")
    end = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    options, arguments = parser.parse_args(sys.argv[1:end]), sys.argv[end + 1:]
    if not arguments:
        parser.error("the arguments of `bitsmith bench` come after --")
    programs = [program_of(commit) for commit in options.commits]
    best = [{}, {}]
    for _ in range(options.rounds):
        for program, results in zip(programs, best):
            for point, speed in measurements(program, arguments).items():
                results[point] = max(speed, results.get(point, 0))
    print(f"{'':8} {'threads':>7} {'tokens':>7} {'after':>7} {'batch':>6} "
          f"{options.commits[0][:12]:>12} {options.commits[1][:12]:>12}  ratio")
    for point in best[0]:
        if point not in best[1]:
            continue
        first, second = best[0][point], best[1][point]
        what, threads, tokens, after, batch = point
        print(f"{what:8} {threads:7} {tokens:7} {after:7} {batch:6} {first:12.1f} {second:12.1f} {second / first:6.3f}")


if __name__ == "__main__":
    main()
