#!/usr/bin/env python3
"""bitsmith hessian and bitsmith layer: one matrix and its objective."""
import json
import random
import struct
import unittest

from support import CALIBRATION, CONTEXT, HAS_COMPRESSOR, TRAINED, ProgramTest, main


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


if __name__ == "__main__":
    main()
