"""What the program tests share. Standard library only: the runtime-only build has no torch."""
import hashlib
import json
import math
import os
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest
from array import array
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TESTDATA = ROOT / "testdata"
TRAINED = TESTDATA / "tiny_llama_trained"
HELDOUT = TRAINED / "heldout.txt"
CONTEXT = 256  # of the tiny models
WINDOWS = 8
PROGRAM = os.environ.get("BITSMITH", str(ROOT / "build/release/bitsmith"))
ENGINES = os.environ.get("BITSMITH_ENGINES", "torch,runtime").split(",")
HAS_COMPRESSOR = "torch" in ENGINES
COMMANDS = ["inspect", "tokenize", "logits", "eval", "report", "run", "pack", "bench"]
COMPRESSOR_COMMANDS = ["compress", "quantize", "hessian", "layer", "tune"]
_scratch = tempfile.TemporaryDirectory(prefix="bitsmith_test_")
# The model's own text is cached; a test must not find an earlier one's.
os.environ["XDG_CACHE_HOME"] = _scratch.name

sys.path.insert(0, str(TESTDATA))
from grammar import documents  # noqa: E402

# What the tiny trained model calibrates and tunes on: its own grammar, 100,000 tokens. Chats are spelled out with
# their special tokens: --parse-special.
CALIBRATION = Path(_scratch.name) / "calibration.jsonl"
CALIBRATION.write_text("".join(json.dumps({"text": text}) + "\n" for text in documents(seed=7, count=1000)))

# Of two tune runs whose bytes are compared: `auto` measures the processor, which other work may slow down.
SAME_DTYPE = ["--dtype", "float32"]

# Every kind of representation that exists, on the tiny trained model (64 or 192 columns).
REPRESENTATIONS = ["int8g64", "int4g32", "int3g16-z", "int2g0-z", "aq1x8g8", "aq2x4g4",
                   "gvq2d2b-n1024", "had:int3g16", "had-in:int2g16+out1%+lr4", "had:e8p", "e8p3"]


def is_linked_with(library):
    return library.encode() in Path(PROGRAM).read_bytes()  # which has the names of its libraries


class Result:
    def __init__(self, run):
        self.code, self.out, self.err = run.returncode, run.stdout, run.stderr

    def json(self):
        return json.loads(self.out)

    def __str__(self):
        return f"exit code {self.code}\nstdout: {self.out[-2000:]}\nstderr: {self.err[-4000:]}"


def bitsmith(*arguments, timeout=600, **options):
    """Runs the program; options go to subprocess.run."""
    run = subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, stdin=subprocess.DEVNULL,
                         timeout=timeout, text=True, errors="replace", **options)
    return Result(run)


class ProgramTest(unittest.TestCase):
    """A test with a folder of its own, self.folder, removed at the end."""
    maxDiff = None

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="bitsmith_test_"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def succeed(self, *arguments, **options):
        result = bitsmith(*arguments, **options)
        self.assertEqual(result.code, 0, f"bitsmith {' '.join(map(str, arguments))}: {result}")
        return result

    def fail_cleanly(self, *arguments, codes=(1, 2), says=(), **options):
        """The program must refuse with one clear message, and leave self.folder as it was."""
        before = tree(self.folder)
        result = bitsmith(*arguments, **options)
        what = f"bitsmith {' '.join(map(str, arguments))}: {result}"
        self.assertIn(result.code, codes, what)
        self.assertTrue(result.err.strip(), "no message: " + what)
        self.assertNotIn("terminate called", result.err, what)
        self.assertLess(len(result.err), 10000, "a flood: " + what)
        self.assertNotRegex(result.err, r"[\x00-\x08\x0b-\x1f\x7f]", "raw control characters: " + what)
        for text in says:
            self.assertIn(text, result.err, what)
        self.assertEqual(tree(self.folder), before, "files changed: " + what)
        return result

    def quantize(self, representation, *more, model=TRAINED, out=None, tokens=4096):
        out = out or self.folder / representation
        self.succeed("quantize", model, "--representation", representation, "--data", CALIBRATION, "--parse-special",
                     "--calibration-tokens", tokens, "--context", CONTEXT, "-o", out, "--quiet", *more)
        return out

    def evaluate(self, model, engine="torch", *more):
        return self.succeed("eval", model, "--text", HELDOUT, "--context", CONTEXT, "--windows", WINDOWS,
                            "--engine", engine, "--json", *more).json()


def catches_interrupts(process):
    status = Path(f"/proc/{process.pid}/status").read_text()
    caught = int(next(line for line in status.splitlines() if line.startswith("SigCgt:")).split()[1], 16)
    return caught >> (signal.SIGINT - 1) & 1


def interrupted(*arguments, after=lambda: True):
    """Stderr of a run that gets SIGINT when it can catch it and `after`, a condition, is reached."""
    process = subprocess.Popen([PROGRAM, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not (catches_interrupts(process) and after()):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    if (process.returncode, out) != (130, ""):
        raise AssertionError(f"exit code {process.returncode}\nstdout: {out}\nstderr: {err}")
    return err


def full_disk():
    """Every write beyond 2 kB of a file fails, as on a disk without space."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))


def chat_line(*messages):
    return json.dumps({"messages": [{"role": role, "content": content} for role, content in messages]}) + "\n"


def jsonl(*records):
    return "".join(json.dumps(record) + "\n" for record in records)


def virtual_environment(name, packages):
    """The Python of a virtual environment with these packages, made once a build folder; the test is skipped where they
    cannot be had."""
    folder = ROOT / "build" / name
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        run = subprocess.run([python, "-m", "pip", "install", "-q", *packages], stderr=subprocess.PIPE, text=True)
        if run.returncode != 0:
            raise unittest.SkipTest(f"pip cannot install {' '.join(packages)} (is there a network?): {run.stderr.strip()[-500:]}")
        (folder / "complete").touch()
    return python


def tree(folder):
    """Relative path -> SHA-256 of every file below a folder, and the folders themselves."""
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() if p.is_file() else "folder"
            for p in sorted(Path(folder).rglob("*"))}


def raw_safetensors(path):
    """name -> (entry of the header, bytes)."""
    data = Path(path).read_bytes()
    (size,) = struct.unpack_from("<Q", data)
    begin = 8 + size
    return {name: (entry, data[begin + entry["data_offsets"][0]:begin + entry["data_offsets"][1]])
            for name, entry in json.loads(data[8:begin]).items() if name != "__metadata__"}


def read_safetensors(path):
    """name -> (shape, values): a slow reader of F32 and I64 tensors."""
    tensors = {}
    for name, (entry, data) in raw_safetensors(path).items():
        values = array({"F32": "f", "I64": "q"}[entry["dtype"]])
        values.frombytes(data)
        tensors[name] = entry["shape"], values
    return tensors


def relative_error(values, reference):
    """|values - reference| / |reference| in the 2-norm."""
    difference = math.fsum((a - b) ** 2 for a, b in zip(values, reference, strict=True))
    return math.sqrt(difference / math.fsum(b * b for b in reference))


def main():
    unittest.main(verbosity=2)
