// What the page of `bitsmith report` shows, read from results and from outputs of `eval --json`.
// Texts are as files have them: nothing is escaped yet. Numbers are finite, and of a magnitude that
// an axis can span (report_json.h).
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"

namespace bitsmith {

struct ReportedValue {
  double value = 0;
  std::optional<double> error;  // standard error
};

// Greedy continuations beside the original's (generation_agreement.h).
struct ReportedGenerations {
  int64_t prompts = 0, tokens = 0;
  ReportedValue agreeing_tokens, agreement;
  double agreeing_tokens_median = 0, repetition = 0, repetition_original = 0;
  struct Example {
    std::string prompt, original, model;
  };
  std::vector<Example> examples;
};

// A model on one text. KL and top-1 are against its original.
struct ReportedText {
  std::string text = {};      // a file's name without its folder
  std::string protocol = {};  // "12 windows of 2048 tokens, without BOS, torch float32"
  ReportedValue perplexity = {};
  std::optional<ReportedValue> kl = {}, top1 = {};
  std::optional<double> kl_p99 = {};
  std::optional<ReportedGenerations> generations = {};
};

struct ReportedTaskScores {
  std::string task = {};
  int64_t items = 0;
  std::optional<ReportedValue> accuracy = {}, accuracy_norm = {}, perplexity = {};
};

struct ReportedModel {
  std::string name = {};
  std::string sha256 = {};  // Checkpoint::content_hash()
  uint64_t file_bytes = 0;
  std::optional<double> decoder_bits = {}, file_bits = {};
  std::vector<ReportedText> texts = {};
  std::vector<ReportedTaskScores> tasks = {};
  std::vector<std::string> warnings = {};
};

struct ReportedMatrix {
  std::string module, representation, method;
  double relative_error = 0, bits = 0;
};

struct ReportedValidation {
  int64_t tokens = 0;
  double kl = 0;
  std::optional<double> training_kl;
};

struct ReportedBytes {
  std::string use;
  uint64_t bytes = 0;
};

// A directory that Bitsmith made.
struct ReportedResult : ReportedModel {
  std::string original_name, original_sha256;  // empty: the recipe does not say
  std::vector<std::string> command_lines;      // in the order of the work
  OrderedJson recipe;                          // bitsmith.json without lists that have tables
  std::vector<ReportedMatrix> matrices;
  // Of the one-shot result (calibration_gap.h), before any tuning.
  std::optional<double> kl_calibration, kl_heldout;
  // On the windows that compress() judges by: of the one-shot result, and after tuning.
  std::optional<double> kl_before_tuning, kl_after_tuning;
  std::vector<ReportedValidation> validations;  // of tuning
  std::vector<ReportedBytes> places, parts;     // the same bytes, divided twice
};

struct ReportData {
  std::vector<ReportedModel> originals;
  std::vector<ReportedResult> results;
};

}  // namespace bitsmith
