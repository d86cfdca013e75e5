#!/usr/bin/env python3
"""Kills quantize and tune at random moments: the same command must go on and end with the same bytes.

usage: kill_test.py [--kills N] [--seed S]     N kill -9 a stage (default 3)
"""
import argparse
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from support import CALIBRATION, CONTEXT, PROGRAM, SAME_DTYPE, TRAINED, tree


def wait_until_caught(process, how):
    """Waits until the process has its handler, or has ended: before, a SIGINT just ends it."""
    while process.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text()
        caught = next((line for line in status.splitlines() if line.startswith("SigCgt:")), "SigCgt: 0")
        if int(caught.split()[1], 16) >> (how - 1) & 1:
            return
        time.sleep(0.005)


def run(arguments, kill_after=None, how=signal.SIGKILL):
    """Runs bitsmith; kills it after so many seconds. True if it ended by itself, with code 0."""
    process = subprocess.Popen([PROGRAM, *map(str, arguments)], stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        _, err = process.communicate(timeout=kill_after)
    except subprocess.TimeoutExpired:
        if how != signal.SIGKILL:
            wait_until_caught(process, how)
        process.send_signal(how)
        _, err = process.communicate(timeout=120)
    if process.returncode not in (0, -signal.SIGKILL, 130):
        sys.exit(f"exit code {process.returncode}: {err.decode(errors='replace')[-4000:]}")
    return process.returncode == 0


def check_stage(name, arguments, folder, kills, rng):
    """The stage once undisturbed, then killed again and again until it ends; the trees must agree."""
    begin = time.monotonic()
    assert run([*arguments, "-o", folder / f"{name}_whole"]), f"{name} did not run"
    seconds = time.monotonic() - begin
    reference = tree(folder / f"{name}_whole")

    done, rounds, fresh, out = 0, 0, True, folder / f"{name}_killed"
    while done < kills:
        # SIGINT too: it saves and stops with code 130.
        how = signal.SIGINT if done % 4 == 3 else signal.SIGKILL
        begin = time.monotonic()
        if run([*arguments, "-o", out], kill_after=rng.uniform(0.05, 1.0) * seconds, how=how):
            rounds += 1  # it ended before the blow
            assert tree(out) == reference, f"{name}: other bytes after {done} kills"
            shutil.rmtree(out)
            if fresh:  # the first run may have been a slow one; blows shall fall while it works
                seconds = min(seconds, time.monotonic() - begin)
            fresh = True
        else:
            done += 1
            fresh = False
            if out.exists():  # after the last rename, in the last milliseconds of the process
                assert tree(out) == reference, f"{name}: half an OUT after {done} kills"
                for leftover in (out, Path(f"{out}.partial")):
                    shutil.rmtree(leftover, ignore_errors=True)
    assert run([*arguments, "-o", out])
    differing = {k for k in reference.keys() | tree(out).keys() if reference.get(k) != tree(out).get(k)}
    assert not differing, f"{name}: other bytes after {done} kills in {sorted(differing)}"
    leftovers = [p.name for p in folder.iterdir() if p.name.startswith(out.name) and p != out and p.suffix != ".jsonl"]  # the log stays
    assert not leftovers, f"{name}: left behind {leftovers}"
    print(f"{name}: {done} kills of a {seconds:.1f} s run, {rounds + 1} ends, the same bytes each time")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    options = parser.parse_args()
    print(f"seed {options.seed}")
    rng = random.Random(options.seed)
    folder = Path(tempfile.mkdtemp(prefix="bitsmith_kill_"))
    try:
        check_stage("quantize", ["quantize", TRAINED, "--representation", "aq1x8g8", "--data", CALIBRATION,
                                 "--calibration-tokens", 8192, "--context", CONTEXT, "--threads", 2], folder, options.kills, rng)
        check_stage("finetune", ["quantize", TRAINED, "--representation", "gvq2d2b-n1024", "--data", CALIBRATION,
                                 "--calibration-tokens", 8192, "--context", CONTEXT, "--threads", 2,
                                 "--finetune-epochs", 2, "--cross-term", 0.5, "--true-sequential"],
                    folder, options.kills, rng)
        check_stage("sum", ["quantize", TRAINED, "--representation", "had:int2g16+out1%+lr2", "--data", CALIBRATION,
                            "--calibration-tokens", 8192, "--context", CONTEXT, "--threads", 2], folder, options.kills, rng)
        check_stage("guided", ["quantize", TRAINED, "--representation", "aq1x8g8", "--data", CALIBRATION,
                               "--calibration-tokens", 8192, "--context", CONTEXT, "--threads", 2, "--objective", "guided",
                               "--row-weights", "guided", "--estimate-cross-term", "--shrink-hessian"],
                    folder, options.kills, rng)
        check_stage("kronecker", ["quantize", TRAINED, "--representation", "int2g32", "--data", CALIBRATION,
                                  "--calibration-tokens", 8192, "--context", CONTEXT, "--threads", 2, "--objective", "kronecker"],
                    folder, options.kills, rng)
        check_stage("budget", ["quantize", TRAINED, "--target-size", "150kB", "--candidates", "int2g16,aq1x8g8,int4g16,int8g16",
                               "--embedding-candidates", "int4g16,int8g16", "--data", CALIBRATION, "--calibration-tokens", 8192,
                               "--context", CONTEXT, "--threads", 2], folder, options.kills, rng)
        check_stage("lattice", ["quantize", TRAINED, "--representation", "had:e8p", "--data", CALIBRATION,
                                "--calibration-tokens", 8192, "--context", CONTEXT, "--threads", 2], folder, options.kills, rng)
        for start in ["quantize", "sum", "lattice"]:
            check_stage(f"tune_{start}", ["tune", folder / f"{start}_whole", "--teacher", TRAINED, "--strategy", "pv",
                                          "--tokens", 65536, "--data", CALIBRATION, "--context", CONTEXT, "--threads", 2,
                                          "--checkpoint-minutes", 0.01, *SAME_DTYPE], folder, options.kills, rng)
        check_stage("tune_8bit", ["tune", folder / "quantize_whole", "--teacher", TRAINED, "--strategy", "pv+ste",
                                  "--loss", "js", "--optimizer", "lamb", "--optimizer-state", "8bit", "--offload-optimizer",
                                  "--tokens", 65536, "--data", CALIBRATION, "--context", CONTEXT, "--threads", 2,
                                  "--checkpoint-minutes", 0.01, *SAME_DTYPE], folder, options.kills, rng)
        for strategy in ["second-pass", "second-order"]:
            check_stage(f"tune_{strategy}", ["tune", folder / "quantize_whole", "--teacher", TRAINED, "--strategy", strategy,
                                             "--passes", 2, "--pass-tokens", 4096, "--tokens", 65536, "--data", CALIBRATION,
                                             "--context", CONTEXT, "--threads", 2, "--checkpoint-minutes", 0.01, *SAME_DTYPE],
                        folder, options.kills, rng)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
