#include "tokenizer/sentencepiece_tokenizer.h"

#include <sentencepiece_processor.h>

#include <unordered_set>

#include "base/error.h"
#include "tokenizer/space_cut.h"
#include "tokenizer/utf8.h"
#include "tokenizer/vocabulary.h"

namespace bitsmith {
namespace {

// Runs a function of the library that gives a status; it throws exceptions of its own, too.
template <typename Function>
void call(const std::string& failure, Function&& function) {
  std::string message;
  try {
    const auto status = function();
    if (status.ok()) return;
    message = status.message();
  } catch (const std::exception& e) {
    message = e.what();
  }
  throw Error(concat(failure, ": ", excerpt(message, 200)));
}

class SentencePieceTokenizer final : public Tokenizer {
 public:
  SentencePieceTokenizer(std::string_view bytes, SentencePieceOptions options,
                         const std::string& source) {
    call(source + ": not a SentencePiece model",
         [&] { return processor_.LoadFromSerializedProto(bytes); });
    std::vector<AddedToken> tokens = std::move(options.added_tokens);
    vocab_size_ = processor_.GetPieceSize();
    for (const AddedToken& token : tokens) vocab_size_ = std::max(vocab_size_, token.id + 1);
    for (int id = 0; id < processor_.GetPieceSize(); ++id) {
      if (!processor_.IsControl(id)) {
        if (!processor_.IsUnknown(id) && !processor_.IsByte(id))
          add_characters(processor_.IdToPiece(id));
        continue;
      }
      AddedToken token;
      token.id = id;
      token.content = processor_.IdToPiece(id);
      token.special = true;
      tokens.push_back(std::move(token));
    }
    added_ = AddedTokens(std::move(tokens), [](const std::string& text) { return text; });
    if (processor_.bos_id() >= 0) bos_id = processor_.bos_id();
    if (processor_.eos_id() >= 0) eos_id = processor_.eos_id();
    add_bos_ = options.add_bos && bos_id.has_value();
    add_eos_ = options.add_eos && eos_id.has_value();
    ask_for_spaces(source);
  }

  std::vector<int32_t> encode(std::string_view text, bool add_special, ParseSpecial parse_special,
                              const Deadline& deadline) const override {
    std::vector<int32_t> ids;
    if (add_special && add_bos_) ids.push_back(*bos_id);
    const std::string whole = repair_utf8(text);
    for (const auto& piece : added_.split(whole, false, parse_special)) {
      if (piece.token != nullptr)
        ids.push_back(piece.token->id);
      else
        encode_piece(piece.text, deadline, ids);
    }
    if (add_special && add_eos_) ids.push_back(*eos_id);
    return ids;
  }

  // Stretches between special tokens are decoded one by one, as they were encoded.
  std::string decode(std::span<const int32_t> ids, bool skip_special) const override {
    std::string out;
    std::vector<int> run;
    const auto flush = [&] {
      std::string text;
      call("SentencePiece", [&] { return processor_.Decode(run, &text); });
      out += text;
      run.clear();
    };
    for (const int32_t id : ids) {
      check_id(id);
      const AddedToken* added = added_.find(id);
      if (added == nullptr && id < processor_.GetPieceSize()) {
        run.push_back(id);
        continue;
      }
      flush();
      if (added != nullptr && !(skip_special && added->special)) out += added->content;
    }
    flush();
    return repair_utf8(out);
  }

  std::string token_bytes(int32_t id) const override {
    check_id(id);
    if (const AddedToken* added = added_.find(id)) return added->content;
    if (id >= processor_.GetPieceSize()) return "";
    const std::string& piece = processor_.IdToPiece(id);
    if (processor_.IsByte(id))
      if (const auto byte = parse_byte_token(piece))
        return std::string(1, static_cast<char>(*byte));
    return replace_each(piece, kSpaceMark, " ");
  }

  int32_t vocab_size() const override { return vocab_size_; }

  std::optional<int32_t> token_id(std::string_view token) const override {
    if (const AddedToken* added = added_.find(token)) return added->id;
    const int id = processor_.PieceToId(token);  // the unknown token's for what is not there
    if (processor_.IdToPiece(id) != token) return std::nullopt;
    return id;
  }

  std::vector<std::string> special_tokens() const override { return added_.special_contents(); }

 private:
  void add_characters(std::string_view piece) {
    for (int length; !piece.empty(); piece.remove_prefix(static_cast<size_t>(length))) {
      const Utf8Unit unit = next_utf8(piece);
      in_pieces_.insert(unit.code_point);
      length = unit.length;
    }
  }

  // What the library makes of spaces, by its vocabulary and by examples.
  void ask_for_spaces(const std::string& source) {
    if (processor_.IsUnknown(processor_.PieceToId(kSpaceMark))) return;
    for (int id = 0; id < processor_.GetPieceSize(); ++id) {
      const std::string& piece = processor_.IdToPiece(id);
      size_t end = 0;  // of the marks that it begins with
      while (piece.compare(end, kSpaceMark.size(), kSpaceMark) == 0) end += kSpaceMark.size();
      if (piece.find(kSpaceMark, end) != piece.npos || piece.find(' ') != piece.npos) return;
    }
    const auto encoded = [&](const std::string& text) {
      std::vector<std::string> pieces;
      call(source, [&] { return processor_.Encode(text, &pieces); });
      std::string all;
      for (const std::string& piece : pieces) all += piece;
      return all;
    };
    const std::string marked = std::string(kSpaceMark) + "a";
    adds_space_ = encoded("a") == marked;
    // A part begins with a space then, which some models drop.
    const bool keeps_space = encoded("a") == "a" && encoded(" a") == marked;
    may_cut_ = adds_space_ || keeps_space;
  }

  std::vector<int> encode_whole(std::string_view text) const {
    std::vector<int> ids;
    call("SentencePiece", [&] { return processor_.Encode(text, &ids); });
    return ids;
  }

  // The library takes no deadline: a long text goes to it in parts.
  void encode_piece(std::string_view text, const Deadline& deadline,
                    std::vector<int32_t>& ids) const {
    do {
      const size_t end = may_cut_ ? find_space_cut(text, kPart) : text.size();
      encode_part(text.substr(0, end), deadline, ids);
      text.remove_prefix(end);
      if (adds_space_ && !text.empty()) text.remove_prefix(1);
    } while (!text.empty());
  }

  // Neighboring characters without pieces become one unknown token, for which the library takes
  // time quadratic in their number: a long run of them goes to it in parts.
  void encode_part(std::string_view text, const Deadline& deadline,
                   std::vector<int32_t>& ids) const {
    for (size_t overlap = 0;;) {
      deadline.check();
      const UnknownCut cut = find_unknown_cut(text);
      const std::vector<int> encoded = encode_whole(text.substr(0, cut.at));
      ids.insert(ids.end(), encoded.begin() + static_cast<ptrdiff_t>(overlap), encoded.end());
      if (cut.at == text.size()) return;
      text.remove_prefix(cut.at);
      overlap = cut.overlap;
    }
  }

  struct UnknownCut {
    size_t at;       // bytes
    size_t overlap;  // tokens that the text from there on begins with and the one before has
  };

  // A place in a run of characters without pieces; the text's end without one.
  UnknownCut find_unknown_cut(std::string_view text) const {
    for (size_t from = kPart; from < text.size(); from += kPart) {
      size_t begin = from;
      while (begin < text.size() && (text[begin] & 0xC0) == 0x80) ++begin;
      size_t at = begin, end = begin;
      int characters = 0;
      for (; characters < 2 * kAround && end < text.size(); ++characters) {
        const Utf8Unit unit = next_utf8(text.substr(end));
        if (in_pieces_.contains(unit.code_point)) break;
        end += static_cast<size_t>(unit.length);
        if (characters + 1 == kAround) at = end;
      }
      if (characters < 2 * kAround) continue;
      if (const size_t tokens = tokens_of_unknown(text.substr(begin, end - begin)))
        return {at, tokens};
    }
    return {text.size(), 0};
  }

  // The number of tokens of a text that is one unknown token, unchanged by the normalizer, after
  // no more than the space before each text; 0 for another text.
  size_t tokens_of_unknown(std::string_view text) const {
    const std::vector<int> ids = encode_whole(text);
    std::vector<std::string> pieces;
    call("SentencePiece", [&] { return processor_.Encode(text, &pieces); });
    if (ids.empty() || !processor_.IsUnknown(ids.back())) return 0;
    std::string all;
    for (const std::string& piece : pieces) all += piece;
    const bool unchanged = all == text || all == std::string(kSpaceMark) + std::string(text);
    return unchanged && pieces.back().size() >= text.size() ? ids.size() : 0;
  }

  void check_id(int32_t id) const {
    if (id < 0 || id >= vocab_size_)
      throw Error(concat("token id ", id, " is outside the vocabulary of ", vocab_size_));
  }

  static constexpr size_t kPart = 16 << 10;  // bytes that the library gets at least
  static constexpr int kAround = 8;  // characters on each side that show that a cut is right

  sentencepiece::SentencePieceProcessor processor_;
  AddedTokens added_;
  std::unordered_set<char32_t> in_pieces_;  // characters
  int32_t vocab_size_ = 0;
  bool add_bos_ = false, add_eos_ = false;
  bool may_cut_ = false;     // at find_space_cut()
  bool adds_space_ = false;  // before each text
};

// Lines of "base64 rank": the first is enough to tell, a SentencePiece model starts with byte 0x0A.
bool is_tiktoken(std::string_view bytes) {
  const std::string_view line = bytes.substr(0, std::min<size_t>(bytes.find('\n'), 200));
  const size_t space = line.find(' ');
  if (space == 0 || space == line.npos || space + 1 == line.size()) return false;
  const auto is_base64 = [](char c) {
    return (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') || c == '+' || c == '/' ||
           c == '=';
  };
  for (size_t i = 0; i < line.size(); ++i) {
    const bool digit = line[i] >= '0' && line[i] <= '9';
    if (i < space ? !is_base64(line[i]) : i > space && !digit) return false;
  }
  return true;
}

}  // namespace

std::unique_ptr<Tokenizer> make_sentencepiece_tokenizer(std::string_view bytes,
                                                        SentencePieceOptions options,
                                                        const std::string& source) {
  if (is_tiktoken(bytes))
    throw Error(source +
                ": this is a list of tiktoken ranks (Llama 3's own format), not a SentencePiece "
                "model; use the tokenizer.json of the same model, or a GGUF file");
  return std::make_unique<SentencePieceTokenizer>(bytes, std::move(options), source);
}

}  // namespace bitsmith
