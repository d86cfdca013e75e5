#!/usr/bin/env python3
"""Makes the tiny models under testdata/, with golden logits from Hugging Face transformers.

Run by hand where a new model is wanted, in an environment with torch, transformers, tokenizers,
safetensors and gguf; the output is committed, so that the tests need none of them:

    python testdata/make_models.py            # all models; the trained one takes about three minutes
    python testdata/make_models.py NAME ...   # only these

Every model directory holds config.json, the weights, the tokenizer, and golden.safetensors: `ids`
(int64 [tokens]) and `logits` (float32 [tokens, vocab]), computed in float32 from the weights as
stored. Everything comes from this script and its seeds; the text from grammar.py beside it.

tiny_quantized_v1 and tiny_quantized_v2 were written by Bitsmith itself, the first by the last commit that
wrote version 1 of the quantized format, from tiny_llama:

    bitsmith quantize testdata/tiny_llama --representation gvq2d2b-n512-s16 --method rtn --embedding 8 \\
      --override 'layers.0.self_attn.q_proj=aq2x4g8-s3' --override 'layers.0.self_attn.k_proj=int3g16-z' \\
      --override 'layers.0.self_attn.v_proj=aq1x4g8' --override 'layers.0.self_attn.o_proj=gvq1d3b-n256-r3' \\
      --override 'layers.0.mlp.up_proj=gvq4d1b-n1024-g16-c16' --override 'layers.0.mlp.gate_proj=gvq2d2b'

(config.json and model.safetensors of the result). The tests read them for ever.

families/NAME are the families of family_models.py. Beside the files above they hold config_v5.json (the
settings as transformers 5 writes them), model.gguf (the same weights, where llama.cpp's conversion
writes such), golden_long.safetensors where the logits of a longer sequence need other rope factors,
and golden_gguf.safetensors where the GGUF file means another model.
"""
import json
import random
import shutil
import sys
import tempfile
from pathlib import Path

import gguf
import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModelForCausalLM

import family_gguf
import family_models
from grammar import documents, story

HERE = Path(__file__).resolve().parent
VOCAB = 384
CHATML = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + "
    "'<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|im_start|>assistant\n' }}{% endif %}"
)

# --- the tokenizer: digits one by one, then byte-level BPE, as SmolLM2's ---------------------------


def make_tokenizer():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB, special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False)
    # Trained on stories only: in chats the special tokens would be learned as text.
    tokenizer.train_from_iterator((story(random.Random(i)) for i in range(2000)), trainer)
    assert tokenizer.get_vocab_size() == VOCAB
    return tokenizer


def write_tokenizer(folder, tokenizer):
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(folder / "tokenizer_config.json", {
        "bos_token": "<|endoftext|>", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>",
        "chat_template": CHATML, "clean_up_tokenization_spaces": False,
        "model_max_length": 256, "tokenizer_class": "PreTrainedTokenizerFast"})
    # A chat ends with <|im_end|>, a document with <|endoftext|>: two end tokens.
    write_json(folder / "generation_config.json", {"bos_token_id": 0, "eos_token_id": [2, 0]})


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2) + "\n")


# --- random models --------------------------------------------------------------------------------

LLAMA = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": VOCAB,
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "hidden_act": "silu", "max_position_embeddings": 256,
    "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": True,
    "bos_token_id": 0, "eos_token_id": 2,
}

# name -> (config.json, stored dtype, number of shards). Together they spell every variant that the
# decoder knows, in the old (rope_scaling, "type") and the new (rope_parameters) writing.
RANDOM_MODELS = {
    "tiny_llama": (LLAMA | {"torch_dtype": "float32"}, torch.float32, 1),
    "tiny_llama3_rope": (LLAMA | {
        "rope_theta": 500000.0, "rope_scaling": {
            "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64}}, torch.bfloat16, 1),
    "tiny_llama_linear": (LLAMA | {
        "rope_scaling": {"type": "linear", "factor": 2.5}, "attention_bias": True, "mlp_bias": True,
        "tie_word_embeddings": False}, torch.float16, 1),
    # 24 golden tokens are more than the 16 from which the base grows.
    "tiny_llama_dynamic": (LLAMA | {
        "rope_scaling": {"rope_type": "dynamic", "factor": 2.0}, "max_position_embeddings": 16},
        torch.bfloat16, 1),
    # Layer 0 sees everything, layer 1 six tokens.
    "tiny_qwen2": (LLAMA | {
        "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "rms_norm_eps": 1e-6,
        "use_sliding_window": True, "sliding_window": 6, "max_window_layers": 1}, torch.bfloat16, 1),
    "tiny_qwen3": ({k: v for k, v in LLAMA.items() if k != "rope_theta"} | {
        "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "head_dim": 16,
        "rms_norm_eps": 1e-6, "tie_word_embeddings": False, "use_sliding_window": False,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0}}, torch.float16, 1),
    "tiny_mistral": (LLAMA | {
        "architectures": ["MistralForCausalLM"], "model_type": "mistral", "sliding_window": 7,
        "head_dim": 8, "tie_word_embeddings": False}, torch.bfloat16, 2),
}


def random_weights(model, seed):
    """Weights large enough that attention is far from uniform, norms and biases not trivial."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in sorted(model.named_parameters()):
        noise = torch.randn(parameter.shape, generator=generator)
        if name.endswith("norm.weight"):
            parameter.data = 1 + 0.2 * noise
        elif name.endswith("bias"):
            parameter.data = 0.3 * noise
        elif "embed" in name or "lm_head" in name:
            parameter.data = 0.5 * noise
        else:
            parameter.data = 1.3 * noise / parameter.shape[1] ** 0.5


def stored_tensors(model, dtype):
    tied = model.config.tie_word_embeddings
    return {name: tensor.detach().to(dtype).contiguous() for name, tensor in model.state_dict().items()
            if not (tied and name == "lm_head.weight")}


def write_weights(folder, tensors, shards):
    metadata = {"format": "pt"}
    if shards == 1:
        save_file(tensors, folder / "model.safetensors", metadata)
        return
    names, weight_map = sorted(tensors), {}
    for i in range(shards):
        file = f"model-{i + 1:05}-of-{shards:05}.safetensors"
        part = names[i * len(names) // shards:(i + 1) * len(names) // shards]
        save_file({n: tensors[n] for n in part}, folder / file, metadata)
        weight_map |= {n: file for n in part}
    total = sum(t.numel() * t.element_size() for t in tensors.values())
    write_json(folder / "model.safetensors.index.json",
               {"metadata": {"total_size": total}, "weight_map": weight_map})


def golden(model, ids):
    model = model.float().eval()
    with torch.no_grad():
        return model(torch.tensor([ids]), use_cache=False).logits[0].float().contiguous()


def write_golden(folder, model, ids):
    save_file({"ids": torch.tensor(ids), "logits": golden(model, ids)}, folder / "golden.safetensors")


def folder_of(name):
    return HERE / "families" / name if name in family_models.FAMILIES else HERE / name


def fresh_folder(name):
    folder = folder_of(name)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def load_stored(folder):
    """The model as transformers reads it from disk, computed in float32."""
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")


def make_random(name, tokenizer):
    config, dtype, shards = RANDOM_MODELS[name]
    folder = fresh_folder(name)
    write_json(folder / "config.json", config)
    write_tokenizer(folder, tokenizer)
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))
    random_weights(model, seed=sum(name.encode()))
    write_weights(folder, stored_tensors(model, dtype), shards)
    ids = random.Random(name).choices(range(VOCAB), k=24)
    write_golden(folder, load_stored(folder), ids)


# --- the same tiny_llama as GGUF: permuted q and k, quantized blocks ------------------------------

GGUF_NAMES = {
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
GGUF_TYPES = {
    "attn_q": "Q4_1", "attn_k": "Q5_0", "attn_v": "Q5_1", "attn_output": "Q4_0", "ffn_gate": "Q4_1",
    "ffn_up": "F16", "ffn_down": "BF16", "token_embd": "Q8_0",
}


def gguf_name(name):
    if name == "model.embed_tokens.weight":
        return "token_embd.weight"
    if name == "model.norm.weight":
        return "output_norm.weight"
    layer, rest = name.removeprefix("model.layers.").split(".", 1)
    return f"blk.{layer}.{GGUF_NAMES[rest.removesuffix('.weight')]}.weight"


def permute(rows, heads):
    """GGUF turns each head's rows from halves (Hugging Face) to interleaved pairs."""
    return rows.reshape(heads, 2, rows.shape[0] // heads // 2, rows.shape[1]).swapaxes(1, 2).reshape(rows.shape)


def unpermute(rows, heads):
    return rows.reshape(heads, rows.shape[0] // heads // 2, 2, rows.shape[1]).swapaxes(1, 2).reshape(rows.shape)


def add_gguf_tokenizer(writer, tokenizer):
    state = json.loads(tokenizer.to_str())
    pieces = [t for t, _ in sorted(state["model"]["vocab"].items(), key=lambda item: item[1])]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(pieces)
    writer.add_token_types([gguf.TokenType.CONTROL] * 3 + [gguf.TokenType.NORMAL] * (VOCAB - 3))
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in state["model"]["merges"]])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHATML)


def make_gguf(name, tokenizer):
    source = HERE / "tiny_llama"
    config = json.loads((source / "config.json").read_text())
    folder = fresh_folder(name)
    writer = gguf.GGUFWriter(folder / "model.gguf", "llama")
    writer.add_name("tiny llama")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_rope_dimension_count(config["hidden_size"] // config["num_attention_heads"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(VOCAB)
    add_gguf_tokenizer(writer, tokenizer)

    model = load_stored(source)
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    for hf_name, tensor in load_file(source / "model.safetensors").items():
        target = gguf_name(hf_name)
        role = target.removesuffix(".weight").rsplit(".", 1)[-1]
        values = tensor.float().numpy()
        if role in heads:
            values = permute(values, heads[role])
        kind = gguf.GGMLQuantizationType[GGUF_TYPES.get(role, "F32")]
        if kind == gguf.GGMLQuantizationType.F32:
            writer.add_tensor(target, values)
            continue
        data = gguf.quantize(np.ascontiguousarray(values), kind)
        writer.add_tensor(target, data, raw_dtype=kind)
        stored = gguf.dequantize(data, kind)
        if role in heads:
            stored = unpermute(stored, heads[role])
        model.get_parameter(hf_name).data = torch.from_numpy(np.ascontiguousarray(stored))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    write_golden(folder, model, random.Random(name).choices(range(VOCAB), k=24))


# --- the other families ---------------------------------------------------------------------------


def family_tensors(name, folder):
    """Drawn weights, named as on the hub: experts one by one, no tied head."""
    config, dtype, _ = family_models.FAMILIES[name]
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder), dtype=torch.float32)
    with tempfile.TemporaryDirectory() as saved:
        model.save_pretrained(saved)
        tensors = load_file(Path(saved) / "model.safetensors")
    generator = torch.Generator().manual_seed(sum(name.encode()))
    tensors = {n: family_models.draw(n, t, config, generator) for n, t in sorted(tensors.items())}
    for layer, expert in family_models.UNUSED_EXPERTS.get(name, {}).items():
        family_models.silence(tensors, layer, expert)
    if family_models.has_gelu(config):
        family_models.show_gelu(tensors)
    tensors = {n: t.to(dtype).contiguous() for n, t in tensors.items()}
    return family_models.stored_names(name, tensors)


def golden_of(folder, ids, file, **changes):
    config = AutoConfig.from_pretrained(folder)
    for key, value in changes.items():
        setattr(config, key, value)
    model = AutoModelForCausalLM.from_pretrained(
        folder, config=config, dtype=torch.float32, attn_implementation="eager")
    save_file({"ids": torch.tensor(ids), "logits": golden(model, ids)}, folder / file)


def make_family(name, tokenizer):
    config, dtype, architecture = family_models.FAMILIES[name]
    folder = fresh_folder(name)
    write_json(folder / "config.json", config)
    write_json(folder / "config_v5.json", json.loads(AutoConfig.from_pretrained(folder).to_json_string()))
    write_tokenizer(folder, tokenizer)
    tensors = family_tensors(name, folder)
    write_weights(folder, tensors, shards=1)
    ids = random.Random(name).choices(range(VOCAB), k=family_models.TOKENS)
    short = family_models.SHORT_TOKENS.get(name, len(ids))
    golden_of(folder, ids[:short], "golden.safetensors")
    if short < len(ids):
        golden_of(folder, ids, "golden_long.safetensors")
    if not architecture:
        return
    kind = {torch.float16: gguf.GGMLQuantizationType.F16, torch.bfloat16: gguf.GGMLQuantizationType.BF16}[dtype]
    family_gguf.write(folder / "model.gguf", architecture, config,
                        {n: t.float().numpy() for n, t in tensors.items()}, kind,
                        lambda writer: add_gguf_tokenizer(writer, tokenizer))
    if name in family_models.GGUF_CONFIG:
        golden_of(folder, ids, "golden_gguf.safetensors", **family_models.GGUF_CONFIG[name])


# --- a model that has learned the grammar, so that quantization and tuning have something to lose --

CONTEXT = 256


def packed(docs, tokenizer):
    ids = []
    for doc in docs:
        ids += tokenizer.encode(doc).ids + [0]
    count = len(ids) // CONTEXT
    return torch.tensor(ids[:count * CONTEXT]).view(count, CONTEXT)


def make_trained(name, tokenizer, steps=2500, batch=16):
    folder = fresh_folder(name)
    write_json(folder / "config.json", LLAMA | {
        "hidden_size": 64, "intermediate_size": 192, "num_hidden_layers": 4,
        "max_position_embeddings": CONTEXT, "torch_dtype": "bfloat16"})
    write_tokenizer(folder, tokenizer)
    (folder / "heldout.txt").write_text("\n\n".join(story(random.Random(10**6 + i)) for i in range(120)) + "\n")

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder), dtype=torch.float32)
    data = packed(documents(seed=1, count=20000), tokenizer)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, betas=(0.9, 0.95), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=4e-3, total_steps=steps, pct_start=0.1)
    for step in range(steps):
        ids = data[torch.randint(len(data), (batch,))]
        loss = model(ids, labels=ids, use_cache=False).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0 or step + 1 == steps:
            print(f"{name}: step {step}, loss {loss.item():.4f}", flush=True)
    write_weights(folder, stored_tensors(model, torch.bfloat16), shards=1)
    model = load_stored(folder)
    ids = tokenizer.encode((folder / "heldout.txt").read_text()).ids[:48]
    write_golden(folder, model, ids)
    prompt = "<|im_start|>user\nWhat is 3 plus 4?<|im_end|>\n<|im_start|>assistant\n"
    out = model.generate(torch.tensor([tokenizer.encode(prompt).ids]), max_new_tokens=16, do_sample=False)
    print(tokenizer.decode(out[0].tolist(), skip_special_tokens=False))


def main():
    makers = {name: make_random for name in RANDOM_MODELS}
    makers["tiny_llama_gguf"] = make_gguf  # after tiny_llama, which it reads
    makers["tiny_llama_trained"] = make_trained
    makers |= {name: make_family for name in family_models.FAMILIES}
    names = sys.argv[1:] or list(makers)
    if unknown := [name for name in names if name not in makers]:
        sys.exit(f"no such model: {', '.join(unknown)}; there are {', '.join(makers)}")
    tokenizer = make_tokenizer()
    for name in names:
        makers[name](name, tokenizer)
        for file in folder_of(name).iterdir():
            file.chmod(0o644)  # safetensors writes 0600
        print(f"{name}: {sum(f.stat().st_size for f in folder_of(name).iterdir())} bytes", flush=True)


if __name__ == "__main__":
    main()
