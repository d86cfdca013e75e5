"""GGUF files of the tiny models of family_models.py: the keys, names and changed tensors that llama.cpp's
conversion gives each family. Matrices keep their 16-bit type, vectors and routers become F32, so the
file holds exactly the weights of model.safetensors.
"""
import math
import re

import gguf
import numpy as np

ROUTER_AND_POSITIONS = ("ffn_gate_inp.weight", "position_embd.weight")  # F32 whatever the file's type


def add_keys(writer, architecture, config):
    sizes = {key: config[key] for key in config}
    hidden = sizes.get("hidden_size", sizes.get("n_embd"))
    heads = sizes.get("num_attention_heads", sizes.get("n_head"))
    head_dim = sizes.get("head_dim", hidden // heads)
    inner = sizes.get("intermediate_size", 4 * hidden)
    writer.add_context_length(next(sizes[k] for k in ("max_position_embeddings", "n_ctx", "seq_length") if k in sizes))
    writer.add_embedding_length(hidden)
    writer.add_block_count(sizes.get("num_hidden_layers", sizes.get("n_layer")))
    writer.add_feed_forward_length(inner)
    writer.add_head_count(heads)
    if architecture not in ("gpt2", "gptneox"):
        writer.add_head_count_kv(sizes.get("num_key_value_heads", heads))
    if architecture in ("bloom", "gpt2", "gptneox"):
        writer.add_layer_norm_eps(sizes.get("layer_norm_epsilon", sizes.get("layer_norm_eps")))
    else:
        writer.add_layer_norm_rms_eps(sizes["rms_norm_eps"])
    if "head_dim" in sizes:
        writer.add_key_length(head_dim)
        writer.add_value_length(head_dim)
    if architecture == "llama":
        writer.add_vocab_size(sizes["vocab_size"])
        writer.add_rope_dimension_count(head_dim)
    if architecture in ("llama", "qwen3moe", "olmo2", "phi3", "gemma3"):
        writer.add_rope_freq_base(sizes["rope_theta"])
    if architecture in ("gemma2", "gemma3"):
        writer.add_sliding_window(sizes["sliding_window"])
    if architecture == "gemma2":
        writer.add_attn_logit_softcapping(sizes["attn_logit_softcapping"])
        writer.add_final_logit_softcapping(sizes["final_logit_softcapping"])
    if architecture == "gptneox":
        writer.add_rope_dimension_count(int(sizes["rotary_pct"] * head_dim))
        writer.add_parallel_residual(sizes["use_parallel_residual"])
    if experts := sizes.get("num_local_experts", sizes.get("num_experts")):
        writer.add_expert_count(experts)
        writer.add_expert_used_count(sizes["num_experts_per_tok"])
    if "moe_intermediate_size" in sizes:
        writer.add_expert_feed_forward_length(sizes["moe_intermediate_size"])
    scaling = sizes.get("rope_scaling") or {}
    kind = scaling.get("rope_type", scaling.get("type"))
    if architecture == "phi3":
        writer.add_rope_scaling_orig_ctx_len(sizes["original_max_position_embeddings"])
        writer.add_rope_dimension_count(int(sizes.get("partial_rotary_factor", 1.0) * hidden) // heads)
        writer.add_sliding_window(sizes["sliding_window"] or 0)
        if kind == "longrope":
            original = sizes["original_max_position_embeddings"]
            factor = sizes["max_position_embeddings"] / original
            writer.add_rope_scaling_attn_factors(math.sqrt(1 + math.log(factor) / math.log(original)))
            for key in ("long", "short"):
                writer.add_tensor(f"rope_factors_{key}.weight", np.array(scaling[f"{key}_factor"], np.float32))
    elif kind in ("linear", "yarn"):
        writer.add_rope_scaling_type(gguf.RopeScalingType(kind))
        writer.add_rope_scaling_factor(scaling["factor"])
        if kind == "yarn":
            writer.add_rope_scaling_orig_ctx_len(scaling["original_max_position_embeddings"])


def pairs(rows, heads):
    """Rotary partners become neighbors: from halves of each head to interleaved pairs."""
    return rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def by_role(rows, heads):
    """Fused q, k, v: from head by head to all of q, all of k, all of v."""
    return rows.reshape(heads, 3, rows.shape[0] // heads // 3, *rows.shape[1:]).swapaxes(0, 1).reshape(rows.shape)


def converted(architecture, config, tensors):
    """Name in the file and values of each tensor; `tensors`: float32 arrays by Hugging Face name."""
    names = gguf.get_tensor_name_map(
        next(a for a, n in gguf.MODEL_ARCH_NAMES.items() if n == architecture),
        config.get("num_hidden_layers", config.get("n_layer")))
    heads = config.get("num_attention_heads", config.get("n_head"))
    experts = {}
    for name, values in sorted(tensors.items()):
        if architecture == "gpt2" and name.endswith(".attn.bias"):
            continue
        if architecture in ("gemma2", "gemma3") and name.endswith("norm.weight"):
            values = values + 1
        if architecture == "llama" and (match := re.search(r"\.([qk])_proj\.", name)):
            values = pairs(values, heads if match[1] == "q" else config["num_key_value_heads"])
        if architecture in ("bloom", "gptneox") and "query_key_value" in name:
            values = by_role(values, heads)
        if architecture == "gpt2" and name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight")):
            values = values.T
        if match := re.fullmatch(r"(.*\.experts)\.(\d+)\.(.*)", name):
            experts.setdefault(f"{match[1]}.{match[3]}", {})[int(match[2])] = values
            continue
        yield names.get_name(name, (".weight", ".bias")), values
    for name, parts in experts.items():
        yield names.get_name(name, (".weight", ".bias")), np.stack([parts[i] for i in range(len(parts))])


def write(path, architecture, config, tensors, kind, add_tokenizer):
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name("tiny")  # llama.cpp expects the tokens of Phi-3 of a model whose name says phi3
    add_keys(writer, architecture, config)
    add_tokenizer(writer)
    for name, values in converted(architecture, config, tensors):
        values = np.ascontiguousarray(values)
        if values.ndim == 1 or name.endswith(ROUTER_AND_POSITIONS):
            writer.add_tensor(name, values)
        else:
            writer.add_tensor(name, gguf.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
