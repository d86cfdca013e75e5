#include "format/representation_spec.h"

#include <algorithm>
#include <optional>
#include <type_traits>

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
  return concat("a representation is a sum of ", kinds,
                "; a sum has a + before each term that corrects the first, and may stand in ",
                TransformSpec::kGrammar,
                "; for example int4g64, int2g32-z, aq2x8g8, gvq2d2b, gvq2d2b-n1024, gvq1d3b-s64, "
                "int3g64+out0.5%, had:int3g64, had:e8p");
}

std::string of_module(const std::string& module) { return module.empty() ? "" : " of " + module; }

void check_matrix(int64_t out_features, int64_t in_features, const std::string& where) {
  if (out_features <= 0 || in_features <= 0) {
    throw Error(concat("a matrix", where, " of ", out_features, " x ", in_features,
                       " cannot be quantized"));
  }
  element_count({out_features, in_features, 16});  // an Error if sizes in bits overflow
}

// Reads the kind that comes next, of those that correct or of the others.
TermSpec parse_term(SpecReader& reader, bool corrects) {
  const auto term = first_kind([&]<typename S>() -> std::optional<TermSpec> {
    if (S::kCorrects != corrects || !reader.take(S::kName)) return std::nullopt;
    return S::parse(reader);
  });
  if (!term) reader.fail("the kind is unknown");
  return *term;
}

// "" or what is wrong with the sum.
std::string fault_of(const std::vector<TermSpec>& terms) {
  if (terms.empty()) return "a representation without terms";
  for (size_t i = 0; i < terms.size(); ++i) {
    const bool corrects = std::visit([](const auto& s) { return s.kCorrects; }, terms[i]);
    if (corrects != (i > 0))
      return "a sum is a term with codes, and after it those that correct it";
    for (size_t j = 0; j < i; ++j) {
      if (terms[i].index() == terms[j].index()) return "a kind occurs twice in a sum";
    }
  }
  return "";
}

template <typename F>
void each_term(const RepresentationSpec& spec, const F& f) {
  for (const TermSpec& term : spec.terms) std::visit(f, term);
}

}  // namespace

RepresentationSpec parse_representation(const std::string& text) {
  SpecReader reader(text, grammar());
  std::optional<TransformSpec> transform;
  if (reader.take(TransformSpec::kName)) transform = TransformSpec::parse(reader);
  RepresentationSpec spec({parse_term(reader, /*corrects=*/false)}, transform);
  while (reader.take("+")) spec.terms.push_back(parse_term(reader, /*corrects=*/true));
  reader.expect_end();
  if (const std::string fault = fault_of(spec.terms); !fault.empty()) reader.fail(fault);
  return spec;
}

std::string to_string(const RepresentationSpec& spec) {
  std::string text;
  each_term(spec, [&](const auto& s) { text += (text.empty() ? "" : "+") + s.text(); });
  return spec.transform ? spec.transform->text() + text : text;
}

std::string short_name(const RepresentationSpec& spec, int64_t out_features, int64_t in_features) {
  std::vector<TermSpec> terms;
  each_term(spec, [&](const auto& s) { terms.push_back(s.shortened(out_features, in_features)); });
  std::optional<TransformSpec> transform = spec.transform;
  if (transform) transform = transform->shortened(out_features, in_features);
  return to_string(RepresentationSpec(terms, transform));
}

RepresentationSpec resolved(const RepresentationSpec& spec, int64_t out_features,
                            int64_t in_features, const std::string& module) {
  check_matrix(out_features, in_features, of_module(module));
  std::vector<TermSpec> terms;
  each_term(spec, [&](const auto& s) {
    terms.push_back(s.resolved(out_features, in_features, of_module(module)));
  });
  std::optional<TransformSpec> transform = spec.transform;
  if (transform) transform = transform->resolved(out_features, in_features, of_module(module));
  return RepresentationSpec(terms, transform);
}

OrderedJson spec_to_json(const RepresentationSpec& resolved_spec) {
  OrderedJson fields;
  if (resolved_spec.transform) fields["transform"] = resolved_spec.transform->to_json();
  fields["terms"] = OrderedJson::array();
  each_term(resolved_spec, [&](const auto& s) { fields["terms"].push_back(s.to_json()); });
  return fields;
}

RepresentationSpec spec_from_json(const Json& spec, const std::string& source) {
  const Json terms = json_get<Json>(spec, "terms", source);
  if (!terms.is_array()) throw Error(source + ": the terms of a representation are not a list");
  std::vector<TermSpec> found;
  for (const Json& fields : terms) {
    const auto kind = json_get<std::string>(fields, "kind", source);
    const auto term = first_kind([&]<typename S>() -> std::optional<TermSpec> {
      if (kind != S::kName) return std::nullopt;
      return S::from_json(fields, source);
    });
    if (!term) {
      throw Error(concat(source, ": this Bitsmith knows no representation '", excerpt(kind), "'"));
    }
    found.push_back(*term);
  }
  if (const std::string fault = fault_of(found); !fault.empty()) {
    throw Error(concat(source, ": ", fault));
  }
  std::optional<TransformSpec> transform;
  if (spec.contains("transform")) {
    transform = TransformSpec::from_json(json_get<Json>(spec, "transform", source), source);
  }
  return RepresentationSpec(found, transform);
}

std::vector<PartLayout> part_layout(const RepresentationSpec& spec, int64_t out_features,
                                    int64_t in_features, const std::string& module) {
  check_matrix(out_features, in_features, of_module(module));
  std::vector<PartLayout> all;
  each_term(spec, [&](const auto& s) {
    for (PartLayout& part : s.parts(out_features, in_features, of_module(module))) {
      all.push_back(std::move(part));
    }
  });
  if (spec.transform) {
    const auto own = spec.transform->parts(out_features, in_features, of_module(module));
    all.insert(all.end(), own.begin(), own.end());
  }
  return all;
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
  bool all = !spec.transform;
  each_term(spec, [&](const auto& s) { all &= s.kRowsStandAlone; });
  return all;
}

bool mixes_rows(const RepresentationSpec& spec) {
  return spec.transform && spec.transform->out_block != TransformSpec::kNone;
}

int64_t kept_rows(const RepresentationSpec& spec) {
  int64_t count = 0;
  each_term(spec, [&](const auto& s) { count += kept_rows(s); });
  return count;
}

RepresentationSpec with_kept_rows(RepresentationSpec spec, int64_t count) {
  std::erase_if(spec.terms, [](const TermSpec& term) {
    return std::visit([](const auto& s) { return kept_rows(s) > 0; }, term);
  });
  if (count > 0) spec.terms.push_back(kept_rows_term(count));
  return spec;
}

RepresentationSpec row_representation(int bits, int64_t in_features) {
  return RepresentationSpec(std::vector<TermSpec>{row_term(bits, in_features)});
}

void check_quantizable(const RepresentationSpec& spec, int64_t out_features, int64_t in_features) {
  part_layout(spec, out_features, in_features);
  each_term(spec, [&](const auto& s) { s.check_quantizable(out_features, in_features); });
}

int64_t least_rows(const RepresentationSpec& spec, int64_t out_features, int64_t in_features) {
  int64_t rows = 1;
  each_term(spec,
            [&](const auto& s) { rows = std::max(rows, s.least_rows(out_features, in_features)); });
  return rows;
}

}  // namespace bitsmith
