#!/usr/bin/env python3
"""bitsmith alone, and with bitsmith-compressor beside it."""
import os
import shutil
import subprocess

from support import COMMANDS, COMPRESSOR_COMMANDS, HELDOUT, PROGRAM, TRAINED, ProgramTest, main


class TwoPrograms(ProgramTest):
    """For what needs LibTorch the program becomes bitsmith-compressor, which stands beside it."""
    TORCH = ["logits", TRAINED, "--ids", "1,2", "-o", "out"]

    def setUp(self):
        super().setUp()
        self.program = self.folder / "bitsmith"
        shutil.copy(PROGRAM, self.program)

    def run_copy(self, *arguments, program=None, **options):
        return subprocess.run([program or self.program, *map(str, arguments)], capture_output=True, text=True,
                              cwd=self.folder, timeout=600, **options)

    def add_compressor(self, text):
        compressor = self.folder / "bitsmith-compressor"
        compressor.write_text("#!/bin/sh\n" + text)
        compressor.chmod(0o755)

    def test_alone_it_is_the_runtime(self):
        out = self.run_copy("--help").stdout
        for command in COMPRESSOR_COMMANDS:
            self.assertNotIn(f"  {command} ", out)
            run = self.run_copy(command, TRAINED)
            self.assertEqual(run.returncode, 2)
            self.assertIn(f"unknown command '{command}'", run.stderr)
        self.assertIn("no LibTorch", self.run_copy("eval", "--help").stdout)
        run = self.run_copy(*self.TORCH, "--engine", "torch")
        self.assertEqual(run.returncode, 2)
        self.assertIn("runtime-only build", run.stderr)
        self.assertEqual(self.run_copy(*self.TORCH, "--json").returncode, 0)
        self.assertTrue((self.folder / "out").exists())

    def test_the_compressor_takes_its_place(self):
        """The same process, words, input and output, and its exit code."""
        self.add_compressor("echo $$; printf '%s|' \"$@\"; cat; exit 7")
        for words in [["quantize", "a model", "--help", "", "--", "-x"], ["--help", "tune"], self.TORCH,
                      ["eval", TRAINED, "--text", HELDOUT, "--engine", "torch"]]:
            process = subprocess.Popen([self.program, *map(str, words)], cwd=self.folder, text=True,
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            out, _ = process.communicate("input\n", timeout=600)
            self.assertEqual(out, f"{process.pid}\n" + "".join(f"{word}|" for word in words) + "input\n")
            self.assertEqual(process.returncode, 7)

    def test_what_stays(self):
        self.add_compressor("exit 7")
        out = self.run_copy("--help").stdout
        for command in COMMANDS + COMPRESSOR_COMMANDS:
            self.assertIn(f"  {command} ", out)
        self.assertEqual(self.run_copy(*self.TORCH, "--engine", "runtime").returncode, 0)
        for words in [[*self.TORCH, "--threads", "two"], ["eval", TRAINED], ["quantise"]]:
            self.assertEqual(self.run_copy(*words).returncode, 2, words)
        self.assertIn("did you mean 'quantize'?", self.run_copy("quantise").stderr)

    def test_openmp_threads_sleep_unless_the_user_has_chosen(self):
        self.add_compressor("echo $OMP_WAIT_POLICY, $GOMP_SPINCOUNT")
        chosen = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
        for more, said in [({}, "passive,"), ({"OMP_WAIT_POLICY": "active"}, "active,"), ({"GOMP_SPINCOUNT": "5"}, ", 5")]:
            self.assertEqual(self.run_copy("tune", env=chosen | more).stdout.strip(), said)

    def test_found_behind_a_link(self):
        self.add_compressor("echo here")
        link = self.folder / "folder/link"
        link.parent.mkdir()
        link.symlink_to(self.program)
        self.assertEqual(self.run_copy("layer", program=link).stdout, "here\n")

    def test_one_that_cannot_be_started(self):
        self.add_compressor("")
        (self.folder / "bitsmith-compressor").write_text("#!/no/such/interpreter\n")
        run = self.run_copy("tune")
        self.assertEqual(run.returncode, 1)
        self.assertIn("bitsmith-compressor cannot be started: No such file", run.stderr)


if __name__ == "__main__":
    main()
