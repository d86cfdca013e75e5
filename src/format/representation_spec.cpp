#include "format/representation_spec.h"

#include "base/error.h"

namespace bitsmith {
namespace {

// Calls f.operator()<S>() for each kind until one returns a spec.
template <typename F, typename... S>
std::optional<TermSpec> first_of(const F& f, std::type_identity<std::variant<S...>>) {
  std::optional<TermSpec> found;
  ((found = found ? found : f.template operator()<S>()), ...);
  return found;
}

template <typename F>
std::optional<TermSpec> first_kind(const F& f) {
  return first_of(f, std::type_identity<TermSpec>());
}

std::string grammar() {
  std::string kinds;
  first_kind([&]<typename S>() -> std::optional<TermSpec> {
    kinds += concat(kinds.empty() ? "" : ", ", S::kGrammar);
    return std::nullopt;
  });
  return concat("a representation is one of ", kinds,
                "; for example int4g64, int2g32-z, aq2x8g8, gvq2d2b, gvq2d2b-n1024, gvq1d3b-s64");
}

std::string of_module(const std::string& module) { return module.empty() ? "" : " of " + module; }

void check_matrix(int64_t out_features, int64_t in_features, const std::string& where) {
  if (out_features <= 0 || in_features <= 0) {
    throw Error(concat("a matrix", where, " of ", out_features, " x ", in_features,
                       " cannot be quantized"));
  }
  element_count({out_features, in_features, 16});  // an Error if sizes in bits overflow
}

}  // namespace

RepresentationSpec parse_representation(const std::string& text) {
  SpecReader reader(text, grammar());
  const auto spec = first_kind([&]<typename S>() -> std::optional<TermSpec> {
    if (!reader.take(S::kName)) return std::nullopt;
    return S::parse(reader);
  });
  if (!spec) reader.fail("the kind is unknown");
  reader.expect_end();
  return *spec;
}

std::string to_string(const RepresentationSpec& spec) {
  return std::visit([](const auto& s) { return s.text(); }, spec);
}

std::string short_name(const RepresentationSpec& spec, int64_t out_features, int64_t in_features) {
  return std::visit([&](const auto& s) { return s.shortened(out_features, in_features).text(); },
                    spec);
}

RepresentationSpec resolved(const RepresentationSpec& spec, int64_t out_features,
                            int64_t in_features, const std::string& module) {
  check_matrix(out_features, in_features, of_module(module));
  return std::visit(
      [&](const auto& s) -> RepresentationSpec {
        return s.resolved(out_features, in_features, of_module(module));
      },
      spec);
}

OrderedJson spec_to_json(const RepresentationSpec& resolved_spec) {
  return std::visit([](const auto& s) { return s.to_json(); }, resolved_spec);
}

RepresentationSpec spec_from_json(const Json& fields, const std::string& source) {
  const auto kind = json_get<std::string>(fields, "kind", source);
  const auto spec = first_kind([&]<typename S>() -> std::optional<TermSpec> {
    if (kind != S::kName) return std::nullopt;
    return S::from_json(fields, source);
  });
  if (!spec) {
    throw Error(concat(source, ": this Bitsmith knows no representation '", excerpt(kind), "'"));
  }
  return *spec;
}

std::vector<PartLayout> part_layout(const RepresentationSpec& spec, int64_t out_features,
                                    int64_t in_features, const std::string& module) {
  check_matrix(out_features, in_features, of_module(module));
  return std::visit(
      [&](const auto& s) { return s.parts(out_features, in_features, of_module(module)); }, spec);
}

double bits_per_weight(const RepresentationSpec& spec, int64_t out_features, int64_t in_features) {
  int64_t bytes = 0;
  for (const PartLayout& part : part_layout(spec, out_features, in_features)) {
    bytes += byte_size(part.dtype, part.shape);
  }
  return 8.0 * static_cast<double>(bytes) /
         (static_cast<double>(out_features) * static_cast<double>(in_features));
}

bool rows_stand_alone(const RepresentationSpec& spec) {
  return std::visit([](const auto& s) { return s.kRowsStandAlone; }, spec);
}

RepresentationSpec row_representation(int bits, int64_t in_features) {
  return row_term(bits, in_features);
}

void check_quantizable(const RepresentationSpec& spec, int64_t out_features, int64_t in_features) {
  part_layout(spec, out_features, in_features);
  std::visit([&](const auto& s) { s.check_quantizable(out_features, in_features); }, spec);
}

int64_t least_rows(const RepresentationSpec& spec, int64_t out_features, int64_t in_features) {
  return std::visit([&](const auto& s) { return s.least_rows(out_features, in_features); }, spec);
}

}  // namespace bitsmith
