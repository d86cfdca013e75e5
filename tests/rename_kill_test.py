#!/usr/bin/env python3
"""Kills commands before and after every call that changes a name on disk: nothing is lost, and the same
command ends with the same bytes.

usage: rename_kill_test.py LIBRARY [--every N] [--skip-compress]
    LIBRARY: kill_at_rename.c, compiled as a library to be preloaded; --every: at each Nth call only (default 1);
    --skip-compress: compress takes the longest
"""
import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from support import CALIBRATION, CONTEXT, PROGRAM, SAME_DTYPE, TRAINED, tree

parser = argparse.ArgumentParser()
parser.add_argument("library")
parser.add_argument("--every", type=int, default=1)
parser.add_argument("--skip-compress", action="store_true")
OPTIONS = parser.parse_args()
LIBRARY = OPTIONS.library


def run(arguments, **environment):
    process = subprocess.run([PROGRAM, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                             stderr=subprocess.PIPE, env={**os.environ, **environment})
    if process.returncode not in (0, -signal.SIGKILL):
        sys.exit(f"{arguments}: exit code {process.returncode}: {process.stderr.decode(errors='replace')[-3000:]}")
    return process.returncode == 0


def check(name, folder, arguments, replaced=None):
    """`replaced`: arguments of an earlier run whose result --force replaces."""
    out = folder / "out"
    reference = folder / f"{name}_whole"
    assert run([*arguments, "-o", reference])
    want, kills = tree(reference), 0
    old = None
    if replaced:
        assert run([*replaced, "-o", folder / "old"])
        old = tree(folder / "old")
    others = {p.name for p in folder.iterdir()}
    for when in ("KILL_AT_RENAME", "KILL_AFTER_RENAME"):
        for call in range(1, 1000, OPTIONS.every):
            command = [*arguments, "-o", f"{out}/"]
            if replaced:
                shutil.copytree(folder / "old", out)
                command.append("--force")
            if run(command, LD_PRELOAD=LIBRARY, **{when: str(call)}):
                break
            kills += 1
            # At no moment is there anything else at OUT than the old or the new result, whole.
            assert (tree(out) in (old, want)) if out.exists() else not replaced, f"{name}: {when}={call}: damaged OUT"
            finished = out.exists() and tree(out) == want and not Path(f"{out}.partial").exists()
            if not finished:
                # A blow in the last clean-up leaves the result and an empty work folder: asked again
                # without --force, the program says that OUT exists.
                partial = Path(f"{out}.partial")
                left = {p.name for p in partial.iterdir()} if partial.exists() else set()
                if not (out.exists() and tree(out) == want and left <= {"lock"}):
                    assert run(command), f"{name}: {when}={call}: does not go on"
                shutil.rmtree(partial, ignore_errors=True)
            assert tree(out) == want, f"{name}: {when}={call}: other bytes"
            leftovers = {p.name for p in folder.iterdir() if p.suffix != ".jsonl"} - others - {"out"}
            assert not leftovers, f"{name}: {when}={call}: left behind {leftovers}"
            shutil.rmtree(out)
        shutil.rmtree(out, ignore_errors=True)
    shutil.rmtree(folder / "old", ignore_errors=True)
    print(f"{name}: {kills} kills, the same bytes each time")
    assert kills * OPTIONS.every > 20
    return reference


def main():
    folder = Path(tempfile.mkdtemp(prefix="bitsmith_rename_kill_"))
    try:
        data = ["--data", CALIBRATION, "--context", CONTEXT]
        quantize = ["quantize", TRAINED, "--method", "rtn", "--representation"]
        base = check("quantize", folder, [*quantize, "int4g64"])
        check("force", folder, [*quantize, "int4g64"], replaced=[*quantize, "int3g64"])
        os.rename(base, folder / "base")
        # No time to tune: the one-shot result is judged and published through both work folders.
        if not OPTIONS.skip_compress:
            check("compress", folder, ["compress", TRAINED, "--preset", "quickstart", "--minutes", "0.5", "--threads", 2,
                                       "--calibration-tokens", 2048, "--data-tokens", 8192, *data])
        check("tune", folder, ["tune", folder / "base", "--teacher", TRAINED, "--tokens", 1024, "--batch-tokens", 512,
                               "--data-tokens", 4096, *SAME_DTYPE, *data])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
