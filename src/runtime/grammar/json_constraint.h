// Holds an answer to a form of JSON: no token may come that the text could not go on with.
//
// A step costs a walk through the part of the vocabulary that a JSON text may go on with. Between
// the characters of a string that is nearly all of it, but what tokens are there was found out
// beforehand (TokenTrie).
#pragma once
#include <memory>
#include <string_view>
#include <vector>

#include "runtime/grammar/json_acceptor.h"
#include "runtime/grammar/token_constraint.h"
#include "runtime/grammar/token_trie.h"

namespace bitsmith {

class JsonConstraint : public TokenConstraint {
 public:
  // `end_tokens` end an answer, and may come where the text is complete and nowhere else, whatever
  // their bytes. The trie outlives this.
  JsonConstraint(std::shared_ptr<const JsonForm> form, const TokenTrie& trie,
                 std::vector<int64_t> end_tokens);

  void restrict(std::span<float> logits) override;
  void advance(int32_t token) override;
  bool finished() const override;
  // What restrict() leaves.
  const TokenSet& allowed();

 private:
  void add_string_tokens(const JsonAcceptor::Frame& string);
  void walk();
  // What a reading becomes; empty: it is refused.
  JsonAcceptor::State after(const JsonAcceptor::Frame& reading, std::string_view bytes);

  JsonAcceptor acceptor_;
  const TokenTrie& trie_;
  std::vector<int64_t> end_tokens_;
  JsonAcceptor::State state_;
  TokenSet allowed_;
  // The readings that walk() begins with, and those after each byte of a beginning.
  std::vector<JsonAcceptor::State> readings_;
};

}  // namespace bitsmith
