// Words about a budget for people.
#include <algorithm>
#include <cstdio>
#include <map>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "compressor/budget/budget.h"

namespace bitsmith {
namespace {

std::string cell(const OrderedJson& unit) {
  char bits[32];
  std::snprintf(bits, sizeof(bits), " (%.2f)", unit.at("bits").get<double>());
  return unit.at("representation").get<std::string>() + bits;
}

}  // namespace

OrderedJson read_budget(const std::filesystem::path& out) {
  const std::filesystem::path file = out / "bitsmith.json";
  const OrderedJson recipe = OrderedJson::parse(read_text_file(file), nullptr, false);
  if (!recipe.is_object() || !recipe.contains("budget"))
    throw Error(concat(file.string(), ": 'budget' is missing"));
  return recipe.at("budget");
}

std::string budget_table(const OrderedJson& budget) {
  std::vector<std::string> parts;  // columns
  std::map<int64_t, std::map<std::string, std::string>> blocks;
  std::string outer;
  for (const OrderedJson& unit : budget.at("units")) {
    const auto part = unit.at("part").get<std::string>();
    if (!unit.contains("block")) {
      outer += concat("| ", part, " | ", cell(unit), " |\n");
      continue;
    }
    if (std::find(parts.begin(), parts.end(), part) == parts.end()) parts.push_back(part);
    blocks[unit.at("block").get<int64_t>()][part] = cell(unit);
  }
  std::string text = "Representations (bits a weight):\n\n";
  if (!blocks.empty()) {
    text += "| block |";
    for (const std::string& part : parts) text += concat(" ", part, " |");
    text += "\n|---|";
    for (size_t i = 0; i < parts.size(); ++i) text += "---|";
    text += "\n";
  }
  for (auto& [block, cells] : blocks) {
    text += concat("| ", block, " |");
    for (const std::string& part : parts) text += concat(" ", cells[part], " |");
    text += "\n";
  }
  if (!outer.empty())
    text += concat(blocks.empty() ? "" : "\n", "| matrix | |\n|---|---|\n", outer);
  return text;
}

std::string budget_line(const OrderedJson& budget) {
  char line[160], real[80] = "";
  std::snprintf(line, sizeof(line), "predicted %.3f MB, %.3f decoder bits, KL %.4f",
                budget.at("predicted_bytes").get<double>() / 1e6,
                budget.at("decoder_bits").get<double>(), budget.at("predicted_kl").get<double>());
  if (budget.contains("kl"))
    std::snprintf(real, sizeof(real), "; KL of the result on the same text %.4f",
                  budget.at("kl").get<double>());
  return concat(line, real);
}

}  // namespace bitsmith
