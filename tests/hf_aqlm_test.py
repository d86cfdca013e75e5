#!/usr/bin/env python3
"""A quantized directory in transformers with the package aqlm, in a virtual environment of its own, and
one made there in Bitsmith. Slow: it installs PyTorch and transformers."""
import json
import os
import subprocess

from support import ProgramTest, main, read_safetensors, relative_error, virtual_environment

TOLERANCE = 1e-2  # of the norm; the package computes in float32 with float16 codebooks
PACKAGES = ["torch==2.13.0", "transformers", "accelerate", "aqlm", "numba", "scipy", "safetensors"]
IDS = list(range(1, 120, 3))

LOGITS = """
import json, sys, torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], torch_dtype=torch.float32).eval()
with torch.no_grad():
    logits = model(torch.tensor([json.loads(sys.argv[2])])).logits[0]
save_file({"logits": logits.float().contiguous()}, sys.argv[3])
"""

# The directory again, written by the other side: loaded with its quantized modules and saved.
RESAVE = """
import sys, torch
from transformers import AutoModelForCausalLM
AutoModelForCausalLM.from_pretrained(sys.argv[1], torch_dtype=torch.float16).save_pretrained(sys.argv[2])
"""


class HuggingFaceAqlm(ProgramTest):
    @classmethod
    def setUpClass(cls):
        cls.python = virtual_environment("hf_aqlm_venv", PACKAGES)

    def run_python(self, program, *arguments):
        # The package's kernel for CPUs has a race: one thread.
        env = {**os.environ, "NUMBA_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        run = subprocess.run([self.python, "-c", program, *map(str, arguments)], env=env, text=True,
                             capture_output=True, timeout=1200)
        self.assertEqual(run.returncode, 0, run.stderr[-4000:])

    def our_logits(self, model, engine):
        out = self.folder / f"{model.name}.{engine}.safetensors"
        self.succeed("logits", model, "--ids", ",".join(map(str, IDS)), "--engine", engine, "-o", out)
        return read_safetensors(out)["logits"][1]

    def their_logits(self, model):
        out = self.folder / f"{model.name}.transformers.safetensors"
        self.run_python(LOGITS, model, json.dumps(IDS), out)
        return read_safetensors(out)["logits"][1]

    def test_transformers_gives_our_logits(self):
        for representation in ["aq1x8g8", "aq2x8g8"]:
            out = self.quantize(representation)
            config = json.loads((out / "config.json").read_text())["quantization_config"]
            self.assertEqual(config["quant_method"], "aqlm")
            theirs = self.their_logits(out)
            for engine in ["torch", "runtime"]:
                error = relative_error(self.our_logits(out, engine), theirs)
                self.assertLess(error, TOLERANCE, f"{representation} {engine}")

    def test_we_read_what_transformers_writes(self):
        out, again = self.quantize("aq2x8g8"), self.folder / "again"
        self.run_python(RESAVE, out, again)
        (again / "tokenizer.json").write_bytes((out / "tokenizer.json").read_bytes())
        self.assertLess(relative_error(self.our_logits(again, "torch"), self.our_logits(out, "torch")), 1e-3)


if __name__ == "__main__":
    main()
