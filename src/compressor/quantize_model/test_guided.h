// What tests of the objectives of the end loss share.
#pragma once
#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "compressor/quantize_model/block_quantizer.h"
#include "compressor/quantize_model/gradient_stage.h"
#include "compressor/quantize_model/output_gradients.h"
#include "compressor/quantize_model/test_quantize_model.h"

namespace bitsmith::testing {

class GuidedTest : public QuantizeModelTest {
 protected:
  void SetUp() override {
    QuantizeModelTest::SetUp();
    options_.objective = ErrorMeasure::kGuided;
  }
  static void expect_equal_bytes(const std::map<std::string, QuantizedTensor>& matrices,
                                 const std::map<std::string, QuantizedTensor>& others) {
    ASSERT_EQ(matrices.size(), others.size());
    for (const auto& [module, matrix] : matrices) {
      for (const TensorView& part : matrix.parts) {
        const TensorView& other = others.at(module).part(part.name);
        EXPECT_TRUE(std::ranges::equal(part.bytes, other.bytes)) << module << " " << part.name;
      }
    }
  }
  OrderedJson recipe(const std::string& out) const {
    return parse_ordered_json(read_text_file(folder_ / out / "bitsmith.json"), out);
  }
  // Of the first block's matrices, by the walk itself.
  std::map<std::string, QuantizedTensor> first_block(const std::shared_ptr<const ModelFiles>& files,
                                                     const torch::Tensor& windows,
                                                     const OutputGradients& gradients,
                                                     const OutputMomentSource& moments = {}) const {
    const torch::NoGradGuard no_grad;
    const auto decoder = Decoder::load_without_blocks(files, torch::kFloat32);
    const QuantizationPlan plan = plan_quantization(files->plan(), options_, {});
    const RunContext context;
    BlockQuantizer quantizer(*decoder, plan, options_, decoder->embed(windows), gradients, moments,
                             {}, context);
    return quantizer.quantize(0, [](double, const std::string&) {}, {}).matrices;
  }
  OutputGradients gradients(const std::shared_ptr<const ModelFiles>& files,
                            const torch::Tensor& windows) const {
    std::set<std::string> modules;
    for (const LinearPlan* linear : linears(files->plan().blocks[0])) modules.insert(linear->name);
    return output_gradients(*Decoder::load_without_blocks(files, torch::kFloat32), windows, modules,
                            {}, [](double) {});
  }
};

// Raises a flag when a task has come so far.
class StopAt : public ProgressSink {
 public:
  StopAt(std::string task, double fraction, CancelFlag& cancel)
      : task_(std::move(task)), fraction_(fraction), cancel_(cancel) {}
  void begin(const std::string& task) override { running_ = task; }
  void update(double fraction, const std::string&) override {
    if (running_ == task_ && fraction >= fraction_) cancel_.raise();
  }
  void end() override { running_.clear(); }

 private:
  std::string task_, running_;
  double fraction_;
  CancelFlag& cancel_;
};

}  // namespace bitsmith::testing
