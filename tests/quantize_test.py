#!/usr/bin/env python3
"""bitsmith quantize: what it refuses."""
import json
import os
import shutil
import unittest

from support import CALIBRATION, CONTEXT, HAS_COMPRESSOR, TRAINED, ProgramTest, bitsmith, full_disk, main, tree


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


if __name__ == "__main__":
    main()
