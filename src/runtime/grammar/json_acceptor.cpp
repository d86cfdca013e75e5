#include "runtime/grammar/json_acceptor.h"

#include <algorithm>
#include <functional>
#include <string>

namespace bitsmith {
namespace {

using Phase = JsonAcceptor::Phase;
using Frame = JsonAcceptor::Frame;
using NumberState = JsonAcceptor::NumberState;

bool is_space(unsigned char byte) {
  return byte == ' ' || byte == '\n' || byte == '\t' || byte == '\r';
}
bool is_digit(unsigned char byte) { return byte >= '0' && byte <= '9'; }

bool takes_space(Phase phase) {
  switch (phase) {
    case Phase::kEnd:
    case Phase::kLiteral:
    case Phase::kString:
    case Phase::kNumber:
    case Phase::kKey:
      return false;
    default:
      return true;
  }
}

// The frame in another phase of the same object or array.
Frame moved(Frame frame, Phase phase, int32_t count = 0) {
  frame.phase = phase;
  frame.count = count;
  frame.spaces = 0;
  return frame;
}

// Narrows [low, high) to the texts with this byte at the offset; text(i) is the i-th in order. All
// agree before it.
template <typename TextOf>
void narrow(Frame& frame, unsigned char byte, const TextOf& text) {
  const auto at = [&](int32_t i) {  // a text that has ended comes before all that go on
    const std::string& s = text(i);
    const auto offset = static_cast<size_t>(frame.offset);
    return offset < s.size() ? static_cast<int>(static_cast<unsigned char>(s[offset])) : -1;
  };
  const auto first = [&](int wanted) {  // that has at least this byte
    int32_t low = frame.low, high = frame.high;
    while (low < high) {
      const int32_t middle = low + (high - low) / 2;
      if (at(middle) < wanted)
        low = middle + 1;
      else
        high = middle;
    }
    return low;
  };
  const int32_t low = first(byte), high = first(byte + 1);
  frame.low = low;
  frame.high = high;
  ++frame.offset;
}

// Whether the number may end here.
bool whole(NumberState state) {
  return state == NumberState::kZero || state == NumberState::kInteger ||
         state == NumberState::kFraction || state == NumberState::kExponentDigits;
}

}  // namespace

size_t JsonAcceptor::Hash::operator()(const Frame& f) const {
  size_t hash = std::hash<const void*>()(f.parent);
  for (const int32_t part :
       {f.index, static_cast<int32_t>(f.phase), static_cast<int32_t>(f.string),
        static_cast<int32_t>(f.depth), f.count, f.spaces, f.low, f.high, f.offset})
    hash = (hash ^ static_cast<size_t>(part)) * 0x9E3779B97F4A7C15 + (hash >> 29);
  return hash;
}

const Frame* JsonAcceptor::shared(const Frame& frame) { return &*frames_.insert(frame).first; }

JsonAcceptor::State JsonAcceptor::start() {
  return {{.parent = shared({}), .index = form_->root, .phase = Phase::kValue}};
}

bool JsonAcceptor::complete(const State& state) {
  return std::ranges::any_of(state, [](const Frame& f) { return f.phase == Phase::kEnd; });
}

bool JsonAcceptor::goes_on(const State& state) {
  return std::ranges::any_of(state, [](const Frame& f) { return f.phase != Phase::kEnd; });
}

void JsonAcceptor::keep_only(State& state) {
  Frames kept;
  for (Frame& top : state) {
    std::vector<Frame> stack;
    for (const Frame* frame = top.parent; frame; frame = frame->parent) stack.push_back(*frame);
    const Frame* parent = nullptr;
    for (auto frame = stack.rbegin(); frame != stack.rend(); ++frame) {
      frame->parent = parent;
      parent = &*kept.insert(*frame).first;
    }
    top.parent = parent;
  }
  frames_.swap(kept);
}

void JsonAcceptor::add(const Frame& frame) {
  if (next_->size() < kMostReadings && std::ranges::find(*next_, frame) == next_->end())
    next_->push_back(frame);
}

void JsonAcceptor::step(const State& state, unsigned char byte, State& next) {
  next.clear();
  next_ = &next;
  for (const Frame& frame : state) step(frame, byte);
}

void JsonAcceptor::step(const Frame& frame, unsigned char byte) {
  if (is_space(byte) && takes_space(frame.phase)) {
    if (frame.spaces == JsonForm::kMostSpaces) return;
    Frame next = frame;
    ++next.spaces;
    return add(next);
  }
  switch (frame.phase) {
    case Phase::kEnd:
      return;
    case Phase::kValue:
      return begin_value(frame, byte);
    case Phase::kLiteral:
      return literal_byte(frame, byte);
    case Phase::kString:
      return string_byte(frame, byte);
    case Phase::kNumber:
      return number_byte(frame, byte);
    case Phase::kObjectStart:
    case Phase::kKeyStart:
    case Phase::kColon:
    case Phase::kObjectAfter:
      return object_byte(frame, byte);
    case Phase::kKey:
      return key_byte(frame, byte);
    case Phase::kMapStart:
    case Phase::kMapKeyStart:
    case Phase::kMapColon:
    case Phase::kMapAfter:
      return map_byte(frame, byte);
    case Phase::kArrayStart:
    case Phase::kArrayAfter:
      return array_byte(frame, byte);
  }
}

bool JsonAcceptor::fits(int32_t choice, int32_t depth) const {
  return depth + form_->choices[static_cast<size_t>(choice)].height <= JsonForm::kMostDepth;
}

// The first byte of each value that the place may have.
void JsonAcceptor::begin_value(const Frame& place, unsigned char byte) {
  const auto container = [&](int32_t index, Phase phase) {
    add({.parent = place.parent,
         .index = index,
         .phase = phase,
         .depth = static_cast<uint8_t>(place.depth + 1)});
  };
  for (const int32_t index : form_->choices[static_cast<size_t>(place.index)].values) {
    const JsonForm::Value& value = form_->values[static_cast<size_t>(index)];
    if (place.depth + value.height > JsonForm::kMostDepth) continue;
    Frame frame = {.parent = place.parent, .index = index, .depth = place.depth};
    switch (value.kind) {
      case JsonForm::Kind::kLiterals:
        frame.phase = Phase::kLiteral;
        frame.high = static_cast<int32_t>(value.literals.size());
        literal_byte(frame, byte);
        break;
      case JsonForm::Kind::kString:
        frame.phase = Phase::kString;
        if (byte == '"') add(frame);
        break;
      case JsonForm::Kind::kNumber:
      case JsonForm::Kind::kInteger:
        frame.phase = Phase::kNumber;
        if (byte == '-')
          add(frame);
        else if (is_digit(byte))
          number_byte(frame, byte);
        break;
      case JsonForm::Kind::kObject:
        if (byte == '{') container(index, Phase::kObjectStart);
        break;
      case JsonForm::Kind::kMap:
        if (byte == '{') container(index, Phase::kMapStart);
        break;
      case JsonForm::Kind::kArray:
        if (byte == '[') container(index, Phase::kArrayStart);
        break;
    }
  }
}

void JsonAcceptor::literal_byte(Frame frame, unsigned char byte) {
  const auto& literals = form_->values[static_cast<size_t>(frame.index)].literals;
  const auto text = [&](int32_t i) -> const std::string& {
    return literals[static_cast<size_t>(i)];
  };
  narrow(frame, byte, text);
  if (frame.low == frame.high) return;
  if (text(frame.low).size() == static_cast<size_t>(frame.offset)) {
    add(*frame.parent);
    ++frame.low;
  }
  if (frame.low < frame.high) add(frame);
}

void JsonAcceptor::string_byte(Frame frame, unsigned char byte) {
  const JsonForm::Value& value = form_->values[static_cast<size_t>(frame.index)];
  if (frame.string == StringState::kBody) {
    if (byte == '"') {
      if (frame.count >= value.least) add(*frame.parent);
      return;
    }
    if (frame.count >= value.most) return;
    // Without an upper limit numbers above the lower one are all the same.
    if (value.most != JsonForm::kUnbounded || frame.count < value.least) ++frame.count;
  }
  frame.string = next_string_state(frame.string, byte);
  if (frame.string != StringState::kRefused) add(frame);
}

void JsonAcceptor::number_byte(Frame frame, unsigned char byte) {
  using enum NumberState;
  const bool is_integer =
      form_->values[static_cast<size_t>(frame.index)].kind == JsonForm::Kind::kInteger;
  const auto digit = [&](NumberState state, int32_t most) {
    if (frame.number != state) frame.count = 0;
    frame.number = state;
    return ++frame.count <= most;
  };
  const auto go = [&](NumberState state) {
    frame.number = state;
    return !is_integer;
  };
  const NumberState state = frame.number;
  bool taken = false;
  if (is_digit(byte)) {
    if (state == kMinus)
      taken = digit(byte == '0' ? kZero : kInteger, JsonForm::kMostIntegerDigits);
    else if (state == kInteger)
      taken = digit(kInteger, JsonForm::kMostIntegerDigits);
    else if (state == kPoint || state == kFraction)
      taken = digit(kFraction, JsonForm::kMostFractionDigits);
    else if (state != kZero)
      taken = digit(kExponentDigits, JsonForm::kMostExponentDigits);
  } else if (byte == '.') {
    taken = (state == kZero || state == kInteger) && go(kPoint);
  } else if (byte == 'e' || byte == 'E') {
    taken = (state == kZero || state == kInteger || state == kFraction) && go(kExponent);
  } else if (byte == '+' || byte == '-') {
    taken = state == kExponent && go(kExponentSign);
  }
  if (!taken) return;
  if (whole(frame.number)) add(*frame.parent);
  const bool exhausted =
      (is_integer && frame.number == kZero) ||
      (is_integer && frame.number == kInteger && frame.count == JsonForm::kMostIntegerDigits) ||
      (frame.number == kExponentDigits && frame.count == JsonForm::kMostExponentDigits);
  if (!exhausted) add(frame);
}

bool JsonAcceptor::selectable(const Frame& frame, int32_t property) const {
  const JsonForm::Value& value = form_->values[static_cast<size_t>(frame.index)];
  return property >= frame.count &&
         property <= value.next_required[static_cast<size_t>(frame.count)] &&
         fits(value.properties[static_cast<size_t>(property)].value, frame.depth);
}

void JsonAcceptor::object_byte(const Frame& frame, unsigned char byte) {
  const JsonForm::Value& value = form_->values[static_cast<size_t>(frame.index)];
  const auto properties = static_cast<int32_t>(value.properties.size());
  if (frame.phase == Phase::kColon) {
    if (byte != ':') return;
    const Frame after = moved(frame, Phase::kObjectAfter, frame.count + 1);
    return add({.parent = shared(after),
                .index = value.properties[static_cast<size_t>(frame.count)].value,
                .phase = Phase::kValue,
                .depth = frame.depth});
  }
  const bool first = frame.phase == Phase::kObjectStart;
  if (byte == '}' && frame.phase != Phase::kKeyStart) {
    if (value.next_required[static_cast<size_t>(frame.count)] == properties) add(*frame.parent);
    return;
  }
  if (byte == ',' && frame.phase == Phase::kObjectAfter) {
    for (int32_t i = frame.count; i < properties; ++i)
      if (selectable(frame, i)) return add(moved(frame, Phase::kKeyStart, frame.count));
    return;
  }
  if (byte == '"' && (first || frame.phase == Phase::kKeyStart)) {
    Frame key = moved(frame, Phase::kKey, frame.count);
    key.high = properties;
    key_byte(key, byte);
  }
}

void JsonAcceptor::key_byte(Frame frame, unsigned char byte) {
  const JsonForm::Value& value = form_->values[static_cast<size_t>(frame.index)];
  const auto property = [&](int32_t i) { return value.by_key[static_cast<size_t>(i)]; };
  const auto text = [&](int32_t i) -> const std::string& {
    return value.properties[static_cast<size_t>(property(i))].key;
  };
  narrow(frame, byte, text);
  int32_t i = frame.low;
  while (i < frame.high && !selectable(frame, property(i))) ++i;
  if (i == frame.high) return;
  // Keys end with a quotation mark: none begins another.
  if (text(frame.low).size() > static_cast<size_t>(frame.offset)) return add(frame);
  Frame colon = moved(frame, Phase::kColon, property(frame.low));
  colon.low = colon.high = colon.offset = 0;
  add(colon);
}

void JsonAcceptor::map_byte(const Frame& frame, unsigned char byte) {
  const JsonForm::Value& value = form_->values[static_cast<size_t>(frame.index)];
  if (byte == ':' && frame.phase == Phase::kMapColon) {
    add({.parent = shared(moved(frame, Phase::kMapAfter)),
         .index = value.item,
         .phase = Phase::kValue,
         .depth = frame.depth});
  } else if (byte == '}' && (frame.phase == Phase::kMapStart || frame.phase == Phase::kMapAfter)) {
    add(*frame.parent);
  } else if (byte == ',' && frame.phase == Phase::kMapAfter) {
    add(moved(frame, Phase::kMapKeyStart));
  } else if (byte == '"' && fits(value.item, frame.depth) &&
             (frame.phase == Phase::kMapStart || frame.phase == Phase::kMapKeyStart)) {
    add({.parent = shared(moved(frame, Phase::kMapColon)),
         .index = form_->any_string,
         .phase = Phase::kString,
         .depth = frame.depth});
  }
}

void JsonAcceptor::array_byte(const Frame& frame, unsigned char byte) {
  const JsonForm::Value& value = form_->values[static_cast<size_t>(frame.index)];
  if (byte == ']') {
    if (frame.count >= value.least) add(*frame.parent);
    return;
  }
  if (frame.count >= value.most || !fits(value.item, frame.depth)) return;
  const bool counts = value.most != JsonForm::kUnbounded || frame.count < value.least;
  const Frame after = moved(frame, Phase::kArrayAfter, counts ? frame.count + 1 : frame.count);
  const Frame item = {
      .parent = shared(after), .index = value.item, .phase = Phase::kValue, .depth = frame.depth};
  if (frame.phase == Phase::kArrayStart)
    begin_value(item, byte);
  else if (byte == ',')
    add(item);
}

}  // namespace bitsmith
