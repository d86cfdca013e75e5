#include "compressor/calibration/token_dataset.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

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

// Of `count` windows, those that are held out.
int64_t held_out_windows(int64_t count, double validation_share) {
  if (!(validation_share >= 0 && validation_share < 1))
    throw UsageError(concat("the validation share is ", validation_share, ", not in [0, 1)"));
  int64_t held = std::llround(validation_share * static_cast<double>(count));
  if (validation_share > 0 && count >= 8) held = std::max<int64_t>(held, 1);
  return std::min(held, count - 1);
}

// Every n / v-th window goes to validation.
TokenDataset split(const torch::Tensor& windows, double validation_share) {
  const int64_t count = windows.size(0), held = held_out_windows(count, validation_share);
  std::vector<int64_t> train, validation;
  for (int64_t i = 0; i < count; ++i)
    ((i + 1) * held / count > i * held / count ? validation : train).push_back(i);
  TokenDataset data;
  data.train = windows.index_select(0, torch::tensor(train, torch::kInt64));
  data.validation = windows.index_select(0, torch::tensor(validation, torch::kInt64));
  data.hash = dataset_hash(data);
  return data;
}

// How many windows a stream of `size` tokens has, and how many of them are asked for.
struct WindowCounts {
  int64_t available, wanted;
};

// UsageError and Error as pack_documents() has them; warns where less is there than asked for.
WindowCounts count_windows(int64_t size, int64_t length, int64_t text_length, int64_t tokens) {
  if (length < 2) throw UsageError(concat("windows of ", length, " tokens; at least 2 are needed"));
  if (tokens != 0 && tokens < length)
    throw UsageError(concat(tokens, " tokens do not fill one window of ", length,
                            "; ask for more tokens or a shorter context"));
  const int64_t available = size / text_length;
  if (available == 0)
    throw Error(concat("the text holds ", size, " tokens, fewer than one window of ", length,
                       "; give more text or a shorter context"));
  const int64_t wanted = tokens == 0 ? available : tokens / length;
  if (wanted > available)
    log_warning(concat("the text holds ", available * length, " tokens in whole windows, not the ",
                       wanted * length, " asked for; all of it is used"));
  return {available, std::min(wanted, available)};
}

// Of `wanted` windows those that the documents fill with their separators, at least one: of more,
// the same text would come again. Warns where it is fewer.
int64_t filled_windows(const std::vector<const std::vector<int32_t>*>& documents,
                       int64_t text_length, int64_t wanted, const char* use) {
  int64_t size = 0;
  for (const auto* ids : documents) size += std::ssize(*ids) + 1;
  const int64_t available = std::max<int64_t>(size / text_length, 1);
  if (wanted > available) {
    log_warning(concat("the documents ", use, " hold ", size, " tokens, enough for ", available,
                       available == 1 ? " window" : " windows", ", not for the ", wanted,
                       " that are their share; more documents are shared out more evenly"));
  }
  return std::min(wanted, available);
}

// Windows of documents that are drawn one by one, each once in random order before any comes again.
class DocumentSampler {
 public:
  DocumentSampler(std::vector<const std::vector<int32_t>*> documents, int32_t separator,
                  Random& random)
      : documents_(std::move(documents)), separator_(separator), random_(random) {}

  // `count` windows [count, length], `bos` before each where there is one.
  torch::Tensor windows(int64_t count, int64_t length, std::optional<int32_t> bos) {
    torch::Tensor windows = torch::empty({count, length}, torch::kInt64);
    int64_t* out = windows.data_ptr<int64_t>();
    for (int64_t* const end = out + windows.numel(); out != end;) {
      int64_t* const next = out + length;
      if (bos) *out++ = *bos;
      out = copy(draw(), /*anywhere=*/true, out, next);
      while (out != next) out = copy(draw(), /*anywhere=*/false, out, next);
    }
    return windows;
  }

 private:
  const std::vector<int32_t>& draw() {
    if (order_.empty()) order_ = shuffled_indices(std::ssize(documents_), random_);
    const int64_t drawn = order_.back();
    order_.pop_back();
    return *documents_[static_cast<size_t>(drawn)];
  }

  // The document and its separator, as far as there is room; of a longer one, its beginning or a
  // piece from anywhere.
  int64_t* copy(const std::vector<int32_t>& ids, bool anywhere, int64_t* out, int64_t* end) {
    const int64_t size = std::ssize(ids) + 1, room = end - out;
    int64_t from = 0;
    if (anywhere && size > room) from = random_.below(static_cast<uint32_t>(size - room + 1));
    const int64_t to = std::min(size, from + room);
    for (int64_t i = from; i < to; ++i) *out++ = i < size - 1 ? ids[i] : separator_;
    return out;
  }

  std::vector<const std::vector<int32_t>*> documents_;
  int32_t separator_;
  Random& random_;
  std::vector<int64_t> order_;  // of those that are not yet drawn, from the last on
};

}  // namespace

TokenDataset pack_documents(const std::vector<std::vector<int32_t>>& documents, int32_t separator,
                            std::optional<int32_t> bos, int64_t length, int64_t tokens,
                            double validation_share, uint64_t seed) {
  Random random(seed);
  std::vector<int32_t> stream;
  for (const int64_t document : shuffled_indices(std::ssize(documents), random)) {
    const std::vector<int32_t>& ids = documents[document];
    if (ids.empty()) continue;
    stream.insert(stream.end(), ids.begin(), ids.end());
    stream.push_back(separator);
  }
  const int64_t text_length = bos ? length - 1 : length;  // of a window
  const auto [available, count] = count_windows(std::ssize(stream), length, text_length, tokens);

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

TokenDataset sample_documents(const std::vector<std::vector<int32_t>>& documents, int32_t separator,
                              std::optional<int32_t> bos, int64_t length, int64_t tokens,
                              double validation_share, uint64_t seed) {
  Random random(seed);
  std::vector<const std::vector<int32_t>*> train, held_out;
  int64_t size = 0;
  for (const int64_t document : shuffled_indices(std::ssize(documents), random)) {
    const std::vector<int32_t>& ids = documents[static_cast<size_t>(document)];
    if (ids.empty()) continue;
    if (std::ssize(ids) >= UINT32_MAX) throw Error("more than 2^32 tokens in a document");
    train.push_back(&ids);
    size += std::ssize(ids) + 1;
  }
  const int64_t text_length = bos ? length - 1 : length;  // of a window
  const int64_t count = count_windows(size, length, text_length, tokens).wanted;
  const int64_t held = held_out_windows(count, validation_share);
  if (held > 0) {
    const int64_t all = std::ssize(train);
    if (all < 2)
      throw UsageError(
          "one document alone is not sampled from: the text that is held out needs another. Give "
          "more documents, or leave out --sample-documents");
    const auto own =
        std::clamp<int64_t>(std::llround(validation_share * static_cast<double>(all)), 1, all - 1);
    held_out.assign(train.end() - own, train.end());
    train.resize(static_cast<size_t>(all - own));
  }
  const int64_t learned = filled_windows(train, text_length, count - held, "that are trained on"),
                judged = filled_windows(held_out, text_length, held, "that are held out");
  TokenDataset data;
  data.train = DocumentSampler(std::move(train), separator, random).windows(learned, length, bos);
  data.validation =
      DocumentSampler(std::move(held_out), separator, random).windows(judged, length, bos);
  data.hash = dataset_hash(data);
  return data;
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
