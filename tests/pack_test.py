#!/usr/bin/env python3
"""`bitsmith pack` from outside: packed models in the place of the models that they are made from."""
import json
import os
import signal
import struct
import subprocess
import time

from support import ENGINES, HAS_COMPRESSOR, HELDOUT, PROGRAM, TESTDATA, TRAINED, ProgramTest, main, tree

PROMPT = ["-p", "Anna has 3 apples.", "--max-tokens", 16, "--json"]


def level(name):
    return os.environ | {"BITSMITH_ISA": name}


class Pack(ProgramTest):
    def pack(self, model=TRAINED, **options):
        out = self.folder / "m.packed"
        self.succeed("pack", model, "-o", out, "--force", "--quiet", **options)
        return out

    def test_answers_are_the_models_own(self):
        models = [TRAINED]
        if HAS_COMPRESSOR:
            models.append(self.quantize("had-in:int4g16+out1%+lr4", "--embedding", 8))
        for model in models:
            own = self.succeed("run", model, *PROMPT).json()
            packed = self.succeed("run", self.pack(model), *PROMPT).json()
            for key in ("text", "tokens", "prompt_tokens", "finish_reason"):
                self.assertEqual(packed[key], own[key])

    def test_the_result(self):
        out = self.folder / "new" / "m.packed"
        facts = self.succeed("pack", TRAINED, "-o", out, "--json").json()
        self.assertEqual(facts["file_bytes"], out.stat().st_size)
        self.assertEqual(facts["model_bytes"], (TRAINED / "model.safetensors").stat().st_size)
        self.assertEqual([f.name for f in out.parent.iterdir()], ["m.packed"])
        first = out.read_bytes()
        self.succeed("pack", TRAINED, "-o", out, "--force")
        self.assertEqual(out.read_bytes(), first)

    def test_every_command_takes_it(self):
        out = self.pack()
        text = "Anna has 3 apples.<|im_end|>"
        self.assertEqual(self.succeed("tokenize", out, "--text", text).out,
                         self.succeed("tokenize", TRAINED, "--text", text).out)
        packed, own = (self.succeed("inspect", model, "--json").json() for model in (out, TRAINED))
        self.assertEqual(packed["format"], "packed")
        self.assertIn(packed["packed"]["isa"], self.succeed("--version").out)
        for key in ("model_type", "layers", "hidden_size", "vocab_size", "context", "tokenizer"):
            self.assertEqual(packed[key], own[key])
        self.assertIn("model.embed_tokens", self.succeed("inspect", out, "--tensors").out)
        speed = self.succeed("bench", out, "--prompt-tokens", 8, "--generate-tokens", 8, "--repeats", 1, "--json").json()
        self.assertGreater(speed["tokens_per_second"], 0)
        packed, own = (self.evaluate(model, "runtime") for model in (out, TRAINED))
        self.assertAlmostEqual(packed["perplexity"] / own["perplexity"], 1, delta=0.01)
        self.assertEqual(packed["file_bytes"], out.stat().st_size)
        logits = self.folder / "logits.safetensors"
        self.succeed("logits", out, "--ids", "5,6,7", "--engine", "runtime", "-o", logits)

    def test_gguf(self):
        gguf = TESTDATA / "tiny_llama_gguf" / "model.gguf"
        out = self.pack(gguf)
        self.assertEqual(self.succeed("tokenize", out, "--text", "a b").out,
                         self.succeed("tokenize", gguf, "--text", "a b").out)
        self.assertEqual(self.succeed("run", out, "--raw", *PROMPT).json()["text"],
                         self.succeed("run", gguf, "--raw", *PROMPT).json()["text"])

    def test_another_level_is_named_with_the_way_out(self):
        out = self.pack(env=level("scalar"))
        self.succeed("run", out, *PROMPT, env=level("scalar"))
        self.assertEqual(self.succeed("inspect", out, "--json").json()["packed"]["isa"], "scalar")
        if "(scalar kernels)" not in self.succeed("--version").out:
            self.fail_cleanly("run", out, *PROMPT, codes=(1,),
                              says=["scalar", "pack the model again", "BITSMITH_ISA=scalar"])

    def test_what_needs_a_checkpoint_says_so(self):
        out = self.pack()
        self.fail_cleanly("pack", out, "-o", self.folder / "again", codes=(1,), says=["packed from"])
        if "torch" in ENGINES:
            self.fail_cleanly("eval", out, "--text", HELDOUT, "--engine", "torch", codes=(1,), says=["--engine runtime"])

    def test_nothing_foreign_is_replaced(self):
        out = self.pack()
        self.fail_cleanly("pack", TRAINED, "-o", out, codes=(2,), says=["--force"])
        mine = self.folder / "mine.txt"
        mine.write_text("mine")
        for foreign in (mine, self.folder):
            self.fail_cleanly("pack", TRAINED, "-o", foreign, "--force", codes=(2,), says=["never replaced"])
        link = self.folder / "link"
        link.symlink_to(out)
        self.fail_cleanly("pack", TRAINED, "-o", link, "--force", codes=(2,), says=["never replaced"])
        self.fail_cleanly("pack", self.folder / "absent", "-o", self.folder / "x", codes=(1,), says=["no model"])
        self.fail_cleanly("pack", TRAINED, codes=(2,))

    def test_damage_is_named(self):
        out = self.pack()
        data = out.read_bytes()
        (size,) = struct.unpack_from("<Q", data)
        header = json.loads(data[8:8 + size])

        def damaged(change):
            """The file with a changed header of the same length."""
            changed = json.loads(json.dumps(header))
            change(changed)
            text = json.dumps(changed, separators=(",", ":")).encode()
            self.assertLessEqual(len(text), size)
            out.write_bytes(data[:8] + text.ljust(size) + data[8 + size:])

        def renamed(old, new):
            return lambda h: h.update({new: h.pop(old)})

        def other_version(h):
            about = json.loads(h["__metadata__"]["bitsmith_packed"])
            h["__metadata__"]["bitsmith_packed"] = json.dumps(about | {"version": 9}, separators=(",", ":"))

        array = next(name for name in header if name.endswith("dense1.bfloat16"))
        for change, says in [(other_version, "version 9"), (renamed(array, "x"), "pack the model again"),
                             (renamed("text/config.json", "text/y"), "config.json")]:
            damaged(change)
            self.fail_cleanly("run", out, *PROMPT, codes=(1,), says=[says, str(out)])
        for length in (0, 7, 100, size, len(data) - 1):
            out.write_bytes(data[:length])
            self.fail_cleanly("run", out, *PROMPT, codes=(1,), says=[str(out)])

    def test_a_kill_leaves_the_old_file(self):
        out = self.pack()
        before = out.read_bytes()
        for wait in (0.0, 0.02, 0.05, 0.1):
            process = subprocess.Popen([PROGRAM, "pack", TRAINED, "-o", out, "--force", "--quiet"])
            time.sleep(wait)
            process.send_signal(signal.SIGKILL)
            process.wait()
            self.assertEqual(out.read_bytes(), before)

    def test_an_interrupt_leaves_nothing(self):
        process = subprocess.Popen([PROGRAM, "pack", TRAINED, "-o", self.folder / "m.packed", "--quiet"],
                                   stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        code = process.wait()
        self.assertIn(set(tree(self.folder)), [set(), {"m.packed"}] if code == 0 else [set()])


if __name__ == "__main__":
    main()
