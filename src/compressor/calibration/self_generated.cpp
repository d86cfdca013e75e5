#include "compressor/calibration/self_generated.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <iomanip>
#include <iterator>
#include <sstream>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "checkpoint/safetensors.h"
#include "evaluate/chat_share.h"

namespace bitsmith {
namespace {

using Windows = std::vector<std::vector<int32_t>>;

// Raise it when the generator samples other text from the same seed.
constexpr int kGeneratorVersion = 2;

std::string description(const SelfGeneratedRequest& request) {
  std::ostringstream out;
  out << std::setprecision(17) << "generator " << kGeneratorVersion << " model "
      << request.model_hash << " count " << request.count << " length " << request.context
      << " start " << request.start << " temperature " << request.temperature << " seed "
      << request.seed;
  if (request.chat_share > 0) {
    out << " chats " << request.chat_share << " start";
    for (const int32_t id : request.chat_start) out << " " << id;
  }
  return out.str();
}

// Of windows that stand for the first ones of the request.
void check_windows(const Windows& windows, const SelfGeneratedRequest& request) {
  for (const std::vector<int32_t>& window : windows) {
    if (std::ssize(window) != request.context)
      throw Error(
          concat("expected windows of ", request.context, " tokens, found ", window.size()));
    for (const int32_t id : window) {
      if (id < 0 || id >= request.vocab_size)
        throw Error(concat("token id ", id, " outside the vocabulary of ", request.vocab_size));
    }
  }
}

// The windows of a file: all of the request, or the first ones.
Windows read_cached(const std::filesystem::path& path, const SelfGeneratedRequest& request,
                    bool all) {
  const SafetensorsFile file = open_safetensors(path);
  const TensorView* tokens = file.find("tokens");
  const int64_t count = tokens && tokens->shape.size() == 2 ? tokens->shape[0] : 0;
  if (count < 1 || count > request.count || (all && count != request.count) ||
      tokens->dtype != DType::I32 || tokens->shape[1] != request.context)
    throw Error(concat(path.string(), ": expected I32 'tokens' [", request.count, ", ",
                       request.context, "]"));
  const auto value = [&](const char* key) {
    const auto found = file.metadata.find(key);
    return found == file.metadata.end() ? std::string() : found->second;
  };
  if (value("description") != description(request))
    throw Error(concat(path.string(), ": made for another request"));
  if (value("sha256") != sha256(tokens->bytes))
    throw Error(concat(path.string(), ": its tokens do not match their checksum"));
  Windows windows(count, std::vector<int32_t>(request.context));
  for (int64_t i = 0; i < count; ++i)
    std::memcpy(windows[i].data(), tokens->bytes.data() + i * request.context * sizeof(int32_t),
                request.context * sizeof(int32_t));
  check_windows(windows, request);
  return windows;
}

// The same; none if there is no such file, or, with a warning, not the right one.
Windows find_cached(const std::filesystem::path& path, const SelfGeneratedRequest& request,
                    bool all) {
  if (path.empty() || !std::filesystem::exists(path)) return {};
  try {
    return read_cached(path, request, all);
  } catch (const Error& e) {
    log_warning(concat(e.what(), "; generating anew"));
    return {};
  }
}

void write_cached(const std::filesystem::path& path, const SelfGeneratedRequest& request,
                  const Windows& windows) {
  std::vector<int32_t> tokens;
  for (const std::vector<int32_t>& window : windows)
    tokens.insert(tokens.end(), window.begin(), window.end());
  const std::span<const std::byte> bytes = std::as_bytes(std::span(tokens));
  std::filesystem::create_directories(path.parent_path());
  write_safetensors(path, {{"tokens", DType::I32, {std::ssize(windows), request.context}, bytes}},
                    {{"description", description(request)}, {"sha256", sha256(bytes)}});
}

// Where windows are kept: the whole request in one file, and until then its first ones beside it.
class Cache {
 public:
  Cache(const std::filesystem::path& folder, const SelfGeneratedRequest& request)
      : request_(request) {
    if (folder.empty()) return;
    const auto place = folder / "self_generated" / sha256(description(request));
    whole_ = place.string() + ".safetensors";
    partial_ = place.string() + ".partial.safetensors";
  }
  Windows find_all() const { return find_cached(whole_, request_, true); }
  Windows find_first() const { return find_cached(partial_, request_, false); }

  // Returns whether the windows are kept now.
  bool keep(const Windows& windows) {
    if (whole_.empty()) return false;
    try {
      const bool all = std::ssize(windows) == request_.count;
      write_cached(all ? whole_ : partial_, request_, windows);
      std::error_code error;
      if (all) std::filesystem::remove(partial_, error);
      return true;
    } catch (const std::exception& e) {
      log_warning(concat("the generated text is not kept for the next time: ", e.what()));
      whole_.clear();
      return false;
    }
  }

 private:
  const SelfGeneratedRequest& request_;
  std::filesystem::path whole_, partial_;  // empty: nothing is kept
};

}  // namespace

bool SelfGeneratedRequest::is_chat(int64_t window) const { return is_in_share(window, chat_share); }

std::vector<int32_t> SelfGeneratedRequest::beginning(int64_t window) const {
  return is_chat(window) ? chat_start : std::vector<int32_t>{start};
}

std::filesystem::path default_cache_folder() {
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache && *cache)
    return std::filesystem::path(cache) / "bitsmith";
  if (const char* home = std::getenv("HOME"); home && *home)
    return std::filesystem::path(home) / ".cache" / "bitsmith";
  return {};
}

Windows self_generated_windows(const SelfGeneratedRequest& request,
                               const std::filesystem::path& cache_folder,
                               const WindowGenerator& generate) {
  BITSMITH_CHECK(request.count > 0 && request.context > 1 && request.vocab_size > 0);
  Cache cache(cache_folder, request);
  if (Windows all = cache.find_all(); !all.empty()) return all;
  Windows windows = cache.find_first();
  // Batches begin at the same places in every run: what is side by side may change the last bits.
  windows.resize(windows.size() / kGeneratedAtOnce * kGeneratedAtOnce);
  bool kept = !windows.empty();
  if (kept)
    log_info(concat("the model's own text: ", windows.size(), " of ", request.count,
                    " windows are there already"));
  while (std::ssize(windows) < request.count) {
    const int64_t first = std::ssize(windows);
    const int64_t count = std::min(kGeneratedAtOnce, request.count - first);
    Windows batch;
    try {
      batch = generate(request, first, count);
    } catch (const Interrupted&) {
      throw Interrupted(concat("stopped after ", first, " of ", request.count,
                               " windows of the model's own text; the same command ",
                               kept ? "goes on from there" : "begins anew"));
    }
    if (std::ssize(batch) != count)
      throw Error(concat("expected ", count, " windows, found ", batch.size()));
    check_windows(batch, request);
    std::move(batch.begin(), batch.end(), std::back_inserter(windows));
    kept = cache.keep(windows);
  }
  return windows;
}

}  // namespace bitsmith
