// Where the teacher's next-token distributions come from during training.
#pragma once
#include <memory>

#include "compressor/model/decoder.h"

namespace bitsmith {

// Windows of training data.
struct TrainingWindows {
  torch::Tensor places;  // [n] int64: which rows of TokenDataset::train they are
  torch::Tensor ids;     // [n, length] int64

  int64_t count() const { return ids.size(0); }
  TrainingWindows narrow(int64_t first, int64_t number) const {
    return {places.narrow(0, first, number), ids.narrow(0, first, number)};
  }
};

// The teacher's logits at the positions of a micro-batch, window after window.
class TeacherRows {
 public:
  virtual ~TeacherRows() = default;
  // Makes `count` positions from `first` on ready, and no others.
  virtual void prepare(int64_t first, int64_t count) = 0;
  // Writes the teacher's logits over the temperature, but for a constant, to `logits` [vocab].
  // `row`: position, counted from the first that is ready. `student` [vocab]: the student's logits
  // there over the temperature. Thread-safe.
  virtual void logits(int64_t row, const float* student, float* logits) const = 0;
};

class Teacher {
 public:
  virtual ~Teacher() = default;
  // The teacher outlives them.
  virtual std::unique_ptr<TeacherRows> rows(const TrainingWindows& windows) = 0;
};

// From final hidden states [n, hidden] of the head's dtype.
class HiddenTeacherRows : public TeacherRows {
 public:
  HiddenTeacherRows(const torch::Tensor& hidden, const OutputHead& head, double temperature = 1)
      : hidden_(hidden), head_(head), temperature_(static_cast<float>(temperature)) {}
  void prepare(int64_t first, int64_t count) override;
  void logits(int64_t row, const float* student, float* logits) const override;

 private:
  torch::Tensor hidden_;
  OutputHead head_;
  float temperature_;
  torch::Tensor ready_;  // [count, vocab]
};

// Runs the original model.
class DecoderTeacher : public Teacher {
 public:
  explicit DecoderTeacher(Decoder& decoder, double temperature = 1)
      : decoder_(decoder), temperature_(temperature) {}
  std::unique_ptr<TeacherRows> rows(const TrainingWindows& windows) override;

 private:
  Decoder& decoder_;
  double temperature_;
};

}  // namespace bitsmith
