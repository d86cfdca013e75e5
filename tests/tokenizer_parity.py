#!/usr/bin/env python3
"""Compares `bitsmith tokenize` with Hugging Face tokenizers, id by id, on whole text files.

    tokenizer_parity.py --bitsmith build/release/bitsmith --reference DIR/tokenizer.json \
        --model DIR --model MODEL.gguf FILE...

Every MODEL must give the reference's ids on every FILE, and decode back to its text.
"""
import argparse
import json
import subprocess
import sys
import time

from tokenizers import Tokenizer


def run(arguments):
    done = subprocess.run(arguments, capture_output=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(arguments)}: {done.stderr.decode()}")
    return json.loads(done.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bitsmith", required=True)
    parser.add_argument("--reference", required=True, help="tokenizer.json")
    parser.add_argument("--model", action="append", required=True)
    parser.add_argument("--no-special", action="store_true")
    parser.add_argument("files", nargs="+")
    options = parser.parse_args()

    reference = Tokenizer.from_file(options.reference)
    reference.no_truncation()
    reference.no_padding()
    failed = False
    for path in options.files:
        with open(path, encoding="utf-8", newline="") as file:
            text = file.read()
        expected = reference.encode(text, add_special_tokens=not options.no_special).ids
        for model in options.model:
            start = time.perf_counter()
            command = [options.bitsmith, "tokenize", model, "--file", path, "--json"]
            found = run(command + ["--no-special"] * options.no_special)["ids"]
            seconds = time.perf_counter() - start
            pairs = zip(expected, found)
            first = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(expected), len(found)))
            same = expected == found
            failed |= not same
            print(f"{'same' if same else 'DIFFERENT'}  {path}  {model}  {len(found)} ids  {seconds:.2f} s")
            if not same:
                print(f"  at {first}: expected {expected[first:first + 8]}, found {found[first:first + 8]}:"
                      f" {reference.decode(expected[max(first - 8, 0):first + 8])!r}")
            head = expected[:1000]
            decoded = run([options.bitsmith, "tokenize", model, "--json", "--decode",
                           ",".join(map(str, head))])["text"]
            if head and decoded != reference.decode(head, skip_special_tokens=False):
                failed = True
                print("  DIFFERENT text from --decode of the first 1000 ids")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
