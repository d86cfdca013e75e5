#!/usr/bin/env python3
"""The program from outside: what it lists, prints and refuses."""
import fcntl
import json
import math
import os
import pty
import random
import resource
import select
import shutil
import signal
import struct
import subprocess
import termios
import time
import unittest
from pathlib import Path

from support import CALIBRATION, CONTEXT, ENGINES, HAS_COMPRESSOR, HELDOUT, PROGRAM, TESTDATA, TRAINED, ProgramTest, bitsmith, main, read_safetensors, tree

COMMANDS = ["inspect", "tokenize", "logits", "eval", "report", "run", "pack", "bench"]
COMPRESSOR_COMMANDS = ["compress", "quantize", "hessian", "layer", "tune"]
LIBRARIES = Path(PROGRAM).read_bytes()  # the names of those that it is linked with are in it


class Help(ProgramTest):
    def test_lists_the_commands_that_exist(self):
        out = self.succeed("--help").out
        for command in COMMANDS:
            self.assertIn(f"  {command} ", out)
        for command in COMPRESSOR_COMMANDS:
            (self.assertIn if HAS_COMPRESSOR else self.assertNotIn)(f"  {command} ", out)
        (self.assertIn if b"libcpp-httplib" in LIBRARIES else self.assertNotIn)("  serve ", out)
        self.assertNotIn("  export ", out)  # not there yet

    def test_every_command_explains_itself(self):
        for command in COMMANDS + (COMPRESSOR_COMMANDS if HAS_COMPRESSOR else []):
            self.assertIn("--threads", self.succeed(command, "--help").out)

    def test_version(self):
        self.assertRegex(self.succeed("--version").out, r"^bitsmith \d+\.\d+\.\d+ \((scalar|avx2|avxvnni|avx512|neon) kernels\)\s*$")

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


class TwoPrograms(ProgramTest):
    """For what needs LibTorch the program becomes bitsmith-compressor, which stands beside it."""
    TORCH = ["logits", TRAINED, "--ids", "1,2", "-o", "out"]

    def setUp(self):
        super().setUp()
        self.program = self.folder / "bitsmith"
        shutil.copy(PROGRAM, self.program)

    def run_copy(self, *arguments, program=None, **options):
        return subprocess.run([program or self.program, *map(str, arguments)], capture_output=True, text=True,
                              cwd=self.folder, timeout=600, **options)

    def add_compressor(self, text):
        compressor = self.folder / "bitsmith-compressor"
        compressor.write_text("#!/bin/sh\n" + text)
        compressor.chmod(0o755)

    def test_alone_it_is_the_runtime(self):
        out = self.run_copy("--help").stdout
        for command in COMPRESSOR_COMMANDS:
            self.assertNotIn(f"  {command} ", out)
            run = self.run_copy(command, TRAINED)
            self.assertEqual(run.returncode, 2)
            self.assertIn(f"unknown command '{command}'", run.stderr)
        self.assertIn("no LibTorch", self.run_copy("eval", "--help").stdout)
        run = self.run_copy(*self.TORCH, "--engine", "torch")
        self.assertEqual(run.returncode, 2)
        self.assertIn("runtime-only build", run.stderr)
        self.assertEqual(self.run_copy(*self.TORCH, "--json").returncode, 0)
        self.assertTrue((self.folder / "out").exists())

    def test_the_compressor_takes_its_place(self):
        """The same process, words, input and output, and its exit code."""
        self.add_compressor("echo $$; printf '%s|' \"$@\"; cat; exit 7")
        for words in [["quantize", "a model", "--help", "", "--", "-x"], ["--help", "tune"], self.TORCH,
                      ["eval", TRAINED, "--text", HELDOUT, "--engine", "torch"]]:
            process = subprocess.Popen([self.program, *map(str, words)], cwd=self.folder, text=True,
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            out, _ = process.communicate("input\n", timeout=600)
            self.assertEqual(out, f"{process.pid}\n" + "".join(f"{word}|" for word in words) + "input\n")
            self.assertEqual(process.returncode, 7)

    def test_what_stays(self):
        self.add_compressor("exit 7")
        out = self.run_copy("--help").stdout
        for command in COMMANDS + COMPRESSOR_COMMANDS:
            self.assertIn(f"  {command} ", out)
        self.assertEqual(self.run_copy(*self.TORCH, "--engine", "runtime").returncode, 0)
        for words in [[*self.TORCH, "--threads", "two"], ["eval", TRAINED], ["quantise"]]:
            self.assertEqual(self.run_copy(*words).returncode, 2, words)
        self.assertIn("did you mean 'quantize'?", self.run_copy("quantise").stderr)

    def test_openmp_threads_sleep_unless_the_user_has_chosen(self):
        self.add_compressor("echo $OMP_WAIT_POLICY, $GOMP_SPINCOUNT")
        chosen = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
        for more, said in [({}, "passive,"), ({"OMP_WAIT_POLICY": "active"}, "active,"), ({"GOMP_SPINCOUNT": "5"}, ", 5")]:
            self.assertEqual(self.run_copy("tune", env=chosen | more).stdout.strip(), said)

    def test_found_behind_a_link(self):
        self.add_compressor("echo here")
        link = self.folder / "folder/link"
        link.parent.mkdir()
        link.symlink_to(self.program)
        self.assertEqual(self.run_copy("layer", program=link).stdout, "here\n")

    def test_one_that_cannot_be_started(self):
        self.add_compressor("")
        (self.folder / "bitsmith-compressor").write_text("#!/no/such/interpreter\n")
        run = self.run_copy("tune")
        self.assertEqual(run.returncode, 1)
        self.assertIn("bitsmith-compressor cannot be started: No such file", run.stderr)


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

    def test_unused_tensors_are_named_in_one_line(self):
        model = self.folder / "model"
        shutil.copytree(TRAINED, model)
        data = (model / "model.safetensors").read_bytes()
        (size,) = struct.unpack_from("<Q", data)
        header, end = json.loads(data[8:8 + size]), len(data) - 8 - size
        for i in range(9):
            header[f"mtp.{i}.weight"] = {"dtype": "F32", "shape": [1], "data_offsets": [end + 4 * i, end + 4 * i + 4]}
        text = json.dumps(header).encode()
        (model / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data[8 + size:] + bytes(36))
        lines = [line for line in self.succeed("inspect", model).out.splitlines() if "mtp." in line]
        self.assertEqual(len(lines), 1, lines)
        self.assertIn("ignored 9 tensors that this model does not use: mtp.0.weight", lines[0])
        self.assertEqual(len(self.succeed("inspect", model, "--json").json()["ignored_tensors"]), 9)
        self.assertNotIn("ignored", self.succeed("inspect", TRAINED).out)

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
        self.tensors = {"weight": ([out, features], weight), "hessian": ([features, features], hessian)}
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

    def test_takes_the_whole_objective_of_the_file(self):
        out, features = self.tensors["weight"][0]
        weights = [0.01 if row % 2 else 1 for row in range(out)]
        full = [(weights[i] if i == j else 0) for i in range(out) for j in range(out)]
        cross = [(0.2 if i == j else 0) for i in range(features) for j in range(features)]
        names = ["--representation", "int2g16", "--representation", "aq1x4g4", "--representation", "gvq2d2b-n256"]

        def errors(file, *options):
            report = self.succeed("layer", file, *names, *options, "--json").json()
            return [result["relative_error"] for result in report["results"]]

        plain = errors(self.layer)
        rows = self.write("rows.safetensors", {**self.tensors, "row_weights": ([out], weights)})
        self.assertNotEqual(errors(rows), plain)
        whole = self.write("whole.safetensors", {**self.tensors, "output_factor": ([out, out], full)})
        for a, b in zip(errors(rows), errors(whole)):
            self.assertAlmostEqual(a, b, delta=0.1 * a)
        self.assertIn("full output factor", self.succeed("layer", whole, *names).out)
        shifted = self.write("shifted.safetensors", {**self.tensors, "cross": ([features, features], cross)})
        self.assertNotEqual(errors(shifted), plain)
        self.assertEqual(errors(shifted, "--cross-term", 0), plain)

    def test_refuses_objectives_that_do_not_fit(self):
        out = self.tensors["weight"][0][0]
        for tensor, values, says in [("row_weights", ([out + 1], [1] * (out + 1)), "row_weights"),
                                     ("row_weights", ([out], [-1] + [1] * (out - 1)), "negative weight for row 0"),
                                     ("row_weights", ([out], [float("nan")] * out), "row_weights"),
                                     ("output_factor", ([out], [1] * out), "output_factor"),
                                     ("cross", ([out], [1] * out), "cross")]:
            file = self.write("bad.safetensors", {**self.tensors, tensor: values})
            self.fail_cleanly("layer", file, "--representation", "int4g16", codes=(1,), says=[says])

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


def catches_interrupts(process):
    status = Path(f"/proc/{process.pid}/status").read_text()
    caught = int(next(line for line in status.splitlines() if line.startswith("SigCgt:")).split()[1], 16)
    return caught >> (signal.SIGINT - 1) & 1


def interrupted(*arguments, after=lambda: True):
    """Stderr of a run that gets SIGINT when it can catch it and `after`, a condition, is reached."""
    process = subprocess.Popen([PROGRAM, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not (catches_interrupts(process) and after()):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    if (process.returncode, out) != (130, ""):
        raise AssertionError(f"exit code {process.returncode}\nstdout: {out}\nstderr: {err}")
    return err


def chat_line(*messages):
    return json.dumps({"messages": [{"role": role, "content": content} for role, content in messages]}) + "\n"


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


class ChatTemplates(ProgramTest):
    """`run` executes the template that the model carries."""
    TURNS = ("{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
             "{{ '<|im_start|>assistant\\n' }}")  # jinja2 drops a template's last line end

    def model(self, template):
        folder = self.folder / "model"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(TRAINED, folder)
        config = json.loads((folder / "tokenizer_config.json").read_text())
        config["chat_template"] = template
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
        return folder

    def answer(self, model, *more):
        return json.loads(self.succeed("run", model, "-p", "What is 3 plus 4?", "--max-tokens", 20, "--json", *more).out)

    def test_template_variables(self):
        model = self.model(self.TURNS + "{{ begin.text ~ '' if begin is defined }}{{ ' ' if n == 2 }}")
        plain = self.answer(model)
        self.assertEqual(plain["text"], "3 plus 4 is 7.")
        begun = self.answer(model, "--template-var", 'begin={"text": "3 plus"}', "--template-var", "n=2.0")
        self.assertGreater(begun["prompt_tokens"], plain["prompt_tokens"])
        self.assertNotEqual(begun["text"], plain["text"])

    def test_wrong_template_variables(self):
        model = self.model(self.TURNS)
        for variable, says in [("thinking", "NAME=JSON"), ("a b=1", "NAME=JSON"), ("=1", "NAME=JSON"),
                               ("effort=high", "quotation marks"), ("messages=[]", "messages"),
                               ("add_generation_prompt=false", "add_generation_prompt")]:
            self.fail_cleanly("run", model, "-p", "a", "--template-var", variable, codes=(2,), says=[says])
        self.fail_cleanly("run", model, "-p", "a", "--raw", "--template-var", "x=1", codes=(2,), says=["--raw"])

    def test_refusals(self):
        refusing = self.model("{% if messages[0].role == 'system' %}\n{{ raise_exception('No system messages!') }}"
                              "{% endif %}" + self.TURNS)
        self.fail_cleanly("run", refusing, "-p", "a", "--system", "Be kind.", codes=(1,),
                          says=["refuses this conversation (line 2): No system messages!"])
        self.assertEqual(self.answer(refusing)["text"], "3 plus 4 is 7.")
        self.fail_cleanly("run", self.model("\n\n{{ messages + 1 }}"), "-p", "a", codes=(1,), says=["chat template, line 3"])
        chats = self.folder / "chats.jsonl"
        chats.write_text(chat_line(("system", "a"), ("user", "b")) * 50)
        self.fail_cleanly("eval", self.model("{{ raise_exception('Never') }}"), "--text", chats, "--engine", "runtime",
                          codes=(1,), says=["chats.jsonl, line 1", "Never"])

    def test_a_template_that_is_not_well_formed(self):
        model = self.model("{% if %}")
        result = self.succeed("run", model, "-p", "Anna", "--max-tokens", 4)
        self.assertIn("chat template, line 1", result.err)
        self.fail_cleanly("run", model, "-p", "Anna", "--template-var", "x=1", codes=(1,), says=["chat template"])

    def test_special_tokens_in_a_message_are_text(self):
        model = self.model(self.TURNS)
        spelled = json.loads(self.succeed("run", model, "-p", "<|im_end|>" * 3, "--max-tokens", 2, "--json").out)
        self.assertGreater(spelled["prompt_tokens"], self.answer(model)["prompt_tokens"])

    def test_a_chat_goes_on_after_a_refusal(self):
        model = self.model("{% if 'no' in messages[-1].content %}{{ raise_exception('Not this') }}{% endif %}" + self.TURNS)
        run = subprocess.run([PROGRAM, "run", str(model), "--temperature", "0"], input="no\nWhat is 3 plus 4?\n",
                             capture_output=True, text=True, timeout=600)
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertIn("Not this", run.stderr)
        self.assertIn("3 plus 4 is 7.", run.stdout)


class ConversationTest(ProgramTest):
    """`bitsmith run` as people type to it."""

    def chat(self, text, *options):
        run = subprocess.run([PROGRAM, "run", str(TRAINED), "--temperature", "0", *options], input=text,
                             capture_output=True, text=True, timeout=600)
        self.assertEqual(run.returncode, 0, run.stderr)
        return run

    def test_prompt_from_a_file_and_from_standard_input(self):
        question = "What is 3 plus 4?"
        file = self.folder / "question.txt"
        file.write_text(question)
        self.assertEqual(self.succeed("run", TRAINED, "-f", file).out, "3 plus 4 is 7.\n")
        self.assertEqual(self.chat(question, "-f", "-").stdout, "3 plus 4 is 7.\n")
        together = self.succeed("run", TRAINED, "-p", "Hello.", "-f", file, "--max-tokens", 1, "--json").json()
        alone = self.succeed("run", TRAINED, "-f", file, "--max-tokens", 1, "--repetition-penalty", 1.1, "--json").json()
        self.assertEqual(alone["finish_reason"], "max_tokens")
        self.assertGreater(together["prompt_tokens"], alone["prompt_tokens"])
        self.fail_cleanly("run", TRAINED, "-f", self.folder / "none", codes=(1,), says=["none"])

    def test_commands(self):
        run = self.chat("/help\n/system\n/system Be kind.\n/system\n/reset\n/nothing\n\nWhat is 3 plus 4?\n/exit\nnever read\n")
        for text in ["/reset", "There is no system message", "begins anew", "Be kind.", "is forgotten", "no command /nothing"]:
            self.assertIn(text, run.stderr)
        self.assertEqual(run.stdout.count("\n"), 1)

    def test_messages_of_several_lines(self):
        one = self.chat("What is\\\n3 plus 4?\n")
        other = self.chat('"""What is\n3 plus 4?"""\n')
        self.assertEqual(one.stdout, other.stdout)
        self.assertEqual(one.stdout.count("\n"), 1)
        self.assertEqual(self.chat('"""What is 3 plus 4?\n"""\n').stdout, "3 plus 4 is 7.\n")
        self.assertEqual(self.chat('"""What is 3 plus 4?').stdout, "3 plus 4 is 7.\n")

    def test_a_chat_remembers(self):
        twice = self.chat("What is 3 plus 4?\nWhat is 3 plus 4?\n")
        self.assertEqual(twice.stdout.splitlines()[0], "3 plus 4 is 7.")
        self.assertEqual(len(twice.stdout.splitlines()), 2)

    def test_a_context_that_no_memory_holds(self):
        self.fail_cleanly("run", TRAINED, "-p", "a", "--context", 1 << 39, codes=(1,), says=["smaller context"])
        self.fail_cleanly("run", TRAINED, "-p", "a", "--context", 0, codes=(2,))

    def test_int8_cache(self):
        self.assertEqual(self.succeed("run", TRAINED, "-p", "What is 3 plus 4?", "--kv-cache", "int8").out, "3 plus 4 is 7.\n")
        self.fail_cleanly("run", TRAINED, "-p", "a", "--kv-cache", "f8", codes=(2,), says=["f16 or int8"])

    @unittest.skipUnless(b"libedit" in LIBRARIES, "this build reads plain lines")
    def test_on_a_terminal_lines_are_edited_and_remembered(self):
        terminal, other_side = pty.openpty()
        # Its own, so that ^C is a signal.
        control = lambda: fcntl.ioctl(other_side, termios.TIOCSCTTY, 0)  # noqa: E731
        run = subprocess.Popen([PROGRAM, "run", str(TRAINED), "--temperature", "0", "--quiet"], stdin=other_side,
                               stderr=other_side, stdout=subprocess.PIPE, text=True, start_new_session=True,
                               preexec_fn=control,
                               env={**os.environ, "TERM": "vt100", "HOME": str(self.folder), "LC_ALL": "C.UTF-8"})
        os.close(other_side)
        self.addCleanup(os.close, terminal)

        screen = bytearray(b"\n")

        def expect_prompt():  # on a line of its own: the editor also writes it when it moves the cursor
            while b"\n> " not in screen:
                self.assertTrue(select.select([terminal], [], [], 60)[0], screen)
                screen.extend(os.read(terminal, 1000))
            screen.clear()

        expect_prompt()
        os.write(terminal, b"What is 3 plus 5\x7f4?\r")  # a backspace
        self.assertEqual(run.stdout.readline(), "3 plus 4 is 7.\n")
        expect_prompt()
        os.write(terminal, b"\x03")  # Ctrl-C: the line is dropped, the program stays
        expect_prompt()
        os.write(terminal, b"/reset\r")
        expect_prompt()
        os.write(terminal, b"\x1b[A\x1b[A\r")  # up, up: the question
        self.assertEqual(run.stdout.readline(), "3 plus 4 is 7.\n")
        expect_prompt()
        os.write(terminal, b"\x04")
        self.assertEqual(run.wait(60), 0)
        run.stdout.close()


def jsonl(*records):
    return "".join(json.dumps(record) + "\n" for record in records)


def task_files(folder, items=12):
    """A file of every task, about what the tiny trained model has learned."""
    rng = random.Random(5)
    names = ["Anna", "Boris", "Clara", "David", "Emma"]
    colors = ["red", "green", "blue", "white"]
    arc, hellaswag, piqa, labels, winogrande, boolq, lambada = [], [], [], [], [], [], []
    for i in range(items):
        one, two = rng.sample(names, 2)
        gold = rng.randrange(3)
        arc.append({"id": f"q{i}", "answerKey": "ABC"[gold], "question": {"stem": f"{one} carries a {colors[gold]} kite. "
                    "Which color has it?", "choices": [{"text": color, "label": label} for color, label in zip(colors, "ABC")]}})
        hellaswag += [f"Kites: {one} carries a {colors[gold]} kite to the river. At the river", str(gold),
                      *(f"there is a {color} kite." for color in colors)]
        piqa.append({"goal": f"{one} is older than {two}.", "sol1": f"So {two} is younger than {one}.", "sol2": f"So {one} sits "})
        labels.append(str(i % 2))
        winogrande.append({"qID": f"w{i}", "sentence": f"{one} is older than {two}. So _ is younger than {one}.",
                           "option1": one, "option2": two, "answer": "2"})
        boolq.append({"question": f"is {one} older than {two}", "title": "Age", "answer": i % 3 > 0,
                      "passage": f"{one} is older than {two}. " * 6})
        lambada.append({"context": f"{one} carries a {colors[gold]} lamp to the market. At the market there is a {colors[gold]}",
                        "continuation": "lamp."})
    for name, text in {"arc_easy_test.jsonl": jsonl(*arc), "arc_challenge_test.jsonl": jsonl(*arc[::-1]),
                       "hellaswag_val.txt": "\n".join(hellaswag) + "\n", "piqa_valid.jsonl": jsonl(*piqa),
                       "piqa_valid_labels.lst": "\n".join(labels) + "\n", "winogrande_dev.jsonl": jsonl(*winogrande),
                       "boolq_dev.jsonl": jsonl(*boolq), "lambada_openai_test.jsonl": jsonl(*lambada)}.items():
        (folder / name).write_text(text)
    return folder


class Tasks(ProgramTest):
    """Zero-shot judging: eval --tasks."""
    ALL = ["arc_easy", "arc_challenge", "hellaswag", "piqa", "winogrande", "boolq", "lambada_openai"]

    def setUp(self):
        super().setUp()
        self.data = self.folder / "tasks"
        self.data.mkdir()
        task_files(self.data)

    def command(self, *more, tasks=None):
        return ["eval", TRAINED, "--tasks", ",".join(tasks or self.ALL), "--task-data", self.data, "--engine", "runtime", *more]

    def judge(self, *more, tasks=None):
        """The figures of each task, without times."""
        report = self.succeed(*self.command("--json", *more, tasks=tasks)).json()
        return [{key: value for key, value in task.items() if key != "seconds"} for task in report["tasks"]]

    def test_all_tasks(self):
        figures = self.judge()
        self.assertEqual([task["task"] for task in figures], self.ALL)
        for task in figures:
            self.assertEqual(task["items"], 12)
            self.assertEqual("acc_norm" in task, task["task"] in self.ALL[:4], task)
            self.assertEqual("perplexity" in task, task["task"] == "lambada_openai", task)
        self.assertGreater(figures[-1]["acc"], 0.9)  # the model has learned it
        self.assertLess(figures[-1]["perplexity"], 2)
        text = self.succeed(*self.command()).out
        for words in ["acc_norm", "lambada_openai", "0-shot", "lm-evaluation-harness", "without BOS", "256 tokens"]:
            self.assertIn(words, text)
        both = self.succeed(*self.command("--text", HELDOUT, "--windows", 1, "--json", tasks=["boolq"])).json()
        self.assertIn("perplexity", both)
        self.assertEqual([task["task"] for task in both["tasks"]], ["boolq"])

    def test_log_likelihoods_are_those_of_the_logits(self):
        """Computed again from what tokenize and logits say; a short context cuts prompts on the left."""
        for context in [256, 24]:
            log = self.folder / f"log{context}.jsonl"
            self.judge("--task-log", log, "--context", context, "--task-limit", 2)
            for name, prompt, continuations in [
                    ("piqa", "Question: {goal}\nAnswer:", [" {sol1}", " {sol2}"]),
                    ("boolq", "{title} -- {passage}\nQuestion: {question}?\nAnswer:", [" no", " yes"])]:
                file = next(self.data.glob(f"{name}*.jsonl"))
                record = json.loads(file.read_text().splitlines()[1])
                found = next(line for line in map(json.loads, log.read_text().splitlines()[1:])
                             if (line["task"], line["item"]) == (name, 1))
                for i, pattern in enumerate(continuations):
                    context_ids, ids = (self.succeed("tokenize", TRAINED, "--text", text, "--json").json()["ids"] for text in
                                        [prompt.format(**record), (prompt + pattern).format(**record)])
                    judged = len(ids) - len(context_ids)
                    ids = ids[-(context + 1):]
                    out = self.folder / f"{name}{context}-{i}.safetensors"
                    self.succeed("logits", TRAINED, "--ids", ",".join(map(str, ids[:-1])), "--engine", "runtime", "-o", out)
                    (_, vocabulary), logits = read_safetensors(out)["logits"]
                    total = 0
                    for position in range(len(ids) - 1 - judged, len(ids) - 1):
                        row = logits[position * vocabulary:(position + 1) * vocabulary]
                        total += row[ids[position + 1]] - math.log(math.fsum(map(math.exp, row)))
                    self.assertAlmostEqual(found["loglikelihoods"][i] / total, 1, places=5)

    def test_goes_on_from_the_log(self):
        log = self.folder / "log.jsonl"
        whole = self.judge("--task-log", log)
        self.assertEqual(whole, self.judge())
        lines = log.read_text().splitlines(keepends=True)
        self.assertEqual(len(lines), 1 + 12 * len(self.ALL))
        log.write_text("".join(lines[:40]) + lines[40][:17])  # as a kill would leave it
        self.assertEqual(self.judge("--task-log", log), whole)
        self.assertEqual(log.read_text(), "".join(lines))
        other = self.folder / "other.jsonl"
        self.judge("--task-log", other, "--task-limit", 5)
        self.assertEqual(self.judge("--task-log", other), whole)  # more items of the same request
        self.assertEqual(sorted(other.read_text().splitlines()), sorted(log.read_text().splitlines()))

    def test_an_interrupt_keeps_what_is_judged(self):
        task_files(self.data, items=400)
        log = self.folder / "log.jsonl"
        err = interrupted(*self.command("--task-log", log), after=lambda: log.exists() and log.stat().st_size > 20000)
        self.assertIn(f"{log}, and the same command goes on", err)
        judged = len(log.read_text().splitlines()) - 1
        self.assertTrue(0 < judged < 400 * len(self.ALL))
        loaded = time.time() + 1
        self.assertIn("--task-log FILE", interrupted(*self.command(), after=lambda: time.time() > loaded))

    def test_refusals(self):
        log = self.folder / "log.jsonl"
        self.judge("--task-log", log, tasks=["piqa"])
        refuse = lambda *more, tasks=None, codes=(2,), says: self.fail_cleanly(*self.command(*more, tasks=tasks), codes=codes, says=says)  # noqa: E731
        refuse("--task-log", log, says=["log.jsonl belongs to another request", "task_data"])
        refuse("--task-log", log, "--context", 64, tasks=["piqa"], says=["context is 256 there, 64 here"])
        refuse("--task-log", TRAINED / "config.json", tasks=["piqa"], says=["no task log"])
        refuse(tasks=["piqa", "helaswag"], says=["unknown task 'helaswag'; did you mean 'hellaswag'?"])
        refuse(tasks=["mmlu"], says=["unknown task 'mmlu'", "arc_easy", "lambada_openai"])
        refuse("--teacher", TRAINED, says=["--teacher", "--text"])
        self.fail_cleanly("eval", TRAINED, "--tasks", "piqa", codes=(2,), says=["--task-data"])
        self.fail_cleanly("eval", TRAINED, "--text", HELDOUT, "--task-limit", 3, codes=(2,), says=["--tasks"])
        self.fail_cleanly("eval", TRAINED, codes=(2,), says=["--text", "--tasks"])
        refuse("--context", 2, tasks=["piqa"], codes=(1,), says=["piqa, item 1", "context of 2"])
        (self.data / "piqa_valid_labels.lst").unlink()
        refuse(tasks=["piqa"], codes=(1,), says=["piqa_valid_labels.lst is missing"])
        (self.data / "boolq_dev.jsonl").write_text('{"question": "a"}\n')
        refuse(tasks=["boolq"], codes=(1,), says=["boolq_dev.jsonl, line 1"])


class Sizes(ProgramTest):
    def test_numbers_for_people(self):
        """Bits with few digits, sizes that are not zero and have no exponent."""
        outputs = [self.succeed("inspect", TRAINED, "--tensors").out,
                   self.succeed("inspect", TESTDATA / "tiny_llama_gguf/model.gguf").out,
                   self.succeed("eval", TRAINED, "--text", HELDOUT, "--engine", "runtime", "--windows", 1).out,
                   self.succeed("bench", TRAINED, "--prompt-tokens", 8, "--generate-tokens", 8, "--repeats", 1).out]
        if HAS_COMPRESSOR:
            out = self.folder / "out"
            outputs.append(self.succeed("quantize", TRAINED, "--representation", "gvq2d2b-n1024", "--data", CALIBRATION,
                                        "--calibration-tokens", 2048, "-o", out).out)
            outputs.append(self.succeed("inspect", out).out)
        for text in outputs:
            self.assertNotRegex(text, r"\b0\.0 (MB|MiB|GB|GiB)\b|\d\.\d{7,}|\de[+-]\d")


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
        (model / "config.json").write_text(json.dumps(config | {"model_type": "mamba", "architectures": ["MambaForCausalLM"]}))
        self.fail_cleanly("inspect", model, codes=(1,), says=["mamba", "llama", "qwen2", "qwen3", "mistral"])

    def test_messages_carry_no_long_or_raw_text(self):
        hostile = "\x1b[31m\x07" + "x" * 1000000
        model = self.copy()
        original = (model / "config.json").read_text()
        for key in ["model_type", "hidden_act", "hidden_size", "rope_scaling"]:
            config = json.loads(original)
            config[key] = {"type": hostile} if key == "rope_scaling" else hostile
            (model / "config.json").write_text(json.dumps(config))
            self.fail_cleanly("inspect", model, codes=(1,), says=["config.json", r"\x1b" if key != "hidden_size" else key])
        for text in [hostile, '"' + hostile, '{"a": ' + "[" * 2000000 + "]" * 2000000 + "}"]:
            (model / "config.json").write_text(text)
            self.fail_cleanly("inspect", model, codes=(1,), says=["config.json"])
        (model / "config.json").write_text(original)
        data = (model / "model.safetensors").read_bytes()
        (size,) = struct.unpack_from("<Q", data)
        for name, value in [(hostile, {}), ("a", {"dtype": hostile, "shape": [1], "data_offsets": [0, 4]}),
                            ("a", {"dtype": "F32", "shape": [1] * 300000, "data_offsets": [0, 8]})]:
            header = json.dumps(json.loads(data[8:8 + size]) | {name: value}).encode()
            (model / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + data[8 + size:])
            self.fail_cleanly("inspect", model, codes=(1,), says=["model.safetensors", "tensor"])
        (model / "model.safetensors").write_bytes(data)
        for key, value in [("decoder", {"type": hostile}), ("normalizer", {"type": hostile}),
                           ("added_tokens", [{"content": hostile, "id": -1}])]:
            tokenizer = json.loads((TRAINED / "tokenizer.json").read_text()) | {key: value}
            (model / "tokenizer.json").write_text(json.dumps(tokenizer))
            self.fail_cleanly("tokenize", model, "--text", "a", codes=(1,), says=["tokenizer.json", r"\x1b"])
        lines = self.folder / "text.jsonl"
        for line in [hostile, json.dumps({"text": [hostile]}), json.dumps({hostile: 1})]:
            lines.write_text('{"text": "a"}\n' + line + "\n")
            self.fail_cleanly("eval", TRAINED, "--text", lines, "--engine", "runtime", codes=(1,), says=["line 2"])

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
        self.refuse("--representation", "aq1x9g8", says=["512 centroids", "256 groups", "k_proj and 7 more"])

    def test_impossible_options(self):
        ok = ["--representation", "int4g64"]
        for more in [["--method", "magic"], ["--method", "aqlm"], ["--calibration-tokens", "-5"],
                     ["--data", self.folder / "missing.txt"], ["--keep", "("], ["--override", "q_proj"],
                     ["--override", "q_proj=int4g7"], ["--embedding", "5"], ["--method", "gptvq"],
                     ["--embedding", "int4g7"], ["--embedding", "had:int4g16"], ["--embedding", "int4g16+rows385"],
                     ["--codebook-init", "best-of-all"], ["--cross-term", "2"], ["--finetune-epochs", "-1"]]:
            self.refuse(*ok, *more)

    def test_objectives_that_cannot_be(self):
        ok = ["--representation", "int4g64"]
        self.refuse(*ok, "--objective", "magic", codes=[2], says=["layer, guided or kronecker"])
        self.refuse(*ok, "--row-weights", "all", codes=[2], says=["none, guided or relative"])
        self.refuse(*ok, "--estimate-cross-term", "--cross-term", 0, codes=[2], says=["cannot be estimated"])
        self.refuse(*ok, "--objective", "guided", "--guided-groups", 5, codes=[2])
        self.refuse(*ok, "--guided-groups", 2, codes=[2], says=["--objective guided too"])
        self.refuse("--representation", "aq1x8g8", "--objective", "guided", "--guided-groups", 2, codes=[2],
                    says=["--row-weights guided instead"])
        self.refuse("--representation", "aq1x8g8", "--objective", "kronecker", "--rounds", 0, codes=[2],
                    says=["aqlm needs rounds"])
        self.refuse("--representation", "int4g16+out1%", "--objective", "kronecker", "--outliers", "admm", codes=[2],
                    says=["not by admm"])
        for more in [["--objective", "guided"], ["--objective", "kronecker"], ["--row-weights", "guided"],
                     ["--row-weights", "relative"],
                     ["--estimate-cross-term"], ["--shrink-hessian"]]:
            self.refuse(*ok, "--method", "rtn", *more, codes=[2], says=["rtn does not"])

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


class Bench(ProgramTest):
    def test_a_shape_in_any_representation(self):
        few = ["--prompt-tokens", 4, "--generate-tokens", 4, "--repeats", 1]
        shape = ["bench", "--shape", TRAINED / "config.json", "--representation", "int4g64", *few, "--json"]
        bits = {embedding: self.succeed(*shape, "--embedding", embedding).json()["bytes_per_token"]
                for embedding in ["16", "8", "gvq2d2b-n1024+rows3"]}
        self.assertLess(bits["8"], bits["16"])
        self.assertLess(bits["gvq2d2b-n1024+rows3"], bits["8"])
        self.fail_cleanly("bench", TRAINED, "--embedding", "8", *few, codes=(2,), says=["--shape"])
        self.fail_cleanly(*shape, "--embedding", "5", codes=(2,), says=["16, 8, 4 or a representation"])

    def test_lengths_batches_and_threads(self):
        shape = ["bench", "--shape", TRAINED / "config.json", "--representation", "int4g64", "--repeats", 1]
        more = ["--prompt-tokens", "4,8", "--generate-tokens", 4, "--after", "0,8", "--batch", "1,3", "--over-threads", "1,2"]
        result = self.succeed(*shape, *more, "--json").json()
        points = [(m["what"], m["threads"], m["tokens"], m.get("after"), m.get("batch")) for m in result["measurements"]]
        self.assertEqual(points, [
            point for threads in (1, 2) for point in [
                ("prompt", threads, 4, None, None), ("prompt", threads, 8, None, None),
                *[("generate", threads, 4, after, batch) for after in (0, 8) for batch in (1, 3)]]])
        self.assertTrue(all(m["tokens_per_second"] > 0 for m in result["measurements"]))
        self.assertEqual(result["tokens_per_second"], result["measurements"][2]["tokens_per_second"])
        names = [m["name"] for m in result["matrices"]]
        self.assertEqual(len(names), len(set(names)))
        self.assertEqual({m["kernel"] for m in result["matrices"]}, {"dense bfloat16", "uniform"})
        for products in ["single", "int8", "exact"]:
            self.assertIn("model.layers.*.mlp.up_proj", self.succeed(*shape, *more, "--products", products).out)
        self.fail_cleanly(*shape, "--batch", "0", codes=(2,))
        self.fail_cleanly(*shape, "--products", "many", codes=(2,), says=["single, int8 or exact"])


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
