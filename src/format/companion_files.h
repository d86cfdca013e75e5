// What is carried along with a model's weights, whatever is made of them.
#pragma once
#include <map>
#include <string>

#include "architecture/checkpoint.h"

namespace bitsmith {

// Tokenizer, generation config, chat template and license texts, by the files' names: those beside
// a Hugging Face model, or made from a GGUF file's keys (tokenizer/gguf_tokenizer_export.h). A GGUF
// file without a vocabulary has none, and a warning is logged.
std::map<std::string, std::string> companion_files(const Checkpoint& model);

}  // namespace bitsmith
