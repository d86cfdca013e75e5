#include "checkpoint/packed_file.h"

#include <fstream>

#include "base/error.h"
#include "checkpoint/safetensors.h"

namespace bitsmith {
namespace {

constexpr const char* kKey = "bitsmith_packed";  // of the safetensors metadata
constexpr std::string_view kTextPrefix = "text/";
constexpr size_t kHeaderLength = 8;  // bytes before a safetensors header

// How the header of every packed model begins: metadata come first.
std::string beginning() { return concat("{\"__metadata__\":{\"", kKey, "\":"); }

[[noreturn]] void fail_version(const std::string& source, int64_t version) {
  throw Error(concat(source, " is a packed model of version ", version,
                     "; this Bitsmith reads version ", PackedFile::kVersion,
                     ": pack the model again with this Bitsmith"));
}

}  // namespace

bool PackedFile::recognizes(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return false;
  const std::string expected = beginning();
  std::string found(kHeaderLength + expected.size(), '\0');
  std::ifstream file(path, std::ios::binary);
  file.read(found.data(), static_cast<std::streamsize>(found.size()));
  return file && found.compare(kHeaderLength, expected.npos, expected) == 0;
}

std::shared_ptr<const PackedFile> PackedFile::open(const std::filesystem::path& path) {
  const auto file = MappedFile::open(path);
  return std::shared_ptr<const PackedFile>(new PackedFile(file->bytes(), path.string(), file));
}

std::shared_ptr<const PackedFile> PackedFile::parse(std::span<const std::byte> bytes,
                                                    const std::string& source) {
  return std::shared_ptr<const PackedFile>(new PackedFile(bytes, source, nullptr));
}

PackedFile::PackedFile(std::span<const std::byte> bytes, std::string source,
                       std::shared_ptr<const MappedFile> file)
    : source_(std::move(source)), file_(std::move(file)), bytes_(bytes) {
  std::map<std::string, std::string> metadata;
  const std::vector<TensorView> tensors = parse_safetensors(bytes, source_, &metadata);
  const auto about = metadata.find(kKey);
  if (about == metadata.end()) throw Error(source_ + " is not a packed model");
  about_ = parse_json(about->second, source_);
  const auto version = json_get<int64_t>(about_, "version", source_);
  if (version != kVersion) fail_version(source_, version);

  for (const TensorView& tensor : tensors) {
    if (tensor.name.starts_with(kTextPrefix)) {
      texts_[tensor.name.substr(kTextPrefix.size())] = {
          reinterpret_cast<const char*>(tensor.bytes.data()), tensor.bytes.size()};
      continue;
    }
    if (reinterpret_cast<uintptr_t>(tensor.bytes.data()) % kAlignment != 0 ||
        tensor.bytes.size() % kAlignment != 0) {
      throw Error(concat(source_, ": array '", excerpt(tensor.name), "' is not of whole units of ",
                         kAlignment, " bytes: the file is damaged"));
    }
    index_[tensor.name] = arrays_.size();
    arrays_.push_back(tensor);
  }
}

const TensorView* PackedFile::find_array(const std::string& name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &arrays_[found->second];
}

const std::string_view* PackedFile::find_text(const std::string& name) const {
  const auto found = texts_.find(name);
  return found == texts_.end() ? nullptr : &found->second;
}

void write_packed_file(const std::filesystem::path& path, const OrderedJson& about,
                       const std::vector<TensorSource>& arrays,
                       const std::map<std::string, std::string>& texts) {
  std::vector<TensorSource> tensors = arrays;
  for (const TensorSource& array : arrays)
    BITSMITH_CHECK(array.bytes() % PackedFile::kAlignment == 0);
  for (const auto& [name, text] : texts) {
    tensors.push_back(TensorView{concat(kTextPrefix, name),
                                 DType::U8,
                                 {static_cast<int64_t>(text.size())},
                                 std::as_bytes(std::span(text))});
  }
  OrderedJson versioned = {{"version", PackedFile::kVersion}};
  versioned.update(about);
  write_safetensors_from(path, tensors, {{kKey, versioned.dump()}});
}

}  // namespace bitsmith
