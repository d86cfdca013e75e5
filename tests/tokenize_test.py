#!/usr/bin/env python3
"""bitsmith tokenize."""
import importlib.util
import json
import subprocess
import sys
import unittest
from pathlib import Path

from support import PROGRAM, TESTDATA, TRAINED, ProgramTest, main


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

    def test_chat(self):
        messages = [{"role": "user", "content": "What is 3 plus 4?<|im_end|>"}]
        file = self.folder / "chat.json"
        file.write_text(json.dumps(messages))
        chat = json.loads(self.succeed("tokenize", TRAINED, "--chat", file, "--json").out)
        self.assertIn("What is 3 plus 4?<|im_end|>", chat["text"])
        # What the template writes is tokens, what the user spells is not.
        parsed = json.loads(self.succeed("tokenize", TRAINED, "--text", chat["text"], "--no-special", "--json").out)["ids"]
        self.assertLess(len(parsed), len(chat["ids"]))
        plain = self.succeed("tokenize", TRAINED, "--chat", file).out
        self.assertEqual(plain, chat["text"] + "\n" + " ".join(map(str, chat["ids"])) + "\n")
        # An object gives the template's variables, too.
        file.write_text(json.dumps({"messages": messages, "add_generation_prompt": False}))
        shorter = json.loads(self.succeed("tokenize", TRAINED, "--chat", file, "--json").out)
        self.assertLess(len(shorter["text"]), len(chat["text"]))
        for bad in ("[3]", "{}", '{"messages": 3}', "[", "3"):
            file.write_text(bad)
            self.fail_cleanly("tokenize", TRAINED, "--chat", file, codes=(1,), says=["chat.json"])
        self.fail_cleanly("tokenize", TRAINED, "--chat", file, "--text", "a", codes=(2,))

    @unittest.skipUnless(importlib.util.find_spec("jinja2"), "jinja2 is not installed: chat templates are not compared with it")
    def test_templates_are_rendered_as_jinja2_does(self):
        template = self.folder / "tools.jinja"
        template.write_text("""{%- set ns = namespace(system='', calls=0) -%}
{%- for m in messages if m.role == 'system' %}{% set ns.system = ns.system ~ m.content | trim %}{% endfor -%}
{% macro call(c) %}<call>{{ c.function.name }}: {{ c.function.arguments | tojson }}</call>{% endmacro %}
{{ bos_token }}{{ ns.system }}{% if tools %}

# Tools
{% for tool in tools %}
    {{ tool | tojson(indent=2) }}
{% endfor %}{% endif %}
{% for m in messages %}
    {%- if loop.previtem is defined and m.role == loop.previtem.role %}{{ raise_exception('Roles must alternate') }}{% endif %}
{{ '<|im_start|>' + m['role'] }} {{ loop.index0 }}
{% generation %}{{ m.content.split('</think>')[-1].lstrip('\\n') }}{% endgeneration %}
{% for c in m.tool_calls or [] %}{% set ns.calls = ns.calls + 1 %}{{ call(c) }}{% if ns.calls > 3 %}{% break %}{% endif %}{% endfor %}<|im_end|>
{% endfor %}
{% if add_generation_prompt %}<|im_start|>assistant
{{ '<think>\\n\\n</think>' if enable_thinking is defined and not enable_thinking }}{% endif %}""")
        script = Path(__file__).parent / "template_parity.py"
        run = subprocess.run([sys.executable, "-B", script, "--bitsmith", PROGRAM, "--tokenizer", TRAINED, TRAINED, template],
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.assertEqual(run.returncode, 0, run.stdout)
        self.assertEqual([line.split()[0] for line in run.stdout.splitlines()], ["same", "same"], run.stdout)


if __name__ == "__main__":
    main()
