#!/usr/bin/env python3
"""Writes small valid inputs for a fuzz target that testdata/ has none for, and prints their paths.

usage: make_seeds.py TARGET FOLDER
"""
import json
import random
import re
import struct
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "testdata"))
from grammar import documents as grammar_documents  # noqa: E402

SPECIAL = ["<unk>", "<s>", "</s>"]
PIECES = ["\u2581", "e", "t", "a", "h", "l", "o", "he", "th", "the", "\u2581a", "\u2581the", "ll", "llo", "hello",
          "\u2581\u2581", "\u00e9", "\u4e2d"]


def byte_alphabet():
    """GPT-2's printable character of every byte."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(b) if b in kept else chr(next(others)) for b in range(256)]


def quantized_checkpoint():
    """Values for every representation of the target's list; more than there are do no harm."""
    rng = random.Random(1)
    for choice in range(20):
        yield bytes([2, choice, 0, 7, 0, 0]) + rng.randbytes(4096)


def packed_model():
    """A tiny dense llama packed for each level, and bytes for the arrays of every representation of the target."""
    rng = random.Random(2)
    hidden, inner, vocabulary, narrow = 16, 32, 24, 8
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "vocab_size": vocabulary,
              "hidden_size": hidden, "intermediate_size": inner, "num_hidden_layers": 1, "num_attention_heads": 2,
              "num_key_value_heads": 1, "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "tie_word_embeddings": True}
    block = "model.layers.0."
    matrices = {"model.embed_tokens": (vocabulary, hidden), block + "self_attn.q_proj": (hidden, hidden),
                block + "self_attn.k_proj": (narrow, hidden), block + "self_attn.v_proj": (narrow, hidden),
                block + "self_attn.o_proj": (hidden, hidden), block + "mlp.gate_proj": (inner, hidden),
                block + "mlp.up_proj": (inner, hidden), block + "mlp.down_proj": (hidden, inner)}
    arrays = {name + ".dense1.bfloat16": ("I16", 2, bytes(n for _ in range(out * columns) for n in (rng.randrange(256), 60)))
              for name, (out, columns) in matrices.items()}
    for norm in ("model.norm", block + "input_layernorm", block + "post_attention_layernorm"):
        arrays[norm + ".weight"] = ("F32", 4, struct.pack("<f", 1.0) * hidden)
    for level in ("scalar", "avx2", "avxvnni", "avx512", "avx512vbmi", "neon"):
        about = {"version": 1, "isa": level, "packed_from": {"decoder_bits": 16, "file_bits": 16}}
        header, data = {"__metadata__": {"bitsmith_packed": json.dumps(about, separators=(",", ":"))}}, b""
        for name, (dtype, width, values) in arrays.items():
            values += bytes(-len(values) % 64)
            header[name] = {"dtype": dtype, "shape": [len(values) // width],
                            "data_offsets": [len(data), len(data) + len(values)]}
            data += values
        text = json.dumps(config).encode()
        header["text/config.json"] = {"dtype": "U8", "shape": [len(text)], "data_offsets": [len(data), len(data) + len(text)]}
        head = json.dumps(header, separators=(",", ":")).encode()
        head += b" " * (-(8 + len(head)) % 64)
        yield b"\0" + struct.pack("<Q", len(head)) + head + data + text
    for choice in range(21):
        yield bytes([1, choice]) + rng.randbytes(512)


def gguf(keys):
    def string(text):
        data = text.encode()
        return struct.pack("<Q", len(data)) + data

    def value(v):
        if isinstance(v, bool):
            return 7, struct.pack("<?", v)
        if isinstance(v, int):
            return 4, struct.pack("<I", v)
        if isinstance(v, float):
            return 6, struct.pack("<f", v)
        if isinstance(v, str):
            return 8, string(v)
        kind = value(v[0])[0]
        return 9, struct.pack("<IQ", kind, len(v)) + b"".join(value(item)[1] for item in v)

    out = b"GGUF" + struct.pack("<IQQ", 3, 0, len(keys))
    for key, v in keys.items():
        kind, data = value(v)
        out += string(key) + struct.pack("<I", kind) + data
    return out


def gguf_vocabulary():
    prefix = "tokenizer.ggml."
    merges = [("t", "h"), ("th", "e"), ("\u0120", "the"), ("l", "l"), ("1", "2"), ("\u00c3", "\u00a9")]
    tokens = byte_alphabet() + [a + b for a, b in merges] + ["<|end|>", "<tool>"]
    for pre in ["gpt-2", "smollm", "llama-bpe", "qwen2", "deepseek-llm", "falcon", "kimi-k2", "superbpe", "jais-2"]:
        yield gguf({prefix + "model": "gpt2", prefix + "pre": pre, prefix + "tokens": tokens,
                    prefix + "token_type": [1] * (len(tokens) - 2) + [3, 4],
                    prefix + "merges": [" ".join(pair) for pair in merges],
                    prefix + "bos_token_id": len(tokens) - 2, prefix + "eos_token_id": len(tokens) - 2,
                    prefix + "add_bos_token": True, "tokenizer.chat_template": "{{ messages }}"})
    for with_bytes in [True, False]:
        tokens = SPECIAL + [f"<0x{b:02X}>" for b in range(256)] * with_bytes + PIECES
        special = len(tokens) - len(PIECES)
        yield gguf({prefix + "model": "llama", prefix + "tokens": tokens,
                    prefix + "token_type": [2, 3, 3] + [6] * (special - 3) + [1] * len(PIECES),
                    prefix + "scores": [0.0] * special + [-float(i) for i in range(len(PIECES))],
                    prefix + "unknown_token_id": 0, prefix + "bos_token_id": 1, prefix + "eos_token_id": 2,
                    prefix + "add_space_prefix": with_bytes})
        yield gguf({prefix + "model": "t5", prefix + "tokens": tokens,
                    prefix + "token_type": [2, 3, 3] + [6] * (special - 3) + [1] * len(PIECES),
                    prefix + "scores": [0.0] * special + [-float(i) for i in range(len(PIECES))],
                    prefix + "unknown_token_id": 0, prefix + "eos_token_id": 2,
                    prefix + "precompiled_charsmap": [4, 0, 0, 0, 0, 0, 0, 0, 0],
                    prefix + "remove_extra_whitespaces": with_bytes, prefix + "add_space_prefix": True})


def sentencepiece():
    """A ModelProto by hand: pieces (1), trainer_spec (2: model_type, byte_fallback), normalizer_spec (3)."""
    def varint(n):
        out = b""
        while n > 127:
            out += bytes([n & 127 | 128])
            n >>= 7
        return out + bytes([n])

    def message(field, data):
        return varint(field << 3 | 2) + varint(len(data)) + data

    def number(field, n):
        return varint(field << 3) + varint(n)

    for model_type in [1, 2, 3, 4]:  # unigram, BPE, word, char
        for with_bytes in [False, True]:
            pieces = [(text, 0.0, kind) for text, kind in zip(SPECIAL, [2, 3, 3])]
            pieces += [(f"<0x{b:02X}>", 0.0, 6) for b in range(256)] * with_bytes
            pieces += [(text, -float(i), 1) for i, text in enumerate(PIECES)] + [("<tool>", 0.0, 4)]
            out = b""
            for text, score, kind in pieces:
                out += message(1, message(1, text.encode()) + b"\x15" + struct.pack("<f", score) + number(3, kind))
            out += message(2, number(3, model_type) + number(35, with_bytes))
            out += message(3, message(1, b"identity") + number(3, 1) + number(4, 1) + number(5, 1))
            yield out


def chat_template():
    for path in sorted(ROOT.glob("testdata/*/tokenizer_config.json")):
        yield json.loads(path.read_text()).get("chat_template", "").encode()
    turn = "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    yield ("{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
           "{{ '<|im_start|>system\nBe kind.<|im_end|>\n' }}{% endif %}" + turn + "{% endfor %}"
           "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}").encode()
    yield ("{%- for message in messages -%}{%- if message.role == \"user\" -%}[INST] {{ message.content | trim }} "
           "[/INST]{%- endif -%}{%- endfor -%}").encode()
    # The templates of the interpreter's own tests: one of each tag, operator, filter, test and method.
    for path in sorted(ROOT.glob("src/tokenizer/jinja/*_test.cpp")):
        text = re.sub(r'"\s*\n\s*"', "", path.read_text())  # a literal on several lines
        for literal in re.findall(r'"((?:[^"\\]|\\.)*)"', text):
            if "{{" in literal or "{%" in literal:
                yield literal.encode().decode("unicode-escape").encode("latin-1", "replace")


def documents():
    lines = [json.dumps({"text": text}) for text in grammar_documents(seed=3, count=20)]
    yield "\n".join(lines).encode()
    yield ("\r\n\n".join(lines) + "\n").encode()
    yield json.dumps({"text": "\U0001f600 \ud83d\u0000", "messages": [{"role": "user", "content": "Hi"}]}).encode()
    yield "plain text, not JSON".encode("utf-16")


def tasks():
    """The first byte is the task's number, in the order of all_tasks()."""
    def lines(*records):
        return "".join(json.dumps(record) + "\n" for record in records).encode()

    choices = [{"text": text, "label": label} for text, label in zip(["river", "caf\u00e9", "three"], "ABC")]
    arc = lines({"id": "a", "question": {"stem": "Which?", "choices": choices}, "answerKey": "B"})
    yield b"\0" + arc
    yield b"\1" + arc
    yield b"\2" + b"Cooking: A man. he\n2\nstirs\nwaits\neats\nsings\n"
    yield b"\3" + lines({"goal": "Sit", "sol1": "on a chair", "sol2": "on air"}) + b"\0" + b"0\n"
    yield b"\4" + lines({"qID": "w", "sentence": "Anna saw _ run.", "option1": "Ida", "option2": "Hugo", "answer": "2"})
    yield b"\5" + lines({"question": "is it", "title": "T", "answer": True, "passage": "It is."})
    yield b"\6" + lines({"context": "She saw the", "continuation": "cat"}, {"text": "He saw the dog"})


def completion_request():
    message = {"role": "user", "content": "Hi"}
    yield json.dumps({"messages": [message]}).encode()
    yield json.dumps({
        "model": "m", "temperature": 0.5, "top_p": 0.9, "top_k": 40, "min_p": 0.1, "repetition_penalty": 1.1, "seed": 3,
        "max_tokens": 5, "stop": ["a", "\u20ac"], "stream": True, "stream_options": {"include_usage": True},
        "logprobs": True, "top_logprobs": 2, "n": 1, "logit_bias": {}, "response_format": {"type": "text"},
        "tool_choice": "auto", "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
        "chat_template_kwargs": {"enable_thinking": False},
        "messages": [{"role": "system", "content": [{"type": "text", "text": "a"}]}, message,
                     {"role": "assistant", "content": None, "tool_calls": [
                         {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{\"x\": [1]}"}}]}]}).encode()
    for prompt in ["Anna", [1, 2, 3], ["a", "b"], [[1], [2, 3]]]:
        yield json.dumps({"prompt": prompt, "echo": True, "logprobs": 1, "max_tokens": 0, "best_of": 1}).encode()


def main():
    target, folder = sys.argv[1], Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    seeds = globals()[target.removesuffix("_fuzz")]()
    for i, seed in enumerate(seeds):
        path = folder / f"{target}-{i}"
        path.write_bytes(seed)
        print(path)


if __name__ == "__main__":
    main()
