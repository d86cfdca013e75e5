#!/usr/bin/env python3
"""bitsmith tokenize."""
from support import TESTDATA, TRAINED, ProgramTest, main


class Tokenize(ProgramTest):
    def test_text_comes_back(self):
        text = 'Anna has 12 apples; "Größe" 名前 \U0001f600 \t and two  spaces.'
        ids = self.succeed("tokenize", TRAINED, "--text", text).out.split()
        self.assertGreater(len(ids), 10)
        back = self.succeed("tokenize", TRAINED, "--decode", ",".join(i.strip(",") for i in ids)).out
        self.assertEqual(back.removesuffix("\n"), text)

    def test_documentation_lists_the_pre_tokenizers(self):
        model = (TESTDATA / "tiny_llama_gguf/model.gguf").read_bytes()
        gguf = self.folder / "unknown.gguf"
        gguf.write_bytes(model.replace(b"smollm", b"nobody", 1))
        error = self.fail_cleanly("tokenize", gguf, "--text", "a", codes=(1,), says=["'nobody' is not supported"]).err
        known = error.partition("; supported: ")[2].splitlines()[0].split(", ")
        page = (TESTDATA.parent / "docs/vocabularies.md").read_text()
        rows = [line for line in page.partition("## Pre-tokenizers")[2].splitlines() if line.startswith("|")][2:]
        self.assertEqual(sorted("".join(rows).split("`")[1::2]), sorted(known))

    def test_file_and_text_and_gguf_agree(self):
        text = "Boris has 3 coins and buys 4 more.<|im_end|>\n"
        file = self.folder / "text.txt"
        file.write_text(text)
        ids = self.succeed("tokenize", TRAINED, "--text", text).out
        self.assertEqual(self.succeed("tokenize", TRAINED, "--file", file).out, ids)
        gguf = TESTDATA / "tiny_llama_gguf/model.gguf"
        self.assertEqual(self.succeed("tokenize", gguf, "--text", text).out, ids)


if __name__ == "__main__":
    main()
