// What a model shall come to, where representations are left to the program. No LibTorch here.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "base/byte_size.h"
#include "base/options.h"
#include "format/representation_spec.h"

namespace bitsmith {

// "R,R,...".
struct CandidateList {
  std::vector<RepresentationSpec> specs;
};
std::string option_text(const CandidateList& list);
void parse_option(const std::string& text, CandidateList& list);

// One of the targets is asked for, or none.
struct BudgetOptions {
  // The largest weight file (all shards, headers included) that the result may have.
  // Default: 0, not asked for
  ByteSize target_size;

  // The most bits a weight of the blocks' matrices. Embedding and head are as --embedding says.
  // Default: 0, not asked for
  double target_bits = 0;

  // The largest predicted KL against the original, nats a token; the file is as small as it gets.
  // Default: 0, not asked for
  double target_kl = 0;

  // What a unit of the blocks may become.
  // Default: empty, block_candidates()
  CandidateList candidates;

  // What embedding and head may become.
  // Default: empty, embedding_candidates()
  CandidateList embedding_candidates;

  // Windows of at most 256 tokens that KL is measured on. More: steadier figures, in more time.
  // Default: 4
  int64_t windows = 4;

  // Candidates of a unit of a block whose KL is measured; that of the others follows from their
  // relative errors. More: better figures far from the middle of the candidates, in more time.
  // Default: 1
  int64_t measured = 1;

  // A file that measurements are taken from and added to, so that another target of the same model
  // and text needs no new ones.
  // Default: empty, OUT.sensitivity.jsonl
  std::string measurements;

  // Choose and show, but quantize nothing; the same without it goes on from there.
  // Default: false
  bool plan_only = false;

  bool asked() const { return target_size.bytes > 0 || target_bits > 0 || target_kl > 0; }

  template <typename Self, typename Visitor>
  static void visit(Self& o, Visitor& v);
};

// From about 1.1 to 8 bits, by rising bits: what is best at its bits with a fast kernel
// (docs/results.md).
CandidateList block_candidates();
// From about 3 to 8 bits, for a matrix of so many weights: above kWholeEmbeddingWeights only those
// that are made slice by slice, which need little memory.
CandidateList embedding_candidates(int64_t weights);
inline constexpr int64_t kWholeEmbeddingWeights = 40'000'000;

template <typename Self, typename Visitor>
void BudgetOptions::visit(Self& o, Visitor& v) {
  v(Option{.key = "target_size",
           .help = "In place of --representation: the largest weight file, as 48MB; each matrix "
                   "gets what measured KL says that it needs",
           .shows_default = false},
    o.target_size);
  v(Option{.key = "target_bits",
           .help = "The same with the bits a weight of the blocks' matrices",
           .range = {{0.5, 16}},
           .shows_default = false},
    o.target_bits);
  v(Option{.key = "target_kl",
           .help = "The same with the predicted KL against the original (nats a token): the "
                   "smallest file below it",
           .range = {{1e-6, 100}},
           .shows_default = false},
    o.target_kl);
  v(Option{.key = "candidates",
           .help = "With a target: R,R,..., what matrices of the blocks may become (default: a "
                   "ladder from 1.1 to 8 bits)",
           .shows_default = false},
    o.candidates);
  v(Option{.key = "embedding_candidates",
           .help = "With a target: what embedding and head may become (default: from 3 to 8 bits)",
           .shows_default = false},
    o.embedding_candidates);
  v(Option{.key = "budget_windows",
           .help = "With a target: windows of 256 tokens that KL is measured on",
           .range = {{1, 100000}}},
    o.windows);
  v(Option{.key = "budget_measured",
           .help = "With a target: candidates whose KL is measured for each group of matrices; "
                   "that of the others follows from their relative errors",
           .range = at_least(1)},
    o.measured);
  v(Option{.key = "measurements",
           .help = "With a target: a file (.jsonl) that keeps what is measured, for other targets "
                   "(default: OUT.sensitivity.jsonl)",
           .recorded = Option::Recorded::kNever,
           .shows_default = false},
    o.measurements);
  v(Option{.key = "plan_only",
           .help = "With a target: choose, show the choices and stop; the same command without it "
                   "goes on",
           .recorded = Option::Recorded::kNever},
    o.plan_only);
}

}  // namespace bitsmith
