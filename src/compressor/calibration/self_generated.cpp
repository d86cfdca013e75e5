#include "compressor/calibration/self_generated.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <iomanip>
#include <map>
#include <optional>
#include <sstream>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "checkpoint/safetensors.h"

namespace bitsmith {
namespace {

using Sequences = std::vector<std::vector<int32_t>>;

// Raise it when the generator samples other text from the same seed.
constexpr int kGeneratorVersion = 1;

std::string description(const SelfGeneratedRequest& request) {
  std::ostringstream out;
  out << std::setprecision(17) << "generator " << kGeneratorVersion << " model "
      << request.model_hash << " count " << request.count << " length " << request.length
      << " temperature " << request.temperature << " seed " << request.seed;
  return out.str();
}

void check_sequences(const Sequences& sequences, const SelfGeneratedRequest& request) {
  if (std::ssize(sequences) != request.count)
    throw Error(concat("expected ", request.count, " sequences, found ", sequences.size()));
  for (const std::vector<int32_t>& sequence : sequences) {
    if (std::ssize(sequence) != request.length)
      throw Error(
          concat("expected sequences of ", request.length, " tokens, found ", sequence.size()));
    for (const int32_t id : sequence) {
      if (id < 0 || id >= request.vocab_size)
        throw Error(concat("token id ", id, " outside the vocabulary of ", request.vocab_size));
    }
  }
}

Sequences read_cached(const std::filesystem::path& path, const SelfGeneratedRequest& request) {
  const SafetensorsFile file = open_safetensors(path);
  const TensorView* tokens = file.find("tokens");
  if (!tokens || tokens->dtype != DType::I32 ||
      tokens->shape != std::vector<int64_t>{request.count, request.length})
    throw Error(concat(path.string(), ": expected I32 'tokens' [", request.count, ", ",
                       request.length, "]"));
  const auto value = [&](const char* key) {
    const auto found = file.metadata.find(key);
    return found == file.metadata.end() ? std::string() : found->second;
  };
  if (value("description") != description(request))
    throw Error(concat(path.string(), ": made for another request"));
  if (value("sha256") != sha256(tokens->bytes))
    throw Error(concat(path.string(), ": its tokens do not match their checksum"));
  Sequences sequences(request.count, std::vector<int32_t>(request.length));
  for (int64_t i = 0; i < request.count; ++i)
    std::memcpy(sequences[i].data(), tokens->bytes.data() + i * request.length * sizeof(int32_t),
                request.length * sizeof(int32_t));
  check_sequences(sequences, request);
  return sequences;
}

void write_cached(const std::filesystem::path& path, const SelfGeneratedRequest& request,
                  const Sequences& sequences) {
  std::vector<int32_t> tokens;
  for (const std::vector<int32_t>& sequence : sequences)
    tokens.insert(tokens.end(), sequence.begin(), sequence.end());
  const std::span<const std::byte> bytes = std::as_bytes(std::span(tokens));
  std::filesystem::create_directories(path.parent_path());
  write_safetensors(path, {{"tokens", DType::I32, {request.count, request.length}, bytes}},
                    {{"description", description(request)}, {"sha256", sha256(bytes)}});
}

}  // namespace

std::filesystem::path default_cache_folder() {
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache && *cache)
    return std::filesystem::path(cache) / "bitsmith";
  if (const char* home = std::getenv("HOME"); home && *home)
    return std::filesystem::path(home) / ".cache" / "bitsmith";
  return {};
}

Sequences self_generated_sequences(const SelfGeneratedRequest& request,
                                   const std::filesystem::path& cache_folder,
                                   const SequenceGenerator& generate) {
  BITSMITH_CHECK(request.count > 0 && request.length > 1 && request.vocab_size > 0);
  const std::filesystem::path path =
      cache_folder.empty()
          ? std::filesystem::path()
          : cache_folder / "self_generated" / (sha256(description(request)) + ".safetensors");
  if (!path.empty() && std::filesystem::exists(path)) {
    try {
      return read_cached(path, request);
    } catch (const Error& e) {
      log_warning(concat(e.what(), "; generating anew"));
    }
  }
  Sequences sequences = generate(request);
  check_sequences(sequences, request);
  if (!path.empty()) {
    try {
      write_cached(path, request, sequences);
    } catch (const std::exception& e) {
      log_warning(concat("the generated text is not kept for the next time: ", e.what()));
    }
  }
  return sequences;
}

}  // namespace bitsmith
