#include "apps/layer_options.h"

namespace bitsmith {

void add_layer_options(CLI::App& command, QuantizeOptions& o) {
  command
      .add_option("--damping", o.damping, "Added to the Hessian's diagonal, in units of its mean")
      ->check(CLI::Range(0.0, 10.0))
      ->capture_default_str();
  command
      .add_option("--rounds", o.max_rounds,
                  "AQLM, GPTVQ: rounds of code search and codebook update at most")
      ->check(CLI::Range(0, 1000))
      ->capture_default_str();
  command
      .add_option("--tolerance", o.tolerance,
                  "AQLM, GPTVQ: stop when a round lowers the error by less than this share")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command.add_flag("--act-order", o.act_order,
                   "GPTQ: treat the inputs with the largest activations first");
  command
      .add_option("--beam", o.beam,
                  "AQLM: beam search of this width, as the reference's (0: pairs of codebooks "
                  "jointly, which is better and faster)")
      ->check(CLI::Range(0, 64))
      ->capture_default_str();
  command
      .add_option_function<std::string>(
          "--codebook-init",
          [&o](const std::string& name) { o.codebook_init = parse_codebook_init(name); },
          "GPTVQ, where codebooks begin: best, kmeans++, mahalanobis, quantiles")
      ->default_str(codebook_init_name(o.codebook_init));
  command
      .add_option("--em-iterations", o.em_iterations,
                  "GPTVQ: iterations of a codebook's start at most")
      ->check(CLI::Range(0, 10000))
      ->capture_default_str();
  command
      .add_option("--feedback-rounds", o.feedback_rounds,
                  "GPTVQ: times a column group's codebooks are fitted to the codes of its sweep")
      ->check(CLI::Range(0, 100))
      ->capture_default_str();
  command.add_flag("!--no-codebook-update", o.codebook_update,
                   "GPTVQ: leave codebooks and codes as the sweep made them");
  command
      .add_option_function<std::string>(
          "--outliers", [&o](const std::string& name) { o.outliers = parse_outlier_choice(name); },
          "+out: which weights are kept: magnitude, saliency (by the Hessian), admm (the best "
          "sparse approximation)")
      ->default_str(outlier_choice_name(o.outliers));
  command
      .add_option("--sum-rounds", o.sum_rounds,
                  "Sums (+out, +lr): times the codes are made anew for what the other terms spare")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
}

}  // namespace bitsmith
