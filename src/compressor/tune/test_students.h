// A small student and its teacher for the tests of this folder.
#pragma once
#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include "compressor/train/code_rules.h"
#include "compressor/train/test_matrices.h"
#include "compressor/tune/code_pass.h"
#include "compressor/tune/student.h"

namespace bitsmith {

// The tiny trained model with nearest codes, in float32, and random windows.
struct TinyStudent {
  TinyStudent(const std::string& representation, const std::string& strategy)
      : files(ModelFiles::open(std::filesystem::path(BITSMITH_TESTDATA) / "tiny_llama_trained")),
        teacher(Decoder::load(files, torch::kFloat32)) {
    at::set_num_threads(1);  // the matrices are tiny
    torch::manual_seed(61);
    windows = torch::randint(files->plan().vocab_size, {32, 32}, torch::kInt64);
    held_out = torch::randint(files->plan().vocab_size, {8, 32}, torch::kInt64);
    auto decoder = Decoder::load(files, torch::kFloat32);
    for (const auto& block : decoder->blocks()) {
      for (Linear* linear : block->linears()) quantize_to_nearest(*linear, representation);
    }
    student =
        std::make_unique<Student>(std::move(decoder), *teacher, code_rule_factory(strategy, {}));
  }

  CodePassJob job(const CodePassOptions& options = {}) {
    return {.student = *student,
            .teacher = *teacher,
            .windows = windows,
            .held_out = held_out,
            .micro_windows = 4,
            .options = options,
            .seed = 0,
            .progress = [](double, const std::string&) {}};
  }

  std::shared_ptr<const ModelFiles> files;
  std::unique_ptr<Decoder> teacher;
  torch::Tensor windows, held_out;
  std::unique_ptr<Student> student;
};

inline bool same_values(const std::map<std::string, torch::Tensor>& a,
                        const std::map<std::string, torch::Tensor>& b) {
  for (const auto& [name, value] : a) {
    if (!torch::equal(value, b.at(name))) return false;
  }
  return a.size() == b.size();
}

}  // namespace bitsmith
