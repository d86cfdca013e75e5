"""Tiny models of the families beyond Llama: what make_models.py needs to know of each.

Each family is one entry of FAMILIES: config.json as models of the family on the hub write it, the
tensor names that they use, and, where llama.cpp reads the family, a GGUF file of the same weights
(family_gguf.py). Weights are drawn so that every feature of the family changes the logits by far
more than rounding does: norms, biases, soft caps, windows, rope scaling, the choice of experts.
"""
import torch

VOCAB = 384
TOKENS = 40  # of the golden sequence: five windows of eight

COMMON = {"vocab_size": VOCAB, "hidden_size": 32, "num_hidden_layers": 2, "bos_token_id": 0, "eos_token_id": 2}
PHI3 = COMMON | {
    "architectures": ["Phi3ForCausalLM"], "model_type": "phi3", "intermediate_size": 48,
    "num_attention_heads": 4, "num_key_value_heads": 2, "hidden_act": "silu", "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0, "pad_token_id": 0, "attention_bias": False}
MIXTRAL = COMMON | {
    "architectures": ["MixtralForCausalLM"], "model_type": "mixtral", "intermediate_size": 16,
    "num_attention_heads": 4, "num_key_value_heads": 2, "hidden_act": "silu", "rms_norm_eps": 1e-5,
    "rope_theta": 1000000.0, "max_position_embeddings": 256, "num_local_experts": 4,
    "num_experts_per_tok": 2, "sliding_window": None, "tie_word_embeddings": False}
LLAMA = COMMON | {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "intermediate_size": 64,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "hidden_act": "silu",
    "max_position_embeddings": 256, "rms_norm_eps": 1e-5, "tie_word_embeddings": True}
GEMMA = COMMON | {
    "intermediate_size": 32, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16,
    "hidden_activation": "gelu_pytorch_tanh", "max_position_embeddings": 256, "rms_norm_eps": 1e-6,
    "sliding_window": 8, "attention_bias": False, "pad_token_id": 0, "tie_word_embeddings": True}
OPT = COMMON | {
    "architectures": ["OPTForCausalLM"], "model_type": "opt", "ffn_dim": 64, "num_attention_heads": 2,
    "max_position_embeddings": 64, "word_embed_proj_dim": 32, "do_layer_norm_before": True,
    "activation_function": "relu", "pad_token_id": 1, "enable_bias": True, "tie_word_embeddings": True}

# name -> (config.json, stored type, architecture of the GGUF file or None)
FAMILIES = {
    "tiny_phi3": (PHI3 | {
        "max_position_embeddings": 256, "original_max_position_embeddings": 256, "sliding_window": 8,
        "rope_scaling": None, "tie_word_embeddings": False}, torch.bfloat16, "phi3"),
    # Phi-4-mini's shape: tied, 3/4 of a head is rotated. 24 tokens need the short factors, 40 the long.
    "tiny_phi3_longrope": (PHI3 | {
        "hidden_size": 48, "num_attention_heads": 3, "num_key_value_heads": 1,
        "max_position_embeddings": 128, "original_max_position_embeddings": 32, "sliding_window": None,
        "partial_rotary_factor": 0.75, "tie_word_embeddings": True, "rope_scaling": {
            "type": "longrope", "short_factor": [1.0, 1.1, 1.25, 1.4, 1.7, 2.0],
            "long_factor": [1.3, 1.9, 2.7, 3.6, 5.0, 8.0]}}, torch.bfloat16, "phi3"),
    "tiny_mixtral": (MIXTRAL, torch.bfloat16, "llama"),
    # The router never picks expert 2 of layer 0 and expert 0 of layer 1.
    "tiny_mixtral_unused": (MIXTRAL | {"sliding_window": 8}, torch.float16, None),
    "tiny_qwen3_moe": (COMMON | {
        "architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "intermediate_size": 64,
        "moe_intermediate_size": 16, "num_experts": 6, "num_experts_per_tok": 3, "norm_topk_prob": True,
        "decoder_sparse_step": 1, "mlp_only_layers": [], "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 16, "hidden_act": "silu", "max_position_embeddings": 256,
        "rms_norm_eps": 1e-6, "rope_theta": 1000000.0, "rope_scaling": None, "attention_bias": False,
        "use_sliding_window": False, "sliding_window": None, "max_window_layers": 2,
        "tie_word_embeddings": False}, torch.bfloat16, "qwen3moe"),
    # Weights of the chosen experts as they are, and a layer without experts.
    "tiny_qwen3_moe_mixed": (COMMON | {
        "architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "intermediate_size": 48,
        "moe_intermediate_size": 16, "num_experts": 4, "num_experts_per_tok": 2, "norm_topk_prob": False,
        "decoder_sparse_step": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16,
        "hidden_act": "silu", "max_position_embeddings": 256, "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0, "attention_bias": True, "tie_word_embeddings": True}, torch.float16, None),
    # Three heads: the slopes of ALiBi are not one geometric row.
    "tiny_bloom": ({
        "architectures": ["BloomForCausalLM"], "model_type": "bloom", "vocab_size": VOCAB,
        "hidden_size": 48, "n_layer": 2, "n_head": 3, "layer_norm_epsilon": 1e-5, "seq_length": 256,
        "apply_residual_connection_post_layernorm": False, "bos_token_id": 0, "eos_token_id": 2},
        torch.float16, "bloom"),
    # Scores are scaled by 24^-1/2, as the 27B model's are not by its head's size. A GGUF file
    # cannot say so: its golden logits are those of 16^-1/2.
    "tiny_gemma2": (GEMMA | {
        "architectures": ["Gemma2ForCausalLM"], "model_type": "gemma2", "hidden_act": "gelu_pytorch_tanh",
        "num_attention_heads": 4, "num_key_value_heads": 2, "rope_theta": 10000.0,
        "query_pre_attn_scalar": 24, "attn_logit_softcapping": 3.0, "final_logit_softcapping": 4.0},
        torch.bfloat16, "gemma2"),
    # Five local layers and a global one, whose positions are stretched.
    "tiny_gemma3": (GEMMA | {
        "architectures": ["Gemma3ForCausalLM"], "model_type": "gemma3_text", "num_hidden_layers": 6,
        "rope_theta": 1000000.0, "rope_local_base_freq": 10000.0, "sliding_window_pattern": 6,
        "rope_scaling": {"rope_type": "linear", "factor": 4.0}, "query_pre_attn_scalar": 16,
        "attn_logit_softcapping": None, "final_logit_softcapping": None}, torch.bfloat16, "gemma3"),
    "tiny_olmo2": (COMMON | {
        "architectures": ["Olmo2ForCausalLM"], "model_type": "olmo2", "intermediate_size": 64,
        "num_attention_heads": 4, "num_key_value_heads": 2, "hidden_act": "silu",
        "max_position_embeddings": 256, "rms_norm_eps": 1e-6, "rope_theta": 500000.0, "pad_token_id": 0,
        "attention_bias": False, "tie_word_embeddings": False}, torch.bfloat16, "olmo2"),
    "tiny_gpt2": ({
        "architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "vocab_size": VOCAB, "n_embd": 32,
        "n_layer": 2, "n_head": 2, "n_ctx": 64, "n_positions": 64, "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5, "bos_token_id": 0, "eos_token_id": 2}, torch.float16, "gpt2"),
    "tiny_opt": (OPT, torch.float16, None),
    # OPT-350m's shape: norms after the residual, none at the end, a narrower embedding.
    "tiny_opt_350m": (OPT | {
        "do_layer_norm_before": False, "word_embed_proj_dim": 16, "ffn_dim": 48}, torch.float16, None),
    "tiny_gpt_neox": (COMMON | {
        "architectures": ["GPTNeoXForCausalLM"], "model_type": "gpt_neox", "intermediate_size": 64,
        "num_attention_heads": 2, "hidden_act": "gelu", "layer_norm_eps": 1e-5, "rotary_pct": 0.5,
        "rotary_emb_base": 10000, "max_position_embeddings": 256, "use_parallel_residual": True,
        "tie_word_embeddings": False}, torch.float16, "gptneox"),
    "tiny_llama_yarn": (LLAMA | {
        "rope_theta": 10000.0, "rope_scaling": {
            "type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}}, torch.bfloat16, "llama"),
    # Every optional setting of yarn, in the spelling of transformers 5.
    "tiny_llama_rope_parameters": (LLAMA | {
        "dtype": "bfloat16", "rope_parameters": {
            "rope_type": "yarn", "rope_theta": 1000.0, "factor": 4.0, "original_max_position_embeddings": 64,
            "beta_fast": 12.0, "beta_slow": 0.5, "mscale": 1.5, "mscale_all_dim": 0.5, "truncate": False}},
        torch.bfloat16, None),
}
SHORT_TOKENS = {"tiny_phi3_longrope": 24}  # golden.safetensors; golden_long.safetensors has TOKENS
GGUF_CONFIG = {"tiny_gemma2": {"query_pre_attn_scalar": 16}}  # what golden_gguf.safetensors is of
UNUSED_EXPERTS = {"tiny_mixtral_unused": {0: 2, 1: 0}}


def is_norm(name):
    return name.endswith(("norm.weight", "ln_1.weight", "ln_2.weight", "ln_f.weight"))


def draw(name, parameter, config, generator):
    """Values under which no part of the model is close to doing nothing."""
    noise = torch.randn(parameter.shape, generator=generator)
    if is_norm(name):
        return 0.4 * noise if config["model_type"].startswith("gemma") else 1 + 0.3 * noise
    if name.endswith("bias"):
        return 0.3 * noise
    if any(part in name for part in ("embed", "wte", "wpe", "lm_head", "embed_out")):
        return 0.5 * noise
    inputs = parameter.shape[0] if config["model_type"] == "gpt2" else parameter.shape[-1]  # Conv1D: [in, out]
    return 1.3 * noise / inputs ** 0.5


def silence(tensors, layer, expert):
    """The router of `layer` never picks `expert`: feature 0 of the residual is the same positive
    number in every token, and the row of the expert points far against it."""
    for name, tensor in tensors.items():
        if name == "model.embed_tokens.weight":
            tensor[:, 0] = 1.5
        elif name.endswith(("o_proj.weight", "w2.weight")):
            tensor[0] = 0
        elif name == f"model.layers.{layer}.post_attention_layernorm.weight":
            tensor[0] = 1
        elif name == f"model.layers.{layer}.block_sparse_moe.gate.weight":
            tensor[:, 0] = 0
            tensor[expert, 0] = -100


def has_gelu(config):
    return config["model_type"] in ("bloom", "gemma2", "gemma3_text", "gpt2", "gpt_neox")


def show_gelu(tensors):
    """Half of the MLP's neurons sit near -2.5, where the two GELUs differ most beside their size, and
    count much: exact and tanh GELU then differ by far more than 1e-4 in the logits."""
    for name, tensor in tensors.items():
        if name.endswith(("mlp.c_fc.weight", "mlp.c_proj.bias", "dense_4h_to_h.bias")):
            tensor *= 0.3
        elif name.endswith(("mlp.c_fc.bias", "dense_h_to_4h.bias")):
            tensor[::2] = 0.3 * tensor[::2] - 2.5
        elif name.endswith("dense_h_to_4h.weight"):
            tensor[::2] *= 0.3
        elif name.endswith("mlp.gate_proj.weight"):  # no bias: feature 0 is the same in every token
            tensor[::2] *= 0.3
            tensor[::2, 0] = -2.0
        elif name.endswith("mlp.c_proj.weight"):
            tensor[::2] *= 12
        elif name.endswith(("dense_4h_to_h.weight", "mlp.down_proj.weight")):
            tensor[:, ::2] *= 12
        if name == "model.embed_tokens.weight":
            tensor[:, 0] = 0.5
        if name.endswith(("o_proj.weight", "mlp.down_proj.weight")):
            tensor[0] = 0


def stored_names(name, tensors):
    """Tensors as the hub's models of the family name them, where transformers writes other names."""
    model_type = FAMILIES[name][0]["model_type"]
    if model_type in ("gpt2", "bloom"):
        tensors = {key.removeprefix("transformer."): value for key, value in tensors.items()}
    if model_type == "gpt2":  # the causal mask, which old files hold as a buffer
        for layer in range(2):
            tensors[f"h.{layer}.attn.bias"] = torch.ones(64, 64).tril().view(1, 1, 64, 64)
    return tensors
