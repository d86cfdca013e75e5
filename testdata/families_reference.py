#!/usr/bin/env python3
"""A decoder of every family in float64 numpy, as a check of docs/families.md.

A plan is filled from config.json with Hugging Face's tensors, or from the keys and tensors of a GGUF
file; one decoder runs it. `python testdata/families_reference.py` compares all golden logits under
testdata/families; with `--foreign DIR` also tiny_*_logits.json there; with `--mutate` it shows by how
much the logits of each model move when one feature is left out.
"""
import argparse
import copy
import json
import math
import struct
import sys
from pathlib import Path

import numpy as np

TESTDATA = Path(__file__).resolve().parent / "families"


# --- files ----------------------------------------------------------------------------------------


def read_safetensors(path):
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header, body, out = json.loads(data[8:8 + size]), data[8 + size:], {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        raw = body[slice(*entry["data_offsets"])]
        if entry["dtype"] == "BF16":
            values = (np.frombuffer(raw, np.uint16).astype(np.uint32) << 16).view(np.float32)
        else:
            values = np.frombuffer(raw, {"F32": "<f4", "F16": "<f2", "I64": "<i8"}[entry["dtype"]])
        out[name] = values.reshape(entry["shape"]).astype(np.int64 if entry["dtype"] == "I64" else np.float64)
    return out


def read_gguf(path):
    import gguf
    reader = gguf.GGUFReader(path)
    keys = {name: field.contents() for name, field in reader.fields.items() if not name.startswith("tokenizer.")}
    tensors = {t.name: gguf.dequantize(t.data, t.tensor_type).reshape([int(n) for n in reversed(t.shape)])
               .astype(np.float64) for t in reader.tensors}
    return keys, tensors


# --- rope: inverse frequencies for a sequence of `length` tokens, and the factor of cos and sin ------


def mscale(factor, m=1.0):
    return 1.0 if factor <= 1 else 0.1 * m * math.log(factor) + 1.0


def rope(settings, dims, positions, length):
    base = settings.get("rope_theta", 10000.0)
    inverse = base ** (-np.arange(0, dims, 2) / dims)
    kind = settings.get("rope_type", settings.get("type", "default"))
    factor = settings.get("factor")
    original = settings.get("original_max_position_embeddings") or positions
    attention = settings.get("attention_factor")
    if kind == "default":
        return inverse, 1.0
    if kind == "linear":
        return inverse / factor, 1.0
    if kind == "yarn":
        factor = factor or positions / original
        if attention is None:
            m, all_dim = settings.get("mscale"), settings.get("mscale_all_dim")
            attention = mscale(factor, m) / mscale(factor, all_dim) if m and all_dim else mscale(factor)
        index = lambda turns: dims * math.log(original / (turns * 2 * math.pi)) / (2 * math.log(base))
        low, high = index(settings.get("beta_fast") or 32), index(settings.get("beta_slow") or 1)
        if settings.get("truncate", True):
            low, high = math.floor(low), math.ceil(high)
        low, high = max(low, 0), min(high, dims - 1)
        high += 0.001 if low == high else 0
        ramp = np.clip((np.arange(dims // 2) - low) / (high - low), 0, 1)
        return inverse / factor * ramp + inverse * (1 - ramp), attention
    if kind == "longrope":
        factor = factor or positions / original
        if attention is None:
            attention = 1.0 if factor <= 1 else math.sqrt(1 + math.log(factor) / math.log(original))
        return inverse / np.array(settings["long_factor" if length > original else "short_factor"]), attention
    raise ValueError(kind)


def alibi_slopes(heads):
    n = 2 ** math.floor(math.log2(heads))
    slopes = [2.0 ** (-8 * i / n) for i in range(1, n + 1)]
    return np.array(slopes + [2.0 ** (-4 * i / n) for i in range(1, 2 * (heads - n), 2)])


# --- the decoder ------------------------------------------------------------------------------------


ACTIVATIONS = {
    "silu": lambda x: x / (1 + np.exp(-x)),
    "relu": lambda x: np.maximum(x, 0),
    "gelu": lambda x: 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))),
    "gelu_tanh": lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3))),
}


def norm(x, spec):
    if spec is None:
        return x
    kind, weight, bias, eps = spec
    if kind == "layer":
        x = x - x.mean(-1, keepdims=True)
    x = x / np.sqrt((x * x).mean(-1, keepdims=True) + eps)
    return x * weight + (0 if bias is None else bias)


def linear(x, spec):
    weight, bias = spec
    return x @ weight.T + (0 if bias is None else bias)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def rotate(x, block, settings):
    """x: [heads, tokens, head_dim]. Partners are half of the rotated part away, or neighbors."""
    if settings is None:
        return x
    dims = block["rope_dims"]
    inverse, factor = rope(settings, dims, block["positions"], x.shape[1])
    angle = np.arange(x.shape[1])[:, None] * inverse
    cos, sin = np.cos(angle) * factor, np.sin(angle) * factor
    out = x.copy()
    a, b = (slice(0, dims, 2), slice(1, dims, 2)) if block["neighbors"] else (slice(0, dims // 2), slice(dims // 2, dims))
    out[..., a], out[..., b] = x[..., a] * cos - x[..., b] * sin, x[..., b] * cos + x[..., a] * sin
    return out


def attention(x, block):
    heads, kv, size = block["heads"], block["kv_heads"], block["head_dim"]
    q, k, v = (linear(x, block[r]) for r in "qkv")
    if block["qk_norm"] == "all":  # over all heads of a token at once
        q, k = norm(q, block["q_norm"]), norm(k, block["k_norm"])
    q, k, v = (t.reshape(len(x), n, size).swapaxes(0, 1) for t, n in ((q, heads), (k, kv), (v, kv)))
    if block["qk_norm"] == "head":
        q, k = norm(q, block["q_norm"]), norm(k, block["k_norm"])
    q, k = rotate(q, block, block["rope"]), rotate(k, block, block["rope"])
    k, v = np.repeat(k, heads // kv, 0), np.repeat(v, heads // kv, 0)
    scores = q @ k.swapaxes(1, 2) * block["scale"]
    if block["cap"]:
        scores = block["cap"] * np.tanh(scores / block["cap"])
    i, j = np.arange(len(x))[:, None], np.arange(len(x))[None]
    if block["alibi"] is not None:
        scores = scores + block["alibi"][:, None, None] * (j - i)
    seen = (j <= i) & ((i - j < block["window"]) if block["window"] else True)
    scores = np.where(seen, scores, -np.inf)
    return linear((softmax(scores) @ v).swapaxes(0, 1).reshape(len(x), -1), block["o"])


def mlp(x, part):
    act = ACTIVATIONS[part["act"]]
    up = linear(x, part["up"])
    hidden = act(linear(x, part["gate"])) * up if part.get("gate") else act(up)
    return linear(hidden, part["down"])


def feed_forward(x, block):
    if "router" not in block:
        return mlp(x, block["mlp"])
    probabilities = softmax(x @ block["router"].T)
    out = np.zeros_like(x)
    block["picked"] = set()
    for t, p in enumerate(probabilities):
        top = np.argsort(-p)[:block["used"]]
        weights = p[top] / (p[top].sum() if block["normalized"] else 1)
        for e, w in zip(top, weights):
            block["picked"].add(int(e))
            out[t] += w * mlp(x[t], block["experts"][e])
    return out


def logits(plan, ids):
    x = plan["embedding"][ids] * plan["embedding_scale"]
    if plan["project_in"] is not None:
        x = x @ plan["project_in"].T
    if plan["position_embedding"] is not None:
        x = x + plan["position_embedding"][plan["position_offset"] + np.arange(len(ids))]
    x = norm(x, plan["embedding_norm"])
    for block in plan["blocks"]:
        if block["order"] == "parallel":
            x = x + attention(norm(x, block["attn_norm"]), block) + feed_forward(norm(x, block["ffn_norm"]), block)
        elif block["order"] == "post_residual":  # OPT-350m
            x = norm(x + attention(x, block), block["attn_norm"])
            x = norm(x + feed_forward(x, block), block["ffn_norm"])
        else:
            x = x + norm(attention(norm(x, block["attn_norm"]), block), block["attn_post_norm"])
            x = x + norm(feed_forward(norm(x, block["ffn_norm"]), block), block["ffn_post_norm"])
    x = norm(x, plan["final_norm"])
    if plan["project_out"] is not None:
        x = x @ plan["project_out"].T
    x = x @ plan["head"].T
    return plan["final_cap"] * np.tanh(x / plan["final_cap"]) if plan["final_cap"] else x


def new_plan(**values):
    return dict(embedding_scale=1.0, project_in=None, project_out=None, position_embedding=None,
                position_offset=0, embedding_norm=None, final_cap=None, blocks=[]) | values


def new_block(**values):
    return dict(order="pre", qk_norm=None, q_norm=None, k_norm=None, rope=None, neighbors=False, alibi=None,
                window=None, cap=None, attn_norm=None, attn_post_norm=None, ffn_norm=None,
                ffn_post_norm=None) | values


def split_rows(pair, sizes):
    weight, bias = pair
    cuts = np.cumsum(sizes)[:-1]
    return list(zip(np.split(weight, cuts), np.split(bias, cuts) if bias is not None else [None] * len(sizes)))


def heads_apart(pair, heads):
    """Rows [heads, 3, size] (BLOOM, GPT-NeoX) -> q, k, v."""
    weight, bias = pair
    w = weight.reshape(heads, 3, -1, weight.shape[1])
    b = bias.reshape(heads, 3, -1) if bias is not None else None
    return [(w[:, r].reshape(-1, weight.shape[1]), None if b is None else b[:, r].reshape(-1)) for r in range(3)]


# --- config.json --------------------------------------------------------------------------------------


def rope_settings(c, default_base=10000.0):
    """One dict of rope settings from either spelling (Gemma 3: `local` and `global`)."""
    new = c.get("rope_parameters") or {}
    if "full_attention" in new:
        return {"global": new["full_attention"], "local": new["sliding_attention"]}
    if c["model_type"] == "gemma3_text":
        scaling = c.get("rope_scaling") or {}
        return {"global": {"rope_theta": c.get("rope_theta", 1e6)} | scaling,
                "local": {"rope_theta": c.get("rope_local_base_freq", 1e4)}}
    settings = {"rope_theta": c.get("rope_theta", c.get("rotary_emb_base", default_base))}
    settings |= (c.get("rope_scaling") or {}) | new
    if "original_max_position_embeddings" in c:  # Phi-3: outside, and before what is inside
        settings["original_max_position_embeddings"] = c["original_max_position_embeddings"]
    return settings


def plan_of_config(c, tensors):
    for prefix in ("transformer.", "model.decoder.", "gpt_neox.", "model.", ""):
        if any(n.startswith(prefix) for n in tensors):
            break
    t = {n.removeprefix(prefix): v for n, v in tensors.items()}
    pair = lambda n: (t[n + ".weight"], t.get(n + ".bias"))
    kind = c["model_type"]
    if kind in ("gpt2", "bloom", "opt", "gpt_neox"):
        return layer_norm_plan(kind, c, t, pair)
    hidden, heads = c["hidden_size"], c["num_attention_heads"]
    kv = c.get("num_key_value_heads") or heads
    size = c.get("head_dim") or hidden // heads
    eps = c.get("rms_norm_eps", 1e-5 if kind in ("phi3", "mixtral", "olmo2") else 1e-6)
    one = 1.0 if kind.startswith("gemma") else 0.0
    rms = lambda n: ("rms", t[n + ".weight"] + one, None, eps)
    tied = c.get("tie_word_embeddings", kind.startswith("gemma"))
    gemma = kind.startswith("gemma")
    plan = new_plan(embedding=t["embed_tokens.weight"], final_norm=rms("norm"), final_cap=c.get("final_logit_softcapping"),
                    embedding_scale=math.sqrt(hidden) if gemma else 1.0,
                    head=t["embed_tokens.weight"] if tied else t["lm_head.weight"])
    settings = rope_settings(c, 1e6 if kind == "mixtral" else 1e4)
    partial = c.get("partial_rotary_factor", settings.get("partial_rotary_factor", 1.0)) if kind == "phi3" else 1.0
    types = c.get("layer_types")
    for i in range(c["num_hidden_layers"]):
        at = f"layers.{i}."
        block = new_block(heads=heads, kv_heads=kv, head_dim=size, rope=settings, rope_dims=int(size * partial),
                          positions=c["max_position_embeddings"], scale=size ** -0.5, o=pair(at + "self_attn.o_proj"),
                          window=c.get("sliding_window"))
        if kind == "qwen3_moe" and not c.get("use_sliding_window", False):
            block["window"] = None
        if gemma:
            period = 2 if kind == "gemma2" else c.get("sliding_window_pattern", 6)
            local = types[i] == "sliding_attention" if types else (i + 1) % period != 0
            block |= {"window": c["sliding_window"] if local else None, "cap": c.get("attn_logit_softcapping") if kind == "gemma2" else None,
                      "scale": c["query_pre_attn_scalar"] ** -0.5}
            if kind == "gemma3_text":
                block["rope"] = settings["local" if local else "global"]
        if kind == "phi3":
            block["q"], block["k"], block["v"] = split_rows(pair(at + "self_attn.qkv_proj"), [heads * size, kv * size, kv * size])
        else:
            for r in "qkv":
                block[r] = pair(at + f"self_attn.{r}_proj")
        if kind in ("qwen3", "qwen3_moe", "gemma3_text", "olmo2"):
            block |= {"qk_norm": "all" if kind == "olmo2" else "head", "q_norm": rms(at + "self_attn.q_norm"), "k_norm": rms(at + "self_attn.k_norm")}
        if kind == "olmo2" or gemma:
            block |= {"attn_post_norm": rms(at + "post_attention_layernorm"), "ffn_post_norm": rms(at + "post_feedforward_layernorm")}
        if gemma:
            block |= {"attn_norm": rms(at + "input_layernorm"), "ffn_norm": rms(at + "pre_feedforward_layernorm")}
        elif kind != "olmo2":
            block |= {"attn_norm": rms(at + "input_layernorm"), "ffn_norm": rms(at + "post_attention_layernorm")}
        act = {"silu": "silu", "gelu_pytorch_tanh": "gelu_tanh"}[c.get("hidden_activation", "gelu_pytorch_tanh") if gemma else c.get("hidden_act", "silu")]
        expert = lambda base, g, u, d: dict(act=act, gate=pair(base + g), up=pair(base + u), down=pair(base + d))
        sparse = kind == "qwen3_moe" and i not in (c.get("mlp_only_layers") or []) and (i + 1) % c.get("decoder_sparse_step", 1) == 0
        if kind == "mixtral":
            block |= {"router": t[at + "block_sparse_moe.gate.weight"], "used": c["num_experts_per_tok"], "normalized": True,
                      "experts": [expert(at + f"block_sparse_moe.experts.{e}.", "w1", "w3", "w2") for e in range(c["num_local_experts"])]}
        elif sparse:
            block |= {"router": t[at + "mlp.gate.weight"], "used": c["num_experts_per_tok"], "normalized": c.get("norm_topk_prob", False),
                      "experts": [expert(at + f"mlp.experts.{e}.", "gate_proj", "up_proj", "down_proj")
                                  for e in range(c["num_experts"] if "num_experts" in c else c["num_local_experts"])]}
        elif kind == "phi3":
            gate, up = split_rows(pair(at + "mlp.gate_up_proj"), [c["intermediate_size"]] * 2)
            block["mlp"] = dict(act=act, gate=gate, up=up, down=pair(at + "mlp.down_proj"))
        else:
            block["mlp"] = expert(at + "mlp.", "gate_proj", "up_proj", "down_proj")
        plan["blocks"].append(block)
    return plan


def layer_norm_plan(kind, c, t, pair):
    hidden = c.get("hidden_size", c.get("n_embd"))
    heads = c.get("n_head", c.get("num_attention_heads"))
    layers = c.get("n_layer", c.get("num_hidden_layers"))
    size = hidden // heads
    eps = c.get("layer_norm_epsilon", c.get("layer_norm_eps", 1e-5))
    ln = lambda n: ("layer", *pair(n), eps)
    names = {"gpt2": ("wte", "ln_f", "h.{}."), "bloom": ("word_embeddings", "ln_f", "h.{}."),
             "opt": ("embed_tokens", "final_layer_norm", "layers.{}."), "gpt_neox": ("embed_in", "final_layer_norm", "layers.{}.")}[kind]
    embedding = t[names[0] + ".weight"]
    post = kind == "opt" and not c.get("do_layer_norm_before", True)
    plan = new_plan(embedding=embedding, head=embedding, final_norm=None if post or c.get("_remove_final_layer_norm") else ln(names[1]))
    if kind == "gpt2":
        plan["position_embedding"] = t["wpe.weight"]
    if kind == "bloom":
        plan["embedding_norm"] = ln("word_embeddings_layernorm")
    if kind == "opt":
        plan |= {"position_embedding": t["embed_positions.weight"], "position_offset": 2}
        plan |= {n: t.get(n + ".weight") for n in ("project_in", "project_out")}
    if kind == "gpt_neox" and not c.get("tie_word_embeddings", False):
        plan["head"] = t["embed_out.weight"] if "embed_out.weight" in t else t["lm_head.weight"]
    for i in range(layers):
        at = names[2].format(i)
        block = new_block(heads=heads, kv_heads=heads, head_dim=size, scale=size ** -0.5)
        if kind == "gpt2":
            flip = lambda n: (pair(n)[0].T, pair(n)[1])
            block["q"], block["k"], block["v"] = split_rows(flip(at + "attn.c_attn"), [hidden] * 3)
            block |= {"o": flip(at + "attn.c_proj"), "attn_norm": ln(at + "ln_1"), "ffn_norm": ln(at + "ln_2"),
                      "mlp": dict(act="gelu_tanh", up=flip(at + "mlp.c_fc"), down=flip(at + "mlp.c_proj"))}
        elif kind == "opt":
            block |= {r: pair(at + f"self_attn.{r}_proj") for r in "qkv"}
            block |= {"o": pair(at + "self_attn.out_proj"), "attn_norm": ln(at + "self_attn_layer_norm"), "ffn_norm": ln(at + "final_layer_norm"),
                      "mlp": dict(act=c.get("activation_function", "relu"), up=pair(at + "fc1"), down=pair(at + "fc2")),
                      "order": "post_residual" if post else "pre"}
        else:
            attn = "self_attention" if kind == "bloom" else "attention"
            block["q"], block["k"], block["v"] = heads_apart(pair(at + attn + ".query_key_value"), heads)
            block |= {"o": pair(at + attn + ".dense"), "attn_norm": ln(at + "input_layernorm"), "ffn_norm": ln(at + "post_attention_layernorm"),
                      "mlp": dict(act="gelu_tanh" if kind == "bloom" else "gelu", up=pair(at + "mlp.dense_h_to_4h"), down=pair(at + "mlp.dense_4h_to_h"))}
            if kind == "bloom":
                block["alibi"] = alibi_slopes(heads)
            else:
                settings = rope_settings(c)
                partial = settings.get("partial_rotary_factor", c.get("rotary_pct", 0.25))
                block |= {"rope": settings, "rope_dims": int(size * partial), "positions": c["max_position_embeddings"],
                          "order": "parallel" if c.get("use_parallel_residual", True) else "pre"}
        plan["blocks"].append(block)
    return plan


# --- GGUF -----------------------------------------------------------------------------------------------


def plan_of_gguf(keys, t):
    arch = keys["general.architecture"]
    key = lambda n, default=None: keys.get(f"{arch}.{n}", default)
    hidden, heads, layers = key("embedding_length"), key("attention.head_count"), key("block_count")
    kv = key("attention.head_count_kv", heads)
    size = key("attention.key_length", hidden // heads)
    gemma = arch in ("gemma2", "gemma3")
    kind = "layer" if arch in ("gpt2", "bloom", "gptneox") else "rms"
    eps = key("attention.layer_norm_epsilon") if kind == "layer" else key("attention.layer_norm_rms_epsilon")
    pair = lambda n: (t[n + ".weight"], t.get(n + ".bias"))
    nrm = lambda n: (kind, *pair(n), eps) if n + ".weight" in t else None
    plan = new_plan(embedding=t["token_embd.weight"], head=t.get("output.weight", t["token_embd.weight"]), final_norm=nrm("output_norm"),
                    embedding_scale=math.sqrt(hidden) if gemma else 1.0, final_cap=key("final_logit_softcapping"),
                    position_embedding=t.get("position_embd.weight"), embedding_norm=nrm("token_embd_norm"))
    settings = {"rope_theta": key("rope.freq_base", 10000.0)}
    if (scaling := key("rope.scaling.type", "none")) != "none":
        settings |= {"rope_type": scaling, "factor": key("rope.scaling.factor"), "original_max_position_embeddings": key("rope.scaling.original_context_length")}
    if "rope_factors_long.weight" in t:
        settings |= {"rope_type": "longrope", "original_max_position_embeddings": key("rope.scaling.original_context_length"),
                     "attention_factor": key("rope.scaling.attn_factor"),
                     **{f"{k}_factor": t[f"rope_factors_{k}.weight"] for k in ("long", "short")}}
    for i in range(layers):
        at = f"blk.{i}."
        block = new_block(heads=heads, kv_heads=kv, head_dim=size, scale=size ** -0.5, positions=key("context_length"), o=pair(at + "attn_output"),
                          rope_dims=key("rope.dimension_count", size), neighbors=arch == "llama", window=key("attention.sliding_window"),
                          attn_norm=nrm(at + "attn_norm"), ffn_norm=nrm(at + "ffn_norm"), attn_post_norm=nrm(at + "post_attention_norm"),
                          ffn_post_norm=nrm(at + "post_ffw_norm"), q_norm=nrm(at + "attn_q_norm"), k_norm=nrm(at + "attn_k_norm"))
        if block["q_norm"]:
            block["qk_norm"] = "all" if arch == "olmo2" else "head"
        if arch not in ("gpt2", "bloom"):
            block["rope"] = settings
        if arch == "bloom":
            block["alibi"] = alibi_slopes(heads)
        if gemma:
            local = (i + 1) % (2 if arch == "gemma2" else 6) != 0
            block |= {"window": key("attention.sliding_window") if local else None, "cap": key("attn_logit_softcapping")}
            if arch == "gemma3" and local:
                block["rope"] = {"rope_theta": key("rope.freq_base_swa", 10000.0)}
        if arch == "gptneox" and key("use_parallel_residual"):
            block["order"] = "parallel"
        if at + "attn_qkv.weight" in t:
            block["q"], block["k"], block["v"] = split_rows(pair(at + "attn_qkv"), [heads * size, kv * size, kv * size])
        else:
            block |= {r: pair(at + f"attn_{r}") for r in "qkv"}
        act = {"bloom": "gelu_tanh", "gpt2": "gelu_tanh", "gptneox": "gelu"}.get(arch, "gelu_tanh" if gemma else "silu")
        if key("expert_count", 0):
            stack = {r: t[f"{at}ffn_{r}_exps.weight"] for r in ("gate", "up", "down")}
            block |= {"router": t[at + "ffn_gate_inp.weight"], "used": key("expert_used_count"), "normalized": True,
                      "experts": [dict(act=act, **{r: (s[e], None) for r, s in stack.items()}) for e in range(key("expert_count"))]}
        elif arch == "phi3":
            gate, up = split_rows(pair(at + "ffn_up"), [key("feed_forward_length")] * 2)
            block["mlp"] = dict(act=act, gate=gate, up=up, down=pair(at + "ffn_down"))
        else:
            block["mlp"] = dict(act=act, up=pair(at + "ffn_up"), down=pair(at + "ffn_down"))
            if at + "ffn_gate.weight" in t:
                block["mlp"]["gate"] = pair(at + "ffn_gate")
        plan["blocks"].append(block)
    return plan


# --- checks -----------------------------------------------------------------------------------------------


def error(got, want):
    return float(np.linalg.norm(got - want) / np.linalg.norm(want))


def change(plan, label, edit):
    other = copy.deepcopy(plan)
    if edit(other) is False:
        return None
    return label, other


def mutations(plan):
    """Plans with one feature wrong."""
    def each(test, edit):
        def run(p):
            hit = [edit(b) for b in p["blocks"] if test(b)]
            return bool(hit)
        return run
    put = lambda **kw: (lambda b: b.update(kw))
    def swap_norm(p):
        p["final_norm"] = (p["final_norm"][0], p["final_norm"][1] - 1, *p["final_norm"][2:])
    yield "no window", each(lambda b: b["window"], put(window=None))
    yield "window + 1", each(lambda b: b["window"], lambda b: b.update(window=b["window"] + 1))
    yield "window everywhere", (lambda p: len({b["window"] for b in p["blocks"]}) > 1 and each(lambda b: True, put(window=8))(p))
    yield "no score cap", each(lambda b: b["cap"], put(cap=None))
    yield "no final cap", (lambda p: p["final_cap"] is not None and p.update(final_cap=None) is None)
    yield "scale by head_dim", each(lambda b: b["scale"] != b["head_dim"] ** -0.5, lambda b: b.update(scale=b["head_dim"] ** -0.5))
    yield "no ALiBi", each(lambda b: b["alibi"] is not None, put(alibi=None))
    yield "ALiBi slopes of one row", each(lambda b: b["alibi"] is not None, lambda b: b.update(alibi=2.0 ** (-8 * np.arange(1, b["heads"] + 1) / b["heads"])))
    yield "no embedding scale", (lambda p: p["embedding_scale"] != 1 and p.update(embedding_scale=1.0) is None)
    yield "no embedding norm", (lambda p: p["embedding_norm"] is not None and p.update(embedding_norm=None) is None)
    yield "position offset 0", (lambda p: p["position_offset"] > 0 and p.update(position_offset=0) is None)
    yield "no position embedding", (lambda p: p["position_embedding"] is not None and p.update(position_embedding=None) is None)
    yield "no q/k norm", each(lambda b: b["qk_norm"], put(qk_norm=None))
    yield "no norm after attention", each(lambda b: b["attn_post_norm"], put(attn_post_norm=None))
    yield "no norm after ffn", each(lambda b: b["ffn_post_norm"], put(ffn_post_norm=None))
    yield "plain rope", each(lambda b: b["rope"] and b["rope"].get("rope_type", b["rope"].get("type", "default")) != "default", lambda b: b.update(rope={"rope_theta": b["rope"]["rope_theta"]}))
    yield "attention factor 1", each(lambda b: b["rope"] and b["rope"].get("rope_type", b["rope"].get("type")) in ("yarn", "longrope"), lambda b: b.update(rope=b["rope"] | {"attention_factor": 1.0}))
    yield "long factors always", each(lambda b: b["rope"] and "long_factor" in b["rope"], lambda b: b.update(rope=b["rope"] | {"short_factor": b["rope"]["long_factor"]}))
    yield "short factors always", each(lambda b: b["rope"] and "long_factor" in b["rope"], lambda b: b.update(rope=b["rope"] | {"long_factor": b["rope"]["short_factor"]}))
    yield "truncate", each(lambda b: b["rope"] and "truncate" in b["rope"], lambda b: b.update(rope=b["rope"] | {"truncate": True}))
    yield "one rope base", (lambda p: len({b["rope"]["rope_theta"] for b in p["blocks"] if b["rope"]}) > 1 and each(lambda b: True, put(rope=p["blocks"][-1]["rope"]))(p))
    yield "whole head rotated", each(lambda b: b["rope"] and b["rope_dims"] < b["head_dim"] and "long_factor" not in b["rope"], lambda b: b.update(rope_dims=b["head_dim"]))
    yield "neighbors rotated", each(lambda b: b["rope"], lambda b: b.update(neighbors=not b["neighbors"]))
    yield "serial residual", each(lambda b: b["order"] == "parallel", put(order="pre"))
    yield "norms before", each(lambda b: b["order"] == "post_residual", put(order="pre"))
    yield "router weights other", each(lambda b: "router" in b, lambda b: b.update(normalized=not b["normalized"]))
    yield "one expert", each(lambda b: "router" in b, put(used=1))
    yield "k, v heads in turn", each(lambda b: 1 < b["kv_heads"] < b["heads"], lambda b: b.update({r: (b[r][0].reshape(b["kv_heads"], -1, b[r][0].shape[1])[::-1].reshape(b[r][0].shape), b[r][1]) for r in "kv"}))
    yield "gate and up exchanged", each(lambda b: b.get("mlp", {}).get("gate"), lambda b: b["mlp"].update(gate=b["mlp"]["up"], up=b["mlp"]["gate"]))
    yield "gelu: erf for tanh", each(lambda b: b.get("mlp", {}).get("act") == "gelu_tanh", lambda b: b["mlp"].update(act="gelu"))
    yield "gelu: tanh for erf", each(lambda b: b.get("mlp", {}).get("act") == "gelu", lambda b: b["mlp"].update(act="gelu_tanh"))
    yield "RMS for LayerNorm", each(lambda b: b["attn_norm"] and b["attn_norm"][0] == "layer", lambda b: b.update(attn_norm=("rms", *b["attn_norm"][1:])))
    yield "no biases", each(lambda b: b["q"][1] is not None, lambda b: b.update({r: (b[r][0], None) for r in "qkvo"}))
    yield "norm weight - 1", (lambda p: p["final_norm"] is not None and swap_norm(p) is None)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--foreign", type=Path)
    parser.add_argument("--mutate", action="store_true")
    args = parser.parse_args()
    worst = 0.0
    for folder in sorted(TESTDATA.iterdir()):
        tensors = read_safetensors(folder / "model.safetensors")
        for file in ("config.json", "config_v5.json", "model.gguf"):
            if not (folder / file).exists():
                continue
            plan = plan_of_gguf(*read_gguf(folder / file)) if file == "model.gguf" else plan_of_config(json.loads((folder / file).read_text()), tensors)
            for golden in ("golden", "golden_long", "golden_gguf"):
                path = folder / f"{golden}.safetensors"
                replaced = (folder / "golden_gguf.safetensors").exists()
                if not path.exists() or (golden == "golden_gguf") != (file == "model.gguf" and replaced) and golden != "golden_long":
                    continue
                want = read_safetensors(path)
                e = error(logits(plan, want["ids"]), want["logits"])
                worst = max(worst, e)
                picked = [sorted(b["picked"]) for b in plan["blocks"] if "picked" in b]
                print(f"{folder.name:28} {file:15} {golden:12} {e:.1e}", picked if picked and file == "config.json" else "", flush=True)
                if args.mutate and file == "config.json":
                    for label, edit in mutations(plan):
                        if changed := change(plan, label, edit):
                            print(f"    {label:26} {error(logits(changed[1], want['ids']), want['logits']):.1e}")
    if args.foreign:
        for path in sorted(args.foreign.glob("tiny_*_logits.json")):
            name = path.name.removesuffix("_logits.json")
            case = json.loads(path.read_text())
            config = args.foreign / f"{name}_config.json"
            if not (args.foreign / f"{name}.safetensors").exists():
                continue
            c = json.loads(config.read_text()) if config.exists() else {"model_type": "gpt2"} | case["config"]
            try:
                plan = plan_of_config(c, read_safetensors(args.foreign / f"{name}.safetensors"))
                for s, want in zip(case["sequences"], case["logits"]):
                    e = error(logits(plan, np.array(s)), np.array(want))
                    worst = max(worst, e)
                    print(f"{name:28} foreign {e:.1e}")
            except Exception as problem:
                print(f"{name:28} foreign: {type(problem).__name__} {problem}")
    print(f"worst {worst:.1e}")
    sys.exit(worst > 1e-5)


if __name__ == "__main__":
    main()
