#include "tokenizer/gguf_pre_tokenizer.h"

namespace bitsmith {
namespace {

// Not a pattern: here bytes become characters, and the patterns after it see those.
constexpr const char* kAsBytes = "";

constexpr const char* kGpt2 =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr const char* kDigit = R"(\p{N})";
constexpr const char* kThreeDigits = R"(\p{N}{1,3})";
constexpr const char* kNumber = R"(\p{N}+)";

// Most patterns since GPT-4's have these parts.
#define CONTRACTIONS R"((?i:'s|'t|'re|'ve|'m|'ll|'d))"
#define WORDS R"([^\r\n\p{L}\p{N}]?\p{L}+)"
#define SYMBOLS R"( ?[^\s\p{L}\p{N}]+[\r\n]*)"
#define SPACES R"(\s*[\r\n]+|\s+(?!\S)|\s+)"
constexpr const char* kLlama3 = CONTRACTIONS "|" WORDS R"(|\p{N}{1,3}|)" SYMBOLS "|" SPACES;
constexpr const char* kQwen2 = CONTRACTIONS "|" WORDS R"(|\p{N}|)" SYMBOLS "|" SPACES;
constexpr const char* kQwen2Numbers = CONTRACTIONS "|" WORDS R"(|\p{N}+|)" SYMBOLS "|" SPACES;
constexpr const char* kQwen2Turkish = WORDS R"(|\p{N}|)" SYMBOLS "|" SPACES;
constexpr const char* kQwen35 =
    CONTRACTIONS R"(|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|)" SPACES;
constexpr const char* kSeedCoder =
    CONTRACTIONS "|" WORDS R"(|\p{N}| ?[^\s\p{L}\p{N}\r\n]+|)" SPACES;
constexpr const char* kBailing = R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}|)"
                                 R"( ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+)";
// Letters with single spaces between them are one word.
constexpr const char* kExaoneMoe = CONTRACTIONS
    R"(|[^\r\n\p{L}\p{N}]?\p{L}(?:[\p{L}\p{M}]++| \p{L})*+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|)"
    R"(\s*[\r\n]|\s+(?!\S)|\s+)";

// GPT-4o's: a word may begin with capitals and goes on in small letters.
#define UPPER R"([\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}])"
#define LOWER R"([\p{Ll}\p{Lm}\p{Lo}\p{M}])"
#define CASED_WORDS(UP, LOW, END) \
  R"([^\r\n\p{L}\p{N}]?)" UP "*" LOW "+" END R"(|[^\r\n\p{L}\p{N}]?)" UP "+" LOW "*" END
#define SYMBOLS_AND_SLASHES R"( ?[^\s\p{L}\p{N}]+[\r\n/]*)"
constexpr const char* kGpt4o =
    CASED_WORDS(UPPER, LOWER, CONTRACTIONS "?") R"(|\p{N}{1,3}|)" SYMBOLS_AND_SLASHES "|" SPACES;
constexpr const char* kYoutu =
    CASED_WORDS(UPPER, LOWER, CONTRACTIONS "?") R"(|\p{N}|)" SYMBOLS_AND_SLASHES "|" SPACES;
constexpr const char* kTekken =
    CASED_WORDS(UPPER, LOWER, "") R"(|\p{N}|)" SYMBOLS_AND_SLASHES "|" SPACES;
// The same classes without Chinese characters, which are words of their own.
#define UPPER_NOT_HAN R"([^\p{Ll}\p{N}\p{P}\p{S}\p{Z}\p{C}\p{Han}])"
#define LOWER_NOT_HAN R"([^\p{Lu}\p{Lt}\p{N}\p{P}\p{S}\p{Z}\p{C}\p{Han}])"
constexpr const char* kKimi = R"(\p{Han}+|)" CASED_WORDS(
    UPPER_NOT_HAN, LOWER_NOT_HAN, CONTRACTIONS "?") R"(|\p{N}{1,3}|)" SYMBOLS "|" SPACES;

// DeepSeek's: alphabets, punctuation and Chinese, Japanese, Korean one after the other.
constexpr const char* kNewline = R"([\r\n])";
constexpr const char* kDeepSeekLetters =
    R"(\s?[A-Za-z\x{B5}\x{C0}-\x{D6}\x{D8}-\x{F6}\x{F8}-\x{1BA}\x{1BC}-\x{1BF})"
    R"(\x{1C4}-\x{293}\x{295}-\x{2AF}\x{370}-\x{373}\x{376}\x{377}\x{37B}-\x{37D}\x{37F})"
    R"(\x{386}\x{388}-\x{38A}\x{38C}\x{38E}-\x{3A1}\x{3A3}-\x{3F5}\x{3F7}-\x{481})"
    R"(\x{48A}-\x{52F}\x{531}-\x{556}\x{10A0}-\x{10C5}\x{13A0}-\x{13F5}\x{13F8}-\x{13FD})"
    R"(\x{1C90}-\x{1CBA}\x{1CBD}-\x{1CBF}\x{1D00}-\x{1D2B}\x{1D6B}-\x{1D77})"
    R"(\x{1D79}-\x{1D9A}\x{1E00}-\x{1F15}\x{1F18}-\x{1F1D}\x{1F20}-\x{1F45})"
    R"(\x{1F48}-\x{1F4D}\x{1F50}-\x{1F57}\x{1F59}\x{1F5B}\x{1F5D}\x{1F5F}-\x{1F7D})"
    R"(\x{1F80}-\x{1FB4}\x{1FB6}-\x{1FBC}\x{1FBE}\x{1FC2}-\x{1FC4}\x{1FC6}-\x{1FCC})"
    R"(\x{1FD0}-\x{1FD3}\x{1FD6}-\x{1FDB}\x{1FE0}-\x{1FEC}\x{1FF2}-\x{1FF4})"
    R"(\x{1FF6}-\x{1FFC}\x{2102}\x{2107}\x{210A}-\x{2113}\x{2115}\x{2119}-\x{211D}\x{2124})"
    R"(\x{2126}\x{2128}\x{212A}-\x{212D}\x{212F}-\x{2134}\x{2139}\x{213C}-\x{213F})"
    R"(\x{2145}-\x{2149}\x{214E}\x{2183}\x{2184}\x{2C00}-\x{2C7B}\x{2C7E}-\x{2CE4})"
    R"(\x{2CEB}-\x{2CEE}\x{2CF2}\x{2CF3}\x{A640}-\x{A66D}\x{A680}-\x{A69B}\x{A722}-\x{A76F})"
    R"(\x{A771}-\x{A787}\x{A78B}-\x{A78E}\x{AB70}-\x{ABBF}\x{FB00}-\x{FB06})"
    R"(\x{FB13}-\x{FB17}\x{FF21}-\x{FF3A}\x{FF41}-\x{FF5A}\x{10400}-\x{1044F})"
    R"(\x{104B0}-\x{104D3}\x{104D8}-\x{104FB}\x{10C80}-\x{10CB2}\x{10CC0}-\x{10CF2})"
    R"(\x{118A0}-\x{118DF}\x{1E900}-\x{1E943}]+)";
constexpr const char* kDeepSeekPunctuation =
    R"(\s?[!-/:-~\x{FF01}-\x{FF0F}\x{FF1A}-\x{FF5E}\x{2018}-\x{201F}\x{3000}-\x{3002}]+)";
// White space at the end: from where it begins, so that no other start is tried.
constexpr const char* kTrailingSpace = R"((?<!\s)\s++$)";
constexpr const char* kDeepSeekCjk = R"([\x{4E00}-\x{9FA5}\x{800}-\x{4E00}\x{AC00}-\x{D7FF}]+)";
constexpr const char* kCjk = R"([\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+)";
#define DEEPSEEK_V3_WORDS                               \
  R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|)" \
  R"([^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+)"
constexpr const char* kDeepSeekV3 = DEEPSEEK_V3_WORDS R"([\r\n]*|)" SPACES;
constexpr const char* kSpark = DEEPSEEK_V3_WORDS R"(|[\r\n]|\s+(?!\S)|\s+)";
constexpr const char* kYoutuCjk =
    R"([\x{AC00}-\x{D7A3}\x{3131}-\x{318E}]+|[\x{FF01}\x{2026}\x{201C}\x{201D}\x{2018})"
    R"(\x{2019}\x{2014}\x{FF1A}\x{FF1B}\x{FF0C}\x{3001}-\x{303F}\x{FE30}-\x{FE4F}]+|[\x{3105})"
    R"(-\x{312F}]+|[\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+)";
constexpr const char* kAsianScripts =
    R"([\x{4E00}-\x{9FFF}\x{3400}-\x{4DBF}\x{8C48}-\x{FAFF}\x{3040}-\x{309F}\x{30A0}-\x{30FF})"
    R"(\x{FF65}-\x{FF9F}\x{2F00}-\x{2FDF}\x{E40}-\x{E7F}\x{E80}-\x{EFF}\x{1780}-\x{17FF})"
    R"(\x{1000}-\x{109F}\x{AA60}-\x{AA7F}\x{A9E0}-\x{A9FF}\x{AC00}-\x{D7AF}\x{1100}-\x{11FF}])"
    R"(+)";

constexpr const char* kBloom =
    R"( ?[^(\s|.,!?\x{2026}\x{3002}\x{FF0C}\x{3001}\x{964}\x{6D4}\x{60C})]+)";
constexpr const char* kPunctuation = R"([\p{P}$+<=>^`|~]+)";

// Groups of three digits counted from the right: what is left over comes first. It is looked for
// only where a number begins: any other way would be quadratic in its length.
constexpr const char* kRightAlignedRest = R"(\A\p{N}{1,2}(?=(?:\p{N}{3})++\z))";
constexpr const char* kRightAlignedGroups =
    R"((?:\D++\d{0,2}|(?<!\d)\d{1,2})(?=(?:\d{3})++(?!\d))|\d{3}(?=\d))";
constexpr const char* kWholeNumber = R"((?<!\d)\d++(?!\w))";
constexpr const char* kWholeNumberRest = R"(\A\d{1,2}(?=(?:\d{3})++\z))";

// Runs of white space in powers of two; what ends in a newline stays one.
constexpr const char* kJaisSpaces =
    R"(\A\s*[\r\n]+|[\t\x0B\x0C\x{85}\p{Z}]{512}(?!\S)|[\t\x0B\x0C\x{85}\p{Z}]{256}(?!\S)|[\t\x0B\x0C\x{85}\p{Z}]{128}(?!\S)|)"
    R"([\t\x0B\x0C\x{85}\p{Z}]{64}(?!\S)|[\t\x0B\x0C\x{85}\p{Z}]{32}(?!\S)|[\t\x0B\x0C\x{85}\p{Z}]{16}(?!\S)|[\t\x0B\x0C\x{85}\p{Z}]{8}(?!\S)|)"
    R"([\t\x0B\x0C\x{85}\p{Z}]{4}(?!\S)|[\t\x0B\x0C\x{85}\p{Z}]{1,2}(?!\S))";

constexpr bool kNfc = true, kIgnoreMerges = true, kAddBos = true;

// From the models' own tokenizer.json where it is known, else from what llama.cpp does.
constexpr GgufPreTokenizer kPreTokenizers[] = {
    // names, patterns, nfc, ignore_merges, add_bos
    {"gpt-2 phi-2 jina-es jina-de jina-v2-es jina-v2-de jina-v1-en jina-v2-code roberta-bpe "
     "gigachat a.x-4.0 mellum exaone4 jais trillion granite-docling",
     {kGpt2}},
    {"mpt olmo modern-bert", {kGpt2}, kNfc},
    {"starcoder refact smollm codeshell exaone minerva-7b mellum2", {kDigit, kGpt2}},
    {"command-r", {kDigit, kGpt2}, kNfc},
    {"llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano",
     {kLlama3},
     !kNfc,
     kIgnoreMerges,
     kAddBos},
    {"dbrx smaug-bpe glm4 chatglm-bpe", {kLlama3}},
    {"jais-2", {kLlama3, kJaisSpaces}},
    {"qwen2 deepseek-r1-qwen megrez kormo f2llmv2", {kQwen2}, kNfc},
    {"stablelm2 hunyuan solar-open grok-2", {kQwen2}},
    {"qwen35", {kQwen35}, kNfc},
    {"ufakzeka", {kQwen2Turkish}},
    {"laguna", {R"([^\n]+|\n+)", kQwen2}},
    {"minicpm5", {kThreeDigits, kQwen2Numbers}, !kNfc, kIgnoreMerges},
    {"seed-coder", {kSeedCoder}},
    {"bailingmoe bailingmoe2 llada-moe", {kBailing}},
    {"exaone-moe", {kExaoneMoe}},
    {"gpt-4o llama4 kanana2 talkie minimax-m2", {kGpt4o}},
    {"granite-embed-multi-97m", {kGpt4o}, !kNfc, kIgnoreMerges},
    {"tekken", {kTekken}, !kNfc, kIgnoreMerges, kAddBos},
    {"youtu", {kYoutuCjk, kYoutu}, !kNfc, kIgnoreMerges},
    {"kimi-k2", {kKimi}},
    {"tiny_aya cohere2moe", {kWholeNumber, kWholeNumberRest, kGpt4o}},
    {"deepseek-llm",
     {kNewline, kDeepSeekLetters, kDeepSeekPunctuation, kTrailingSpace, kDeepSeekCjk, kDigit}},
    {"deepseek-coder", {kNewline, R"(\s?\p{L}+)", R"(\s?\p{P}+)", kDeepSeekCjk, kDigit}},
    {"deepseek-v3 hunyuan-dense joyai-llm hy_v4", {kThreeDigits, kCjk, kDeepSeekV3}},
    {"spark2_5", {kThreeDigits, kCjk, kSpark, kDigit}},
    {"afmoe", {kNumber, kRightAlignedRest, kThreeDigits, kAsianScripts, kDeepSeekV3}},
    {"falcon", {kPunctuation, kGpt2, kAsBytes, kNumber, "[0-9]{3}"}},
    {"bloom poro-chat gpt3-finnish", {kBloom}},
    {"viking", {kBloom, kDigit}},
    {"superbpe", {kNumber, kRightAlignedGroups}},
    {"chameleon",
     {"<sentinel:[0-9]+>", "IMGIMG[A-I]{1,4}Z", R"([\t\n]|    |  )", kDigit,
      R"([\p{P}!-/:-@\[-`{-~])", kGpt2},
     !kNfc,
     !kIgnoreMerges,
     kAddBos},
};

// Calls function(name, row) for every name, until it returns true.
template <typename Function>
void find_name(Function&& function) {
  for (const GgufPreTokenizer& row : kPreTokenizers) {
    std::string_view rest = row.names;
    while (!rest.empty()) {
      const std::string_view name = rest.substr(0, rest.find(' '));
      if (function(name, row)) return;
      rest.remove_prefix(std::min(name.size() + 1, rest.size()));
    }
  }
}

}  // namespace

Json GgufPreTokenizer::normalizer() const { return nfc ? Json{{"type", "NFC"}} : Json(); }

Json GgufPreTokenizer::pre_tokenizer() const {
  Json steps = Json::array();
  bool as_bytes = false;
  const auto to_bytes = [&] {
    steps.push_back({{"type", "ByteLevel"},
                     {"add_prefix_space", false},
                     {"trim_offsets", true},
                     {"use_regex", false}});
    as_bytes = true;
  };
  for (const char* pattern : patterns) {
    if (pattern == nullptr) break;
    if (*pattern == 0) {
      to_bytes();
      continue;
    }
    steps.push_back({{"type", "Split"},
                     {"pattern", {{"Regex", pattern}}},
                     {"behavior", "Isolated"},
                     {"invert", false}});
  }
  if (!as_bytes) to_bytes();
  return {{"type", "Sequence"}, {"pretokenizers", steps}};
}

const GgufPreTokenizer* find_gguf_pre_tokenizer(std::string_view name) {
  const GgufPreTokenizer* found = nullptr;
  find_name([&](std::string_view known, const GgufPreTokenizer& row) {
    if (known == name) found = &row;
    return found != nullptr;
  });
  return found;
}

std::vector<std::string> gguf_pre_tokenizer_names() {
  std::vector<std::string> names;
  find_name([&](std::string_view name, const GgufPreTokenizer&) {
    names.emplace_back(name);
    return false;
  });
  return names;
}

}  // namespace bitsmith
