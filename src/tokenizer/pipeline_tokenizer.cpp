#include "tokenizer/pipeline_tokenizer.h"

#include "base/error.h"
#include "tokenizer/utf8.h"

namespace bitsmith {

PipelineTokenizer::PipelineTokenizer(Parts parts) : parts_(std::move(parts)) {
  vocab_size_ = std::max(parts_.model->vocabulary().size(), parts_.added_tokens.largest_id() + 1);
}

std::vector<int32_t> PipelineTokenizer::encode(std::string_view text, bool add_special,
                                               ParseSpecial parse_special,
                                               const Deadline& deadline) const {
  check_text_size(text);
  std::vector<int32_t> ids;
  ids.reserve(text.size() / 4 + parts_.prefix.size() + parts_.suffix.size());
  if (add_special) ids = parts_.prefix;
  const std::string whole = repair_utf8(text);
  for (const auto& raw : parts_.added_tokens.split(whole, false, parse_special)) {
    deadline.check();
    if (raw.token != nullptr) {
      ids.push_back(raw.token->id);
      continue;
    }
    const auto begin = static_cast<size_t>(raw.text.data() - whole.data());
    std::vector<Span> stretches = parse_special.stretches_in(begin, begin + raw.text.size());
    const std::string normalized = parts_.normalizer.apply(std::string(raw.text), stretches);
    const ParseSpecial parse_normalized = parse_special.with(stretches);
    for (const auto& piece : parts_.added_tokens.split(normalized, true, parse_normalized)) {
      if (piece.token != nullptr)
        ids.push_back(piece.token->id);
      else
        encode_words(parts_.pre_tokenizer.apply(std::string(piece.text),
                                                raw.at_start && piece.at_start, deadline),
                     deadline, ids);
    }
  }
  if (add_special) ids.insert(ids.end(), parts_.suffix.begin(), parts_.suffix.end());
  return ids;
}

// Words repeat: the ids of one already seen are copied from where they stand in the output.
void PipelineTokenizer::encode_words(const Pieces& pieces, const Deadline& deadline,
                                     std::vector<int32_t>& ids) const {
  constexpr size_t kMaxCachedWord = 64, kMaxCacheSize = 1 << 17;
  std::unordered_map<std::string_view, std::pair<size_t, size_t>> seen;  // -> [begin, end) of ids
  for (const Span& span : pieces.spans) {
    const auto word = std::string_view(pieces.text).substr(span.begin, span.end - span.begin);
    const size_t begin = ids.size();
    if (const auto it = seen.find(word); it != seen.end()) {
      for (size_t i = it->second.first; i < it->second.second; ++i) ids.push_back(ids[i]);
      continue;
    }
    parts_.model->encode(word, deadline, ids);
    if (word.size() <= kMaxCachedWord && seen.size() < kMaxCacheSize)
      seen.emplace(word, std::pair{begin, ids.size()});
  }
}

const std::string& PipelineTokenizer::token_text(int32_t id) const {
  static const std::string kGap;
  if (id < 0 || id >= vocab_size_)
    throw Error(concat("token id ", id, " is outside the vocabulary of ", vocab_size_));
  if (const AddedToken* added = parts_.added_tokens.find(id)) return added->content;
  return id < parts_.model->vocabulary().size() ? parts_.model->vocabulary().token(id) : kGap;
}

std::string PipelineTokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
  std::vector<std::string> tokens;
  for (const int32_t id : ids) {
    const std::string& text = token_text(id);
    const AddedToken* added = parts_.added_tokens.find(id);
    if (text.empty() || (skip_special && added != nullptr && added->special)) continue;
    tokens.push_back(text);
  }
  return repair_utf8(parts_.decoder.apply(std::move(tokens)));
}

std::string PipelineTokenizer::token_bytes(int32_t id) const {
  return parts_.decoder.token_bytes(token_text(id));
}

std::optional<int32_t> PipelineTokenizer::token_id(std::string_view token) const {
  if (const AddedToken* added = parts_.added_tokens.find(token)) return added->id;
  return parts_.model->vocabulary().find(token);
}

}  // namespace bitsmith
