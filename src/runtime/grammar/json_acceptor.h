// Reads a text byte by byte and says at each whether it can still become one of a form.
//
// A pushdown automaton without look-ahead: where a schema leaves open what a beginning is of
// (anyOf, a number that may go on), all readings are followed at once. A reading is a stack of
// frames, held as a list from its top; lists share their ends and are equal where their pointers
// are.
#pragma once
#include <cstdint>
#include <memory>
#include <unordered_set>
#include <vector>

#include "runtime/grammar/json_form.h"
#include "runtime/grammar/json_string.h"

namespace bitsmith {

class JsonAcceptor {
 public:
  // More readings than these are dropped, the later alternatives first: fewer texts are accepted
  // then, all of the form.
  static constexpr size_t kMostReadings = 64;

  enum class Phase : uint8_t {
    kEnd,    // the text is complete
    kValue,  // of `index`, a choice, is to come
    kLiteral,
    kString,
    kNumber,  // within one
    kObjectStart,
    kKeyStart,
    kKey,
    kColon,
    kObjectAfter,
    kMapStart,
    kMapKeyStart,
    kMapColon,
    kMapAfter,
    kArrayStart,
    kArrayAfter
  };
  enum class NumberState : uint8_t {
    kMinus,
    kZero,
    kInteger,
    kPoint,
    kFraction,
    kExponent,
    kExponentSign,
    kExponentDigits
  };
  struct Frame {
    const Frame* parent = nullptr;  // what goes on when this has ended
    int32_t index = 0;              // of a value of the form; with kValue of a choice
    Phase phase = Phase::kEnd;
    StringState string = StringState::kBody;
    NumberState number = NumberState::kMinus;
    uint8_t depth = 0;  // objects and arrays that are open, this one too
    // Characters of a string or digits that have come, items of an array, white space in a row, or
    // the first property that may still come.
    int32_t count = 0;
    int32_t spaces = 0;
    // Literals or keys, by their sorted order, that begin as these `offset` bytes.
    int32_t low = 0, high = 0, offset = 0;

    bool operator==(const Frame&) const = default;
  };
  using State = std::vector<Frame>;  // the tops of the readings; empty: refused

  explicit JsonAcceptor(std::shared_ptr<const JsonForm> form) : form_(std::move(form)) {}

  const JsonForm& form() const { return *form_; }
  // Before the first byte.
  State start();
  // `next` is another state; what it had is lost. Of a refused byte it is empty.
  void step(const State& state, unsigned char byte, State& next);
  // The text may end here.
  static bool complete(const State& state);
  // More may come.
  static bool goes_on(const State& state);
  // Frees the frames that `state` does not need; other states are of no use afterwards.
  void keep_only(State& state);

 private:
  struct Hash {
    size_t operator()(const Frame& frame) const;
  };
  using Frames = std::unordered_set<Frame, Hash>;

  const Frame* shared(const Frame& frame);
  void add(const Frame& frame);  // to next_
  void step(const Frame& frame, unsigned char byte);
  void begin_value(const Frame& place, unsigned char byte);
  void literal_byte(Frame frame, unsigned char byte);
  void string_byte(Frame frame, unsigned char byte);
  void number_byte(Frame frame, unsigned char byte);
  void object_byte(const Frame& frame, unsigned char byte);
  void key_byte(Frame frame, unsigned char byte);
  void map_byte(const Frame& frame, unsigned char byte);
  void array_byte(const Frame& frame, unsigned char byte);
  bool fits(int32_t choice, int32_t depth) const;
  // A property that may come now, where `frame` says from which on.
  bool selectable(const Frame& frame, int32_t property) const;

  std::shared_ptr<const JsonForm> form_;
  Frames frames_;
  State* next_ = nullptr;
};

}  // namespace bitsmith
