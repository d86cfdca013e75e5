#include "format/companion_files.h"

#include <algorithm>
#include <cctype>

#include "base/files.h"
#include "base/log.h"
#include "tokenizer/gguf_tokenizer_export.h"

namespace bitsmith {
namespace {

constexpr const char* kCopied[] = {
    "tokenizer.json",          "tokenizer.model",     "tokenizer_config.json",
    "special_tokens_map.json", "chat_template.jinja", "generation_config.json",
    "added_tokens.json",       "vocab.json",          "merges.txt"};

bool is_legal_text(const std::string& file_name) {
  std::string upper = file_name;
  for (char& c : upper) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  constexpr const char* kNames[] = {"LICENSE", "LICENCE", "NOTICE", "COPYING", "USE_POLICY"};
  return std::any_of(std::begin(kNames), std::end(kNames),
                     [&](const char* name) { return upper.starts_with(name); });
}

}  // namespace

std::map<std::string, std::string> companion_files(const Checkpoint& model) {
  if (model.is_gguf()) {
    const auto files = gguf_tokenizer_files(model);
    if (files.empty()) {
      log_warning(model.path().string() +
                  " holds no vocabulary, so the result has no tokenizer files");
    }
    return files;
  }
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(model.path())) {
    if (!entry.is_regular_file()) continue;
    const std::string name = entry.path().filename().string();
    const bool listed =
        std::find(std::begin(kCopied), std::end(kCopied), name) != std::end(kCopied);
    if (listed || is_legal_text(name)) files[name] = read_text_file(entry.path());
  }
  return files;
}

}  // namespace bitsmith
