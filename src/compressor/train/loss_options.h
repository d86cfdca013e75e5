// What training lowers.
#pragma once
#include <string>

namespace bitsmith {

// At each position, with p the teacher's next-token distribution and q the student's: KL(p || q)
// (PV-Tuning, Malinovskii et al. 2024, section 4); the cross-entropy -log q of the token that
// follows in the text; the first plus a share of the second; the Jensen-Shannon divergence of p and
// q (Lin 1991).
enum class Loss { kKl, kCrossEntropy, kKlAndCrossEntropy, kJensenShannon };

// How they are written: "kl", "ce", "kl+ce", "js". UsageError names the choices.
std::string option_text(Loss loss);
void parse_option(const std::string& text, Loss& loss);

struct LossOptions {
  Loss loss = Loss::kKl;

  // Of the cross-entropy in kl+ce. Raise it where the text itself is to be learned; what is no
  // property of the text but of the teacher gets lost with it.
  double ce_weight = 0.5;

  // Of divergences: both distributions are softmax(logits / temperature), and the loss is
  // multiplied by temperature^2, so that its gradients keep their size (Hinton et al. 2015). Above
  // 1, unlikely tokens count more.
  double temperature = 1;

  bool needs_teacher() const { return loss != Loss::kCrossEntropy; }
};

}  // namespace bitsmith
