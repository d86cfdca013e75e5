// What a decoder-only model is made of, as data: both decoders, the walk of the one-shot methods,
// the names of both kinds of files, costs and sizes follow it. A family (families/) fills it from
// config.json; nothing else knows one.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "architecture/rope.h"

namespace bitsmith {

// How a file stores what this program reads as a row-major [out_features, in_features] matrix or as
// a vector.
enum class StoredAs {
  kPlain,
  kTransposed,        // [in, out]: GPT-2's Conv1D in Hugging Face files
  kInterleavedHeads,  // rows of each head: (0, half, 1, half + 1, ...): llama.cpp's q and k of
                      // Llama
  kPlusOne,           // norm weights w of (1 + w) norms: llama.cpp writes 1 + w
  kConcatenatedQkv,   // rows of all q, all k, all v, where Hugging Face has q, k, v of each head
};

// A tensor that a dense model has: Hugging Face's name, and how GGUF has it.
struct PlannedTensor {
  std::string name;                    // "model.layers.3.self_attn.q_proj.weight"
  std::vector<int64_t> shape;          // as this program reads it
  StoredAs stored = StoredAs::kPlain;  // in Hugging Face files
  std::string gguf;                    // "blk.3.attn_q.weight"; empty: GGUF has none
  StoredAs gguf_stored = StoredAs::kPlain;
  int64_t gguf_index = -1;  // of stacked matrices [count, out, in] in GGUF: which
};

// A module with a matrix and perhaps a bias; names without ".weight".
struct LinearPlan {
  std::string name;  // "model.layers.3.self_attn.q_proj"; empty: there is none
  int64_t out_features = 0, in_features = 0;
  bool bias = false;
  std::string gguf = {};  // "blk.3.attn_q"
  StoredAs stored = StoredAs::kPlain, gguf_stored = StoredAs::kPlain;
  int64_t gguf_index = -1;
  bool exists() const { return !name.empty(); }
};

struct NormPlan {
  enum class Kind {
    kRms,         // x / rms(x) * w
    kRmsOnePlus,  // x / rms(x) * (1 + w): Gemma
    kLayer,       // (x - mean(x)) / deviation(x) * w + b
  };
  std::string name;  // empty: there is none
  Kind kind = Kind::kRms;
  int64_t size = 0;
  double eps = 1e-6;
  std::string gguf = {};
  bool exists() const { return !name.empty(); }
  bool bias() const { return kind == Kind::kLayer; }
};

enum class Activation { kSilu, kGelu, kGeluTanh, kRelu };
const char* activation_name(Activation activation);

// Positions, scores and matrices of a block's attention.
struct AttentionPlan {
  // How the outputs of `inputs` divide into queries, keys and values.
  enum class Order {
    kSeparate,      // q, k, v: a matrix each
    kConcatenated,  // one matrix: all q, all k, all v
    kByHead,        // one matrix: q, k, v of each head
  };
  Order order = Order::kSeparate;
  std::vector<LinearPlan> inputs;  // q, k, v, or all in one
  LinearPlan output;
  int64_t heads = 0, kv_heads = 0, head_dim = 0;
  NormPlan q_norm, k_norm;  // before rope; of a head's values, or of all heads' together
  double scale = 0;         // of scores: 1 / sqrt(head_dim) in most
  double soft_cap = 0;      // score -> cap * tanh(score / cap); 0: none
  int64_t window = 0;       // a query at p sees keys p - window + 1 .. p; 0: all up to p
  int rope = -1;            // of ModelPlan::ropes; -1: none
  bool alibi = false;       // score += slope of the head * (key - query) (Press et al. 2022)

  int64_t q_size() const { return heads * head_dim; }
  int64_t kv_size() const { return kv_heads * head_dim; }
  int64_t group() const { return heads / kv_heads; }  // queries that share a key head
};

struct MlpPlan {
  std::vector<LinearPlan> inputs;  // gate, up | gate and up in one | up alone
  LinearPlan output;
  bool gated = true;  // activation(gate) * up, else activation(up)
  Activation activation = Activation::kSilu;
  int64_t width = 0;  // values between inputs and output
};

// Each token goes through the experts_per_token experts that the router scores highest.
struct ExpertsPlan {
  LinearPlan router;  // [experts, hidden], never quantized
  int64_t experts_per_token = 0;
  bool normalize = true;  // the chosen experts' probabilities sum to 1
  std::vector<MlpPlan> experts;
};

struct BlockPlan {
  NormPlan attention_norm, mlp_norm;                // before; OLMo 2 has none
  NormPlan attention_output_norm, mlp_output_norm;  // after, before the sum (Gemma, OLMo 2)
  bool parallel = false;                            // both from the block's inputs (GPT-NeoX)
  AttentionPlan attention;
  std::optional<MlpPlan> mlp;  // one of the two
  std::optional<ExpertsPlan> experts;
};

struct ModelPlan {
  std::string model_type;  // config.json's: "llama"
  int64_t vocab_size = 0, hidden_size = 0;
  int64_t context = 0;  // positions that it was made for
  LinearPlan embedding;
  double embedding_scale = 1;
  LinearPlan positions;         // learned ones, by row; none in most
  int64_t position_offset = 0;  // row of position 0 (OPT: 2)
  NormPlan embedding_norm;      // BLOOM
  std::vector<RopePlan> ropes;
  std::vector<BlockPlan> blocks;
  NormPlan final_norm;
  LinearPlan head;
  bool tied = false;  // the head is the embedding
  double logit_soft_cap = 0;
  int64_t bos_token_id = -1;           // -1: none
  std::vector<int64_t> eos_token_ids;  // config.json's and generation_config.json's

  int64_t num_blocks() const { return static_cast<int64_t>(blocks.size()); }
};

// A site is an input that some linears share: they have one Hessian, and their input is prepared
// once.
struct Site {
  enum class Kind { kAttentionInput, kAttentionOutput, kMlpInput, kMlpDown };
  Kind kind;
  int64_t expert = -1;  // of an MLP's sites, where there are experts
  int64_t features = 0;
  std::vector<const LinearPlan*> linears;
};
// In the order in which a token visits them. The plan must outlive them.
std::vector<Site> sites(const BlockPlan& block);
std::string site_name(const Site& site);  // "attention input", "mlp down of expert 3"

// All linears of the sites, in their order.
std::vector<const LinearPlan*> linears(const BlockPlan& block);
std::vector<const NormPlan*> norms(const BlockPlan& block);
// Values between the MLP's inputs and its output; of one expert where there are some.
int64_t mlp_width(const BlockPlan& block);

// Every matrix that may be quantized: the embedding, the blocks' linears, the head unless it is
// tied.
std::vector<LinearPlan> quantizable_matrices(const ModelPlan& plan);
// Whether contexts beyond `context` are meant to work (dynamic rope).
bool extends_context(const ModelPlan& plan);
// Whether a module is the embedding or the head.
bool is_outer_matrix(const ModelPlan& plan, const std::string& module);
// Every tensor of the dense model (no head where it is tied).
std::vector<PlannedTensor> planned_tensors(const ModelPlan& plan);

}  // namespace bitsmith
