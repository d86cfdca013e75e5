#!/usr/bin/env python3
"""Nobody's work is lost: work folders, requests and results of quantize, tune and compress, from outside."""
import json
import shutil
import signal
import struct
import subprocess
import time
from array import array
from pathlib import Path

from support import CALIBRATION, CONTEXT, PROGRAM, TESTDATA, TRAINED, ProgramTest, bitsmith, main, tree

DATA = ["--data", CALIBRATION, "--context", CONTEXT]


def write_safetensors(path, tensors):
    """name -> (shape, float32 values)."""
    header, data = {}, b""
    for name, (shape, values) in tensors.items():
        begin = len(data)
        data += array("f", values).tobytes()
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, len(data)]}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def llama_tensors(config, value=lambda i: ((i * 7919) % 1000 - 500) / 2500):
    """The tensors of a llama of this configuration, filled by a simple rule."""
    hidden, inner, vocabulary = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    width = config["head_dim"] * config["num_attention_heads"]
    narrow = config["head_dim"] * config["num_key_value_heads"]
    shapes = {"model.embed_tokens.weight": [vocabulary, hidden], "model.norm.weight": [hidden],
              "lm_head.weight": [vocabulary, hidden]}
    for i in range(config["num_hidden_layers"]):
        block = f"model.layers.{i}."
        shapes |= {block + "self_attn.q_proj.weight": [width, hidden], block + "self_attn.k_proj.weight": [narrow, hidden],
                   block + "self_attn.v_proj.weight": [narrow, hidden], block + "self_attn.o_proj.weight": [hidden, width],
                   block + "mlp.gate_proj.weight": [inner, hidden], block + "mlp.up_proj.weight": [inner, hidden],
                   block + "mlp.down_proj.weight": [hidden, inner], block + "input_layernorm.weight": [hidden],
                   block + "post_attention_layernorm.weight": [hidden]}
    tensors = {}
    for name, shape in shapes.items():
        count = shape[0] * (shape[1] if len(shape) > 1 else 1)
        tensors[name] = shape, [value(i + len(name)) if len(shape) > 1 else 1.0 for i in range(count)]
    return tensors


class Work(ProgramTest):
    def model(self, change_tensors=lambda tensors: None, **sizes):
        """A llama with the trained model's vocabulary and other sizes."""
        folder = self.folder / "model"
        folder.mkdir()
        config = json.loads((TRAINED / "config.json").read_text()) | {"tie_word_embeddings": False, "head_dim": 16} | sizes
        tensors = llama_tensors(config)
        change_tensors(tensors)
        write_safetensors(folder / "model.safetensors", tensors)
        (folder / "config.json").write_text(json.dumps(config))
        for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
            shutil.copy(TRAINED / name, folder / name)
        return folder

    def refused(self, *command, says):
        """Refused with exit code 2; nothing changed but the name of the process in a lock that was there."""
        def without_lock():
            return {k: v for k, v in tree(self.folder).items() if not k.endswith(".partial/lock")}
        before = without_lock()
        result = bitsmith(*command)
        self.assertEqual(result.code, 2, result)
        for text in says:
            self.assertIn(text, result.err)
        self.assertEqual(without_lock(), before)

    def names(self):
        return {p.name for p in self.folder.iterdir() if p.suffix != ".jsonl"}

    def rtn(self, representation, out, *more):
        return ["quantize", TRAINED, "--representation", representation, "--method", "rtn", "-o", out, *more]

    def test_a_trailing_slash_makes_no_difference(self):
        plain, slashed = self.folder / "plain", f"{self.folder}/slashed/"
        self.succeed(*self.rtn("int4g64", plain))
        self.succeed(*self.rtn("int4g64", slashed))
        self.assertEqual(tree(slashed), tree(plain))
        self.succeed(*self.rtn("int3g64", slashed, "--force"))
        self.succeed(*self.rtn("int3g64", plain, "--force"))
        self.assertEqual(tree(slashed), tree(plain))
        tune = ["tune", plain, "--teacher", TRAINED, "--tokens", 1024, "--batch-tokens", 512, "--data-tokens", 4096, *DATA]
        self.succeed(*tune, "-o", f"{self.folder}/tuned/")
        self.succeed(*tune, "-o", f"{self.folder}/tuned/", "--force")
        self.assertEqual(self.names(), {"plain", "slashed", "tuned"})

    def test_somebodys_folder_is_not_touched(self):
        self.succeed(*self.rtn("int4g64", self.folder / "base"))
        partial = self.folder / "out.partial"
        partial.mkdir()
        (partial / "thesis.txt").write_text("precious")
        out = self.folder / "out"
        for command in (self.rtn("int4g64", out), self.rtn("int4g64", out, "--force"),
                        ["tune", self.folder / "base", "--teacher", TRAINED, "--tokens", 1024, *DATA, "-o", out],
                        ["compress", TRAINED, *DATA, "-o", out]):
            self.fail_cleanly(*command, codes=[2], says=["out.partial", "not work of this program"])

    def interrupted_quantize(self, out):
        """Leaves finished blocks in OUT.partial."""
        partial = Path(f"{out}.partial")
        process = subprocess.Popen([PROGRAM, "quantize", TRAINED, "--representation", "aq1x8g8", "--calibration-tokens",
                                    "16384", *map(str, DATA), "-o", out], stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
        while process.poll() is None and not (partial / "block-00000.safetensors").exists():
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        err = process.communicate(timeout=120)[1].decode()
        self.assertEqual(process.returncode, 130, err)
        self.assertIn("the same command goes on", err)
        return partial

    def test_unfinished_work_is_only_its_own_commands(self):
        self.succeed(*self.rtn("int4g64", self.folder / "base"))
        out = self.folder / "out"
        self.interrupted_quantize(out)
        for command in (["quantize", TRAINED, "--representation", "aq1x8g8", "--calibration-tokens", 8192, *DATA, "-o", out],
                        self.rtn("int4g64", out, "--force"),
                        ["tune", self.folder / "base", "--teacher", TRAINED, "--tokens", 1024, *DATA, "-o", out],
                        ["compress", TRAINED, *DATA, "-o", out, "--force"]):
            self.refused(*command, says=["unfinished work of another command"])

    def test_two_runs_on_one_out(self):
        out = self.folder / "out"
        command = ["quantize", TRAINED, "--representation", "aq1x8g8", "--calibration-tokens", "16384", *map(str, DATA), "-o", out]
        first = subprocess.Popen([PROGRAM, *command], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        while first.poll() is None and not Path(f"{out}.partial/lock").exists():
            time.sleep(0.005)
        time.sleep(0.05)
        before = first.poll()
        second = subprocess.run([PROGRAM, *map(str, command)], capture_output=True, text=True)
        self.assertIsNone(before)
        self.assertEqual(second.returncode, 1, second.stderr)
        self.assertIn(f"process {first.pid}", second.stderr)
        self.assertEqual(first.wait(300), 0)
        self.assertTrue((out / "bitsmith.json").exists())

    def test_compress_is_what_was_asked_for(self):
        """Killed while it tunes or judges; another request must not publish what it finds."""
        out = self.folder / "out"
        command = ["compress", TRAINED, "--preset", "3bit", "--minutes", "1.2", "--calibration-tokens", "4096", *map(str, DATA), "-o", out]
        process = subprocess.Popen([PROGRAM, *command], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        for line in process.stderr:
            if "tuning" in line or "judging" in line:
                break
        process.kill()
        process.communicate()
        self.assertTrue((Path(f"{out}.partial") / "quantized" / "bitsmith.json").exists())
        other = [a if a != "3bit" else "2bit" for a in command]
        self.refused(*other, says=["another command", "preset"])
        longer = [a if a != "1.2" else "2" for a in command]
        self.refused(*longer, says=["minutes 1.2 there, 2.0 asked for"])
        self.succeed(*command)
        self.assertEqual(self.names(), {"out"})
        recipe = json.loads((out / "bitsmith.json").read_text())
        self.assertEqual(recipe["preset"], "3bit")
        # Calibrated on a part of the data, tuned on all of it.
        self.assertEqual(recipe["calibration"]["windows"] * recipe["calibration"]["length"], 4096)
        tuned = recipe["tune"]["training_data"]
        self.assertGreater(tuned["training_windows"] * tuned["length"], 40000)
        # Before and after tuning on the same windows.
        before, after = (recipe["judged"][row]["kl"] for row in ("one_shot", "compressed"))
        self.assertLess(after, 1.1 * before)
        rows = [row.split(" | ") for row in (out / "README.md").read_text().splitlines() if row.startswith("| ")]
        kl = {row[0][2:]: row[4] for row in rows if len(row) > 4}
        self.assertEqual((kl["one-shot, before tuning"], kl["compressed"]), (f"{before:.4f}", f"{after:.4f}"))
        logs = {p.name for p in self.folder.glob("*.jsonl")}
        self.assertIn("out.quantize.jsonl", logs)

    def test_minutes_that_cannot_be_kept_are_refused(self):
        self.fail_cleanly("compress", TRAINED, "--preset", "3bit", "--minutes", "0.1", "--calibration-tokens", 2000000, *DATA,
                          "-o", self.folder / "out", codes=[2], says=["--minutes"])

    def test_values_that_are_not_finite_are_found_before_work(self):
        nan, huge = float("nan"), 1e38
        for name, value, says in [("model.norm.weight", nan, "NaN at [3]"), ("model.embed_tokens.weight", nan, "NaN at [0, 3]"),
                                  ("model.layers.1.mlp.up_proj.weight", float("inf"), "infinity at [0, 3]"),
                                  ("model.layers.0.self_attn.k_proj.weight", huge, "1e+38 at [0, 3]"),
                                  ("model.layers.0.input_layernorm.weight", huge, "1e+38 at [3]")]:
            def poison(tensors):
                tensors[name][1][3] = value
            model = self.model(poison)
            for representation in ("int4g64", "gvq2d2b-n1024"):
                self.fail_cleanly("quantize", model, "--representation", representation, *DATA, "-o", self.folder / "out",
                                  codes=[1], says=[name, says])
            shutil.rmtree(model)

    def test_vanishing_scales_are_refused(self):
        def shrink(tensors):
            shape, values = tensors["model.layers.0.mlp.gate_proj.weight"]
            tensors["model.layers.0.mlp.gate_proj.weight"] = shape, [1e-7 * v for v in values]
        model = self.model(shrink)
        self.fail_cleanly("quantize", model, "--representation", "int4g64", "--method", "rtn", "-o", self.folder / "out",
                          codes=[1], says=["gate_proj", "keep this matrix dense"])
        self.succeed("quantize", model, "--representation", "int4g64", "--method", "rtn", "--keep", "0.mlp.gate", "-o",
                     self.folder / "out")

    def test_odd_sizes(self):
        """Parts with an odd number of bytes before parts of two bytes a value."""
        model = self.model(hidden_size=7, intermediate_size=9, num_attention_heads=1, num_key_value_heads=1, head_dim=6,
                           num_hidden_layers=2)
        for representation in ("int8g0", "int3g0-z", "int2g7"):
            out = self.folder / representation
            keep = ["--keep", "down_proj|o_proj"] if representation == "int2g7" else []
            self.succeed("quantize", model, "--representation", representation, "--method", "rtn", *keep, "-o", out)
            self.succeed("inspect", out)

    def test_memory_does_not_grow_with_the_blocks(self):
        """A deep model, activations far larger than everything else: one size of memory after a few blocks."""
        model = self.model(num_hidden_layers=30)
        out = self.folder / "out"
        self.succeed("quantize", model, "--representation", "gvq2d2b-n1024", "--calibration-tokens", 32768, *DATA, "-o", out)
        blocks = [json.loads(line) for line in Path(f"{out}.quantize.jsonl").read_text().splitlines()]
        memory = [b["peak_memory_bytes"] for b in blocks if "block" in b]
        self.assertEqual(len(memory), 30)
        config = json.loads((model / "config.json").read_text())
        activations = 32768 * config["hidden_size"] * 4
        # If a block left its own behind, it would be 19 of these; the heap's pieces are one or two.
        self.assertLess(memory[29] - memory[10], 4 * activations, [m // 2**20 for m in memory])


if __name__ == "__main__":
    main()
