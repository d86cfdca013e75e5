#include "compressor/tune/code_pass.h"

#include "base/error.h"
#include "compressor/tune/second_order.h"
#include "compressor/tune/second_pass.h"

namespace bitsmith {

void code_pass(CodePass kind, const CodePassJob& job, int64_t first_block,
               const std::function<void(const CodePassOutcome&)>& report) {
  const int64_t blocks = job.teacher.plan().num_blocks();
  if (first_block == blocks) return;
  switch (kind) {
    case CodePass::kNone:
      break;
    case CodePass::kSecondPass:
      return second_pass(job, first_block, [&](const BlockOutcome& outcome) {
        report(
            {outcome.block + 1,
             outcome.changed,
             outcome.kl,
             {{"block", outcome.block}, {"searched", outcome.searched}, {"kept", outcome.kept}}});
      });
    case CodePass::kSecondOrder:
      const SecondOrderOutcome outcome = second_order_step(job);
      return report({blocks, outcome.changed, outcome.kl, {{"length", outcome.step}}});
  }
  BITSMITH_CHECK(false);
}

}  // namespace bitsmith
