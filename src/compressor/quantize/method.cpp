#include "base/error.h"
#include "compressor/quantize/quantizer.h"

namespace bitsmith {

Method default_method(const RepresentationSpec& spec) {
  return std::holds_alternative<UniformSpec>(spec) ? Method::kGptq : Method::kAqlm;
}

const char* method_name(Method method) {
  switch (method) {
    case Method::kRtn:
      return "rtn";
    case Method::kGptq:
      return "gptq";
    case Method::kAqlm:
      return "aqlm";
  }
  return "unknown";
}

Method parse_method(const std::string& name, const RepresentationSpec& spec) {
  const bool uniform = std::holds_alternative<UniformSpec>(spec);
  if (name == "rtn") return Method::kRtn;
  if (name != "gptq" && name != "aqlm") {
    throw UsageError(concat("unknown method '", name, "'; methods are rtn, gptq (for int*) and ",
                            "aqlm (for aq*)"));
  }
  if ((name == "gptq") != uniform) {
    throw UsageError(concat("method ", name, " cannot make ", to_string(spec), "; use ",
                            method_name(default_method(spec)), " or rtn"));
  }
  return uniform ? Method::kGptq : Method::kAqlm;
}

}  // namespace bitsmith
