#!/usr/bin/env python3
"""Logits of every tiny model against Hugging Face transformers' (testdata/make_models.py)."""
from support import ENGINES, TESTDATA, ProgramTest, main, read_safetensors, relative_error

TOLERANCE = 1e-4  # of the norm; float32 against float32


class GoldenLogits(ProgramTest):
    def check(self, model, engine):
        golden = read_safetensors(model / "golden.safetensors")
        ids = ",".join(map(str, golden["ids"][1]))
        # A directory of GGUF tests holds just the file.
        path = model / "model.gguf" if (model / "model.gguf").exists() else model
        out = self.folder / "logits.safetensors"
        self.succeed("logits", path, "--ids", ids, "--engine", engine, "-o", out)
        shape, logits = read_safetensors(out)["logits"]
        self.assertEqual(shape, golden["logits"][0])
        self.assertLess(relative_error(logits, golden["logits"][1]), TOLERANCE)


def add_tests():
    for golden in sorted(TESTDATA.glob("*/golden.safetensors")):
        for engine in ENGINES:
            def test(self, model=golden.parent, engine=engine):
                self.check(model, engine)
            setattr(GoldenLogits, f"test_{golden.parent.name}_{engine}", test)


add_tests()
if __name__ == "__main__":
    main()
