#!/usr/bin/env python3
"""bitsmith bench."""
from support import TRAINED, ProgramTest, main


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

    def test_one_matrix(self):
        matrix = ["bench", "--kernel", "96x64", "--repeats", 2, "--batch", "1,3", "--over-threads", "1,2"]
        result = self.succeed(*matrix, "--representation", "gvq2d2b-t96x64", "--json").json()
        self.assertEqual(result["shape"], [96, 64])
        self.assertIn("codebook tiles", result["kernel"])
        points = [(m["threads"], m["tokens"], m["products"], m["cold"]) for m in result["measurements"]]
        self.assertEqual(points, [(threads, tokens, products, cold) for threads in (1, 2) for tokens in (1, 3)
                                  for products in ("single", "int8", "exact") for cold in (False, True)])
        for m in result["measurements"]:
            self.assertAlmostEqual(m["bytes_per_second"] * m["seconds"] / result["bytes"], 1)
            self.assertAlmostEqual(m["bandwidth_ratio"] * m["memory_bandwidth"] / m["bytes_per_second"], 1)
        self.assertIn("dense bfloat16", self.succeed(*matrix).out)
        for sides in ["96", "96x", "x64", "0x64", "96x64x2", "96*64", "1048576x1048576", "99999999999999999999x1"]:
            self.fail_cleanly("bench", "--kernel", sides, codes=(2,), says=["OUTxIN"])
        self.fail_cleanly(*matrix, "--representation", "gvq2d2b-t96x63", codes=(2,))
        self.fail_cleanly("bench", TRAINED, "--kernel", "96x64", codes=(2,), says=["--kernel"])


if __name__ == "__main__":
    main()
