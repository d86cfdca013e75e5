#include "evaluate/task_requests.h"

#include <utility>

#include "base/error.h"
#include "evaluate/white_space.h"

namespace bitsmith {
namespace {

// White space at the end of the context goes to the continuation: many tokenizers join it with the
// word that follows.
TaskRequest split_before_space(const TaskRequest& request) {
  const std::string_view context = strip_end(request.context);
  return {std::string(context), request.context.substr(context.size()) + request.continuation};
}

}  // namespace

RequestEncoder::RequestEncoder(const Tokenizer& tokenizer, int64_t context, std::optional<bool> bos)
    : tokenizer_(tokenizer), context_(context), bos_(bos) {
  BITSMITH_CHECK(context > 0 && (!bos.value_or(false) || tokenizer.bos_id));
  const std::optional<int32_t> first = tokenizer.bos_id ? tokenizer.bos_id : tokenizer.eos_id;
  if (first) prefix_ = tokenizer.decode({&*first, 1});
}

std::vector<int32_t> RequestEncoder::encode_text(std::string_view text) const {
  const bool begun = !prefix_.empty() && text.starts_with(prefix_);
  std::vector<int32_t> ids = tokenizer_.encode(text, /*add_special=*/!bos_.has_value() && !begun,
                                               /*parse_special=*/true);
  if (bos_.value_or(false) && !begun) ids.insert(ids.begin(), *tokenizer_.bos_id);
  return ids;
}

std::vector<TokenRequest> RequestEncoder::encode(const TaskItem& item,
                                                 const std::string& place) const {
  std::vector<TokenRequest> encoded;
  std::string last;  // most items have one context for all requests
  std::vector<int32_t> context;
  for (const TaskRequest& given : item.requests) {
    const TaskRequest request = split_before_space(given);
    if (encoded.empty() || request.context != last) {
      last = request.context;
      context = encode_text(last);
    }
    // Together they may begin with other tokens than the context alone, which stays as it is.
    const std::vector<int32_t> whole = encode_text(request.context + request.continuation);
    TokenRequest tokens = {context, std::ssize(whole) - std::ssize(context)};
    if (context.empty() || tokens.judged <= 0) {
      throw Error(concat(place, ": the tokenizer makes ", context.size(), " tokens of the context",
                         " and ", whole.size(),
                         " of context and continuation: ", "nothing is left to judge"));
    }
    tokens.tokens.insert(tokens.tokens.end(), whole.begin() + std::ssize(context), whole.end());
    if (tokens.judged > context_) {
      throw Error(concat(place, ": the continuation has ", tokens.judged, " tokens, more than the ",
                         "context of ", context_));
    }
    const int64_t excess = std::ssize(tokens.tokens) - (context_ + 1);
    if (excess > 0) tokens.tokens.erase(tokens.tokens.begin(), tokens.tokens.begin() + excess);
    encoded.push_back(std::move(tokens));
  }
  return encoded;
}

}  // namespace bitsmith
