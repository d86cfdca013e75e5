#!/usr/bin/env python3
"""Tuning of the tiny trained model, from outside: strategies, losses, optimizers, schedules, the teacher's cache."""
import json

from support import CALIBRATION, CONTEXT, SAME_DTYPE, TESTDATA, TRAINED, ProgramTest, main, raw_safetensors, tree


class Tuning(ProgramTest):
    def test_each_strategy_improves(self):
        for representation in ["int2g16-z", "aq1x8g8"]:
            start = self.quantize(representation, tokens=8192)
            kl = {"start": self.evaluate(start, "torch", "--teacher", TRAINED)["kl"]}
            for strategy in ["continuous", "pv", "ste"]:
                out = self.folder / f"{representation}.{strategy}"
                self.succeed("tune", start, "--teacher", TRAINED, "--strategy", strategy, "--tokens", 65536,
                             "--data", CALIBRATION, "--parse-special", "--context", CONTEXT, "-o", out, "--quiet")
                kl[strategy] = self.evaluate(out, "torch", "--teacher", TRAINED)["kl"]
                runtime, torch = self.evaluate(out, "runtime"), self.evaluate(out)
                self.assertLess(abs(runtime["perplexity"] / torch["perplexity"] - 1), 0.003)
                recipe = json.loads((out / "bitsmith.json").read_text())
                self.assertRegex(recipe["command_line"], "^bitsmith quantize MODEL --representation " + representation)
                curve = recipe["tune"]["validations"]
                self.assertEqual((curve[0]["tokens"], curve[0]["kl"]), (0, recipe["tune"]["validation_kl_before"]))
                self.assertEqual(curve[-1]["tokens"], recipe["tune"]["tokens"])
                self.assertEqual(min(v["kl"] for v in curve), recipe["tune"]["validation_kl_after"])
            self.assertLess(kl["continuous"], 0.9 * kl["start"], kl)
            self.assertLess(kl["pv"], 0.9 * kl["start"], kl)
            self.assertLess(kl["ste"], 0.9 * kl["start"], kl)
            print(representation, {k: round(v, 4) for k, v in kl.items()})

    def test_lattice_codes_are_tuned(self):
        """Its codebook is fixed: what is tuned is codes, scales and norms, and signs that are real numbers."""
        for representation in ["had:e8p", "had:e8p3", "had-real:e8p"]:
            start = self.quantize(representation, "--method", "rtn")
            kl = {"start": self.evaluate(start, "torch", "--teacher", TRAINED)["kl"]}
            for strategy in ["continuous", "pv", "ste"]:
                out = self.folder / f"{representation}.{strategy}"
                self.succeed("tune", start, "--teacher", TRAINED, "--strategy", strategy, "--tokens", 65536,
                             "--data", CALIBRATION, "--parse-special", "--context", CONTEXT, "-o", out, "--quiet")
                kl[strategy] = self.evaluate(out, "torch", "--teacher", TRAINED)["kl"]
                runtime, torch = self.evaluate(out, "runtime"), self.evaluate(out)
                self.assertLess(abs(runtime["perplexity"] / torch["perplexity"] - 1), 0.003)
                stored = [json.loads((model / "config.json").read_text())["quantization_config"] for model in [out, start]]
                self.assertEqual(stored[0], stored[1])
                signs = [{name: data for name, (_, data) in raw_safetensors(model / "model.safetensors").items()
                          if name.endswith("_signs")} for model in [out, start]]
                self.assertTrue(signs[0])
                self.assertEqual(signs[0] != signs[1], "real" in representation)
                self.assertLess(kl[strategy], kl["start"], kl)
            print(representation, {k: round(v, 4) for k, v in kl.items()})

    def tune(self, start, name, *options):
        """Tunes for 16 steps; returns the folder and what --json says."""
        out = self.folder / name
        report = self.succeed("tune", start, "--teacher", TRAINED, "--tokens", 65536, "--data", CALIBRATION,
                              "--context", CONTEXT, *SAME_DTYPE, *options, "-o", out, "--json").json()
        return out, report

    def test_losses(self):
        """Each lowers the KL that validates it, is another run, and says so."""
        start, kl = self.quantize("int2g16-z", tokens=8192), {}
        for name, options in {"kl": [], "ce": ["--loss", "ce"], "both": ["--loss", "kl+ce", "--ce-weight", 0.2],
                              "js": ["--loss", "js"], "warm": ["--loss-temperature", 2]}.items():
            out, report = self.tune(start, name, *options)
            kl[name] = report["kl"]
            self.assertLess(report["kl"], report["kl_before"], name)
            recipe = json.loads((out / "bitsmith.json").read_text())["tune"]
            self.assertEqual(recipe["options"].get("loss"), {"ce": "ce", "both": "kl+ce", "js": "js"}.get(name))
            training = "training_kl" if name in ("kl", "warm") else "training_loss"
            self.assertIn(training, recipe["validations"][-1])
        self.assertEqual(len(set(kl.values())), len(kl), kl)
        self.fail_cleanly("tune", start, "--teacher", TRAINED, "--tokens", 4096, "--data", CALIBRATION, "--loss", "mse",
                          "-o", self.folder / "out", codes=(2,), says=["kl, ce, kl+ce or js"])
        print({k: round(v, 5) for k, v in kl.items()})

    def test_optimizers(self):
        """Other steps and other states are other results that are better than the start; where state lies, and activations
        that are computed again, change nothing."""
        start, kl, weights = self.quantize("int2g16-z", tokens=8192), {}, {}
        for name, options in {"plain": [], "lamb": ["--optimizer", "lamb", "--weight-decay", 0.01],
                              "again": ["--recompute-activations"],
                              "8bit": ["--optimizer-state", "8bit"], "offloaded": ["--offload-optimizer"],
                              "offloaded8": ["--offload-optimizer", "--optimizer-state", "8bit"]}.items():
            out, report = self.tune(start, name, *options)
            self.assertLess(report["kl"], report["kl_before"], name)
            kl[name], weights[name] = report["kl"], (out / "model.safetensors").read_bytes()
            recorded = json.loads((out / "bitsmith.json").read_text())["tune"]["options"]
            self.assertFalse({"offload_optimizer", "recompute_activations"} & recorded.keys())
        self.assertEqual(weights["again"], weights["plain"])
        self.assertEqual(weights["offloaded"], weights["plain"])
        self.assertEqual(weights["offloaded8"], weights["8bit"])
        self.assertEqual(len(set(kl.values())), 3, kl)
        print({k: round(v, 5) for k, v in kl.items()})

    def test_schedules(self):
        start, kl = self.quantize("int2g16-z", tokens=8192), {}
        for name, options in {"linear": [], "constant": ["--schedule", "constant"], "cosine": ["--schedule", "cosine"],
                              "warm": ["--warmup-steps", 4], "clipped": ["--max-gradient-norm", 1e-3]}.items():
            _, report = self.tune(start, name, *options)
            self.assertLess(report["kl"], report["kl_before"], name)
            kl[name] = report["kl"]
            steps = [json.loads(line) for line in (self.folder / f"{name}.tune.jsonl").read_text().splitlines()]
            self.assertEqual(any("gradient_norm" in step for step in steps), name == "clipped")
        self.assertEqual(len(set(kl.values())), len(kl), kl)

    def test_passes(self):
        """Each changes codes by what held-out text says, is another run, and refuses what it cannot judge."""
        start, kl = self.quantize("int2g16-z", tokens=8192), {}
        for name, options in {"continuous": [], "second-pass": ["--pass-tokens", 4096],
                              "solve": ["--pass-tokens", 4096, "--passes", 2, "--pass-solve"],
                              "second-order": ["--pass-tokens", 4096, "--longest-step", 0.5]}.items():
            strategy = "second-pass" if name == "solve" else name
            _, report = self.tune(start, name, "--strategy", strategy, *options)
            self.assertLess(report["kl"], report["kl_before"], name)
            kl[name] = report["kl"]
            lines = [json.loads(line) for line in (self.folder / f"{name}.tune.jsonl").read_text().splitlines()]
            passes = [line for line in lines if "pass" in line]
            self.assertEqual({line["pass"] for line in passes}, {"continuous": set(), "solve": {1, 2}}.get(name, {1}))
            if strategy == "second-pass":
                for pass_number in {line["pass"] for line in passes}:
                    curve = [line["held_out_kl"] for line in passes if line["pass"] == pass_number]
                    self.assertEqual(curve, sorted(curve, reverse=True))
                self.assertGreater(report["codes_changed"], 0)
        self.assertGreater(len(set(kl.values())), 2, kl)
        print({k: round(v, 5) for k, v in kl.items()})
        few = self.folder / "few.txt"
        few.write_text("A few words. " * 40)
        self.fail_cleanly("tune", start, "--teacher", TRAINED, "--tokens", 4096, "--data", few, "--context", 32,
                          "--strategy", "second-pass", "-o", self.folder / "out", codes=(2,), says=["held-out"])

    def test_choices_are_named(self):
        start = self.quantize("int8g64", "--method", "rtn")
        for option, value, says in [("optimizer", "sgd", "adam or lamb"), ("schedule", "step", "constant, linear or cosine"),
                                    ("optimizer-state", "4bit", "auto, float32, bfloat16 or 8bit"),
                                    ("warmup-steps", -1, "warmup-steps"), ("weight-decay", -1, "weight-decay"),
                                    ("max-gradient-norm", -1, "max-gradient-norm"), ("loss-temperature", 0, "loss-temperature"),
                                    ("teacher-top-k", -1, "teacher-top-k")]:
            self.fail_cleanly("tune", start, "--teacher", TRAINED, "--tokens", 4096, "--data", CALIBRATION, f"--{option}",
                              value, "-o", self.folder / "out", codes=(2,), says=[says])

    def test_teacher_cache(self):
        """Of enough tokens nearly as good as the teacher; whole or not, the same bytes; of another model, refused."""
        start, cache = self.quantize("int2g16-z", tokens=8192), self.folder / "cache"
        kl = {"teacher": self.tune(start, "plain")[1]["kl"]}
        for top_k in [8, 64]:
            kl[top_k] = self.tune(start, f"top{top_k}", "--teacher-cache", self.folder / f"cache{top_k}",
                                  "--teacher-top-k", top_k)[1]["kl"]
        self.assertLess(abs(kl[64] / kl["teacher"] - 1), 0.1, kl)
        print({k: round(v, 5) for k, v in kl.items()})
        first, report = self.tune(start, "first", "--teacher-cache", cache)  # 64 tokens
        self.assertEqual(report["kl"], kl[64])
        next(cache.glob("windows-*.safetensors")).unlink()  # as if a run that makes it was killed
        second, _ = self.tune(start, "second", "--teacher-cache", cache)
        self.assertEqual(tree(second), tree(first))
        recipe = (second / "bitsmith.json").read_text()
        self.assertEqual(json.loads(recipe)["tune"]["options"]["teacher_top_k"], 64)
        self.assertNotIn(str(cache), recipe)

        def refused(says, *options, code=1):
            self.fail_cleanly("tune", start, "--teacher", TRAINED, "--tokens", 65536, "--data", CALIBRATION, "--context",
                              CONTEXT, *options, "-o", self.folder / "out", codes=(code,), says=[says])

        refused("temperature", "--teacher-cache", cache, "--loss-temperature", 2)
        refused("top_k", "--teacher-cache", cache, "--teacher-top-k", 32)
        refused("no teacher cache", "--teacher-cache", start)
        refused("--teacher-cache DIR", "--teacher-top-k", 8, code=2)
        refused("--loss ce", "--teacher-cache", cache, "--loss", "ce", code=2)

    def test_what_is_trained(self):
        """What is switched off keeps its bytes."""
        model = TESTDATA / "tiny_qwen3"  # its head is a matrix of its own
        start = self.quantize("int2g16", "--embedding", "int2g16", model=model, tokens=8192)
        before = raw_safetensors(start / "model.safetensors")

        def changed(*options):
            out = self.folder / "out"
            self.succeed("tune", start, "--teacher", model, "--tokens", 16384, "--data", CALIBRATION, "--context", CONTEXT,
                         *options, "-o", out, "--force")
            after = raw_safetensors(out / "model.safetensors")
            names = {name for name in before if after[name][1] != before[name][1]}
            return {part for part in ("embed_tokens", "lm_head", "norm.weight", "_proj") if any(part in n for n in names)}

        self.assertEqual(changed(), {"norm.weight", "_proj"})
        self.assertEqual(changed("--no-norms"), {"_proj"})
        self.assertEqual(changed("--head", "--no-norms"), {"lm_head", "_proj"})
        self.assertEqual(changed("--embedding", "--no-norms"), {"embed_tokens", "lm_head", "_proj"})
        tied = self.quantize("int8g64", "--embedding", "int4g16", out=self.folder / "tied", tokens=8192)
        self.fail_cleanly("tune", tied, "--teacher", TRAINED, "--tokens", 4096, "--data", CALIBRATION, "--head",
                          "-o", self.folder / "refused", codes=(2,), says=["--embedding"])

    def test_a_damaged_recipe_is_refused_before_work(self):
        start = self.quantize("int8g64", "--method", "rtn")
        for text in ["garbage", '{"a":' + "[" * 2000000 + "]" * 2000000 + "}", "[]"]:
            (start / "bitsmith.json").write_text(text)
            self.fail_cleanly("tune", start, "--teacher", TRAINED, "--tokens", 65536, "--data", CALIBRATION,
                              "--context", CONTEXT, "-o", self.folder / "out", codes=(1,), says=["bitsmith.json"])

    def test_a_tuned_model_is_tuned_again(self):
        start = self.quantize("int2g16-z", tokens=8192)
        once, _ = self.tune(start, "once")
        twice, _ = self.tune(once, "twice", "--strategy", "continuous")
        before, after = [json.loads((out / "bitsmith.json").read_text()) for out in [once, twice]]
        self.assertNotIn("earlier_tunes", before)
        self.assertEqual(after["earlier_tunes"], [before["tune"]])
        self.assertEqual(after["tune"]["options"]["strategy"], "continuous")

    def test_an_embedding_learns(self):
        start = self.quantize("int8g64", "--embedding", "int2g16", tokens=8192)
        tune = ["tune", "--teacher", TRAINED, "--tokens", 65536, "--data", CALIBRATION, "--parse-special", "--context",
                CONTEXT, "--quiet"]
        kl = {"start": self.evaluate(start, "torch", "--teacher", TRAINED)["kl"]}
        for name, more in {"without": [], "with": ["--embedding"]}.items():
            out = self.folder / name
            self.succeed(*tune, start, *more, "-o", out)
            kl[name] = self.evaluate(out, "torch", "--teacher", TRAINED)["kl"]
            stored = [json.loads((folder / "config.json").read_text())["quantization_config"] for folder in [out, start]]
            self.assertEqual(stored[0], stored[1])
            runtime, torch = self.evaluate(out, "runtime"), self.evaluate(out)
            self.assertLess(abs(runtime["perplexity"] / torch["perplexity"] - 1), 0.003)
        print({k: round(v, 5) for k, v in kl.items()})
        self.assertLess(kl["with"], 0.9 * kl["start"], kl)
        self.assertLess(kl["with"], kl["without"], kl)
        dense = self.quantize("int2g16", "--method", "rtn", out=self.folder / "dense")
        self.fail_cleanly(*tune, dense, "--embedding", "-o", self.folder / "none", codes=(2,), says=["nothing to train"])


if __name__ == "__main__":
    main()
