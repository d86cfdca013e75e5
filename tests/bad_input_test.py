#!/usr/bin/env python3
"""Files that no command can use."""
import json
import shutil
import struct

from support import ENGINES, HELDOUT, TESTDATA, TRAINED, ProgramTest, full_disk, main


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


if __name__ == "__main__":
    main()
