#include "runtime/grammar/json_constraint.h"

#include <algorithm>
#include <limits>

namespace bitsmith {

JsonConstraint::JsonConstraint(std::shared_ptr<const JsonForm> form, const TokenTrie& trie,
                               std::vector<int64_t> end_tokens)
    : acceptor_(std::move(form)),
      trie_(trie),
      end_tokens_(std::move(end_tokens)),
      state_(acceptor_.start()),
      readings_(1) {}

void JsonConstraint::restrict(std::span<float> logits) {
  const TokenSet& allowed_tokens = allowed();
  const auto known = std::min(logits.size(), static_cast<size_t>(trie_.vocab_size()));
  bool any = false;
  for (size_t i = 0; i < logits.size(); ++i) {
    if (i < known && has_token(allowed_tokens, static_cast<int32_t>(i)))
      any = true;
    else
      logits[i] = -std::numeric_limits<float>::infinity();
  }
  if (!any)
    throw Error("the answer cannot be held to its form: the vocabulary has no token to go on with");
}

const TokenSet& JsonConstraint::allowed() {
  allowed_ = trie_.empty_set();
  readings_[0].clear();
  for (const JsonAcceptor::Frame& frame : state_) {
    if (frame.phase == JsonAcceptor::Phase::kString && frame.string == StringState::kBody)
      add_string_tokens(frame);
    else
      readings_[0].push_back(frame);
  }
  if (JsonAcceptor::goes_on(readings_[0])) walk();
  // An end token ends the answer also where its bytes might go on with it.
  const bool complete = JsonAcceptor::complete(state_);
  for (const int64_t id : end_tokens_) {
    if (id < 0 || id >= trie_.vocab_size()) continue;
    if (complete)
      add_token(allowed_, static_cast<int32_t>(id));
    else
      remove_token(allowed_, static_cast<int32_t>(id));
  }
  return allowed_;
}

void JsonConstraint::add_string_tokens(const JsonAcceptor::Frame& string) {
  const JsonForm::Value& value = acceptor_.form().values[static_cast<size_t>(string.index)];
  const int32_t left = value.most == JsonForm::kUnbounded ? value.most : value.most - string.count;
  const TokenSet& inside = trie_.string_tokens();
  if (left >= trie_.most_string_characters()) {
    for (size_t i = 0; i < inside.size(); ++i) allowed_[i] |= inside[i];
  } else {
    for (const int32_t token : trie_.tokens())
      if (has_token(inside, token) && trie_.string_characters(token) <= left)
        add_token(allowed_, token);
  }
  for (const TokenTrie::Rest& rest : trie_.string_ends()) {
    if (after(*string.parent, rest.bytes).empty()) continue;
    for (const TokenTrie::Ending& ending : rest.tokens)
      if (ending.characters <= left && ending.characters >= value.least - string.count)
        add_token(allowed_, ending.token);
  }
}

void JsonConstraint::walk() {
  const auto nodes = trie_.nodes();
  for (int32_t i = 0; i < static_cast<int32_t>(nodes.size());) {
    const TokenTrie::Node& node = nodes[static_cast<size_t>(i)];
    const auto depth = static_cast<size_t>(node.depth);
    if (readings_.size() <= depth) readings_.resize(depth + 1);
    acceptor_.step(readings_[depth - 1], node.byte, readings_[depth]);
    if (readings_[depth].empty()) {
      i = node.end;
      continue;
    }
    for (int32_t t = node.first_token; t < node.last_token; ++t)
      add_token(allowed_, trie_.tokens()[static_cast<size_t>(t)]);
    ++i;
  }
}

JsonAcceptor::State JsonConstraint::after(const JsonAcceptor::Frame& reading,
                                          std::string_view bytes) {
  JsonAcceptor::State state = {reading}, next;
  for (const char byte : bytes) {
    if (state.empty()) break;
    acceptor_.step(state, static_cast<unsigned char>(byte), next);
    state.swap(next);
  }
  return state;
}

// Each reading alone: within the token others might crowd out the one that allowed() took it for.
void JsonConstraint::advance(int32_t token) {
  JsonAcceptor::State all;
  for (const JsonAcceptor::Frame& reading : state_)
    for (const JsonAcceptor::Frame& frame : after(reading, trie_.bytes(token)))
      if (all.size() < JsonAcceptor::kMostReadings && std::ranges::find(all, frame) == all.end())
        all.push_back(frame);
  acceptor_.keep_only(all);
  state_.swap(all);
}

bool JsonConstraint::finished() const { return !JsonAcceptor::goes_on(state_); }

}  // namespace bitsmith
