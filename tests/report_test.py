#!/usr/bin/env python3
"""bitsmith report from outside: one page that is well-formed, needs nothing else, and shows every result."""
import json
import re
import shutil
import unittest
from html.parser import HTMLParser

from support import (CALIBRATION, CONTEXT, HAS_COMPRESSOR, HELDOUT, TESTDATA, TRAINED, ProgramTest, main)

VOID = {"meta", "br"}
ALLOWED = {"html", "head", "title", "style", "body", "main", "section", "h1", "h2", "h3", "p", "ul", "li", "i", "strong",
           "small", "div", "table", "thead", "tbody", "tr", "th", "td", "figure", "figcaption", "details", "summary", "pre",
           "svg", "g", "text", "line", "polyline", "circle", "rect", *VOID}
ATTRIBUTES = {"lang", "charset", "name", "content", "http-equiv", "class", "role", "aria-label", "viewbox", "x", "y", "x1", "y1",
              "x2", "y2", "cx", "cy", "r", "width", "height", "points", "text-anchor"}


class Page(HTMLParser):
    """Parses a page and fails on tags that do not close one another, and on all that loads or runs something."""

    def __init__(self, text):
        super().__init__()
        self.open, self.count, self.text, self.texts = [], {}, "", []
        self.feed(text)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        assert tag in ALLOWED, tag
        for name, value in attributes:
            assert name in ATTRIBUTES, (tag, name, value)
        self.count[tag] = self.count.get(tag, 0) + 1
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        assert self.open.pop() == tag

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> closes {self.open}"

    def handle_data(self, data):
        if self.open and self.open[-1] == "style":
            assert not re.search(r"url\(|@import|expression", data), data
        else:
            self.text += data
        if self.open and self.open[-1] == "text":
            self.texts.append(data)

    def handle_comment(self, data):
        raise AssertionError(f"a comment: {data}")


def recipe(errors=(0.1, 0.2), **more):
    return {"command": "quantize", "data": {"source": [{"file": "wiki.txt", "sha256": "00"}]},
            "model": {"name": "base.gguf", "sha256": "a" * 64}, "options": {"representation": "int4g64"},
            "command_line": "bitsmith quantize MODEL --representation int4g64 -o OUT",
            "layers": [{"module": f"model.layers.{i}.mlp.up_proj", "representation": "int4g64", "method": "gptq",
                        "relative_error": error, "bits": 4.25} for i, error in enumerate(errors)], **more}


VALIDATIONS = [{"step": 0, "tokens": 0, "kl": 0.5}, {"step": 4, "tokens": 4096, "training_kl": 0.4, "kl": 0.25}]


class Report(ProgramTest):
    def make(self, name, facts=None, tokenizer=False):
        """A small quantized model with a recipe of this test's own."""
        out = self.folder / name
        shutil.copytree(TESTDATA / "tiny_quantized_v2", out)
        (out / "bitsmith.json").write_text(json.dumps(recipe() if facts is None else facts))
        if tokenizer:
            for file in ["tokenizer.json", "tokenizer_config.json"]:
                shutil.copy(TRAINED / file, out / file)
        return out

    def report(self, *arguments, name="report.html"):
        page = self.folder / name
        result = self.succeed("report", *arguments, "-o", page)
        text = page.read_text()
        self.assertNotIn(str(self.folder), text, "an absolute path")
        self.assertNotRegex(text, r"https?:|//[a-z]")
        return Page(text), result

    def judge(self, model, *more):
        file = self.folder / f"{model.name}.json"
        file.write_text(self.succeed("eval", model, "--teacher", TRAINED, "--text", HELDOUT, "--context", 64, "--windows", 4,
                                     "--engine", "runtime", "--json", *more).out)
        return file

    def test_two_results(self):
        one = self.make("one", recipe(tune={"command_line": "bitsmith tune QUANTIZED -o OUT", "validations": VALIDATIONS}))
        two = self.make("two", recipe(errors=(0.001, 0.5), calibration={"warnings": ["wiki.txt: absurd"]}))
        page, result = self.report(one, two)
        for words in ["2 results made from base.gguf", "one", "two", "bitsmith quantize MODEL", "bitsmith tune QUANTIZED", "wiki.txt: absurd",
                      "mlp.up_proj", "KL while tuning", "What the bytes are spent on", "embedding", "codebooks", "gptq", "MODEL is base.gguf"]:
            self.assertIn(words, page.text)
        self.assertIn("two: wiki.txt: absurd", result.err)
        size = (one / "model.safetensors").stat().st_size
        self.assertIn(f"{size * 1e-6:.1f}", page.text)
        self.assertEqual(page.count["svg"], 4)  # places, parts, one kind of matrix, tuning
        self.assertEqual(page.count["polyline"], 3)
        again = self.folder / "again.html"
        self.succeed("report", one, two, "-o", again)
        self.assertEqual(again.read_bytes(), (self.folder / "report.html").read_bytes())

    def test_judgments(self):
        out = self.make("judged", tokenizer=True)
        other = self.make("other")
        file = self.judge(out, "--generations", 3)
        figures = json.loads(file.read_text())
        page, _ = self.report(out, other, "--eval", file)
        for words in [f"{figures['perplexity']:.3f}", f"{figures['kl']:.4f}", f"{100 * figures['top1']:.2f}", "4 windows of 64 tokens",
                      "heldout.txt", "Greedy continuations", "KL on heldout.txt", figures["generations"]["examples"][0]["original"][:20]]:
            self.assertIn(words, page.text)
        self.assertIn("judged", page.texts)  # the name beside its point
        self.assertIn("judges it against another model", page.text)  # TRAINED is not base.gguf

        # The original's own figures, recognized by its hash.
        original = self.make("of_trained", recipe(model={"name": "trained", "sha256": figures["teacher_sha256"]}), tokenizer=True)
        own = self.folder / "own.json"
        own.write_text(self.succeed("eval", TRAINED, "--text", HELDOUT, "--context", 64, "--windows", 4, "--engine", "runtime", "--json").out)
        page, _ = self.report(original, "--eval", own, "--eval", self.judge(original), name="second.html")
        self.assertIn("original: trained", page.text)
        self.assertIn(f"{json.loads(own.read_text())['perplexity']:.3f}", page.text)
        self.assertNotIn("judges it against another model", page.text)

    def test_texts_of_files_stay_text(self):
        bad = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
        layers = [{"module": bad, "representation": bad, "method": bad, "relative_error": 0.1, "bits": 4},
                  {"module": "model.layers.0." + bad, "representation": bad, "method": bad, "relative_error": 0.1, "bits": 4}]
        facts = recipe(layers=layers, command_line=bad, model={"name": bad, "sha256": bad}, **{bad: bad},
                       calibration={"warnings": [bad, "\x00\x1b[31m\u202e"]})
        out = self.make("<b onclick=x>&'\"", facts)
        judged = self.folder / "judged.json"
        judged.write_text(json.dumps({
            "model": "/x/" + out.name, "engine": bad, "context": 64, "bos": True, "text": bad, "windows": 1, "tokens": 63,
            "perplexity": 3, "kl": 0.1, "bits": 4, "file_bits": 4, "file_bytes": 1000, "warnings": [bad],
            "tasks": [{"task": bad, "items": 1, "acc": 1}],
            "generations": {"prompts": 1, "tokens": 64, "agreeing_tokens": 1, "agreeing_tokens_median": 1, "agreement": 1,
                            "repetition": 0, "repetition_original": 0, "examples": [{"prompt": bad, "original": bad, "model": bad}]}}))
        page, result = self.report(out, "--eval", judged)  # Page fails on tags and attributes that are not the program's
        self.assertIn(bad, page.text)
        self.assertIn("<b onclick=x>&'\"", page.text)
        self.assertNotIn("\x1b", result.err)

    def test_names_of_equal_folders(self):
        page, _ = self.report(self.make("a/out"), self.make("b/out"))
        self.assertIn("a/out", page.text)
        self.assertIn("b/out", page.text)

    def test_refusals(self):
        out, page = self.make("out", tokenizer=True), self.folder / "report.html"
        page.write_text("mine")
        refuse = lambda *arguments, codes=(1,), says: self.fail_cleanly("report", *arguments, codes=codes, says=says)  # noqa: E731
        refuse(out, "-o", page, codes=(2,), says=["report.html exists", "--force"])
        refuse(out, "-o", self.folder, "--force", codes=(2,), says=["is a folder"])
        refuse(out, "-o", self.folder / "none" / "x.html", says=["none"])
        refuse("-o", self.folder / "x.html", codes=(2,), says=["OUT"])
        refuse(out, codes=(2,), says=["--out"])
        x = ["-o", self.folder / "x.html"]
        refuse(TRAINED, *x, says=["no bitsmith.json"])
        refuse(self.folder / "nothing", *x, says=["nothing"])
        refuse(out, "--eval", self.folder / "nothing.json", *x, says=["nothing.json"])
        judged = self.folder / "judged.json"
        for text, codes, says in [("[]", (1,), "model"), ("{", (1,), "not valid JSON"), ("", (1,), "not valid JSON"),
                                  (json.dumps({"model": "else", "file_bytes": 1, "bits": 1, "file_bits": 1}), (2,), "judges else")]:
            judged.write_text(text)
            refuse(out, "--eval", judged, *x, codes=codes, says=["judged.json", says])
        for text in ["garbage", "[]", '{"layers": 1}', '{"layers": [{"module": "a"}]}', '{"tune": []}', '{"judged": {"text": 1}}',
                     '{"tune": {"validations": [{"tokens": 1e99, "kl": 1}]}}', '{"model": {"name": 3}}', '{"calibration": {"warnings": 1}}',
                     '{"kl_heldout": "x"}']:
            (out / "bitsmith.json").write_text(text)
            refuse(out, *x, says=["bitsmith.json"])
        self.assertEqual(page.read_text(), "mine")
        (out / "bitsmith.json").write_text("{}")
        self.succeed("report", out, "-o", page, "--force")
        Page(page.read_text())

    @unittest.skipUnless(HAS_COMPRESSOR, "built without the compressor")
    def test_of_real_work(self):
        out, tuned = self.quantize("int2g16-z"), self.folder / "tuned"
        self.succeed("tune", out, "--teacher", TRAINED, "--tokens", 16384, "--data", CALIBRATION, "--parse-special",
                     "--context", CONTEXT, "-o", tuned, "--quiet")
        files = [word for model in [out, tuned] for word in ("--eval", self.judge(model))]
        page, result = self.report(out, tuned, *files)
        self.assertNotIn("warning", result.err)
        for words in ["int2g16-z", "tuned", "bitsmith quantize MODEL --representation int2g16-z --data calibration.jsonl "
                      f"--calibration-tokens 4096 --context {CONTEXT} --parse-special -o OUT", "bitsmith tune QUANTIZED --teacher MODEL "
                      "--tokens 16384", "self_attn.q_proj", "mlp.down_proj", "KL while tuning", "KL on heldout.txt", "KL on calibration text",
                      TRAINED.name]:
            self.assertIn(words, page.text)
        self.assertNotIn("Warnings", page.text)
        self.assertTrue({"int2g16-z", "tuned"} <= set(page.texts))


if __name__ == "__main__":
    main()
