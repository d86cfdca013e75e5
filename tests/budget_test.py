#!/usr/bin/env python3
"""Targets in place of representations, from outside: quantize --target-*, compress --target-size."""
import json
import unittest
from pathlib import Path

from support import CALIBRATION, CONTEXT, TRAINED, ProgramTest, main

DATA = ["--data", CALIBRATION, "--context", CONTEXT]
LADDER = ["--candidates", "int2g16,int3g16,int4g16,int8g16", "--embedding-candidates", "int4g16,int8g16"]


def file_bytes(out):
    return sum(p.stat().st_size for p in Path(out).glob("*.safetensors"))


class Budget(ProgramTest):
    def to_target(self, out, *more):
        return self.succeed("quantize", TRAINED, *LADDER, *DATA, "--calibration-tokens", 8192, "-o", out, "--json", *more).json()

    def test_size_bits_and_kl(self):
        size, bits, kl = (self.folder / name for name in ("size", "bits", "kl"))
        measurements = self.folder / "measured.jsonl"
        by_size = self.to_target(size, "--target-size", "150kB", "--measurements", measurements)
        self.assertLessEqual(file_bytes(size), 150000)
        self.assertGreater(file_bytes(size), 0.995 * 150000)
        self.assertEqual(by_size["file_bytes"], file_bytes(size))
        self.assertEqual(by_size["budget"]["predicted_bytes"], file_bytes(size))
        self.assertNotIn("representation", by_size)
        recipe = json.loads((size / "bitsmith.json").read_text())
        self.assertEqual(recipe["budget"]["units"], by_size["budget"]["units"])
        self.assertIn("--target-size 150kB", recipe["command_line"])
        self.assertNotIn("--representation", recipe["command_line"])
        self.assertNotIn("units", (size / "README.md").read_text())
        rows = measurements.read_text()
        self.assertEqual(len(rows.splitlines()), 4 * 5 * 4 + 2 + 1)  # and the facts

        by_bits = self.to_target(bits, "--target-bits", 4, "--embedding", 8, "--measurements", measurements)
        self.assertLessEqual(by_bits["bits"], 4)
        self.assertGreater(by_bits["bits"], 3.9)
        by_kl = self.to_target(kl, "--target-kl", 2 * by_size["budget"]["predicted_kl"], "--measurements", measurements)
        self.assertLess(by_kl["file_bytes"], by_size["file_bytes"])
        self.assertEqual(measurements.read_text(), rows)  # nothing was measured twice
        chosen = {r for r in self.succeed("inspect", size, "--json").json()["representations"]}
        self.assertGreater(len(chosen), 1)

    def test_a_plan_first(self):
        out = self.folder / "out"
        command = ["quantize", TRAINED, *LADDER, *DATA, "--calibration-tokens", 8192, "--target-size", "150kB", "-o", out]
        plan = self.succeed(*command, "--plan-only")
        self.assertIn("| block | q_proj+k_proj |", plan.out)
        self.assertFalse(out.exists())
        done = self.succeed(*command)
        self.assertNotIn("measuring what", done.err)
        self.assertIn("KL of the result on the same text", done.out)
        self.assertLessEqual(file_bytes(out), 150000)

    def test_fixed_matrices_stay_as_they_are_asked_for(self):
        out = self.folder / "out"
        self.to_target(out, "--target-size", "200kB", "--keep", "layers.0.*down", "--override", "v_proj=int8g32")
        layers = {entry["module"]: entry["representation"] for entry in json.loads((out / "bitsmith.json").read_text())["layers"]}
        self.assertNotIn("model.layers.0.mlp.down_proj", layers)
        self.assertEqual(layers["model.layers.2.self_attn.v_proj"], "int8g32")
        self.assertLessEqual(file_bytes(out), 200000)

    def test_refusals(self):
        command = ["quantize", TRAINED, *DATA, "-o", self.folder / "out"]
        for more, says in [([], ["--representation R, or a target"]),
                           (["--target-size", "100kB", "--representation", "int4g16"], ["excludes", "representation"]),
                           (["--target-size", "100kB", "--target-kl", "1"], ["excludes"]),
                           (["--representation", "int4g16", "--plan-only"], ["--plan-only go with a target"]),
                           (["--target-size", "1kB", *LADDER], ["below what the candidates can come to", "MB to"]),
                           (["--target-size", "9GB", *LADDER], ["above what the candidates can come to", "MB to"]),
                           (["--target-size", "9XB"], ["is no size"]),
                           (["--target-size", "100kB", *LADDER, "--method", "gptq"], ["rtn"]),
                           (["--target-size", "100kB", "--candidates", "int4g7"], ["no candidate fits"])]:
            self.fail_cleanly(*command, *more, codes=[2], says=says)
        self.fail_cleanly("compress", TRAINED, *DATA, "--preset", "3bit", "--target-size", "100kB", "-o", self.folder / "out",
                          codes=[2], says=["excludes"])
        self.fail_cleanly("compress", TRAINED, *DATA, "--objective", "magic", "-o", self.folder / "out", codes=[2],
                          says=["layer, guided or kronecker"])

    def test_compress(self):
        out = self.folder / "out"
        run = self.succeed("compress", TRAINED, "--target-size", "150kB", "--minutes", 2, "--calibration-tokens", 2048,
                           "--objective", "guided", "--row-weights", "guided", "--tune-embedding", *DATA, "-o", out)
        self.assertIn("Target 150kB: predicted", run.out)
        self.assertLessEqual(file_bytes(out), 150000)
        recipe = json.loads((out / "bitsmith.json").read_text())
        self.assertEqual(recipe["budget"]["target_size"], "150kB")
        self.assertNotIn("preset", recipe)
        self.assertIn("judged", recipe)
        for key in ["objective", "row_weights"]:
            self.assertEqual(recipe["options"][key], "guided")
        if "tune" in recipe:  # a slow machine had no time for it
            self.assertTrue(recipe["tune"]["options"]["embedding"])
        self.assertGreater(len(recipe["budget"]["units"]), 1)


if __name__ == "__main__":
    main()
