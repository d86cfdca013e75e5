#!/usr/bin/env python3
"""SIGINT while a command works."""
import shutil
import unittest

from support import CALIBRATION, HAS_COMPRESSOR, TRAINED, ProgramTest, interrupted, main


class Interrupts(ProgramTest):
    """One SIGINT: exit code 130, and a message that says how to go on."""

    def test_bench(self):
        self.assertIn("the same command", interrupted("bench", TRAINED, "--repeats", 1000))

    @unittest.skipUnless(HAS_COMPRESSOR, "built without the compressor")
    def test_compressor(self):
        out = self.folder / "out"
        for representation in ["aq1x8g8", "gvq2d2b-n1024"]:
            err = interrupted("quantize", TRAINED, "--representation", representation, "--data", CALIBRATION,
                              "--calibration-tokens", 4096, "-o", out, "--finetune-epochs", 1000,
                              after=(out.with_name("out.partial") / "embedding.safetensors").exists)
            self.assertRegex(err, r"stopped after \d of 4 blocks.*the same command goes on from there")
            shutil.rmtree(self.folder / "out.partial")
        self.quantize("int4g64", out=out)
        log = self.folder / "tuned.tune.jsonl"
        err = interrupted("tune", out, "--teacher", TRAINED, "--data", CALIBRATION, "--tokens", 10**9, "-o",
                          self.folder / "tuned", after=lambda: log.exists() and '"step": 1,' in log.read_text())
        self.assertRegex(err, r"interrupted after step \d+; the same command goes on from there")
        err = interrupted("hessian", TRAINED, "--module", ".*", "--data", CALIBRATION, "-o", self.folder / "layers",
                          after=lambda: list(self.folder.glob("layers/*layers.0*")))
        self.assertRegex(err, r"stopped in block \d of 4;.*the same command begins anew")


if __name__ == "__main__":
    main()
