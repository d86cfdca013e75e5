#!/usr/bin/env python3
"""Writes a random model of Mixtral's shape with narrow blocks, to measure time and memory on experts.

    bench/mixtral_shape.py testdata/tiny_llama_trained mixtral
    bitsmith quantize mixtral --representation int4g64 --data TEXT --calibration-tokens 8192 --context 512 -o out

The tokenizer is that of the first model. The router never picks the last expert. Standard library only.
"""
import argparse
import json
import math
import random
import shutil
import struct
from pathlib import Path

HIDDEN, WIDTH, BLOCKS, EXPERTS, HEADS, KV_HEADS = 2048, 5632, 2, 8, 32, 4
HEAD = HIDDEN // HEADS


def shapes(vocab):
    yield "model.embed_tokens", (vocab, HIDDEN)
    for block in range(BLOCKS):
        prefix = f"model.layers.{block}."
        yield prefix + "input_layernorm", (HIDDEN,)
        yield prefix + "post_attention_layernorm", (HIDDEN,)
        for name, out in ("q", HIDDEN), ("k", KV_HEADS * HEAD), ("v", KV_HEADS * HEAD), ("o", HIDDEN):
            yield prefix + f"self_attn.{name}_proj", (out, HIDDEN)
        yield prefix + "block_sparse_moe.gate", (EXPERTS, HIDDEN)
        for expert in range(EXPERTS):
            for name, shape in ("w1", (WIDTH, HIDDEN)), ("w2", (HIDDEN, WIDTH)), ("w3", (WIDTH, HIDDEN)):
                yield prefix + f"block_sparse_moe.experts.{expert}.{name}", shape
    yield "model.norm", (HIDDEN,)
    yield "lm_head", (vocab, HIDDEN)


def random_values(count, features):
    """bfloat16 values of random sign and size in [2^e, 2^(e + 2)), which keep the size of inputs about as it is."""
    exponent = (127 + round(math.log2(features ** -0.5 / 2.4))) // 2  # without its last bit
    signs = bytes((byte & 128) + exponent for byte in range(256))
    raw = bytearray(2 * count)
    raw[0::2] = random.randbytes(count)  # mantissas, and the last bit of exponents
    raw[1::2] = random.randbytes(count).translate(signs)
    return raw


def router(features):
    """Of two opposite rows one scores above a row of zeros, so two experts come before the last one."""
    negative = bytes(byte ^ 128 for byte in range(256))
    rows = [random_values(features, features) for _ in range(EXPERTS)]
    for row, opposite in (rows[0], rows[1]), (rows[2], rows[3]):
        opposite[0::2], opposite[1::2] = row[0::2], row[1::2].translate(negative)
    rows[-1] = bytes(2 * features)
    return b"".join(rows)


def values(name, shape):
    if len(shape) == 1:
        return struct.pack("<H", 0x3F80) * shape[0]  # ones
    return router(shape[1]) if name.endswith("gate") else random_values(math.prod(shape), shape[1])


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("tokenizer", type=Path, help="directory of a model with a tokenizer")
    p.add_argument("out", type=Path, help="directory to write")
    args = p.parse_args()
    args.out.mkdir(parents=True)
    for file in args.tokenizer.glob("tokenizer*.json"):
        shutil.copy(file, args.out)
    source = json.loads((args.tokenizer / "config.json").read_text())
    config = {
        "architectures": ["MixtralForCausalLM"], "model_type": "mixtral", "torch_dtype": "bfloat16",
        "vocab_size": source["vocab_size"], "hidden_size": HIDDEN, "intermediate_size": WIDTH,
        "num_hidden_layers": BLOCKS, "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS,
        "head_dim": HEAD, "num_local_experts": EXPERTS, "num_experts_per_tok": 2, "hidden_act": "silu",
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "max_position_embeddings": 2048, "sliding_window": None,
        "tie_word_embeddings": False, "bos_token_id": source["bos_token_id"], "eos_token_id": source["eos_token_id"],
    }
    (args.out / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    tensors = dict(shapes(source["vocab_size"]))
    header, end = {}, 0
    for name, shape in tensors.items():
        begin, end = end, end + 2 * math.prod(shape)
        header[name + ".weight"] = {"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    random.seed(1)
    with open(args.out / "model.safetensors", "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for name, shape in tensors.items():
            f.write(values(name, shape))


if __name__ == "__main__":
    main()
