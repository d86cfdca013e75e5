// What a model thought of a token: its log-probability, and the likeliest tokens in its place.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace bitsmith {

struct TokenProbabilities {
  struct Entry {
    int32_t token;
    double log_probability;  // natural, <= 0; of the model itself: temperature 1, nothing filtered
  };
  Entry chosen;
  std::vector<Entry> likeliest;  // the likeliest first; among equals the lower id
};

// logits [vocab_size]; `token` is among them, `count` at most their number.
TokenProbabilities token_probabilities(std::span<const float> logits, int32_t token, int64_t count);

}  // namespace bitsmith
