// A packed model from hostile hands. The first byte says what the rest is:
//   0  a packed file: it opens and runs, or gives an Error;
//   1  one byte that chooses a representation, then the bytes of a matrix's arrays, whatever its
//      kernel asks for: it multiplies and decodes, or gives an Error.
#include <cstring>
#include <iterator>

#include "base/error.h"
#include "kernels/aligned_buffer.h"
#include "runtime/matrices/weight_matrix.h"
#include "runtime/model.h"
#include "runtime/model_source.h"

namespace {

using namespace bitsmith;

using Bytes = std::span<const std::byte>;

constexpr const char* kRepresentations[] = {"int4g8",
                                            "int3g16-z",
                                            "int5g3",
                                            "aq2x8g8",
                                            "aq3x5g2",
                                            "aq2x12g16",
                                            "aq1x9g4-s4x2",
                                            "gvq1d2b-n64",
                                            "gvq2d2b",
                                            "gvq2d3b-n1024-s32",
                                            "gvq2d2.5b-n512-c16",
                                            "gvq2d5b-n4096",
                                            "gvq2d3b-t64x96-s32",
                                            "gvq4d2b-t64x96",
                                            "gvq1d4b-t4x96",
                                            "e8p",
                                            "e8p3",
                                            "e8p4",
                                            "int3g16+out2%+lr2+rows3",
                                            "had:int4g8",
                                            "had-out:gvq2d2b"};

// Bytes of the input, again from the start when they are used up.
class InputArrays final : public ArrayStore {
 public:
  explicit InputArrays(Bytes input) : input_(input) {}
  std::shared_ptr<const void> get(const std::string& name, DType dtype, int64_t count,
                                  const Fill&) override {
    return memory_.get(name, dtype, count, [&](void* to) {
      const auto bytes = static_cast<size_t>(byte_size(dtype, {count}));
      for (size_t i = 0; i < bytes && !input_.empty(); ++i)
        static_cast<std::byte*>(to)[i] = input_[at_++ % input_.size()];
    });
  }

 private:
  Bytes input_;
  size_t at_ = 0;
  NewArrays memory_;
};

void use_matrix(WeightMatrix& matrix) {
  static ThreadPool pool(1);
  const auto in = static_cast<size_t>(matrix.in_features);
  const auto out = static_cast<size_t>(matrix.out_features);
  const std::vector<float> x(2 * in, 0.5f);
  std::vector<float> y(2 * out), row(in);
  for (const Products way : {Products::kSingle, Products::kInt8, Products::kExact}) {
    matrix.multiply(way, x.data(), 1, y.data(), pool);
    matrix.multiply(way, x.data(), 2, y.data(), pool);
  }
  for (int64_t r = 0; r < matrix.out_features; ++r) matrix.decode_row(r, row.data());
}

void open_matrix(Bytes input) {
  if (input.empty()) return;
  constexpr int64_t kOut = 64, kIn = 96;
  const auto choice = std::to_integer<size_t>(input[0]) % std::size(kRepresentations);
  QuantizedTensor tensor;
  tensor.spec = resolved(parse_representation(kRepresentations[choice]), kOut, kIn);
  tensor.out_features = kOut;
  tensor.in_features = kIn;
  InputArrays arrays(input.subspan(1));
  use_matrix(*make_quantized_matrix(tensor, {arrays, "fuzz"}));
}

void open_file(Bytes input) {
  AlignedBuffer<std::byte> bytes(static_cast<int64_t>(input.size()));
  if (!input.empty()) std::memcpy(bytes.data(), input.data(), input.size());
  const auto file = PackedFile::parse({bytes.data(), input.size()}, "fuzz");
  RuntimeModel model(ModelSource::from(file)->weights(DensePrecision::kFast), 1);
  KvCache cache(model.plan(), 2);
  std::vector<float> hidden(static_cast<size_t>(model.plan().hidden_size));
  std::vector<float> logits(static_cast<size_t>(model.plan().vocab_size));
  for (const int32_t token : {0, static_cast<int32_t>(logits.size()) - 1}) {
    const TokenStep step{token, &cache};
    model.forward({&step, 1}, Products::kSingle, hidden);
    model.logits(hidden, Products::kSingle, logits);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto input = std::as_bytes(std::span(data, size));
  if (input.empty()) return 0;
  try {
    if (std::to_integer<int>(input[0]) % 2 == 0) {
      open_file(input.subspan(1));
    } else {
      open_matrix(input.subspan(1));
    }
  } catch (const Error&) {
  }
  return 0;
}
