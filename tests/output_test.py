#!/usr/bin/env python3
"""Standard output: what cannot be written, and how numbers look."""
import json
import os
import shutil
import subprocess

from support import (CALIBRATION, HAS_COMPRESSOR, HELDOUT, PROGRAM, TESTDATA, TRAINED, ProgramTest, main,
                     read_safetensors)


class Output(ProgramTest):
    """What cannot be written is exit code 1 and a message."""
    PRINTING = [["--help"], ["run", "--help"], ["--version"], ["inspect", TRAINED], ["inspect", TRAINED, "--json"],
                ["tokenize", TRAINED, "--text", "a"], ["run", TRAINED, "-p", "Anna", "--max-tokens", "4"],
                ["run", TRAINED, "-p", "Anna", "--max-tokens", "4", "--json"]]

    def run_to(self, stdout, arguments, **options):
        return subprocess.run([PROGRAM, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=stdout,
                              stderr=subprocess.PIPE, text=True, timeout=600, **options)

    def refuse(self, says, stdout, arguments, **options):
        run = self.run_to(stdout, arguments, **options)
        self.assertEqual(run.returncode, 1, f"{arguments}: {run.stderr}")
        self.assertIn(says, run.stderr)

    def test_full_disk(self):
        for arguments in self.PRINTING:
            with open("/dev/full", "w") as full:
                self.refuse("cannot write to standard output: No space left", full, arguments)

    def test_closed_pipe(self):
        for arguments in self.PRINTING:
            read, write = os.pipe()
            os.close(read)
            with os.fdopen(write, "w") as pipe:
                self.refuse("cannot write to standard output: Broken pipe", pipe, arguments)

    def test_a_chat_ends_with_its_output(self):
        lines = self.folder / "lines"
        lines.write_text("Anna\n" * 50)
        with open("/dev/full", "w") as full, open(lines) as stdin:
            run = subprocess.run([PROGRAM, "run", str(TRAINED), "--max-tokens", "4"], stdin=stdin, stdout=full,
                                 stderr=subprocess.PIPE, text=True, timeout=600)
        self.assertEqual(run.returncode, 1, run.stderr)
        self.assertEqual(run.stderr.count("No space left"), 1, run.stderr)

    def test_closed_output_is_refused_at_the_start(self):
        out = self.folder / "logits.safetensors"
        self.refuse("standard output is closed", None, ["logits", TRAINED, "--ids", "1,2", "--engine", "runtime",
                                                         "-o", out], preexec_fn=lambda: os.close(1))
        self.assertFalse(out.exists())

    def test_closed_errors_and_input_are_no_matter(self):
        def close():
            os.close(0)
            os.close(2)
        out = self.folder / "logits.safetensors"
        run = subprocess.run([PROGRAM, "logits", str(TRAINED), "--ids", "1,2", "--engine", "runtime", "-o", str(out)],
                             stdout=subprocess.DEVNULL, timeout=600, preexec_fn=close)
        self.assertEqual(run.returncode, 0)
        self.assertEqual(read_safetensors(out)["logits"][0], [2, 384])

    def test_bytes_that_are_not_utf8(self):
        names = [os.fsencode(self.folder) + b"/model \xff\xe9", os.fsencode(self.folder) + b"/out\xff"]
        shutil.copytree(os.fsencode(TRAINED), names[0])
        for more in [[], ["--json"]]:
            run = subprocess.run([PROGRAM, "inspect", names[0], *more], capture_output=True, timeout=600)
            self.assertEqual(run.returncode, 0, run.stderr)
        json.loads(run.stdout)  # the output with --json is UTF-8
        run = subprocess.run([PROGRAM, "logits", names[0], "--ids", "1,2", "--engine", "runtime", "-o", names[1], "--json"],
                             capture_output=True, timeout=600)
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertTrue(os.path.exists(names[1]))
        run = subprocess.run([PROGRAM, "tokenize", TRAINED, "--text", b"a\xff\xfeb"], capture_output=True, timeout=600)
        self.assertEqual(run.returncode, 0, run.stderr)
        ids = run.stdout.split()[-2]  # a single byte of a character
        run = subprocess.run([PROGRAM, "tokenize", TRAINED, "--decode", ids, "--json"], capture_output=True, timeout=600)
        self.assertEqual(run.returncode, 0, run.stderr)
        json.loads(run.stdout)


class Sizes(ProgramTest):
    def test_numbers_for_people(self):
        """Bits with few digits, sizes that are not zero and have no exponent."""
        outputs = [self.succeed("inspect", TRAINED, "--tensors").out,
                   self.succeed("inspect", TESTDATA / "tiny_llama_gguf/model.gguf").out,
                   self.succeed("eval", TRAINED, "--text", HELDOUT, "--engine", "runtime", "--windows", 1).out,
                   self.succeed("bench", TRAINED, "--prompt-tokens", 8, "--generate-tokens", 8, "--repeats", 1).out]
        if HAS_COMPRESSOR:
            out = self.folder / "out"
            outputs.append(self.succeed("quantize", TRAINED, "--representation", "gvq2d2b-n1024", "--data", CALIBRATION,
                                        "--calibration-tokens", 2048, "-o", out).out)
            outputs.append(self.succeed("inspect", out).out)
        for text in outputs:
            self.assertNotRegex(text, r"\b0\.0 (MB|MiB|GB|GiB)\b|\d\.\d{7,}|\de[+-]\d")


if __name__ == "__main__":
    main()
