// [7] The one interface by which every engine is judged: teacher, student in LibTorch, and the
// runtime.
#pragma once
#include <cstdint>
#include <span>

namespace bitsmith {

class LanguageModel {
 public:
  virtual ~LanguageModel() = default;
  virtual int64_t vocab_size() const = 0;

  // Runs one window from an empty context and keeps its final hidden states (never the logits).
  // Throws Error for ids outside the vocabulary.
  virtual void run(std::span<const int32_t> tokens) = 0;
  // Logits (float32, before softmax) of positions [first, first + count) of the window last run:
  // out [count, vocab_size], row-major. Callers ask in chunks, so no [tokens, vocab] matrix exists.
  virtual void logits(int64_t first, int64_t count, std::span<float> out) = 0;
};

}  // namespace bitsmith
