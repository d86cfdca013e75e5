#!/usr/bin/env python3
"""Every family of models through the whole program: inspect, quantize, tune, eval in both engines, run."""
import json

from support import CALIBRATION, HELDOUT, TESTDATA, ProgramTest, main, read_safetensors, relative_error

REFUSED = {"tiny_opt_350m": "word_embed_proj_dim"}  # and what the message says
CONTEXT = 48  # the shortest of them were made for 64
IDS = ",".join(str(3 + 7 * i % 300) for i in range(24))


class Families(ProgramTest):
    def evaluate(self, model, engine, *more):
        return self.succeed("eval", model, "--text", HELDOUT, "--context", CONTEXT, "--windows", 4,
                            "--engine", engine, "--json", *more).json()

    def logits(self, model, engine):
        file = self.folder / "logits.safetensors"
        self.succeed("logits", model, "--ids", IDS, "--engine", engine, "--force", "-o", file)
        return read_safetensors(file)["logits"][1]

    def through_the_program(self, model):
        self.assertGreater(self.succeed("inspect", model, "--json").json()["parameters"], 1000)
        fine = self.folder / "fine"
        self.succeed("quantize", model, "--representation", "int8g16", "--method", "rtn", "-o", fine, "--quiet")
        self.assertLess(relative_error(self.logits(fine, "torch"), self.logits(model, "torch")), 0.1)
        coarse, tuned = self.folder / "coarse", self.folder / "tuned"
        self.succeed("quantize", model, "--representation", "aq1x4g4", "--rounds", 2, "--data", CALIBRATION,
                     "--calibration-tokens", 2048, "--context", CONTEXT, "-o", coarse, "--quiet")
        self.succeed("tune", coarse, "--teacher", model, "--tokens", 8192, "--data", CALIBRATION, "--context", CONTEXT,
                     "-o", tuned, "--quiet")
        kl = {out: self.evaluate(out, "torch", "--teacher", model)["kl"] for out in (coarse, tuned)}
        self.assertLess(kl[tuned], kl[coarse])
        torch, runtime = self.evaluate(tuned, "torch"), self.evaluate(tuned, "runtime")
        self.assertLess(abs(runtime["perplexity"] / torch["perplexity"] - 1), 0.01)
        self.succeed("run", tuned, "-p", "one two", "--max-tokens", 8, "--temperature", 0, "--quiet")
        return coarse

    def from_gguf(self, model):
        """The same weights from both kinds of files give the same result."""
        results = []
        for path in [model, model / "model.gguf"]:
            out = self.folder / path.name
            self.succeed("quantize", path, "--representation", "int4g16", "--method", "rtn", "-o", out, "--quiet")
            results.append(self.logits(out, "torch"))
        self.assertLess(relative_error(*results), 0.1)

    def test_an_expert_that_gets_no_token(self):
        model = TESTDATA / "families" / "tiny_mixtral_unused"
        out = self.folder / "out"
        result = self.succeed("quantize", model, "--representation", "int4g16", "--data", CALIBRATION,
                              "--calibration-tokens", 2048, "--context", CONTEXT, "-o", out)
        self.assertIn("calibrated on all tokens", result.err)
        layers = json.loads((out / "bitsmith.json").read_text())["layers"]
        counts = [layer["expert_tokens"] for layer in layers if "expert_tokens" in layer]
        self.assertEqual(min(counts), 0)
        self.assertGreater(max(counts), 0)
        # The same where only the second matrix of the expert is quantized.
        result = self.succeed("quantize", model, "--representation", "int4g16", "--keep", r"w[13]$", "--data", CALIBRATION,
                              "--calibration-tokens", 2048, "--context", CONTEXT, "-o", self.folder / "down")
        self.assertIn("calibrated on all tokens", result.err)
        # A layer file of such an expert is usable too.
        result = self.succeed("hessian", model, "--module", "experts", "--data", CALIBRATION, "--context", CONTEXT,
                              "-o", self.folder / "layers")
        self.assertIn("calibrated on all tokens", result.err)
        files = list((self.folder / "layers").iterdir())
        self.assertTrue(files)
        for file in files:
            self.assertGreater(max(read_safetensors(file)["hessian"][1]), 0)

    def test_blocks_with_experts_are_fine_tuned(self):
        for cross_term in 0, 1:
            out = self.folder / f"out{cross_term}"
            self.succeed("quantize", TESTDATA / "families" / "tiny_mixtral", "--representation", "gvq2d2b-n1024",
                         "--data", CALIBRATION, "--calibration-tokens", 2048, "--context", CONTEXT,
                         "--finetune-epochs", 2, "--cross-term", cross_term, "-o", out)
            blocks = json.loads((out / "bitsmith.json").read_text())["block_finetune"]
            self.assertEqual(len(blocks), 2)
            for block in blocks:
                self.assertLess(block["error_after"], block["error_before"])


def add_tests():
    for model in sorted((TESTDATA / "families").iterdir()):
        def test(self, model=model):
            if model.name in REFUSED:
                self.fail_cleanly("inspect", model, says=[REFUSED[model.name]])
                return
            self.through_the_program(model)
        setattr(Families, f"test_{model.name}", test)
        if (model / "model.gguf").exists():
            def test_gguf(self, model=model):
                self.from_gguf(model)
            setattr(Families, f"test_{model.name}_gguf", test_gguf)


add_tests()
if __name__ == "__main__":
    main()
