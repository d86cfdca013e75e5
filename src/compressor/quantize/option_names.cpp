#include <type_traits>

#include "base/error.h"
#include "base/name_table.h"
#include "compressor/quantize/methods.h"

namespace bitsmith {
namespace {

constexpr NameTable<Method, 5> kMethods = {"method",
                                           {{Method::kRtn, "rtn"},
                                            {Method::kGptq, "gptq"},
                                            {Method::kAqlm, "aqlm"},
                                            {Method::kGptvq, "gptvq"},
                                            {Method::kLdlq, "ldlq"}}};

constexpr NameTable<CodebookInit, 4> kCodebookInits = {"initial codebooks",
                                                       {{CodebookInit::kBest, "best"},
                                                        {CodebookInit::kPlusPlus, "kmeans++"},
                                                        {CodebookInit::kMahalanobis, "mahalanobis"},
                                                        {CodebookInit::kQuantiles, "quantiles"}}};

constexpr NameTable<OutlierChoice, 3> kOutlierChoices = {"choice of outliers",
                                                         {{OutlierChoice::kMagnitude, "magnitude"},
                                                          {OutlierChoice::kSaliency, "saliency"},
                                                          {OutlierChoice::kAdmm, "admm"}}};

// "gptq: for int*; aqlm: for aq*; ...": each kind with codes and its method.
template <typename... S>
std::string methods_of_kinds(std::type_identity<std::variant<S...>>) {
  std::string text;
  const auto add = [&]<typename Spec>(std::type_identity<Spec>) {
    if constexpr (!Spec::kCorrects) {
      text += concat(text.empty() ? "" : "; ", kMethods.name(method_of(Spec())), ": for ",
                     Spec::kName, "*");
    }
  };
  (add(std::type_identity<S>()), ...);
  return text;
}

std::string methods_of_kinds() { return methods_of_kinds(std::type_identity<TermSpec>()); }

}  // namespace

Method default_method(const RepresentationSpec& spec) {
  return visit_coded(spec.terms.front(), [](const auto& s) { return method_of(s); });
}

const char* method_name(Method method) { return kMethods.name(method); }

Method parse_method(const std::string& name) {
  try {
    return kMethods.parse(name);
  } catch (const UsageError& error) {
    throw UsageError(concat(error.what(), " (", methods_of_kinds(), ")"));
  }
}

void check_method(Method method, const RepresentationSpec& spec) {
  const Method own = default_method(spec);
  if (method == Method::kRtn || method == own) return;
  throw UsageError(concat("method ", method_name(method), " cannot make ", to_string(spec),
                          "; use ", method_name(own), " or rtn"));
}

std::string methods_help() {
  return concat("rtn: nearest codes, in seconds and without text; ", methods_of_kinds(),
                " (default: not rtn)");
}

std::string option_text(const RepresentationSpec& spec) { return to_string(spec); }
void parse_option(const std::string& text, RepresentationSpec& spec) {
  spec = parse_representation(text);
}

std::string option_text(const std::optional<Method>& method) {
  return method ? method_name(*method) : "default";
}
void parse_option(const std::string& text, std::optional<Method>& method) {
  method = parse_method(text);
}

std::string option_text(CodebookInit init) { return kCodebookInits.name(init); }
void parse_option(const std::string& text, CodebookInit& init) {
  init = kCodebookInits.parse(text);
}

std::string option_text(OutlierChoice choice) { return kOutlierChoices.name(choice); }
void parse_option(const std::string& text, OutlierChoice& choice) {
  choice = kOutlierChoices.parse(text);
}

}  // namespace bitsmith
