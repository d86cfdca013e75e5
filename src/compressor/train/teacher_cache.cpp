#include "compressor/train/teacher_cache.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <span>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/log.h"
#include "format/work_folder.h"
#include "kernels/kernel_table.h"

namespace bitsmith {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kShardWindows = 32;      // what an interruption loses at most
constexpr int64_t kPositionsAtOnce = 256;  // whose logits exist at a time
constexpr float kNowhere = -1e30f;         // beside any logit: probability 0

OrderedJson identity_of(const TeacherCacheKey& key, const torch::Tensor& windows, int64_t vocab) {
  return {{"cache", "bitsmith teacher"},
          {"version", 1},
          {"model_sha256", key.model_hash},
          {"data_sha256", key.data_hash},
          {"windows", windows.size(0)},
          {"length", windows.size(1)},
          {"vocab", vocab},
          {"top_k", key.top_k},
          {"temperature", key.temperature},
          {"dtype", key.dtype}};
}

// Error where the folder holds something else.
void check_owner(const fs::path& folder, const OrderedJson& identity) {
  const fs::path file = folder / "cache.json";
  if (!fs::exists(file)) {
    if (!fs::exists(folder)) return;
    if (!fs::is_directory(folder))
      throw Error(concat(folder.string(), " is no folder: --teacher-cache wants one"));
    for (const auto& entry : fs::directory_iterator(folder)) {
      const std::string name = entry.path().filename().string();
      // Of a process that was killed before it wrote the file.
      if (name == "lock" || name.starts_with("cache.json.")) continue;
      throw Error(concat(folder.string(), " holds ", name,
                         " and is no teacher cache: give --teacher-cache a folder of its own"));
    }
    return;
  }
  const Json found = read_json_file(file);
  for (const auto& [name, wanted] : identity.items()) {
    const Json there = found.is_object() ? found.value(name, Json()) : Json();
    if (there == Json(wanted)) continue;
    throw Error(concat(folder.string(), " is the cache of another teacher, data or options: ", name,
                       " is ", json_excerpt(there), ", expected ", json_excerpt(Json(wanted)),
                       ". Give --teacher-cache another folder, or delete this one"));
  }
}

fs::path shard_path(const fs::path& folder, int64_t shard) {
  std::string number = std::to_string(shard);
  number.insert(0, 6 - std::min<size_t>(6, number.size()), '0');
  return folder / concat("windows-", number, ".safetensors");
}

std::string content_hash(const std::vector<TensorView>& tensors) {
  Sha256 hash;
  for (const TensorView& tensor : tensors) {
    hash.update(concat(tensor.name, '\0', shape_string(tensor.shape)));
    hash.update(tensor.bytes);
  }
  return hash.finish();
}

TensorView view_of(const std::string& name, DType dtype, const torch::Tensor& tensor) {
  return {name,
          dtype,
          tensor.sizes().vec(),
          {static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()}};
}

}  // namespace

void check_teacher_cache(const fs::path& folder, const TeacherCacheKey& key,
                         const torch::Tensor& windows, int64_t vocab) {
  check_owner(folder, identity_of(key, windows, vocab));
}

TopTokens top_tokens(const torch::Tensor& logits, int64_t top_k, double temperature) {
  const torch::NoGradGuard no_grad;
  auto log_p = torch::log_softmax(logits.to(torch::kFloat32) / temperature, 1);
  const auto [values, ids] = log_p.topk(top_k, 1, /*largest=*/true, /*sorted=*/true);
  const auto top = values.contiguous();
  // Of the others alone: 1 - the sum of the top would lose a small tail.
  log_p.scatter_(1, ids, -std::numeric_limits<float>::infinity());
  return {ids.to(torch::kInt32).contiguous(), top, log_p.logsumexp(1).contiguous()};
}

void fill_cached_logits(const int32_t* ids, const float* log_probabilities, int64_t top_k,
                        float log_tail, const float* student, int64_t vocab, float* logits) {
  std::copy_n(student, vocab, logits);
  for (int64_t i = 0; i < top_k; ++i) logits[ids[i]] = kNowhere;
  const ExpSums tail = kernels().softmax.exp_sums(logits, nullptr, vocab);
  const auto student_tail = tail.max + static_cast<float>(std::log(tail.sum));
  // A tail of no mass is as far away as exp() reaches.
  const float shift = std::max(log_tail - student_tail, -1e4f);
  for (int64_t i = 0; i < vocab; ++i) logits[i] += shift;
  for (int64_t i = 0; i < top_k; ++i) logits[ids[i]] = log_probabilities[i];
}

// Writes the shards that are missing.
class TeacherCache::Maker {
 public:
  Maker(const fs::path& folder, const TeacherCacheKey& key, std::string identity, Decoder& decoder,
        const torch::Tensor& windows, int64_t micro_windows, const RunContext& context)
      : folder_(folder),
        key_(key),
        identity_(std::move(identity)),
        decoder_(decoder),
        windows_(windows),
        micro_(micro_windows),
        context_(context) {}

  // Before any of `shards` files are made.
  void prepare(int64_t shards) const {
    remove_leftovers();
    check_disk(shards);
  }
  void make(const std::vector<int64_t>& shards) {
    ReportedTask task(context_, "teacher cache");
    for (size_t i = 0; i < shards.size(); ++i) {
      if (context_.cancelled())
        throw Interrupted(
            "interrupted while the teacher's cache is made; the same command goes on");
      task.update(static_cast<double>(i) / static_cast<double>(shards.size()),
                  concat(i, " of ", shards.size(), " files"));
      write(shards[i]);
    }
    sync_folder(folder_);
  }

 private:
  // Of a process that was killed while it wrote a file.
  void remove_leftovers() const {
    std::vector<fs::path> leftovers;
    for (const auto& entry : fs::directory_iterator(folder_))
      if (entry.path().extension() == ".tmp") leftovers.push_back(entry.path());
    for (const fs::path& leftover : leftovers) fs::remove(leftover);
  }

  void check_disk(int64_t shards) const {
    const auto positions = static_cast<uint64_t>(shards * kShardWindows * windows_.size(1));
    const uint64_t needed = positions * (8 * static_cast<uint64_t>(key_.top_k) + 4);
    const uint64_t free = free_disk_bytes(folder_);
    if (needed <= free) return;
    throw Error(concat("a teacher cache of ", key_.top_k, " tokens a position needs ",
                       format_bytes(static_cast<double>(needed)), " in ", folder_.string(), "; ",
                       format_bytes(static_cast<double>(free)),
                       " are free: lower --teacher-top-k, or give it another disk"));
  }

  void write(int64_t shard) {
    const int64_t first = shard * kShardWindows,
                  count = std::min(kShardWindows, windows_.size(0) - first);
    std::vector<torch::Tensor> ids, values, tails;
    const OutputHead head = decoder_.head();
    for (int64_t at = first; at < first + count; at += micro_) {
      const auto some = windows_.narrow(0, at, std::min(micro_, first + count - at));
      const auto hidden = decoder_.hidden_states(some).flatten(0, 1);
      for (int64_t row = 0; row < hidden.size(0); row += kPositionsAtOnce) {
        const int64_t rows = std::min(kPositionsAtOnce, hidden.size(0) - row);
        TopTokens top =
            top_tokens(head.logits(hidden.narrow(0, row, rows)), key_.top_k, key_.temperature);
        ids.push_back(std::move(top.ids));
        values.push_back(std::move(top.log_probabilities));
        tails.push_back(std::move(top.log_tails));
      }
    }
    const int64_t length = windows_.size(1);
    const auto all_ids = torch::cat(ids).view({count, length, key_.top_k});
    const auto all_values = torch::cat(values).view({count, length, key_.top_k});
    const auto all_tails = torch::cat(tails).view({count, length});
    const std::vector<TensorView> tensors = {view_of("ids", DType::I32, all_ids),
                                             view_of("log_probabilities", DType::F32, all_values),
                                             view_of("log_tails", DType::F32, all_tails)};
    write_safetensors(shard_path(folder_, shard), tensors,
                      {{"identity", identity_}, {"sha256", content_hash(tensors)}});
  }

  const fs::path& folder_;
  const TeacherCacheKey& key_;
  std::string identity_;
  Decoder& decoder_;
  const torch::Tensor& windows_;
  int64_t micro_;
  const RunContext& context_;
};

// Positions of a micro-batch.
class TeacherCache::Rows : public TeacherRows {
 public:
  Rows(const TeacherCache& cache, const torch::Tensor& places)
      : cache_(cache), places_(places.contiguous()) {}

  void prepare(int64_t first, int64_t) override { first_ = first; }
  void logits(int64_t row, const float* student, float* logits) const override {
    const int64_t length = cache_.length_, top_k = cache_.top_k_, at = first_ + row;
    const int64_t place = places_.const_data_ptr<int64_t>()[at / length];
    const Shard& shard = cache_.shards_[static_cast<size_t>(place / kShardWindows)];
    const int64_t position = place % kShardWindows * length + at % length;
    fill_cached_logits(shard.ids + position * top_k, shard.log_probabilities + position * top_k,
                       top_k, shard.log_tails[position], student, cache_.vocab_, logits);
  }

 private:
  const TeacherCache& cache_;
  torch::Tensor places_;
  int64_t first_ = 0;
};

TeacherCache::TeacherCache(const fs::path& folder, const TeacherCacheKey& key, Decoder& decoder,
                           const torch::Tensor& windows, int64_t micro_windows,
                           const RunContext& context)
    : top_k_(key.top_k), length_(windows.size(1)), vocab_(decoder.plan().vocab_size) {
  const torch::NoGradGuard no_grad;
  BITSMITH_CHECK(top_k_ >= 1 && top_k_ <= vocab_);
  const OrderedJson identity = identity_of(key, windows, vocab_);
  identity_ = sha256(identity.dump());
  Communicator& ranks = *context.communicator;
  if (ranks.first()) check_owner(folder, identity);
  const int64_t shards = (windows.size(0) + kShardWindows - 1) / kShardWindows;
  const auto missing = [&] {
    std::vector<int64_t> all;
    for (int64_t shard = 0; shard < shards; ++shard)
      if (!fs::exists(shard_path(folder, shard))) all.push_back(shard);
    return all;
  };
  Maker maker(folder, key, identity_, decoder, windows, micro_windows, context);
  std::optional<FolderLock> lock;  // the first rank's
  std::vector<int64_t> to_make;
  if (ranks.first() && !missing().empty()) {
    lock.emplace(folder);
    check_owner(folder, identity);  // another process may have been here
    write_json_file(folder / "cache.json", identity);
    to_make = missing();
    maker.prepare(std::ssize(to_make));
  }
  to_make.resize(ranks.broadcast_value(to_make.size()));
  ranks.broadcast(std::as_writable_bytes(std::span(to_make)), 0);
  if (!to_make.empty()) {
    const Share own = share_of(std::ssize(to_make), ranks.rank(), ranks.size());
    maker.make({to_make.begin() + own.first, to_make.begin() + own.last});
    ranks.barrier();
    lock.reset();
  }
  ReportedTask task(context, "reading the teacher cache");
  for (int64_t shard = 0; shard < shards; ++shard) {
    if (context.cancelled()) throw Interrupted("interrupted while the teacher's cache is read");
    task.update(static_cast<double>(shard) / static_cast<double>(shards), "");
    shards_.push_back(open(shard_path(folder, shard),
                           std::min(kShardWindows, windows.size(0) - shard * kShardWindows)));
  }
}

TeacherCache::Shard TeacherCache::open(const fs::path& path, int64_t count) const {
  const auto damaged = [&](const std::string& what) {
    return Error(
        concat(path.string(), ": ", what,
               ". The file is damaged, or not of this cache: delete it, and it is made anew"));
  };
  const SafetensorsFile file = open_safetensors(path);
  const auto text = [&](const char* key) {
    const auto found = file.metadata.find(key);
    return found == file.metadata.end() ? std::string() : found->second;
  };
  if (text("identity") != identity_) throw damaged("of another teacher, data or options");
  const auto part = [&](const char* name, DType dtype, const std::vector<int64_t>& shape) {
    const TensorView* tensor = file.find(name);
    if (tensor == nullptr) throw damaged(concat("no tensor ", name));
    if (tensor->dtype != dtype || tensor->shape != shape) {
      throw damaged(concat(name, " is ", dtype_name(tensor->dtype), " ",
                           shape_string(tensor->shape), ", expected ", dtype_name(dtype), " ",
                           shape_string(shape)));
    }
    if (reinterpret_cast<uintptr_t>(tensor->bytes.data()) % alignof(float) != 0)
      throw damaged(concat(name, " begins at an odd place"));
    return *tensor;
  };
  const std::vector<TensorView> tensors = {
      part("ids", DType::I32, {count, length_, top_k_}),
      part("log_probabilities", DType::F32, {count, length_, top_k_}),
      part("log_tails", DType::F32, {count, length_})};
  if (text("sha256") != content_hash(tensors)) throw damaged("its values have another checksum");
  Shard shard = {.file = file.file,
                 .ids = reinterpret_cast<const int32_t*>(tensors[0].bytes.data()),
                 .log_probabilities = reinterpret_cast<const float*>(tensors[1].bytes.data()),
                 .log_tails = reinterpret_cast<const float*>(tensors[2].bytes.data())};
  // They are places in memory later.
  const int64_t ids = count * length_ * top_k_;
  if (!std::all_of(shard.ids, shard.ids + ids, [&](int32_t id) { return id >= 0 && id < vocab_; }))
    throw damaged(concat("ids beyond the vocabulary of ", vocab_));
  for (const TensorView& tensor : tensors) file.file->release(tensor.bytes);
  return shard;
}

std::unique_ptr<TeacherRows> TeacherCache::rows(const TrainingWindows& windows) {
  return std::make_unique<Rows>(*this, windows.places);
}

}  // namespace bitsmith
