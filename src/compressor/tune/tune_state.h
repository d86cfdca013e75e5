// A tuning run on disk: all that an interrupted run needs to end with the same bytes.
#pragma once
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/json.h"
#include "compressor/tune/student.h"
#include "compressor/tune/tune_options.h"

namespace bitsmith {

struct TuneProgress {
  std::string request_hash;  // of model, teacher, data and options: another run's state is refused
  int64_t step = 0;          // optimizer steps done; the data order follows from it
  double elapsed_seconds = 0;  // of all earlier sessions
  double best_kl = 0, first_kl = 0;
  int64_t best_step = 0;
  int64_t changed = 0;         // code groups changed so far
  double last_validation = 0;  // share of the budget at the last validation
  int64_t validated_step = 0;  // and steps then done
  std::vector<Validation> validations;
  double training_loss_sum = 0;  // of the steps since the last
  int64_t passes = 0;            // over the blocks that are done (code_pass.h)
  int64_t pass_blocks = 0;       // blocks of the present one that are done
  int64_t validated_passes = 0;  // passes done at the last validation
};

// Atomic. All that TunedBlocks::visit_state() visits on any rank, exactly. The first rank writes
// it, with one tensor of another rank in memory at a time; all return when it is there. Collective.
void save_tune_state(const std::filesystem::path& path, Student& student,
                     const TuneProgress& progress);
// False when there is no such file; Error when it belongs to another run or does not fit the
// student. Each rank reads what it needs: any number of them goes on. Collective.
bool load_tune_state(const std::filesystem::path& path, Student& student, TuneProgress& progress);

// What the result directory will hold of a (projected) student: parts of the matrices and fp16
// norms. Atomic.
void save_student_tensors(const std::filesystem::path& path, Student& student);

}  // namespace bitsmith
