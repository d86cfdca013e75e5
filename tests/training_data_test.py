#!/usr/bin/env python3
"""What the commands of the compressor learn from."""
import json
import random
import shutil
import unittest

from support import (CALIBRATION, CONTEXT, HAS_COMPRESSOR, TESTDATA, TRAINED, ProgramTest, chat_line, interrupted,
                     main, tree)


@unittest.skipUnless(HAS_COMPRESSOR, "the runtime alone does not quantize")
class TrainingData(ProgramTest):
    """What quantize, tune, compress and hessian learn from."""

    def run_quantize(self, *more, data=CALIBRATION, model=TRAINED):
        out = self.folder / "out"
        result = self.succeed("quantize", model, "--representation", "int4g0", *(["--data", data] if data else []),
                              "-o", out, "--force", *more)
        recipe = json.loads((out / "bitsmith.json").read_text())
        return result, recipe["data"] | recipe["calibration"]

    def test_windows_are_no_longer_than_the_model_was_made_for(self):
        self.assertEqual(self.run_quantize("--calibration-tokens", 2048)[1]["context"], CONTEXT)
        self.assertEqual(self.run_quantize("--calibration-tokens", 2048, "--context", 64)[1]["context"], 64)
        long = ["--data", CALIBRATION, "--context", CONTEXT + 1, "-o", self.folder / "none"]
        for command in [["quantize", TRAINED, "--representation", "int4g64"], ["compress", TRAINED],
                        ["tune", self.folder / "out", "--teacher", TRAINED, "--tokens", 1000],
                        ["hessian", TRAINED, "--module", "q_proj"]]:
            self.fail_cleanly(*command, *long, codes=(2,), says=[f"--context {CONTEXT + 1}", f"{CONTEXT} tokens"])
        report = self.succeed("tune", self.folder / "out", "--teacher", TRAINED, "--tokens", 4096, "--data", CALIBRATION,
                              "--data-tokens", 16384, "-o", self.folder / "tuned", "--json").json()
        self.assertEqual(report["tokens"] % CONTEXT, 0)
        # A dynamic rope is made for more.
        self.run_quantize("--context", 2 * CONTEXT, "--calibration-tokens", 2048, model=TESTDATA / "tiny_llama_dynamic")

    def test_chats_and_special_tokens(self):
        chats = self.folder / "chats.jsonl"
        chats.write_text(chat_line(("user", "What is 3 plus 4?"), ("assistant", "It is 7.")) * 300)
        data = self.run_quantize("--context", 64, data=chats)[1]
        self.assertEqual((data["chats"], data["parse_special"]), (300, False))
        spelled = self.folder / "spelled.txt"
        spelled.write_text("One.<|im_end|>\n" * 1000)
        hashes = {}
        for more in [(), ("--parse-special",)]:
            data = self.run_quantize("--context", 64, "--calibration-tokens", 1024, *more, data=spelled)[1]
            self.assertEqual(data["parse_special"], bool(more))
            hashes[more] = data["sha256"]
        self.assertEqual(len(set(hashes.values())), 2)

    def test_documents_are_sampled(self):
        packed = self.run_quantize("--calibration-tokens", 2048)[1]
        sampled = self.run_quantize("--calibration-tokens", 2048, "--sample-documents")[1]
        self.assertNotIn("sample_documents", packed)
        self.assertTrue(sampled["sample_documents"])
        self.assertEqual(sampled["windows"], packed["windows"])
        self.assertNotEqual(sampled["sha256"], packed["sha256"])
        recipe = json.loads((self.folder / "out/bitsmith.json").read_text())
        self.assertIn("--sample-documents", recipe["command_line"])
        one = self.folder / "one.txt"
        one.write_text("Anna has 3 coins. Ben has 4 coins.\n" * 800)
        for data, says in [(["--data", one], "one document"), ([], "--sample-documents is for --data")]:
            self.fail_cleanly("tune", self.folder / "out", "--teacher", TRAINED, "--tokens", 4096, *data, "--sample-documents",
                              "-o", self.folder / "none", codes=(2,), says=[says])

    def test_a_share_goes_through_the_chat_template(self):
        plain = self.folder / "plain.txt"
        plain.write_text("Anna has 3 coins. Ben has 4 coins. They have 7 coins.\n" * 800)
        found = {}
        for share in (0, 0.5, 1):
            for data in (plain, None):  # the model's own text too
                more = ["--chat-share", share, "--context", 128, "--calibration-tokens", 128 * 16]
                found[share, data] = self.run_quantize(*more, data=data)[1]
        self.assertEqual(found[0, plain]["chats"], 0)
        self.assertNotIn("chat_share", found[0, plain])
        self.assertTrue(0 < found[0.5, plain]["chats"] < found[1, plain]["chats"])
        self.assertEqual(found[0.5, plain]["chat_share"], 0.5)
        self.assertEqual([found[share, None]["chats"] for share in (0, 0.5, 1)], [0, 8, 16])
        self.assertEqual(len({data["sha256"] for data in found.values()}), len(found))
        recipe = json.loads((self.folder / "out/bitsmith.json").read_text())
        self.assertIn("--chat-share 1", recipe["command_line"])
        silent = self.folder / "silent"
        shutil.copytree(TRAINED, silent)
        config = json.loads((silent / "tokenizer_config.json").read_text())
        del config["chat_template"]
        (silent / "tokenizer_config.json").write_text(json.dumps(config))
        for model, more, says in [(silent, [0.5], "no chat template"), (TRAINED, [0.5, "--context", 3], "a larger --context"),
                                  (TRAINED, [1.5], "--chat-share")]:
            self.fail_cleanly("quantize", model, "--representation", "int4g0", "-o", self.folder / "none", "--chat-share", *more,
                              codes=(2,), says=[says])

    def test_warnings(self):
        quiet = self.run_quantize("--calibration-tokens", 2048, "--parse-special")[0]
        self.assertNotIn("warning", quiet.err)
        result, data = self.run_quantize("--calibration-tokens", 2048)
        self.assertRegex(result.err, r"calibration\.jsonl: \d+ special tokens are spelled in plain text")
        self.assertEqual(len(data["warnings"]), 1, data["warnings"])
        few = self.run_quantize("--calibration-tokens", 128, "--context", 64)[0]
        self.assertIn("128 tokens, fewer than the 192 inputs", few.err)
        self.assertNotIn("absurd", few.err)
        rng = random.Random(1)
        noise = self.folder / "noise.txt"
        noise.write_text("".join(chr(rng.randrange(0x4e00, 0x9fff)) for _ in range(3000)))
        self.assertIn("absurd", self.run_quantize(data=noise)[0].err)
        own = self.run_quantize("--calibration-tokens", 2048, data=None, model=TESTDATA / "tiny_llama")[0]
        self.assertNotIn("absurd", own.err)  # a random model's own text

    def test_the_worst_rows_are_printed(self):
        out = self.run_quantize("--calibration-tokens", 2048)[0].out
        recipe = json.loads((self.folder / "out/bitsmith.json").read_text())
        errors = {layer["module"]: layer["relative_error"] for layer in recipe["layers"]}
        worst = sorted(errors, key=errors.get, reverse=True)
        for name in worst[:10]:
            self.assertIn(f"| {name} |", out)
        if len(worst) > 15:
            self.assertIn(f"{len(worst) - 15} more", out)
            self.assertIn("bitsmith.json", out)

    def test_self_generated_text_resumes(self):
        """Interrupted after a batch, it goes on there and gives the same text."""
        command = ["hessian", TRAINED, "--module", "layers.0.*q_proj", "--calibration-tokens", 160 * CONTEXT, "-o"]
        cache = self.folder / "cache"
        err = interrupted(*command, self.folder / "a", "--cache", cache,
                               after=lambda: list(cache.rglob("*.partial.safetensors")))
        self.assertRegex(err, r"stopped after \d+ of 160 windows.*the same command goes on from there")
        result = self.succeed(*command, self.folder / "a", "--cache", cache)
        self.assertRegex(result.err, r"(32|64|96|128) of 160 windows are there already")
        self.succeed(*command, self.folder / "b", "--cache", self.folder / "other")
        self.assertEqual(tree(self.folder / "a"), tree(self.folder / "b"))
        self.assertEqual(tree(cache), tree(self.folder / "other"))


if __name__ == "__main__":
    main()
