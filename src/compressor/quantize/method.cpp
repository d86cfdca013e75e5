#include "base/error.h"
#include "compressor/quantize/methods.h"

namespace bitsmith {

Method default_method(const RepresentationSpec& spec) {
  return visit_coded(spec.terms.front(), [](const auto& s) { return method_of(s); });
}

const char* method_name(Method method) {
  switch (method) {
    case Method::kRtn:
      return "rtn";
    case Method::kGptq:
      return "gptq";
    case Method::kAqlm:
      return "aqlm";
    case Method::kGptvq:
      return "gptvq";
  }
  return "unknown";
}

Method parse_method(const std::string& name, const RepresentationSpec& spec) {
  const Method own = default_method(spec);
  if (name == "rtn") return Method::kRtn;
  if (name == method_name(own)) return own;
  if (name != "gptq" && name != "aqlm" && name != "gptvq") {
    throw UsageError(concat("unknown method '", name, "'; methods are rtn, gptq (for int*), aqlm ",
                            "(for aq*) and gptvq (for gvq*)"));
  }
  throw UsageError(concat("method ", name, " cannot make ", to_string(spec), "; use ",
                          method_name(own), " or rtn"));
}

CodebookInit parse_codebook_init(const std::string& name) {
  for (const CodebookInit init : {CodebookInit::kBest, CodebookInit::kPlusPlus,
                                  CodebookInit::kMahalanobis, CodebookInit::kQuantiles}) {
    if (name == codebook_init_name(init)) return init;
  }
  throw UsageError(concat("unknown start of codebooks '", name,
                          "'; starts are best, kmeans++, mahalanobis and quantiles"));
}

const char* codebook_init_name(CodebookInit init) {
  switch (init) {
    case CodebookInit::kBest:
      return "best";
    case CodebookInit::kPlusPlus:
      return "kmeans++";
    case CodebookInit::kMahalanobis:
      return "mahalanobis";
    case CodebookInit::kQuantiles:
      return "quantiles";
  }
  return "unknown";
}

OutlierChoice parse_outlier_choice(const std::string& name) {
  for (const OutlierChoice choice :
       {OutlierChoice::kMagnitude, OutlierChoice::kSaliency, OutlierChoice::kAdmm}) {
    if (name == outlier_choice_name(choice)) return choice;
  }
  throw UsageError(
      concat("unknown choice of outliers '", name, "'; choices are magnitude, saliency and admm"));
}

const char* outlier_choice_name(OutlierChoice choice) {
  switch (choice) {
    case OutlierChoice::kMagnitude:
      return "magnitude";
    case OutlierChoice::kSaliency:
      return "saliency";
    case OutlierChoice::kAdmm:
      return "admm";
  }
  return "unknown";
}

}  // namespace bitsmith
