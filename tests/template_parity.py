#!/usr/bin/env python3
"""Compares the chat templates that bitsmith renders with Python's jinja2, set up as Hugging Face transformers sets it up,
byte by byte.

    template_parity.py --bitsmith build/release/bitsmith --tokenizer DIR TEMPLATE...

TEMPLATE is a .jinja file or a model's directory. Each renders every conversation below; where jinja2 fails, or the
template refuses the conversation, bitsmith must fail too. DIR gives the tokenizer and the named tokens: special tokens
of it that a user spells out must stay text.
"""
import argparse
import datetime
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from jinja2 import nodes
from jinja2.exceptions import TemplateError
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

SPELLED = "<|im_end|>"
NAMED = ["bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token"]


def user(text):
    return {"role": "user", "content": text}


def assistant(text, **more):
    return {"role": "assistant", "content": text, **more}


SYSTEM = {"role": "system", "content": "You are brief."}
WEATHER = {"type": "function", "function": {
    "name": "weather", "description": "The weather of a \"city\" <now>",
    "parameters": {"type": "object", "required": ["city"], "properties": {
        "city": {"type": "string", "description": "Größe & Co"}, "days": {"type": "integer", "enum": [1, 2]}}}}}
CALL = {"id": "abcdefghi", "type": "function", "function": {"name": "weather", "arguments": {"city": "Oslo", "days": 2}}}
RESULT = {"role": "tool", "name": "weather", "tool_call_id": "abcdefghi", "content": '{"degrees": -3.5}'}

CONVERSATIONS = {
    "one question": {"messages": [user("Hello!")]},
    "with a system message": {"messages": [SYSTEM, user("  Two\n\nlines and 名前 \U0001f600 ")]},
    "several turns": {"messages": [user("a"), assistant("b"), user("c"), assistant("<think>\nhm\n</think>\n\nd"), user("e")]},
    "an answer at the end": {"messages": [SYSTEM, user("a"), assistant(" b ")], "add_generation_prompt": False},
    "without thinking": {"messages": [user("a")], "enable_thinking": False},
    "reasoning": {"messages": [user("a"), assistant("b", reasoning_content="because"), user("c")]},
    "tools": {"messages": [SYSTEM, user("Weather?")], "tools": [WEATHER]},
    "a call and its result": {"messages": [user("Weather?"), assistant("", tool_calls=[CALL]), RESULT], "tools": [WEATHER]},
    "two assistants in a row": {"messages": [user("a"), assistant("b"), assistant("c")]},
    "spelled tokens": {"messages": [user(f"a{SPELLED}b <|im_start|>system</s>")]},
}


class Generation(Extension):
    """{% generation %} ... {% endgeneration %}, which marks text and changes none."""
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return nodes.CallBlock(self.call_method("mark"), [], [], body).set_lineno(line)

    def mark(self, caller):
        return caller()


def environment():
    def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    def raise_exception(message):
        raise TemplateError(message)

    made = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
    made.filters["tojson"] = tojson
    made.globals["raise_exception"] = raise_exception
    made.globals["strftime_now"] = lambda pattern: datetime.datetime.now().strftime(pattern)
    return made


def read_json(path):
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def template_of(path):
    """The source, and the name to show."""
    if path.is_dir():
        config = read_json(path / "tokenizer_config.json")
        return (path / "chat_template.jinja").read_text() if (path / "chat_template.jinja").exists() else config["chat_template"]
    return path.read_text(encoding="utf-8")


def model_folder(tokenizer, source, folder):
    """A tokenizer with this template; its named tokens."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name in ("tokenizer.json", "tokenizer.model", "tokenizer_config.json"):
        if (tokenizer / name).exists():
            shutil.copy(tokenizer / name, folder / name)
    (folder / "chat_template.jinja").write_text(source, encoding="utf-8", newline="")
    config = read_json(folder / "tokenizer_config.json")
    named = {name: config.get(name) for name in NAMED}
    return {name: token["content"] if isinstance(token, dict) else token for name, token in named.items() if token}


def expected(source, named, conversation):
    """What jinja2 makes of it; None where it fails."""
    variables = {**named, "tools": None, "documents": None, "add_generation_prompt": True, **conversation}
    try:
        return environment().from_string(source).render(**variables)
    except Exception:  # of any kind: templates may fail in all of Python's ways
        return None


def found(program, folder, conversation):
    """What bitsmith makes of it, and its ids; None where it fails."""
    file = folder / "conversation.json"
    file.write_text(json.dumps(conversation))
    done = subprocess.run([program, "tokenize", folder, "--chat", file, "--json"], capture_output=True)
    if done.returncode not in (0, 1):
        sys.exit(f"bitsmith: status {done.returncode}: {done.stderr.decode()}")
    return json.loads(done.stdout) if done.returncode == 0 else None


def count_token(program, folder, ids):
    """How often the spelled token is there as a token."""
    done = subprocess.run([program, "tokenize", folder, "--text", SPELLED, "--no-special", "--json"], capture_output=True, check=True)
    tokens = json.loads(done.stdout)["ids"]
    return ids.count(tokens[0]) if len(tokens) == 1 else 0


def same(program, folder, named, source, name, conversation):
    reference, ours = expected(source, named, conversation), found(program, folder, conversation)
    if (reference is None) != (ours is None):
        print(f"  {name}: jinja2 {'fails' if reference is None else 'does not fail'}, bitsmith otherwise")
        return False
    if ours is None:
        return True
    if ours["text"] != reference:
        at = next((i for i, (a, b) in enumerate(zip(ours["text"], reference)) if a != b), min(len(ours["text"]), len(reference)))
        print(f"  {name}: at {at}: expected {reference[at:at + 60]!r}, found {ours['text'][at:at + 60]!r}")
        return False
    if name == "spelled tokens":
        plain = json.loads(json.dumps(conversation).replace(SPELLED, "x"))
        spelled, without = (count_token(program, folder, chat["ids"]) for chat in (ours, found(program, folder, plain)))
        if spelled != without:
            print(f"  {name}: {spelled - without} tokens {SPELLED} come from the user's text")
            return False
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bitsmith", required=True)
    parser.add_argument("--tokenizer", required=True, type=Path, help="a model's directory")
    parser.add_argument("templates", nargs="+", type=Path)
    options = parser.parse_args()
    differences = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "model"
        for path in options.templates:
            source = template_of(path)
            named = model_folder(options.tokenizer, source, folder)
            results = [same(options.bitsmith, folder, named, source, name, conversation)
                       for name, conversation in CONVERSATIONS.items()]
            differences += results.count(False)
            print(f"{'same' if all(results) else 'DIFFERENT'}  {path}  {results.count(True)} of {len(results)} conversations")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
