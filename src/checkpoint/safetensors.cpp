#include "checkpoint/safetensors.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "base/error.h"
#include "base/json.h"

namespace bitsmith {
namespace {

// What the reference implementation (huggingface/safetensors) accepts.
constexpr uint64_t kMaxHeaderBytes = 100'000'000;
constexpr const char* kMetadata = "__metadata__";

DType parse_dtype(const std::string& name, const std::string& where) {
  for (int i = 0; i <= static_cast<int>(DType::BOOL); ++i) {
    if (name == dtype_name(static_cast<DType>(i))) return static_cast<DType>(i);
  }
  throw Error(concat(where, " has the data type ", excerpt(name),
                     "; Bitsmith reads F64, F32, F16, BF16, I64, I32, I16, I8, U8 and BOOL"));
}

TensorView parse_tensor(const std::string& name, const Json& entry, std::span<const std::byte> data,
                        const std::string& source) {
  const std::string where = concat(source, ": tensor '", excerpt(name), "'");
  TensorView tensor;
  tensor.name = name;
  tensor.dtype = parse_dtype(json_get<std::string>(entry, "dtype", where), where);
  const auto integers = [&](const char* key) {
    const Json values = json_get<Json>(entry, key, where);
    std::vector<int64_t> result;
    bool valid = values.is_array();
    for (const Json& value : values) {
      valid = valid && value.is_number_unsigned() &&
              value.get<uint64_t>() <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
      if (!valid) break;
      result.push_back(value.get<int64_t>());
    }
    if (!valid) throw Error(concat(where, ": '", key, "' is not a list of sizes"));
    return result;
  };
  tensor.shape = integers("shape");
  const std::vector<int64_t> offsets = integers("data_offsets");
  if (offsets.size() != 2 || offsets[0] > offsets[1] ||
      offsets[1] > static_cast<int64_t>(data.size())) {
    throw Error(concat(where, " lies at ", shape_string(offsets), " of ", data.size(),
                       " data bytes: the file is damaged or not complete"));
  }
  int64_t expected = 0;
  try {
    expected = byte_size(tensor.dtype, tensor.shape);
  } catch (const Error& error) {
    throw Error(concat(where, ": ", error.what()));
  }
  if (offsets[1] - offsets[0] != expected) {
    throw Error(concat(where, " has the shape ", shape_string(tensor.shape), " in ",
                       dtype_name(tensor.dtype), ", ", expected, " bytes, but the file gives it ",
                       offsets[1] - offsets[0]));
  }
  tensor.bytes = data.subspan(static_cast<size_t>(offsets[0]), static_cast<size_t>(expected));
  return tensor;
}

std::string header_text(const std::vector<TensorSource>& tensors,
                        const std::map<std::string, std::string>& metadata) {
  OrderedJson header = OrderedJson::object();
  if (!metadata.empty()) header[kMetadata] = metadata;
  uint64_t offset = 0;
  for (const TensorSource& tensor : tensors) {
    BITSMITH_CHECK(tensor.dtype <= DType::BOOL);
    BITSMITH_CHECK(!header.contains(tensor.name));
    header[tensor.name] = {{"dtype", dtype_name(tensor.dtype)},
                           {"shape", tensor.shape},
                           {"data_offsets", {offset, offset + tensor.bytes()}}};
    offset += tensor.bytes();
  }
  std::string text = header.dump();
  // The data begins at a multiple of 64, so that a map of the file has it where kernels want it.
  constexpr size_t kAlignment = 64, kLength = sizeof(uint64_t);
  text.resize((kLength + text.size() + kAlignment - 1) / kAlignment * kAlignment - kLength, ' ');
  return text;
}

// The format allows no gaps, so a tensor after one of odd length could lie where its values are not
// aligned, which readers that map the file (torch's too) do not take. Then wide types go first.
std::vector<TensorSource> aligned_order(std::vector<TensorSource> tensors) {
  const auto width = [](const TensorSource& tensor) { return block_layout(tensor.dtype).bytes; };
  uint64_t offset = 0;
  bool aligned = true;
  for (const TensorSource& tensor : tensors) {
    aligned = aligned && offset % static_cast<uint64_t>(width(tensor)) == 0;
    offset += tensor.bytes();
  }
  if (!aligned) {
    std::stable_sort(tensors.begin(), tensors.end(),
                     [&](const auto& a, const auto& b) { return width(a) > width(b); });
  }
  return tensors;
}

// transformers asks for it.
const std::map<std::string, std::string> kShardMetadata = {{"format", "pt"}};

// As many neighbors in each as fit.
std::vector<std::vector<TensorSource>> shards_of(const std::vector<TensorSource>& tensors,
                                                 uint64_t max_shard_bytes) {
  std::vector<std::vector<TensorSource>> shards(1);
  uint64_t shard_bytes = 0;
  for (const TensorSource& tensor : tensors) {
    if (!shards.back().empty() && shard_bytes + tensor.bytes() > max_shard_bytes) {
      shards.emplace_back();
      shard_bytes = 0;
    }
    shards.back().push_back(tensor);
    shard_bytes += tensor.bytes();
  }
  return shards;
}

}  // namespace

void write_safetensors_from(const std::filesystem::path& path,
                            const std::vector<TensorSource>& tensors,
                            const std::map<std::string, std::string>& metadata) {
  const std::vector<TensorSource> ordered = aligned_order(tensors);
  const std::string header = header_text(ordered, metadata);
  const uint64_t header_bytes = header.size();
  AtomicFile file(path);
  file.write(std::as_bytes(std::span(&header_bytes, 1)));
  file.write(header);
  for (const TensorSource& tensor : ordered) {
    uint64_t written = 0;
    tensor.write([&](std::span<const std::byte> piece) {
      file.write(piece);
      written += piece.size();
    });
    BITSMITH_CHECK(written == tensor.bytes());
  }
  file.commit();
}

const TensorView* SafetensorsFile::find(const std::string& name) const {
  const auto found = places.find(name);
  return found == places.end() ? nullptr : &tensors[found->second];
}

std::vector<TensorView> parse_safetensors(std::span<const std::byte> bytes,
                                          const std::string& source,
                                          std::map<std::string, std::string>* metadata) {
  uint64_t header_bytes = 0;
  if (bytes.size() < sizeof(header_bytes)) {
    throw Error(concat(source, ": not a safetensors file (only ", bytes.size(), " bytes)"));
  }
  std::memcpy(&header_bytes, bytes.data(), sizeof(header_bytes));
  if (header_bytes > kMaxHeaderBytes || header_bytes > bytes.size() - sizeof(header_bytes)) {
    throw Error(concat(source, ": not a complete safetensors file (a header of ", header_bytes,
                       " bytes in a file of ", bytes.size(), ")"));
  }
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + sizeof(header_bytes),
                              header_bytes);
  const Json header = parse_json(text, source);
  if (!header.is_object()) throw Error(source + ": the safetensors header is not a JSON object");
  const auto data = bytes.subspan(sizeof(header_bytes) + header_bytes);

  std::vector<TensorView> tensors;
  for (const auto& [name, entry] : header.items()) {
    if (name != kMetadata) {
      tensors.push_back(parse_tensor(name, entry, data, source));
    } else if (metadata != nullptr) {
      *metadata = json_get<std::map<std::string, std::string>>(header, kMetadata, source);
    }
  }
  std::sort(tensors.begin(), tensors.end(), [](const TensorView& a, const TensorView& b) {
    if (a.bytes.data() != b.bytes.data()) return a.bytes.data() < b.bytes.data();
    return a.bytes.size() < b.bytes.size();  // empty tensors before the one that begins there
  });
  const std::byte* end = data.data();
  for (const TensorView& tensor : tensors) {
    if (tensor.bytes.data() != end) {
      throw Error(concat(source, ": tensor '", excerpt(tensor.name), "' ",
                         tensor.bytes.data() < end ? "overlaps the one before it"
                                                   : "does not follow the one before it",
                         ": the file is damaged"));
    }
    end += tensor.bytes.size();
  }
  if (end != data.data() + data.size()) {
    throw Error(concat(source, ": ", data.data() + data.size() - end,
                       " bytes after the last tensor belong to none: the file is damaged"));
  }
  return tensors;
}

SafetensorsFile open_safetensors(const std::filesystem::path& path) {
  SafetensorsFile result;
  result.file = MappedFile::open(path);
  result.tensors = parse_safetensors(result.file->bytes(), path.string(), &result.metadata);
  for (size_t i = 0; i < result.tensors.size(); ++i)
    result.places.emplace(result.tensors[i].name, i);
  return result;
}

void write_safetensors(const std::filesystem::path& path, const std::vector<TensorView>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  write_safetensors_from(path, {tensors.begin(), tensors.end()}, metadata);
}

std::vector<std::string> write_sharded_safetensors(const std::filesystem::path& folder,
                                                   const std::vector<TensorSource>& tensors,
                                                   uint64_t max_shard_bytes) {
  const std::vector<std::vector<TensorSource>> shards = shards_of(tensors, max_shard_bytes);
  if (shards.size() == 1) {
    write_safetensors_from(folder / "model.safetensors", shards.front(), kShardMetadata);
    return {"model.safetensors"};
  }
  std::vector<std::string> names;
  Json weight_map = Json::object();
  uint64_t total_bytes = 0;
  for (size_t i = 0; i < shards.size(); ++i) {
    char name[64];
    std::snprintf(name, sizeof(name), "model-%05zu-of-%05zu.safetensors", i + 1, shards.size());
    write_safetensors_from(folder / name, shards[i], kShardMetadata);
    names.push_back(name);
    for (const TensorSource& tensor : shards[i]) {
      weight_map[tensor.name] = name;
      total_bytes += tensor.bytes();
    }
  }
  OrderedJson index;
  index["metadata"]["total_size"] = total_bytes;
  index["weight_map"] = weight_map;
  write_json_file(folder / "model.safetensors.index.json", index);
  names.push_back("model.safetensors.index.json");
  return names;
}

uint64_t sharded_safetensors_bytes(const std::vector<TensorSource>& tensors,
                                   uint64_t max_shard_bytes) {
  uint64_t bytes = 0;
  for (const std::vector<TensorSource>& shard : shards_of(tensors, max_shard_bytes)) {
    bytes += sizeof(uint64_t) + header_text(aligned_order(shard), kShardMetadata).size();
    for (const TensorSource& tensor : shard) bytes += tensor.bytes();
  }
  return bytes;
}

}  // namespace bitsmith
