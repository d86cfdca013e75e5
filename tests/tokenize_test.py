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
