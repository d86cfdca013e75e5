#!/usr/bin/env python3
"""The whole path on the tiny trained model: quantize, eval in both engines, run, compress."""
import json
import shutil

from support import (CALIBRATION, CONTEXT, REPRESENTATIONS, TESTDATA, TRAINED, WINDOWS, ProgramTest, main,
                     read_safetensors, relative_error, tree)


class EndToEnd(ProgramTest):
    def check_quantized(self, representation):
        """Quantizes; judges in both engines. Returns (perplexity, KL)."""
        out = self.quantize(representation)
        for file in ["config.json", "bitsmith.json", "README.md", "tokenizer.json"]:
            self.assertTrue((out / file).is_file(), file)
        self.assertFalse(out.with_name(out.name + ".partial").exists())
        torch = self.evaluate(out, "torch", "--teacher", TRAINED)
        runtime = self.evaluate(out, "runtime")
        self.assertEqual(torch["windows"], WINDOWS)
        self.assertEqual(torch["tokens"], WINDOWS * (CONTEXT - 1))
        self.assertLess(abs(runtime["perplexity"] / torch["perplexity"] - 1), 0.003)
        self.assertGreaterEqual(torch["kl"], 0)
        self.assertGreaterEqual(torch["kl_p99"], torch["kl"])
        self.assertNotIn(str(self.folder), "".join(p.read_text() for p in out.glob("*.json")), "absolute path in OUT")
        report = self.succeed("inspect", out, "--json").json()
        self.assertGreater(report["bits"], 0)
        return torch["perplexity"], torch["kl"]

    def test_original_in_both_engines(self):
        torch, runtime = self.evaluate(TRAINED), self.evaluate(TRAINED, "runtime")
        self.assertLess(abs(runtime["perplexity"] / torch["perplexity"] - 1), 0.001)
        self.assertLess(torch["perplexity"], 3)  # it has learned the grammar
        self.assertLess(self.evaluate(TRAINED, "torch", "--teacher", TRAINED)["kl"], 1e-5)

    def test_more_bits_are_better(self):
        kl = {b: self.check_quantized(f"int{b}g64")[1] for b in (8, 4, 2)}
        self.assertLess(kl[8], 0.1 * kl[4])
        self.assertLess(kl[4], kl[2])

    def test_gptq_beats_rtn(self):
        kl = {}
        for method in ["rtn", "gptq"]:
            out = self.quantize("int3g64", "--method", method, out=self.folder / method, tokens=16384)
            kl[method] = self.evaluate(out, "torch", "--teacher", TRAINED)["kl"]
        self.assertLess(kl["gptq"], kl["rtn"])

    def test_rtn_needs_no_text(self):
        with_text = self.quantize("int4g64", "--method", "rtn")
        out = self.folder / "without"
        self.succeed("quantize", TRAINED, "--representation", "int4g64", "--method", "rtn", "-o", out)
        weights = "model.safetensors"
        self.assertEqual((out / weights).read_bytes(), (with_text / weights).read_bytes())
        self.assertEqual(json.loads((out / "bitsmith.json").read_text())["data"], "none")

    def test_same_work_same_bytes(self):
        first = tree(self.quantize("aq1x8g8", "--seed", 3, out=self.folder / "a"))
        self.assertEqual(tree(self.quantize("aq1x8g8", "--seed", 3, out=self.folder / "b")), first)

    def test_logits_of_the_engines_agree(self):
        out = self.quantize("aq1x8g8")
        logits = {}
        for engine in ["torch", "runtime"]:
            file = self.folder / f"{engine}.safetensors"
            self.succeed("logits", out, "--ids", "1,50,60,70,80,90,100", "--engine", engine, "-o", file)
            logits[engine] = read_safetensors(file)["logits"][1]
        self.assertLess(relative_error(logits["runtime"], logits["torch"]), 0.02)

    def test_greedy_text_does_not_depend_on_threads(self):
        for model in [TRAINED, self.quantize("int4g32")]:
            texts = {self.succeed("run", model, "-p", "What is 3 plus 4?", "--temperature", "0",
                                  "--threads", threads, "--quiet").out for threads in (1, 2, 3)}
            self.assertEqual(len(texts), 1, texts)
        self.assertIn("7", self.succeed("run", TRAINED, "-p", "What is 3 plus 4?", "--temperature", "0").out)

    def test_block_finetuning_brings_blocks_closer(self):
        out = self.quantize("gvq2d2b-n1024", "--finetune-epochs", 4, tokens=8192)
        blocks = json.loads((out / "bitsmith.json").read_text())["block_finetune"]
        self.assertEqual(len(blocks), json.loads((out / "config.json").read_text())["num_hidden_layers"])
        for block in blocks:
            self.assertLess(block["error_after"], block["error_before"])
        self.evaluate(out, "runtime")

    def test_targets_of_the_original_model(self):
        """One change of target or order each: other results, and none that breaks the model."""
        kl = {}
        for name, options in {"plain": ["--cross-term", 0], "half": [], "whole": ["--cross-term", 1],
                              "order": ["--cross-term", 0, "--true-sequential"]}.items():
            out = self.quantize("aq1x8g8", *options, out=self.folder / name, tokens=8192)
            kl[name] = self.evaluate(out, "torch", "--teacher", TRAINED)["kl"]
        self.assertEqual(len(set(kl.values())), 4, kl)
        self.assertLess(max(kl.values()), 2 * kl["plain"], kl)
        print({k: round(v, 4) for k, v in kl.items()})

    def test_objectives_of_the_end_loss(self):
        """Each is another result, said in the recipe, and none breaks the model."""
        kl, options = {}, {}
        for name, more in {"layer": [], "guided": ["--objective", "guided"],
                           "rows": ["--objective", "guided", "--row-weights", "guided"],
                           "relative": ["--row-weights", "relative"], "estimated": ["--estimate-cross-term"],
                           "shrunk": ["--shrink-hessian"]}.items():
            out = self.quantize("aq1x8g8", *more, out=self.folder / name, tokens=8192)
            kl[name] = self.evaluate(out, "torch", "--teacher", TRAINED)["kl"]
            recipe = json.loads((out / "bitsmith.json").read_text())
            options[name] = {k: recipe["options"].get(k) for k in
                             ["objective", "row_weights", "estimate_cross_term", "shrink_hessian"]}
            self.assertEqual(all("cross_term" in layer for layer in recipe["layers"]), name == "estimated")
            self.assertEqual(all("shrinkage" in layer for layer in recipe["layers"]), name == "shrunk")
        self.assertEqual(set(options["layer"].values()), {None})
        self.assertEqual(options["rows"], {"objective": "guided", "row_weights": "guided",
                                           "estimate_cross_term": None, "shrink_hessian": None})
        self.assertEqual(len(set(kl.values())), len(kl), kl)
        self.assertLess(max(kl.values()), 2 * kl["layer"], kl)
        print({k: round(v, 4) for k, v in kl.items()})

    def test_output_factors_are_judged_by_held_out_gradients(self):
        plain = self.quantize("int2g32", "--objective", "guided", out=self.folder / "guided", tokens=16384)
        out = self.quantize("int2g32", "--objective", "kronecker", out=self.folder / "kronecker", tokens=16384)
        kl = {model.name: self.evaluate(model, "torch", "--teacher", TRAINED)["kl"] for model in [plain, out]}
        recipe = json.loads((out / "bitsmith.json").read_text())
        self.assertEqual(recipe["options"]["objective"], "kronecker")
        factors = [layer["output_factor"] for layer in recipe["layers"]]
        for factor in factors:
            self.assertEqual(factor["used"], "full" if factor["held_out_cost"] < 0.999 else "identity")
        self.assertTrue(any(factor["used"] == "full" for factor in factors), factors)
        self.assertLess(kl["kronecker"], 1.2 * kl["guided"], kl)
        print({k: round(v, 4) for k, v in kl.items()}, [round(factor["held_out_cost"], 3) for factor in factors])

    def test_calibration_and_heldout_text_are_judged(self):
        out = self.folder / "out"
        command = ["quantize", TRAINED, "--representation", "aq1x8g8", "--data", CALIBRATION, "--parse-special",
                   "--calibration-tokens", 4096, "--context", CONTEXT, "-o", out]
        report = self.succeed(*command, "--json").json()
        recipe = json.loads((out / "bitsmith.json").read_text())
        for key in ["kl_calibration", "kl_heldout"]:
            self.assertGreater(report[key], 0)
            self.assertEqual(recipe[key], report[key])
        self.assertRegex(self.succeed(*command, "--force").out, r"KL \d+\.\d{4} on calibration text, \d+\.\d{4} on held-out")

    def test_keep_override_and_embedding(self):
        out = self.quantize("int4g64", "--keep", r"layers\.0\.", "--override", "down_proj=int8g64", "--embedding", "8")
        plain = self.quantize("int4g64", out=self.folder / "plain")
        shapes = {name: self.succeed("inspect", model, "--tensors", "--json").out for name, model in
                  {"mixed": out, "plain": plain}.items()}
        self.assertIn("int8g64", shapes["mixed"])
        self.assertNotIn("int8g64", shapes["plain"])
        self.assertLess(self.evaluate(out, "torch", "--teacher", TRAINED)["kl"],
                        self.evaluate(plain, "torch", "--teacher", TRAINED)["kl"])

    def test_embedding_by_its_method(self):
        """Of a tied matrix alone: better than the nearest codes, and the same in both engines."""
        for representation in ["int3g32", "gvq2d2b-n1024", "aq1x6g4"]:
            kl = {}
            for method in [[], ["--method", "rtn"]]:
                out = self.quantize("int8g64", "--keep", "layers", "--embedding", representation, *method, "--force",
                                    tokens=16384)
                report = self.evaluate(out, "torch", "--teacher", TRAINED)
                kl["".join(method)] = report["kl"]
                self.assertLess(abs(self.evaluate(out, "runtime")["perplexity"] / report["perplexity"] - 1), 0.003)
                layers = json.loads((out / "bitsmith.json").read_text())["layers"]
                shown = self.succeed("inspect", out, "--json").json()["embedding_bits"]
                self.assertAlmostEqual(shown, layers[0]["bits"], places=6)
                self.assertEqual([(x["module"], x["representation"]) for x in layers],
                                 [("model.embed_tokens", representation + "+rows3")])
            print(representation, {k or "own": round(v, 5) for k, v in kl.items()})
            if not representation.startswith("aq"):  # its codebooks serve rows of very different weight
                self.assertLess(kl[""], kl["--methodrtn"], representation)

    def test_embedding_and_head_apart(self):
        for representation in ["int4g16", "gvq2d2b-n512", "aq1x4g8", "had-in:int4g16"]:
            out = self.quantize("int8g16", "--embedding", representation, "--force", model=TESTDATA / "tiny_qwen3")
            logits = {}
            for engine in ["torch", "runtime"]:
                file = self.folder / f"{engine}.safetensors"
                self.succeed("logits", out, "--ids", "1,50,60,70,80,90,100", "--engine", engine, "-o", file, "--force")
                logits[engine] = read_safetensors(file)["logits"][1]
            self.assertLess(relative_error(logits["runtime"], logits["torch"]), 0.02, representation)

    def test_output_replaced_only_by_force(self):
        out = self.quantize("int8g64", "--method", "rtn")
        before = tree(out)
        self.fail_cleanly("quantize", TRAINED, "--representation", "int4g64", "--method", "rtn", "-o", out, says=["--force"])
        self.assertEqual(tree(out), before)
        self.quantize("int4g64", "--method", "rtn", "--force", out=out)
        self.assertNotEqual(tree(out), before)

    def test_quantizing_the_quantized_is_refused(self):
        out = self.quantize("int8g64", "--method", "rtn")
        self.fail_cleanly("quantize", out, "--representation", "int4g64", "-o", self.folder / "twice")

    def test_quantized_model_moves(self):
        out = self.quantize("int8g64", "--method", "rtn")
        moved = self.folder / "elsewhere" / "model"
        moved.parent.mkdir()
        shutil.move(out, moved)
        self.evaluate(moved, "runtime")

    def test_compress(self):
        out = self.folder / "compressed"
        report = self.succeed("compress", TRAINED, "--minutes", "0.5", "-o", out, "--json").json()
        self.assertIn("perplexity", json.dumps(report))
        self.assertGreater(report["kl_heldout"], 0)
        self.assertIn("|", (out / "README.md").read_text())
        table = (out / "README.md").read_text()
        self.assertRegex(table, r"quantizing: KL \S+ on calibration text")
        recipe = json.loads((out / "bitsmith.json").read_text())
        self.assertEqual(recipe["command_line"], "bitsmith compress MODEL --minutes 0.5 -o OUT")
        rows = ["compressed"] + ["one_shot"] * ("one_shot" in report)  # a slow machine had no time to tune
        for row in rows:
            for key in ["perplexity", "kl", "top1", "file_bytes"]:
                self.assertEqual(recipe["judged"][row][key], report[row][key], f"{row} {key}")
            self.assertIn(f"{report[row]['kl']:.4f}", table)
        self.assertEqual("one-shot, before tuning" in table, "one_shot" in report)
        self.assertEqual("tune" in recipe, "one_shot" in report)
        self.evaluate(out, "runtime")


def add_tests():
    for representation in REPRESENTATIONS:
        def test(self, representation=representation):
            self.check_quantized(representation)
        setattr(EndToEnd, f"test_quantize_{representation.replace('-', '_')}", test)


add_tests()


if __name__ == "__main__":
    main()
