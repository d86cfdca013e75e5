// Typed reading of an untrusted config.json; every error names file and key.
#pragma once
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

#include "architecture/model_plan.h"
#include "base/json.h"

namespace bitsmith {

class ConfigReader {
 public:
  ConfigReader(const Json& config, const std::string& source);

  static constexpr int64_t kMaxSize = int64_t{1} << 24;  // products of two sizes stay in int64
  static constexpr int64_t kMaxContext = int64_t{1} << 40;

  const std::string& source() const { return source_; }
  // "SOURCE: what" as an Error.
  [[noreturn]] void fail(const std::string& what) const;

  bool has(const char* key) const;  // and it is not null
  // Of names for one thing the first that is there; the first of all where none is.
  const char* first_of(std::initializer_list<const char*> keys) const;
  // 1 .. max. Without a fallback the key must be there; null counts as missing.
  int64_t size(const char* key, std::optional<int64_t> fallback = {}, int64_t max = kMaxSize) const;
  double positive(const char* key, std::optional<double> fallback = {}) const;
  double number_or(const char* key, double fallback) const;
  bool flag(const char* key, bool fallback) const;
  std::string text(const char* key, const std::string& fallback) const;
  std::vector<std::string> texts(const char* key) const;  // empty: missing
  std::vector<int64_t> integers(const char* key) const;
  // Other than `only`: an Error that says that it is not supported.
  void require_flag(const char* key, bool fallback, bool only) const;

  // What every family reads: vocabulary, context, tokens, tied head.
  struct Common {
    int64_t context;
    bool tied;
    int64_t bos, eos;  // -1: none
  };
  void read_common(const Common& fallback, ModelPlan& plan) const;
  // hidden_act, hidden_activation, activation_function: the first that is there.
  Activation activation(std::initializer_list<const char*> keys, Activation fallback) const;
  // Families with one activation only.
  void require_activation(std::initializer_list<const char*> keys, Activation only) const;
  // partial_rotary_factor, here or in the rope settings of any layer, is 1.
  void require_whole_rotary() const;
  // Heads of attention: counts, and head_dim that is hidden / heads without a fallback.
  void read_heads(AttentionPlan& attention, int64_t hidden, std::optional<int64_t> kv_fallback,
                  std::optional<int64_t> head_dim_fallback) const;

  // The same where every head has keys of its own and head_dim is hidden / heads; `key` counts
  // them.
  void read_heads_of(const char* key, AttentionPlan& attention, int64_t hidden) const;
  // The values of a head that turn, by a share that `key` says, here or in the rope settings.
  int64_t rotary_dims(const char* key, int64_t head_dim, double fallback) const;

  // Rope as rope_theta and rope_scaling (transformers 4), or as rope_parameters (5), of heads with
  // `dims` values that turn. layer_type: of settings that are given for each type of layer. Both
  // spellings with other values are an Error that names both. trained_context: in place of what the
  // settings say in original_max_position_embeddings, which is `context` where they do not.
  RopePlan rope(int64_t dims, int64_t context, double theta_fallback,
                const std::string& layer_type = "",
                std::optional<int64_t> trained_context = {}) const;

  // sliding_window: `missing` where the key is not there, 0 (none) where it is null.
  int64_t window(int64_t missing) const;
  // The window of each of `blocks` layers by layer_types, else by `slides`.
  template <typename Slides>
  std::vector<int64_t> windows(int64_t blocks, int64_t window, const Slides& slides) const {
    const std::vector<bool> types = sliding_layers(blocks, window > 0);
    std::vector<int64_t> result;
    for (int64_t b = 0; b < blocks; ++b)
      result.push_back(types.empty() ? (slides(b) ? window : 0)
                                     : (types[static_cast<size_t>(b)] ? window : 0));
    return result;
  }

  const Json& json() const { return config_; }

 private:
  // By layer_types; empty without.
  std::vector<bool> sliding_layers(int64_t blocks, bool with_window) const;

  const Json& config_;
  std::string source_;
};

// A key that holds one id, several, or none (absent or null).
std::vector<int64_t> token_ids(const Json& config, const std::string& key,
                               const std::string& source);

}  // namespace bitsmith
