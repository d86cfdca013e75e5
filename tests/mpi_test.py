#!/usr/bin/env python3
"""Work of many processes, from outside: mpi_test.py MPIRUN COMMUNICATOR_CHECK [KILLS], KILLS a number of ranks that are
killed (default 3)."""
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from support import CALIBRATION, CONTEXT, PROGRAM, SAME_DTYPE, TRAINED, ProgramTest, main, tree

MPIRUN, CHECK = sys.argv.pop(1), sys.argv.pop(1)
KILLS = int(sys.argv.pop(1)) if len(sys.argv) > 1 and sys.argv[1].isdigit() else 3
OPEN_MPI = bool(re.search("Open ?(MPI|RTE)", subprocess.run([MPIRUN, "--version"], capture_output=True, text=True).stdout))
FLAGS = ["--allow-run-as-root", "--oversubscribe", "--bind-to", "none"] if OPEN_MPI else []
# Containers mostly forbid one process to read another's memory; Open MPI warns of it.
ENVIRONMENT = {**os.environ, "OMPI_MCA_btl_vader_single_copy_mechanism": "none"}
DATA = ["--data", CALIBRATION, "--context", CONTEXT, "--threads", 1]


def start(size, *command):
    return subprocess.Popen([MPIRUN, *FLAGS, "-n", str(size), *map(str, command)], stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace", env=ENVIRONMENT)


def finish(process, timeout=600):
    """Exit code, standard output, standard error."""
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"the run hangs: {err[-4000:]}") from None
    return process.returncode, out, err


def ranks_of(out):
    """Rank -> process id of those that work on `out`."""
    found = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            environment = (folder / "environ").read_bytes().split(b"\0")
        except OSError:  # it has ended
            continue
        if str(out).encode() not in words or not words[0].endswith((b"bitsmith", b"bitsmith-compressor")):
            continue
        for entry in environment:
            if entry.startswith((b"OMPI_COMM_WORLD_RANK=", b"PMI_RANK=")):
                found[int(entry.split(b"=")[1])] = int(folder.name)
    return found


class Ranks(ProgramTest):
    def run_on(self, size, *arguments):
        code, out, err = finish(start(size, PROGRAM, *arguments))
        self.assertEqual(code, 0, f"{size} ranks of {' '.join(map(str, arguments))}: {out[-2000:]}\n{err[-4000:]}")
        return out, err

    def quantize_command(self, out, *more):
        return ["quantize", TRAINED, "--representation", "aq1x8g8", "--calibration-tokens", 16384, *DATA, *more, "-o", out]

    def tune_command(self, start_model, out, *more):
        return ["tune", start_model, "--teacher", TRAINED, "--tokens", 65536, "--micro-tokens", 512, *SAME_DTYPE, *DATA, *more,
                "-o", out]

    def start_model(self):
        out = self.folder / "start"
        self.succeed(*self.quantize_command(out))
        return out

    def test_the_communicator(self):
        for size in [1, 3]:
            code, out, err = finish(start(size, CHECK))
            self.assertEqual(code, 0, err)
            self.assertIn(f"{size} ranks agree", out)

    def test_quantize_gives_the_same_bytes(self):
        for name, more in {"plain": [], "parallel": ["--cross-term", 0], "guided": ["--objective", "guided"]}.items():
            alone = self.folder / name
            self.succeed(*self.quantize_command(alone, *more))
            for size in [2, 4]:
                out = self.folder / f"{name}{size}"
                self.run_on(size, *self.quantize_command(out, *more))
                self.assertEqual(tree(out), tree(alone), f"{name} on {size} ranks")
                self.assertFalse(Path(f"{out}.partial").exists())

    def test_tune_gives_the_same_bytes(self):
        begin = self.start_model()
        # Latent weights have few steps to move in here.
        for strategy, own in {"pv": [], "pv+ste": ["--latent-rate", 0.3]}.items():
            more = ["--strategy", strategy, *own, "--v-start", 0.2, "--max-gradient-norm", 0.01]
            alone = self.folder / strategy
            report = self.succeed(*self.tune_command(begin, alone, *more), "--json").json()
            self.assertGreater(report["codes_changed"], 0)
            for size in [2, 4]:
                out = self.folder / f"{strategy}{size}"
                text, err = self.run_on(size, *self.tune_command(begin, out, *more), "--json")
                self.assertEqual(json.loads(text)["kl"], report["kl"])  # and one object alone
                self.assertEqual(tree(out), tree(alone), f"{strategy} on {size} ranks")
                self.assertEqual(err.count("on this machine"), 1, err)

    def test_the_teacher_cache_is_made_together(self):
        begin, out = self.start_model(), self.folder / "out"
        self.run_on(2, *self.tune_command(begin, out, "--teacher-cache", self.folder / "cache"))
        alone = self.folder / "alone"
        self.succeed(*self.tune_command(begin, alone, "--teacher-cache", self.folder / "cache_alone"))
        self.assertEqual(tree(out), tree(alone))
        caches = [tree(self.folder / name) for name in ["cache", "cache_alone"]]
        for cache in caches:
            cache.pop("lock", None)
        self.assertEqual(*caches)

    def test_a_killed_rank_ends_the_run_and_another_number_goes_on(self):
        begin, reference, out = self.start_model(), self.folder / "reference", self.folder / "out"
        began = time.monotonic()
        self.succeed(*self.tune_command(begin, reference))
        seconds = time.monotonic() - began
        seed = random.SystemRandom().randrange(10**6)
        print(f"seed {seed}")
        rng = random.Random(seed)
        killed, sizes = 0, [4, 2, 1, 3]
        while killed < KILLS:
            size = sizes[killed % len(sizes)]
            process = start(size, PROGRAM, *self.tune_command(begin, out, "--checkpoint-minutes", 0.005))
            time.sleep(rng.uniform(0.2, 1.0) * seconds)
            victims = list(ranks_of(out).values())
            if process.poll() is None and victims:
                os.kill(rng.choice(victims), signal.SIGKILL)
                code, _, err = finish(process, timeout=120)
                if code != 0:
                    killed += 1
                    self.assertLess(len(err), 20000, err)
                    self.wait_for_the_end(out)
                    if out.exists():  # in the last moments of the run
                        self.assertEqual(tree(out), tree(reference))
                        for leftover in (out, Path(f"{out}.partial")):
                            shutil.rmtree(leftover, ignore_errors=True)
                    continue
            code, _, err = finish(process)  # it was faster
            self.assertEqual(code, 0, err)
            self.assertEqual(tree(out), tree(reference))
            shutil.rmtree(out)
        self.run_on(2, *self.tune_command(begin, out, "--checkpoint-minutes", 0.005))
        self.assertEqual(tree(out), tree(reference))
        self.assertFalse(Path(f"{out}.partial").exists())

    def wait_for_the_end(self, out):
        """No rank may outlive a run that lost one."""
        for _ in range(200):
            if not ranks_of(out):
                return
            time.sleep(0.1)
        self.fail(f"ranks are left: {ranks_of(out)}")

    def test_a_signal_stops_all_ranks_at_one_step(self):
        begin, reference, out = self.start_model(), self.folder / "reference", self.folder / "out"
        self.succeed(*self.tune_command(begin, reference))
        process = start(2, PROGRAM, *self.tune_command(begin, out))
        log, state = Path(f"{out}.tune.jsonl"), Path(f"{out}.partial/state.safetensors")
        for _ in range(1200):
            if log.exists() and '"tokens"' in log.read_text():  # a step is done
                break
            time.sleep(0.05)
        if OPEN_MPI:
            process.send_signal(signal.SIGUSR1)
        else:
            for victim in ranks_of(out).values():
                os.kill(victim, signal.SIGUSR1)
        code, _, err = finish(process, timeout=120)
        if code == 0:
            self.skipTest("the run was faster than the signal")
        self.assertEqual(err.count("interrupted after step"), 1, err)
        self.assertTrue(state.exists(), err)
        self.succeed(*self.tune_command(begin, out))  # alone, now
        self.assertEqual(tree(out), tree(reference))

    def test_threads_that_share_processors_badly_are_warned_of(self):
        processors = len(os.sched_getaffinity(0))
        # Where the test has not all of the machine, a warning may be right at one thread too.
        all_of_machine = processors > 1 and processors == os.cpu_count()
        for threads, warned in [(1, False), (2 * processors, True)]:
            _, err = self.run_on(2, "quantize", TRAINED, "--representation", "int4g64", "--method", "rtn", "--threads", threads,
                                 "-o", self.folder / f"out{threads}")
            if warned or all_of_machine:
                (self.assertRegex if warned else self.assertNotRegex)(err, "is bound to|wait for each other")

    def test_what_all_ranks_refuse_is_said_once(self):
        out = self.folder / "out"
        for arguments, says in [(self.tune_command(TRAINED, out), "is not quantized"),
                                (self.quantize_command(out, "--finetune-epochs", 2), "--finetune-epochs"),
                                (["compress", TRAINED, "-o", out], "compress is work of one process"),
                                (self.quantize_command(out, "--rounds-of-nothing"), "rounds-of-nothing")]:
            code, _, err = finish(start(2, PROGRAM, *arguments))
            self.assertNotEqual(code, 0, err)
            self.assertIn(says, err)
            if says.startswith(("is not", "--fine")):  # the others end before ranks know of each other
                self.assertEqual(err.count(says), 1, err)
            self.assertFalse(out.exists() or Path(f"{out}.partial").exists())


if __name__ == "__main__":
    main()
