#include "compressor/quantize_model/moment_files.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <span>
#include <vector>

#include "base/error.h"
#include "compressor/quantize_model/work_tensors.h"

namespace bitsmith {
namespace {

constexpr MomentPart kParts[] = {MomentPart::kFirst, MomentPart::kSecond, MomentPart::kHeldOut};
constexpr const char* kMatrix = ".moment";       // its upper triangle, row by row, F32
constexpr const char* kWeight = ".weight";       // F64
constexpr const char* kWindows = "last_window";  // metadata: the first window that is not in it

int64_t triangle(int64_t n) { return n * (n + 1) / 2; }

std::vector<float> upper_triangle(const torch::Tensor& matrix) {
  const int64_t n = matrix.size(0);
  std::vector<float> packed(static_cast<size_t>(triangle(n)));
  float* to = packed.data();
  for (int64_t row = 0; row < n; ++row)
    to = std::copy_n(matrix.const_data_ptr<float>() + row * (n + 1), n - row, to);
  return packed;
}

torch::Tensor symmetric_matrix(const TensorView& packed, int64_t n) {
  torch::Tensor upper = torch::zeros({n, n});
  const std::byte* from = packed.bytes.data();
  for (int64_t row = 0; row < n; ++row) {
    const size_t bytes = static_cast<size_t>(n - row) * sizeof(float);
    std::memcpy(upper.mutable_data_ptr<float>() + row * (n + 1), from, bytes);
    from += bytes;
  }
  return upper + upper.triu(1).t();
}

SecondMoment read_moment(const SafetensorsFile& file, const std::filesystem::path& path,
                         const std::string& module, int64_t out) {
  const auto find = [&](const std::string& name, DType dtype, int64_t size) {
    const TensorView* view = file.find(name);
    if (!view || view->dtype != dtype || view->shape != std::vector<int64_t>{size})
      throw Error(concat(path.string(), ": tensor '", name, "' of ", size,
                         " values is missing; delete ", path.parent_path().string(),
                         " to start anew"));
    return view;
  };
  SecondMoment moment{symmetric_matrix(*find(module + kMatrix, DType::F32, triangle(out)), out), 0};
  std::memcpy(&moment.weight, find(module + kWeight, DType::F64, 1)->bytes.data(),
              sizeof moment.weight);
  return moment;
}

}  // namespace

std::array<int64_t, 4> moment_part_bounds(int64_t windows) {
  BITSMITH_CHECK(windows >= kLeastMomentWindows);
  const int64_t making = windows - std::max<int64_t>(1, windows / 4);
  return {0, making / 2, making, windows};
}

int64_t moment_file_bytes(int64_t out) { return 4 * triangle(out) + 8; }

std::filesystem::path MomentFiles::path(MomentPart part, int64_t block_index) const {
  constexpr const char* kNames[] = {"moments-first", "moments-second", "moments-heldout"};
  return work_.file(numbered_name(kNames[static_cast<size_t>(part)], block_index) + ".safetensors");
}

void MomentFiles::add(const MomentBatch& batch, int64_t block_index,
                      const SecondMoments& moments) const {
  const std::filesystem::path file = path(batch.part, block_index);
  const std::string end = std::to_string(batch.first + batch.count);
  SecondMoments sums = moments;
  if (!batch.begins) {
    const SafetensorsFile before = open_work_tensors(file, work_.hash());
    const std::string& there = work_value(before, kWindows, file);
    if (there == end) return;
    if (there != std::to_string(batch.first))
      throw Error(concat(file.string(), " has the windows before ", excerpt(there), ", expected ",
                         batch.first, "; delete ", file.parent_path().string(), " to start anew"));
    for (auto& [module, sum] : sums)
      sum = joined(read_moment(before, file, module, sum.matrix.size(0)), sum);
  }
  std::deque<std::vector<float>> packed;  // places stay
  std::vector<TensorView> tensors;
  for (const auto& [module, sum] : sums) {
    const std::vector<float>& values = packed.emplace_back(upper_triangle(sum.matrix));
    tensors.push_back(
        {module + kMatrix, DType::F32, {std::ssize(values)}, std::as_bytes(std::span(values))});
    tensors.push_back(
        {module + kWeight, DType::F64, {1}, std::as_bytes(std::span(&sum.weight, 1))});
  }
  write_work_tensors(file, tensors, {{kWindows, end}}, work_.hash());
}

OutputMoments MomentFiles::read(int64_t block_index, const std::string& module, int64_t out) {
  if (block_index != open_block_) {
    for (const MomentPart part : kParts)
      files_[static_cast<size_t>(part)] = open_work_tensors(path(part, block_index), work_.hash());
    open_block_ = block_index;
  }
  const auto of = [&](MomentPart part) {
    return read_moment(files_[static_cast<size_t>(part)], path(part, block_index), module, out);
  };
  return {of(MomentPart::kFirst), of(MomentPart::kSecond), of(MomentPart::kHeldOut)};
}

}  // namespace bitsmith
