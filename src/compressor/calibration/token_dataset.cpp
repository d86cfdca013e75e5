#include "compressor/calibration/token_dataset.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/log.h"
#include "base/random.h"
#include "compressor/tensor_bytes.h"

namespace bitsmith {
namespace {

// 0 .. count - 1 in random order.
std::vector<int64_t> shuffled_indices(int64_t count, Random& random) {
  if (count > UINT32_MAX) throw Error("more than 2^32 documents or windows");
  std::vector<int64_t> order(count);
  std::iota(order.begin(), order.end(), int64_t{0});
  for (size_t i = order.size(); i > 1; --i)
    std::swap(order[i - 1], order[random.below(static_cast<uint32_t>(i))]);
  return order;
}

std::string dataset_hash(const TokenDataset& data) {
  std::string text;
  for (const torch::Tensor& part : {data.train, data.validation}) {
    text += concat(part.size(0), " x ", part.size(1), " ",
                   sha256(std::as_bytes(std::span(part.data_ptr<int64_t>(), part.numel()))), "\n");
  }
  return sha256(text);
}

// Every n / v-th window goes to validation.
TokenDataset split(const torch::Tensor& windows, double validation_share) {
  if (!(validation_share >= 0 && validation_share < 1))
    throw UsageError(concat("the validation share is ", validation_share, ", not in [0, 1)"));
  const int64_t count = windows.size(0);
  int64_t held = std::llround(validation_share * static_cast<double>(count));
  if (validation_share > 0 && count >= 8) held = std::max<int64_t>(held, 1);
  held = std::min(held, count - 1);
  std::vector<int64_t> train, validation;
  for (int64_t i = 0; i < count; ++i)
    ((i + 1) * held / count > i * held / count ? validation : train).push_back(i);
  TokenDataset data;
  data.train = windows.index_select(0, torch::tensor(train, torch::kInt64));
  data.validation = windows.index_select(0, torch::tensor(validation, torch::kInt64));
  data.hash = dataset_hash(data);
  return data;
}

}  // namespace

TokenDataset pack_documents(const std::vector<std::vector<int32_t>>& documents, int32_t separator,
                            std::optional<int32_t> bos, int64_t length, int64_t tokens,
                            double validation_share, uint64_t seed) {
  if (length < 2) throw UsageError(concat("windows of ", length, " tokens; at least 2 are needed"));
  if (tokens != 0 && tokens < length)
    throw UsageError(concat(tokens, " tokens do not fill one window of ", length,
                            "; ask for more tokens or a shorter context"));
  Random random(seed);
  std::vector<int32_t> stream;
  for (const int64_t document : shuffled_indices(std::ssize(documents), random)) {
    const std::vector<int32_t>& ids = documents[document];
    if (ids.empty()) continue;
    stream.insert(stream.end(), ids.begin(), ids.end());
    stream.push_back(separator);
  }
  const int64_t text_length = bos ? length - 1 : length;  // of a window
  const int64_t available = std::ssize(stream) / text_length;
  if (available == 0)
    throw Error(concat("the text holds ", stream.size(), " tokens, fewer than one window of ",
                       length, "; give more text or a shorter context"));
  const int64_t wanted = tokens == 0 ? available : tokens / length;
  if (wanted > available)
    log_warning(concat("the text holds ", available * length, " tokens in whole windows, not the ",
                       wanted * length, " asked for; all of it is used"));
  const int64_t count = std::min(wanted, available);

  // A circle, cut from a random place on: every token has the same chance to be in a window.
  if (stream.size() > UINT32_MAX) throw Error("more than 2^32 tokens of calibration text");
  const int64_t size = std::ssize(stream);
  const int64_t origin = random.below(static_cast<uint32_t>(size));
  std::vector<int64_t> chosen = shuffled_indices(available, random);
  chosen.resize(count);
  torch::Tensor windows = torch::empty({count, length}, torch::kInt64);
  int64_t* out = windows.data_ptr<int64_t>();
  for (const int64_t window : chosen) {
    if (bos) *out++ = *bos;
    for (int64_t i = 0; i < text_length; ++i)
      *out++ = stream[(origin + window * text_length + i) % size];
  }
  return split(windows, validation_share);
}

TokenDataset pack_windows(const std::vector<std::vector<int32_t>>& windows, double validation_share,
                          uint64_t seed) {
  if (windows.empty()) throw Error("no windows to calibrate on");
  const int64_t count = std::ssize(windows), length = std::ssize(windows[0]);
  Random random(seed);
  const std::vector<int64_t> order = shuffled_indices(count, random);
  torch::Tensor packed = torch::empty({count, length}, torch::kInt64);
  for (int64_t i = 0; i < count; ++i) {
    const std::vector<int32_t>& window = windows[order[i]];
    BITSMITH_CHECK(std::ssize(window) == length);
    std::copy(window.begin(), window.end(), packed.data_ptr<int64_t>() + i * length);
  }
  return split(packed, validation_share);
}

void share_dataset(TokenDataset& data, Communicator& communicator) {
  if (communicator.size() == 1) return;
  const OrderedJson facts = {{"train", data.train.sizes().vec()},
                             {"validation", data.validation.sizes().vec()},
                             {"hash", data.hash},
                             {"chats", data.chats},
                             {"warnings", data.warnings}};
  const std::string source = "the first rank's data";
  const Json of_first = parse_json(communicator.broadcast_text(facts.dump(
                                       -1, ' ', false, OrderedJson::error_handler_t::replace)),
                                   source);
  const auto share = [&](torch::Tensor& tensor, const char* key) {
    if (!communicator.first())
      tensor = torch::empty(json_get<std::vector<int64_t>>(of_first, key, source), torch::kInt64);
    communicator.broadcast(tensor_bytes(tensor), 0);
  };
  share(data.train, "train");
  share(data.validation, "validation");
  data.hash = json_get<std::string>(of_first, "hash", source);
  data.chats = json_get<int64_t>(of_first, "chats", source);
  data.warnings = json_get<std::vector<std::string>>(of_first, "warnings", source);
}

}  // namespace bitsmith
