#include "tokenizer/special_tokens.h"

#include "tokenizer/gguf_vocabulary.h"
#include "tokenizer/tokenizer.h"

namespace bitsmith {
namespace {

bool has_tokenizer(const Checkpoint& model) {
  if (const GgufFile* gguf = model.gguf()) return has_vocabulary(*gguf);
  return std::filesystem::exists(model.path() / "tokenizer.json") ||
         std::filesystem::exists(model.path() / "tokenizer.model");
}

}  // namespace

std::vector<int64_t> special_tokens(const Checkpoint& model) {
  std::vector<int64_t> rows;
  if (!has_tokenizer(model)) return rows;
  for (const int32_t id : Tokenizer::open(model.path())->special_ids()) {
    if (id >= 0 && id < model.plan().vocab_size) rows.push_back(id);
  }
  return rows;
}

}  // namespace bitsmith
