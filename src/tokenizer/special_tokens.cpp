#include "tokenizer/special_tokens.h"

#include <set>

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
  if (!has_tokenizer(model)) return {};
  const auto tokenizer = Tokenizer::open(model.path());
  std::set<int64_t> rows;
  for (const std::string& token : tokenizer->special_tokens()) {
    const auto id = tokenizer->token_id(token);
    if (id && *id >= 0 && *id < model.plan().vocab_size) rows.insert(*id);
  }
  return {rows.begin(), rows.end()};
}

}  // namespace bitsmith
