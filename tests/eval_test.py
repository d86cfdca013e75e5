#!/usr/bin/env python3
"""bitsmith eval of texts."""
import json
import random
import shutil

from support import HAS_COMPRESSOR, HELDOUT, TESTDATA, TRAINED, ProgramTest, chat_line, interrupted, main


class Texts(ProgramTest):
    """What eval reads, and what it refuses before any model is loaded."""

    def write(self, name, content):
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def evaluate(self, *texts, context=64, model=TRAINED, more=()):
        options = [word for text in texts for word in ("--text", text)]
        return self.succeed("eval", model, *options, "--context", context, "--engine", "runtime", "--json", *more).json()

    def test_texts_that_are_none(self):
        words = "Anna has 12 apples and buys 3 more.\n" * 50
        array = json.dumps([{"text": words}, {"text": words}])
        for name, content, says in [
                ("a.txt", words.encode("utf-16"), ["UTF-16"]), ("b.txt", words.encode("utf-16-be"), ["UTF-16"]),
                ("c.txt", TRAINED.joinpath("model.safetensors").read_bytes(), ["binary"]),
                ("d.txt", ("na\xefve caf\xe9\n" * 90).encode("latin-1"), ["UTF-8", "180 bytes", "line 1"]),
                ("e.json", array, [".jsonl"]), ("f.txt", array, [".jsonl"]), ("g.txt", "", ["no text"]),
                ("h.jsonl", '{"text": "a"}\n[1]\n', ["line 2"]), ("i.jsonl", '{"prompt": "a"}\n', ["line 1", "messages"]),
                ("j.jsonl", '{"text": "a"}\n{"text": "\x1b[31m' + "x" * 1000000, ["line 2"])]:
            file = self.write(name, content)
            with self.subTest(name):
                result = self.fail_cleanly("eval", TRAINED, "--text", file, "--engine", "runtime", codes=(1,), says=[name, *says])
                self.assertLess(len(result.err), 700)
                self.assertNotIn("\x1b", result.err)
                if HAS_COMPRESSOR:
                    self.fail_cleanly("quantize", TRAINED, "--representation", "int4g64", "--data", file, "-o",
                                      self.folder / "out", codes=(1,), says=[name, *says])

    def test_byte_order_mark_and_bad_bytes(self):
        text = HELDOUT.read_bytes()[:20000]
        plain = self.evaluate(self.write("plain.txt", text))
        self.assertEqual(self.evaluate(self.write("marked.txt", b"\xef\xbb\xbf" + text))["perplexity"], plain["perplexity"])
        result = self.succeed("eval", TRAINED, "--text", self.write("cut.txt", text + b"\n\xe2\x82"), "--engine", "runtime")
        self.assertIn("2 bytes are not UTF-8", result.err)

    def test_chats_are_rendered(self):
        turns = [("user", "What is 3 plus 4?"), ("assistant", "It is 7.")]
        chats = self.write("chats.jsonl", chat_line(*turns) * 30)
        rendered = "".join(f"<|im_start|>{role}\n{content}<|im_end|>\n" for role, content in turns) + "<|endoftext|>"
        spelled = self.write("spelled.txt", rendered * 30)
        report = self.evaluate(chats)
        self.assertEqual((report["chats"], report["parse_special"]), (30, False))
        parsed = self.evaluate(spelled, more=["--parse-special"])
        self.assertTrue(parsed["parse_special"])
        self.assertEqual(report["perplexity"], parsed["perplexity"])
        self.assertNotEqual(self.evaluate(spelled)["perplexity"], parsed["perplexity"])
        text = self.succeed("eval", TRAINED, "--text", chats, "--context", 64, "--engine", "runtime").out
        self.assertIn("template: 30", text)

    def test_chats_need_a_template(self):
        model = self.folder / "model"
        shutil.copytree(TRAINED, model)
        config = json.loads((model / "tokenizer_config.json").read_text())
        del config["chat_template"]
        (model / "tokenizer_config.json").write_text(json.dumps(config))
        chats = self.write("chats.jsonl", '{"text": "a"}\n' + chat_line(("user", "b")))
        self.fail_cleanly("eval", model, "--text", chats, "--engine", "runtime", codes=(1,),
                          says=["chats.jsonl, line 2", "no chat template"])

    def test_bos(self):
        """BOS takes the place of each window's first token; the tokenizer says whether by default."""
        plain = self.evaluate(HELDOUT, more=["--no-bos"])
        with_bos = self.evaluate(HELDOUT, more=["--bos"])
        self.assertEqual((plain["bos"], with_bos["bos"]), (False, True))
        self.assertEqual((plain["tokens"], plain["windows"]), (with_bos["tokens"], with_bos["windows"]))
        self.assertNotEqual(plain["perplexity"], with_bos["perplexity"])
        self.assertEqual(self.evaluate(HELDOUT)["perplexity"], plain["perplexity"])

        model = self.folder / "model"
        shutil.copytree(TRAINED, model)
        tokenizer = json.loads((model / "tokenizer.json").read_text())
        ids = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
        bos = "<|endoftext|>"
        tokenizer["post_processor"] = {
            "type": "TemplateProcessing", "pair": [],
            "single": [{"SpecialToken": {"id": bos, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "special_tokens": {bos: {"id": bos, "ids": [ids[bos]], "tokens": [bos]}}}
        (model / "tokenizer.json").write_text(json.dumps(tokenizer))
        by_default = self.evaluate(HELDOUT, model=model)
        self.assertEqual((by_default["bos"], by_default["perplexity"]), (True, with_bos["perplexity"]))
        without = self.evaluate(HELDOUT, model=model, more=["--no-bos"])
        self.assertEqual(without["perplexity"], plain["perplexity"])
        self.assertRegex("".join(without["warnings"]), "heldout.txt: windows begin without BOS")
        self.assertNotIn("warnings", by_default)
        self.assertIn("beginning with BOS", self.succeed("eval", model, "--text", HELDOUT, "--engine", "runtime").out)

        config = json.loads((model / "tokenizer_config.json").read_text())
        del config["bos_token"]
        (model / "tokenizer_config.json").write_text(json.dumps(config))
        self.fail_cleanly("eval", model, "--text", HELDOUT, "--bos", "--engine", "runtime", codes=(2,), says=["BOS"])

    def test_warnings(self):
        """One line each on stderr, and in the JSON; in all that is judged."""
        self.assertNotIn("warnings", self.evaluate(HELDOUT, more=["--teacher", TRAINED]))
        text = HELDOUT.read_text()
        spelled = self.write("spelled.txt", text + "<|im_start|>user<|im_end|>")
        rng = random.Random(1)
        noise = self.write("noise.txt", "".join(chr(rng.randrange(0x4e00, 0x9fff)) for _ in range(300)))
        result = self.succeed("eval", TRAINED, "--teacher", TRAINED, "--text", HELDOUT, "--text", spelled, "--text", noise,
                              "--context", 64, "--engine", "runtime", "--json")
        report = result.json()
        self.assertEqual(len(report["warnings"]), 2, report["warnings"])
        self.assertRegex(report["warnings"][0], "^spelled.txt: 2 special tokens are spelled .* the first <.im_start.>")
        self.assertRegex(report["warnings"][1], "^noise.txt: the original model itself finds this text absurd")
        self.assertEqual(len([line for line in result.err.splitlines() if "special tokens are spelled" in line]), 1)
        self.assertGreater(report["results"][2]["teacher_perplexity"], 384 / 4)
        self.assertNotIn("warnings", self.evaluate(spelled, more=["--parse-special"]))

    def test_generations(self):
        """Greedy continuations by the model and its original."""
        more = ["--teacher", TRAINED, "--windows", 2, "--generations"]
        same = self.evaluate(HELDOUT, more=[*more, 3])["generations"]
        self.assertEqual({key: same[key] for key in ["engine", "prompts", "tokens", "agreeing_tokens", "agreeing_tokens_median", "agreement"]},
                         {"engine": "runtime", "prompts": 3, "tokens": 64, "agreeing_tokens": 64, "agreeing_tokens_median": 64, "agreement": 1})
        self.assertEqual(same["repetition"], same["repetition_original"])
        self.assertEqual(len(same["examples"]), 2)
        for example in same["examples"]:
            self.assertEqual(example["original"], example["model"])
            self.assertIn(example["prompt"].strip(), HELDOUT.read_text())
        other = self.evaluate(HELDOUT, model=TESTDATA / "tiny_llama", more=more)["generations"]
        self.assertEqual(other["prompts"], 32)
        self.assertLess(other["agreement"], 0.5)
        self.assertLess(other["agreeing_tokens"], 32)
        self.assertEqual(other, self.evaluate(HELDOUT, model=TESTDATA / "tiny_llama", more=[*more, 32, "--threads", 2])["generations"])
        text = self.succeed("eval", TRAINED, "--text", HELDOUT, "--context", 64, "--engine", "runtime", *more, 2).out
        self.assertIn("greedy continuations, 64 tokens after prompts of 64, in the runtime", text)
        refuse = lambda *arguments, says: self.fail_cleanly("eval", *arguments, "--text", HELDOUT, "--engine", "runtime", "--generations",  # noqa: E731
                                                            codes=(2,), says=says)
        refuse(TRAINED, says=["--teacher ORIGINAL"])
        self.fail_cleanly("eval", TRAINED, "--text", HELDOUT, "--engine", "runtime", *more, 100000, codes=(2,), says=["too few for 100000 prompts"])
        dynamic = TESTDATA / "tiny_llama_dynamic"
        self.fail_cleanly("eval", dynamic, "--teacher", dynamic, "--text", HELDOUT, "--engine", "runtime", "--generations", 2, codes=(2,),
                          says=["context of 128 tokens"])

    def test_an_interrupt_is_seen_between_windows(self):
        text = self.write("long.txt", HELDOUT.read_bytes() * 40)
        self.assertIn("the same command", interrupted("eval", TRAINED, "--text", text, "--context", 64, "--engine",
                                                      "runtime"))


if __name__ == "__main__":
    main()
