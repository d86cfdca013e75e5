#!/usr/bin/env python3
"""The program from outside: what it lists, prints and refuses."""
import json
import os
import random
import resource
import shutil
import signal
import struct
import subprocess
import unittest

from support import CALIBRATION, CONTEXT, ENGINES, HAS_COMPRESSOR, HELDOUT, PROGRAM, TESTDATA, TRAINED, ProgramTest, bitsmith, main, read_safetensors, tree

COMMANDS = ["inspect", "tokenize", "logits", "eval", "run", "bench"]
COMPRESSOR_COMMANDS = ["compress", "quantize", "layer", "tune"]


class Help(ProgramTest):
    def test_lists_the_commands_that_exist(self):
        out = self.succeed("--help").out
        for command in COMMANDS:
            self.assertIn(f"  {command} ", out)
        for command in COMPRESSOR_COMMANDS:
            (self.assertIn if HAS_COMPRESSOR else self.assertNotIn)(f"  {command} ", out)
        for command in ["serve", "export"]:  # not there yet: not listed
            self.assertNotIn(f"  {command} ", out)

    def test_every_command_explains_itself(self):
        for command in COMMANDS + (COMPRESSOR_COMMANDS if HAS_COMPRESSOR else []):
            self.assertIn("--threads", self.succeed(command, "--help").out)

    def test_version(self):
        self.assertRegex(self.succeed("--version").out, r"^bitsmith \d+\.\d+\.\d+\s*$")

    def test_wrong_usage_is_code_2(self):
        for arguments in [[], ["frobnicate"], ["inspect"], ["inspect", TRAINED, "--frobnicate"],
                          ["logits", TRAINED, "-o", self.folder / "x"],
                          ["inspect", TRAINED, "--threads", "0"], ["inspect", TRAINED, "--threads", "two"]]:
            self.fail_cleanly(*arguments, codes=(2,))


    def test_near_names(self):
        for arguments, says in [
                (["inspekt", TRAINED], "unknown command 'inspekt'; did you mean 'inspect'?"),
                (["tokenise", TRAINED], "did you mean 'tokenize'?"),
                (["inspect", TRAINED, "--tensros"], "unknown option '--tensros'; did you mean '--tensors'?"),
                (["tokenize", TRAINED, "--txt", "hi"], "did you mean '--text'?"),
                (["run", TRAINED, "--max-tokns=3"], "unknown option '--max-tokns'; did you mean '--max-tokens'?"),
                (["--versoin"], "did you mean '--version'?")]:
            self.fail_cleanly(*arguments, codes=(2,), says=[says])
        result = self.fail_cleanly("inspect", TRAINED, "--zyxwvu", codes=(2,), says=["unknown option '--zyxwvu'\n"])
        self.assertNotIn("did you mean", result.err)


class Output(ProgramTest):
    """What cannot be written is exit code 1 and a message."""
    PRINTING = [["--help"], ["run", "--help"], ["--version"], ["inspect", TRAINED], ["inspect", TRAINED, "--json"],
                ["tokenize", TRAINED, "--text", "a"], ["run", TRAINED, "-p", "Anna", "--max-tokens", "4"],
                ["run", TRAINED, "-p", "Anna", "--max-tokens", "4", "--json"]]

    def run_to(self, stdout, arguments, **options):
        return subprocess.run([PROGRAM, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=stdout,
                              stderr=subprocess.PIPE, text=True, timeout=600, **options)

    def refuse(self, says, stdout, arguments, **options):
        run = self.run_to(stdout, arguments, **options)
        self.assertEqual(run.returncode, 1, f"{arguments}: {run.stderr}")
        self.assertIn(says, run.stderr)

    def test_full_disk(self):
        for arguments in self.PRINTING:
            with open("/dev/full", "w") as full:
                self.refuse("cannot write to standard output: No space left", full, arguments)

    def test_closed_pipe(self):
        for arguments in self.PRINTING:
            read, write = os.pipe()
            os.close(read)
            with os.fdopen(write, "w") as pipe:
                self.refuse("cannot write to standard output: Broken pipe", pipe, arguments)

    def test_a_chat_ends_with_its_output(self):
        lines = self.folder / "lines"
        lines.write_text("Anna\n" * 50)
        with open("/dev/full", "w") as full, open(lines) as stdin:
            run = subprocess.run([PROGRAM, "run", str(TRAINED), "--max-tokens", "4"], stdin=stdin, stdout=full,
                                 stderr=subprocess.PIPE, text=True, timeout=600)
        self.assertEqual(run.returncode, 1, run.stderr)
        self.assertEqual(run.stderr.count("No space left"), 1, run.stderr)

    def test_closed_output_is_refused_at_the_start(self):
        out = self.folder / "logits.safetensors"
        self.refuse("standard output is closed", None, ["logits", TRAINED, "--ids", "1,2", "--engine", "runtime",
                                                         "-o", out], preexec_fn=lambda: os.close(1))
        self.assertFalse(out.exists())

    def test_closed_errors_and_input_are_no_matter(self):
        def close():
            os.close(0)
            os.close(2)
        out = self.folder / "logits.safetensors"
        run = subprocess.run([PROGRAM, "logits", str(TRAINED), "--ids", "1,2", "--engine", "runtime", "-o", str(out)],
                             stdout=subprocess.DEVNULL, timeout=600, preexec_fn=close)
        self.assertEqual(run.returncode, 0)
        self.assertEqual(read_safetensors(out)["logits"][0], [2, 384])

    def test_bytes_that_are_not_utf8(self):
        names = [os.fsencode(self.folder) + b"/model \xff\xe9", os.fsencode(self.folder) + b"/out\xff"]
        shutil.copytree(os.fsencode(TRAINED), names[0])
        for more in [[], ["--json"]]:
            run = subprocess.run([PROGRAM, "inspect", names[0], *more], capture_output=True, timeout=600)
            self.assertEqual(run.returncode, 0, run.stderr)
        json.loads(run.stdout)  # the output with --json is UTF-8
        run = subprocess.run([PROGRAM, "logits", names[0], "--ids", "1,2", "--engine", "runtime", "-o", names[1], "--json"],
                             capture_output=True, timeout=600)
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertTrue(os.path.exists(names[1]))
        run = subprocess.run([PROGRAM, "tokenize", TRAINED, "--text", b"a\xff\xfeb"], capture_output=True, timeout=600)
        self.assertEqual(run.returncode, 0, run.stderr)
        ids = run.stdout.split()[-2]  # a single byte of a character
        run = subprocess.run([PROGRAM, "tokenize", TRAINED, "--decode", ids, "--json"], capture_output=True, timeout=600)
        self.assertEqual(run.returncode, 0, run.stderr)
        json.loads(run.stdout)


class Inspect(ProgramTest):
    def test_every_model(self):
        for config in sorted(TESTDATA.glob("*/config.json")):
            report = self.succeed("inspect", config.parent, "--json").json()
            self.assertIn(json.loads(config.read_text())["model_type"], json.dumps(report))
        self.succeed("inspect", TESTDATA / "tiny_llama_gguf/model.gguf", "--json").json()

    def test_json_is_all_of_stdout(self):
        for more in [[], ["--tensors"], ["--quiet"]]:
            self.succeed("inspect", TRAINED, "--json", *more).json()


@unittest.skipUnless(HAS_COMPRESSOR, "built without the compressor")
class Layer(ProgramTest):
    def write(self, name, tensors):
        """name -> (shape, values), as F32."""
        header, data = {}, b""
        for tensor, (shape, values) in tensors.items():
            packed = struct.pack(f"<{len(values)}f", *values)
            header[tensor] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(packed)]}
            data += packed
        text = json.dumps(header).encode()
        path = self.folder / name
        path.write_bytes(struct.pack("<Q", len(text)) + text + data)
        return path

    def setUp(self):
        super().setUp()
        rng = random.Random(1)
        out, features = 24, 32
        weight = [rng.gauss(0, 1) for _ in range(out * features)]
        x = [[rng.gauss(0, 1 + i % 3) for i in range(features)] for _ in range(64)]
        hessian = [sum(row[i] * row[j] for row in x) / 32 for i in range(features) for j in range(features)]
        self.layer = self.write("layer.safetensors", {"weight": ([out, features], weight),
                                                      "hessian": ([features, features], hessian)})
        self.plain = self.write("plain.safetensors", {"weight": ([out, features], weight)})
        self.empty = self.write("empty.safetensors", {"bias": ([out], weight[:out])})

    def test_reports_error_bits_and_stages(self):
        names = ["int4g16", "int2g16", "aq1x4g4", "gvq2d2b-n256", "gvq1d2b-n128"]
        options = [word for name in names for word in ("--representation", name)]
        report = self.succeed("layer", self.layer, *options, "--json").json()
        self.assertEqual([r["representation"] for r in report["results"]], names)
        for result in report["results"]:
            self.assertGreater(result["bits"], 1)
            self.assertTrue(0 < result["relative_error"] < 1, result)
            self.assertGreaterEqual(len(result["stages"]), 1)
        self.assertLess(report["results"][0]["relative_error"], report["results"][1]["relative_error"])
        self.assertIn("int4g16", self.succeed("layer", self.plain, "--representation", "int4g16", "--stages").out)

    def test_says_what_it_cannot_do(self):
        self.fail_cleanly("layer", self.empty, "--representation", "int4g16", says=["weight"])
        self.fail_cleanly("layer", self.layer, "--representation", "gvq4d2b", says=["256 centroids"])
        self.fail_cleanly("layer", self.layer, "--representation", "int4g16", "--representation", "int4g7", says=["7"])
        self.fail_cleanly("layer", self.layer, "--representation", "int4g16", "--method", "gptvq", says=["gptq"])


@unittest.skipUnless(HAS_COMPRESSOR, "built without the compressor")
class Hessian(ProgramTest):
    def test_writes_what_layer_reads(self):
        out = self.folder / "layers"
        report = self.succeed("hessian", TRAINED, "--module", r"layers\.1\..*(q|down)_proj", "--data", CALIBRATION,
                              "--calibration-tokens", 2048, "--context", CONTEXT, "-o", out, "--json").json()
        self.assertEqual([layer["module"] for layer in report["layers"]],
                         ["model.layers.1.self_attn.q_proj", "model.layers.1.mlp.down_proj"])
        for layer in report["layers"]:
            kept = self.succeed("layer", layer["file"], "--representation", "int4g16", "--json").json()
            self.assertEqual(kept["in_features"], layer["in_features"])
            self.assertLess(kept["results"][0]["relative_error"], 0.05)

    def test_says_what_it_cannot_do(self):
        for pattern, says in [("lm_head", "down_proj"), ("(", "regular expression")]:
            self.fail_cleanly("hessian", TRAINED, "--module", pattern, "--data", CALIBRATION, "-o",
                              self.folder / "none", says=[says])


class Tokenize(ProgramTest):
    def test_text_comes_back(self):
        text = 'Anna has 12 apples; "Größe" 名前 \U0001f600 \t and two  spaces.'
        ids = self.succeed("tokenize", TRAINED, "--text", text).out.split()
        self.assertGreater(len(ids), 10)
        back = self.succeed("tokenize", TRAINED, "--decode", ",".join(i.strip(",") for i in ids)).out
        self.assertEqual(back.removesuffix("\n"), text)

    def test_file_and_text_and_gguf_agree(self):
        text = "Boris has 3 coins and buys 4 more.<|im_end|>\n"
        file = self.folder / "text.txt"
        file.write_text(text)
        ids = self.succeed("tokenize", TRAINED, "--text", text).out
        self.assertEqual(self.succeed("tokenize", TRAINED, "--file", file).out, ids)
        gguf = TESTDATA / "tiny_llama_gguf/model.gguf"
        self.assertEqual(self.succeed("tokenize", gguf, "--text", text).out, ids)


class BadInput(ProgramTest):
    """Files that are missing, truncated or of another kind: code 1 and the file's name."""

    def copy(self, source=TRAINED):
        model = self.folder / "model"
        shutil.copytree(source, model)
        return model

    def test_missing_model(self):
        for command in [["inspect"], ["tokenize", "--text", "a"], ["eval", "--text", HELDOUT], ["run", "-p", "a"]]:
            self.fail_cleanly(command[0], self.folder / "nowhere", *command[1:], codes=(1,), says=["nowhere"])

    def test_truncated_weights(self):
        model = self.copy()
        weights = model / "model.safetensors"
        data = weights.read_bytes()
        for size in [0, 7, 100, len(data) // 2, len(data) - 1]:
            weights.write_bytes(data[:size])
            self.fail_cleanly("inspect", model, codes=(1,), says=["model.safetensors"])

    def test_missing_weights_and_config(self):
        model = self.copy()
        (model / "model.safetensors").unlink()
        self.fail_cleanly("inspect", model, codes=(1,), says=["safetensors"])
        (model / "config.json").unlink()
        self.fail_cleanly("inspect", model, codes=(1,), says=["config.json"])

    def test_missing_shard(self):
        model = self.copy(TESTDATA / "tiny_mistral")
        (model / "model-00002-of-00002.safetensors").unlink()
        self.fail_cleanly("inspect", model, codes=(1,), says=["model-00002-of-00002.safetensors"])

    def test_unknown_architecture_names_the_known(self):
        model = self.copy()
        config = json.loads((model / "config.json").read_text())
        (model / "config.json").write_text(json.dumps(config | {"model_type": "gpt_neox", "architectures": ["GPTNeoXForCausalLM"]}))
        self.fail_cleanly("inspect", model, codes=(1,), says=["gpt_neox", "llama", "qwen2", "qwen3", "mistral"])

    def test_wrong_shape_names_the_tensor(self):
        model = self.copy()
        config = json.loads((model / "config.json").read_text())
        (model / "config.json").write_text(json.dumps(config | {"intermediate_size": 128}))
        for engine in ENGINES:
            self.fail_cleanly("logits", model, "--ids", "1,2", "--engine", engine, "-o", self.folder / "out",
                              codes=(1,), says=["mlp.", "128", "192"])

    def test_ids_outside_the_vocabulary(self):
        for ids in ["384", "-1", "1,2,99999999999", "one"]:
            for engine in ENGINES:
                self.fail_cleanly("logits", TRAINED, f"--ids={ids}", "--engine", engine, "-o", self.folder / "out")

    def test_output_that_cannot_be_written(self):
        self.fail_cleanly("logits", TRAINED, "--ids", "1,2", "--engine", "runtime", "-o",
                          self.folder / "no/such/folder/out.safetensors", codes=(1, 2), says=["out.safetensors"])

    def test_full_disk_leaves_nothing(self):
        self.fail_cleanly("logits", TRAINED, "--ids", "1,2,3", "--engine", "runtime", "-o",
                          self.folder / "out.safetensors", codes=(1,), preexec_fn=full_disk)


def full_disk():
    """Every write beyond 2 kB of a file fails, as on a disk without space."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))


@unittest.skipUnless(HAS_COMPRESSOR, "the runtime alone does not quantize")
class Quantize(ProgramTest):
    """Impossible requests are refused before any work."""

    def refuse(self, *arguments, out=None, **options):
        self.fail_cleanly("quantize", TRAINED, *arguments, "-o", out or self.folder / "out", **options)

    def test_group_that_does_not_fit_names_those_that_do(self):
        self.refuse("--representation", "int4g128", says=["64", "128"])

    def test_impossible_representations(self):
        for representation in ["int4g7", "int9g64", "int0g64", "int4", "aq2x17g8", "aq0x8g8", "aq2x8g7",
                               "float4", "", "int4g-64", "int99999999999g64", "gvq3d2b", "gvq2d9b", "gvq4d3b",
                               "gvq2d2b-g48", "gvq2d2b-s24", "gvq2d2b-r2", "gvq2d1.3b"]:
            self.refuse("--representation", representation)
        self.refuse("--representation", "aq1x9g8", says=["512 vectors", "256 groups", "k_proj and 7 more"])

    def test_impossible_options(self):
        ok = ["--representation", "int4g64"]
        for more in [["--method", "magic"], ["--method", "aqlm"], ["--calibration-tokens", "-5"],
                     ["--data", self.folder / "missing.txt"], ["--keep", "("], ["--override", "q_proj"],
                     ["--override", "q_proj=int4g7"], ["--embedding", "5"], ["--method", "gptvq"],
                     ["--codebook-init", "best-of-all"], ["--cross-term", "2"], ["--finetune-epochs", "-1"]]:
            self.refuse(*ok, *more)

    def test_existing_output_is_kept(self):
        out = self.folder / "out"
        out.mkdir()
        (out / "precious").write_text("mine")
        self.refuse("--representation", "int8g64", "--method", "rtn", says=["--force"])

    def test_output_under_a_file(self):
        file = self.folder / "file"
        file.write_text("a file")
        self.refuse("--representation", "int8g64", "--method", "rtn", out=file / "out", codes=(1, 2))

    @unittest.skipIf(os.geteuid() == 0, "root may write anywhere")
    def test_read_only_output(self):
        self.folder.chmod(0o555)
        self.refuse("--representation", "int8g64", "--method", "rtn", says=["out"])

    def test_output_where_nothing_can_be_made(self):
        result = bitsmith("quantize", TRAINED, "--representation", "int8g64", "--method", "rtn", "-o", "/proc/bitsmith_out")
        self.assertIn(result.code, (1, 2), str(result))
        self.assertIn("/proc/bitsmith_out", result.err)

    def test_nan_weights_name_the_tensor(self):
        model = self.folder / "model"
        shutil.copytree(TRAINED, model)
        path = model / "model.safetensors"
        data = bytearray(path.read_bytes())
        size = int.from_bytes(data[:8], "little")
        name = "model.layers.1.mlp.up_proj.weight"
        begin = json.loads(data[8:8 + size])[name]["data_offsets"][0]
        data[8 + size + begin:8 + size + begin + 2] = b"\xc0\x7f"  # bfloat16 NaN
        path.write_bytes(data)
        result = bitsmith("quantize", model, "--representation", "int8g64", "--method", "rtn",
                          "--data", CALIBRATION, "--context", CONTEXT, "-o", self.folder / "out")
        self.assertEqual(result.code, 1, str(result))
        self.assertIn(name.removesuffix(".weight"), result.err)
        self.assertFalse((self.folder / "out").exists())

    def test_full_disk_is_an_error_and_leaves_no_output(self):
        result = bitsmith("quantize", TRAINED, "--representation", "int8g64", "--method", "rtn", "-o",
                          self.folder / "out", preexec_fn=full_disk)
        self.assertEqual(result.code, 1, str(result))
        self.assertNotIn("terminate called", result.err)
        self.assertNotIn("out", tree(self.folder))


if __name__ == "__main__":
    main()
