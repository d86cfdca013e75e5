#!/usr/bin/env python3
"""bitsmith inspect."""
import json
import shutil
import struct

from support import TESTDATA, TRAINED, ProgramTest, main


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


if __name__ == "__main__":
    main()
