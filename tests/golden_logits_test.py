#!/usr/bin/env python3
"""Logits of every tiny model against Hugging Face transformers' (testdata/make_models.py)."""
import os

from support import ENGINES, TESTDATA, ProgramTest, main, read_safetensors, relative_error

TOLERANCE = 1e-4  # of the norm; float32 against float32


class GoldenLogits(ProgramTest):
    def check(self, path, golden, engine):
        golden = read_safetensors(golden)
        ids = ",".join(map(str, golden["ids"][1]))
        out = self.folder / "logits.safetensors"
        self.succeed("logits", path, "--ids", ids, "--engine", engine, "-o", out, "--force")
        shape, logits = read_safetensors(out)["logits"]
        self.assertEqual(shape, golden["logits"][0])
        self.assertLess(relative_error(logits, golden["logits"][1]), TOLERANCE)

    def in_new_spelling(self, model):
        """The model with the config.json that transformers 5 writes."""
        folder = self.folder / "v5"
        folder.mkdir()
        for file in model.iterdir():
            os.symlink(file, folder / file.name)
        (folder / "config.json").unlink()
        os.symlink(model / "config_v5.json", folder / "config.json")
        return folder

    def test_what_no_engine_can_run_is_refused(self):
        model = TESTDATA / "families" / "tiny_opt_350m"  # norms after the sums, and projections
        for engine in ENGINES:
            self.fail_cleanly("logits", model, "--ids", "1", "--engine", engine, "-o", self.folder / "out",
                              codes=(1,), says=("config.json", "word_embed_proj_dim"))


def forms(model):
    """How a model is stored: name -> (what a test opens, files of golden logits)."""
    golden = [path for path in (model / "golden.safetensors", model / "golden_long.safetensors") if path.exists()]
    gguf = model / "model.gguf"
    # A GGUF file cannot say all that a config.json can, and has golden logits of its own then.
    own = model / "golden_gguf.safetensors"
    if (model / "config.json").exists():
        yield "", lambda test: model, golden
    if (model / "config_v5.json").exists():
        yield "_v5", lambda test: test.in_new_spelling(model), golden
    if gguf.exists():
        yield "_gguf", lambda test: gguf, [own] if own.exists() else golden


def add_tests():
    for path in sorted([*TESTDATA.glob("*/golden.safetensors"), *TESTDATA.glob("families/*/golden.safetensors")]):
        model = path.parent
        if model.name == "tiny_opt_350m":
            continue
        for form, opened, golden in forms(model):
            for engine in ENGINES:
                def test(self, opened=opened, golden=golden, engine=engine):
                    path = opened(self)
                    for file in golden:
                        self.check(path, file, engine)
                setattr(GoldenLogits, f"test_{model.name}{form}_{engine}", test)


add_tests()
if __name__ == "__main__":
    main()
