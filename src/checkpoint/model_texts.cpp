#include "checkpoint/model_texts.h"

#include "base/error.h"
#include "base/files.h"

namespace bitsmith {

bool ModelTexts::has(const std::string& name) const {
  return packed_ ? packed_->find_text(name) != nullptr : std::filesystem::exists(folder_ / name);
}

std::string ModelTexts::read(const std::string& name) const {
  if (!packed_) return read_text_file(folder_ / name);
  if (const std::string_view* text = packed_->find_text(name)) return std::string(*text);
  throw Error(concat(packed_->source(), " holds no ", name, ": pack the model again"));
}

Json ModelTexts::read_json(const std::string& name) const {
  return parse_json(read(name), described(name));
}

std::string ModelTexts::described(const std::string& name) const {
  if (!packed_) return name.empty() ? folder_.string() : (folder_ / name).string();
  return name.empty() ? packed_->source() : concat(packed_->source(), ": ", name);
}

}  // namespace bitsmith
