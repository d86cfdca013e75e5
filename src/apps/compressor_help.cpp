#include "apps/compressor_help.h"

#include <algorithm>
#include <string_view>
#include <type_traits>
#include <variant>

#include "base/error.h"
#include "format/representation_spec.h"

namespace bitsmith {
namespace {

// "HEAD (body)" as a line with the head and lines of at most 92 columns with the body below it.
std::string grammar_lines(std::string_view grammar) {
  constexpr size_t kColumns = 92;
  const std::string indent(14, ' ');
  const size_t open = grammar.find(" (");
  std::string text = concat("  ", grammar.substr(0, open), "\n"), line = indent;
  std::string_view body = grammar.substr(open + 2, grammar.size() - open - 3);
  while (!body.empty()) {
    const std::string_view word = body.substr(0, body.find(' '));
    if (line.size() + word.size() > kColumns) {
      text += line + "\n";
      line = indent;
    }
    line += line == indent ? "" : " ";
    line += word;
    body.remove_prefix(std::min(body.size(), word.size() + 1));
  }
  return text + line + "\n";
}

// Every kind of representation.
template <typename... S>
std::string kinds_lines(std::type_identity<std::variant<S...>>) {
  return (grammar_lines(S::kGrammar) + ...);
}

}  // namespace

std::string compress_help() {
  return "The whole pipeline: calibrate, quantize, tune, judge. One table at the end.\n"
         "  bitsmith compress MODEL --preset 3bit --minutes 30 -o out/model\n"
         "  bitsmith compress MODEL --target-size 58MB --minutes 60 -o out/model";
}

std::string quantize_help() {
  return concat(
      "One-shot quantization: from a model and some text to a smaller model, block by block.\n"
      "  bitsmith quantize MODEL --representation aq2x8g8 -o out/aq2\n"
      "  bitsmith quantize MODEL --representation int4g64 --embedding int4g32 --data wiki.txt -o "
      "out/int4\n"
      "The representation says what a matrix becomes: a kind, those with a + that correct it, "
      "and\nwhat may stand around them:\n",
      kinds_lines(std::type_identity<TermSpec>()), grammar_lines(TransformSpec::kGrammar),
      "Good ones, with their bits a weight in a small model: int8g64 (8.25; nearly lossless),\n"
      "int4g64 (4.25), int3g64+out0.5% (3.38), had:int3g64 (3.25), gvq2d3b-s32 (3.16),\n"
      "aq2x8g8 (2.15), had:e8p (2.03).\n"
      "With a target in its place each group of matrices gets the representation that measured KL\n"
      "says is best:\n"
      "  bitsmith quantize MODEL --target-size 48MB --data wiki.txt -o out/48mb\n"
      "Where it was interrupted, the same command goes on. bitsmith tune makes the result better.\n"
      "Processes that mpirun starts share the work: mpirun -n 4 --bind-to none bitsmith quantize "
      "...");
}

std::string hessian_help() {
  return "Writes matrices of a model with the Hessians of their inputs, for bitsmith layer.\n"
         "  bitsmith hessian MODEL --module 'layers\\.14\\.' --data wiki.txt -o layers\n"
         "One file a matrix, OUT/MODULE.safetensors: `weight` [out, in] and `hessian` "
         "[in, in], 2/n times\n"
         "the sum of x x^T over the n tokens, both float32.";
}

std::string layer_help() {
  return "Quantizes one matrix: error, true bits and time, in seconds. To try an idea, or to "
         "compare.\n"
         "  bitsmith layer LAYER.safetensors --representation gvq2d2b --representation aq2x8g8\n"
         "LAYER holds `weight` [out, in] and what an error of it costs, of any float type "
         "(bitsmith\n"
         "hessian writes such files); what is not there is the identity:\n"
         "  hessian        [in, in]    H of the inputs, 2/n times the sum of x x^T\n"
         "  row_weights    [out]       G of the outputs, a diagonal: what a row's error counts\n"
         "  output_factor  [out, out]  G of the outputs, full; in place of row_weights\n"
         "  cross          [in, in]    C, 2/n times the sum of (x' - x) x^T, x' the "
         "original model's\n"
         "                             inputs: the target is T = W + share W C H^-1 in place of W\n"
         "The error is tr(G (T-Q) H (T-Q)^T) / tr(G T H T^T), with H as it is in the file.";
}

std::string tune_help() {
  return "PV-Tuning: make a quantized model more like its original, by training codes and "
         "continuous\n"
         "parameters on the original's next-token distributions. The size does not change.\n"
         "  bitsmith tune out/aq2 --teacher MODEL --data text.txt --minutes 20 -o out/aq2-pv\n"
         "Processes that mpirun starts share the work:\n"
         "  mpirun -n 4 --bind-to none bitsmith tune ...";
}

}  // namespace bitsmith
