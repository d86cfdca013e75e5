// What the commands of bitsmith-compressor are for: both programs say it.
#pragma once
#include <string>

namespace bitsmith {

std::string compress_help();
std::string quantize_help();
std::string hessian_help();
std::string layer_help();
std::string tune_help();

}  // namespace bitsmith
