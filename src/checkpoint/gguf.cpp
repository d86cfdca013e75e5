#include "checkpoint/gguf.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <set>

#include "base/error.h"

namespace bitsmith {
namespace {

constexpr uint32_t kMagic = 0x46554747;  // "GGUF"
constexpr uint32_t kMaxDimensions = 4;
constexpr int kMaxArrayDepth = 4;
// Each takes many times its bytes in memory; real models have less than a hundredth of these.
constexpr uint64_t kMaxKeys = 1 << 16;
constexpr uint64_t kMaxTensors = 1 << 18;

// Types of values, in the order of the specification (ggml/docs/gguf.md).
enum ValueType : uint32_t {
  kUint8,
  kInt8,
  kUint16,
  kInt16,
  kUint32,
  kInt32,
  kFloat32,
  kBool,
  kString,
  kArray,
  kUint64,
  kInt64,
  kFloat64
};

constexpr const char* kTypeNames[] = {"uint8",  "int8",    "uint16", "int16",  "uint32",
                                      "int32",  "float32", "bool",   "string", "array",
                                      "uint64", "int64",   "float64"};

// Bytes of a number or bool; 0 for strings, arrays and unknown types.
size_t fixed_size(uint32_t type) {
  constexpr size_t kSizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  return type < std::size(kSizes) ? kSizes[type] : 0;
}

// ggml's numbers of the tensor types that Bitsmith reads.
struct TensorType {
  uint32_t ggml_type;
  DType dtype;
};
constexpr TensorType kTensorTypes[] = {
    {0, DType::F32},   {1, DType::F16},   {2, DType::Q4_0},  {3, DType::Q4_1},  {6, DType::Q5_0},
    {7, DType::Q5_1},  {8, DType::Q8_0},  {10, DType::Q2_K}, {11, DType::Q3_K}, {12, DType::Q4_K},
    {13, DType::Q5_K}, {14, DType::Q6_K}, {24, DType::I8},   {25, DType::I16},  {26, DType::I32},
    {27, DType::I64},  {28, DType::F64},  {30, DType::BF16},
};

DType tensor_type(uint32_t ggml_type, const std::string& where) {
  for (const TensorType& type : kTensorTypes) {
    if (type.ggml_type == ggml_type) return type.dtype;
  }
  throw Error(concat(where, " has the ggml type ", ggml_type,
                     "; Bitsmith reads F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0 and Q2_K to "
                     "Q6_K"));
}

// Reads forward and never past the end.
class Cursor {
 public:
  Cursor(std::span<const std::byte> bytes, const std::string& source)
      : bytes_(bytes), source_(source) {}

  size_t position() const { return position_; }
  uint64_t left() const { return bytes_.size() - position_; }

  template <typename T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof(T)), sizeof(T));
    return value;
  }

  std::string_view string() {
    const auto length = number<uint64_t>();
    const std::byte* data = take(length);
    return {reinterpret_cast<const char*>(data), length};
  }

  // Any value but an array.
  Json value(uint32_t type, const std::string& key) {
    switch (type) {
      case kUint8:
        return number<uint8_t>();
      case kInt8:
        return number<int8_t>();
      case kUint16:
        return number<uint16_t>();
      case kInt16:
        return number<int16_t>();
      case kUint32:
        return number<uint32_t>();
      case kInt32:
        return number<int32_t>();
      case kFloat32:
        return number<float>();
      case kBool:
        return number<uint8_t>() != 0;
      case kString:
        return std::string(string());
      case kUint64:
        return number<uint64_t>();
      case kInt64:
        return number<int64_t>();
      case kFloat64:
        return number<double>();
      default:
        fail_type(type, key);
    }
  }

  // Goes over an array and all that it holds.
  GgufArray array(const std::string& key, int depth = 0) {
    if (depth >= kMaxArrayDepth) {
      throw Error(concat(source_, ": the key '", excerpt(key), "' is nested too deeply"));
    }
    const auto type = number<uint32_t>();
    const auto count = number<uint64_t>();
    const size_t size = fixed_size(type);
    if (size == 0 && type != kString && type != kArray) fail_type(type, key);
    if (count > left() / (size > 0 ? size : 8)) {  // a string or an array takes 8 bytes at least
      throw Error(concat(source_, ": the key '", excerpt(key), "' claims ", count, " elements in ",
                         left(), " bytes: the file is damaged or not complete"));
    }
    const size_t begin = position_;
    if (size > 0) {
      take(count * size);
    } else {
      for (uint64_t i = 0; i < count; ++i) {
        if (type == kString) {
          string();
        } else {
          array(key, depth + 1);
        }
      }
    }
    return GgufArray(type, count, bytes_.subspan(begin, position_ - begin));
  }

 private:
  [[noreturn]] void fail_type(uint32_t type, const std::string& key) const {
    throw Error(concat(source_, ": the key '", excerpt(key), "' has the unknown type ", type));
  }

  const std::byte* take(uint64_t count) {
    if (count > left()) {
      throw Error(concat(source_, ": the GGUF file ends at byte ", bytes_.size(), ", inside its ",
                         "header: it is damaged or not complete"));
    }
    const std::byte* data = bytes_.data() + position_;
    position_ += count;
    return data;
  }

  std::span<const std::byte> bytes_;
  const std::string& source_;
  size_t position_ = 0;
};

struct TensorEntry {
  TensorView view;  // without bytes yet
  uint64_t offset;  // in the data section
};

TensorEntry read_entry(Cursor& cursor, const std::string& source) {
  TensorEntry entry;
  entry.view.name = cursor.string();
  const std::string where = concat(source, ": tensor '", excerpt(entry.view.name), "'");
  const auto dimensions = cursor.number<uint32_t>();
  if (dimensions > kMaxDimensions) {
    throw Error(concat(where, " has ", dimensions, " dimensions, at most ", kMaxDimensions,
                       " are possible: the file is damaged"));
  }
  for (uint32_t i = 0; i < dimensions; ++i) {
    const auto size = cursor.number<uint64_t>();
    if (size > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
      throw Error(concat(where, " has the impossible size ", size));
    }
    entry.view.shape.push_back(static_cast<int64_t>(size));
  }
  std::reverse(entry.view.shape.begin(), entry.view.shape.end());  // ggml's first is the fastest
  entry.view.dtype = tensor_type(cursor.number<uint32_t>(), where);
  entry.offset = cursor.number<uint64_t>();
  return entry;
}

uint64_t data_alignment(const Json& keys, const std::string& source) {
  const auto alignment = json_get_or<uint64_t>(keys, "general.alignment", 32, source);
  if (alignment == 0 || (alignment & (alignment - 1)) != 0 || alignment > (1u << 20)) {
    throw Error(concat(source, ": an alignment of ", alignment, " is not possible"));
  }
  return alignment;
}

void place(TensorEntry& entry, std::span<const std::byte> data, uint64_t alignment,
           const std::string& source) {
  const std::string where = concat(source, ": tensor '", excerpt(entry.view.name), "'");
  uint64_t size = 0;
  try {
    size = static_cast<uint64_t>(byte_size(entry.view.dtype, entry.view.shape));
  } catch (const Error& error) {
    throw Error(concat(where, ": ", error.what()));
  }
  if (entry.offset % alignment != 0 || entry.offset > data.size() ||
      size > data.size() - entry.offset) {
    throw Error(concat(where, " (", dtype_name(entry.view.dtype), " ",
                       shape_string(entry.view.shape), ", ", size, " bytes at ", entry.offset,
                       ") does not lie in the ", data.size(),
                       " data bytes: the file is damaged or not complete"));
  }
  entry.view.bytes = data.subspan(entry.offset, size);
}

void check_disjoint(std::vector<TensorView> tensors, const std::string& source) {
  std::sort(tensors.begin(), tensors.end(), [](const TensorView& a, const TensorView& b) {
    if (a.bytes.data() != b.bytes.data()) return a.bytes.data() < b.bytes.data();
    return a.bytes.size() < b.bytes.size();
  });
  for (size_t i = 1; i < tensors.size(); ++i) {
    const auto& before = tensors[i - 1].bytes;
    if (before.data() + before.size() > tensors[i].bytes.data()) {
      throw Error(concat(source, ": the tensors '", excerpt(tensors[i - 1].name), "' and '",
                         excerpt(tensors[i].name), "' overlap: the file is damaged"));
    }
  }
}

// One element of a fixed size as T; false when the type is not such a number.
template <typename T>
bool read_number(uint32_t type, const std::byte* data, T& value) {
  const auto read = [&]<typename Stored>(Stored stored) {
    std::memcpy(&stored, data, sizeof(stored));
    value = static_cast<T>(stored);
    return true;
  };
  switch (type) {
    case kUint8:
      return read(uint8_t{});
    case kInt8:
      return read(int8_t{});
    case kUint16:
      return read(uint16_t{});
    case kInt16:
      return read(int16_t{});
    case kUint32:
      return read(uint32_t{});
    case kInt32:
      return read(int32_t{});
    case kUint64:
      return read(uint64_t{});
    case kInt64:
      return read(int64_t{});
    default:
      break;
  }
  if constexpr (std::is_floating_point_v<T>) {
    if (type == kFloat32) return read(float{});
    if (type == kFloat64) return read(double{});
  }
  return false;
}

template <typename T>
void each(uint32_t type, uint64_t size, std::span<const std::byte> bytes, const std::string& error,
          const std::function<void(T)>& use) {
  for (uint64_t i = 0; i < size; ++i) {
    T value{};
    if (!read_number(type, bytes.data() + i * fixed_size(type), value)) throw Error(error);
    use(value);
  }
}

}  // namespace

std::string GgufArray::description() const { return concat(size_, " x ", kTypeNames[type_]); }

void GgufArray::each_string(const std::string& what,
                            const std::function<void(std::string_view)>& use) const {
  if (size_ > 0 && type_ != kString) throw Error(what + " is not all strings");
  Cursor cursor(bytes_, what);
  for (uint64_t i = 0; i < size_; ++i) use(cursor.string());
}

void GgufArray::each_integer(const std::string& what,
                             const std::function<void(int64_t)>& use) const {
  each(type_, size_, bytes_, what + " is not all integers", use);
}

void GgufArray::each_number(const std::string& what, const std::function<void(double)>& use) const {
  each(type_, size_, bytes_, what + " is not all numbers", use);
}

void GgufArray::each_flag(const std::string& what, const std::function<void(bool)>& use) const {
  if (size_ > 0 && type_ != kBool) throw Error(what + " is not all bools");
  for (uint64_t i = 0; i < size_; ++i) use(bytes_[i] != std::byte{0});
}

GgufFile parse_gguf(std::span<const std::byte> bytes, const std::string& source) {
  Cursor cursor(bytes, source);
  if (bytes.size() < 8 || cursor.number<uint32_t>() != kMagic) {
    throw Error(source + ": not a GGUF file (it does not begin with \"GGUF\")");
  }
  const auto version = cursor.number<uint32_t>();
  if (version != 2 && version != 3) {
    throw Error(concat(source, ": GGUF version ", version,
                       " is not supported (little-endian versions 2 and 3 are): convert the model "
                       "anew"));
  }
  const auto tensor_count = cursor.number<uint64_t>();
  const auto key_count = cursor.number<uint64_t>();

  if (key_count > kMaxKeys || tensor_count > kMaxTensors) {
    throw Error(concat(source, ": ", key_count, " keys and ", tensor_count, " tensors; at most ",
                       kMaxKeys, " and ", kMaxTensors, " are read: the file is damaged"));
  }

  GgufFile result;
  result.keys = Json::object();
  for (uint64_t i = 0; i < key_count; ++i) {
    const std::string key(cursor.string());
    const auto type = cursor.number<uint32_t>();
    Json value;
    if (type == kArray) {
      const GgufArray array = cursor.array(key);
      value = {{"array", array.description()}};
      result.arrays.emplace(key, array);
    } else {
      value = cursor.value(type, key);
    }
    if (!result.keys.emplace(key, std::move(value)).second) {
      throw Error(concat(source, ": the key '", excerpt(key), "' occurs twice"));
    }
  }

  std::vector<TensorEntry> entries;  // grows as entries are found: a false count costs no memory
  std::set<std::string> names;
  for (uint64_t i = 0; i < tensor_count; ++i) {
    entries.push_back(read_entry(cursor, source));
    if (!names.insert(entries.back().view.name).second) {
      throw Error(
          concat(source, ": tensor '", excerpt(entries.back().view.name), "' occurs twice"));
    }
  }
  const uint64_t alignment = data_alignment(result.keys, source);
  const uint64_t begin = (cursor.position() + alignment - 1) / alignment * alignment;
  const auto data = bytes.subspan(std::min<uint64_t>(begin, bytes.size()));
  for (TensorEntry& entry : entries) {
    place(entry, data, alignment, source);
    result.tensors.push_back(std::move(entry.view));
  }
  check_disjoint(result.tensors, source);
  return result;
}

GgufFile open_gguf(const std::filesystem::path& path) {
  const auto file = MappedFile::open(path);
  GgufFile result = parse_gguf(file->bytes(), path.string());
  result.file = file;
  return result;
}

}  // namespace bitsmith
