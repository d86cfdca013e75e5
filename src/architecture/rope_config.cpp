// Rope settings of config.json. transformers 4: "rope_theta" and "rope_scaling", where the type is
// under "rope_type" or, older, "type"; transformers 5: all in "rope_parameters", which may hold an
// object for each type of layer.
#include <cmath>
#include <string_view>

#include "architecture/config_reader.h"
#include "base/error.h"

namespace bitsmith {
namespace {

using Scaling = RopePlan::Scaling;

double positive(const ConfigReader& reader, const Json& rope, const char* key,
                std::optional<double> fallback = {}) {
  const double value = fallback ? json_get_or<double>(rope, key, *fallback, reader.source())
                                : json_get<double>(rope, key, reader.source());
  if (!(value > 0) || !std::isfinite(value))
    reader.fail(
        concat("'", key, "' of the rope settings is ", value, ", expected a positive number"));
  return value;
}

std::vector<double> factors(const ConfigReader& reader, const Json& rope, const char* key,
                            int64_t pairs) {
  const auto values = json_get<std::vector<double>>(rope, key, reader.source());
  if (static_cast<int64_t>(values.size()) != pairs)
    reader.fail(concat("'", key, "' has ", values.size(), " values for ", pairs,
                       " pairs of a head's values"));
  for (const double value : values)
    if (!(value > 0) || !std::isfinite(value))
      reader.fail(concat("'", key, "' holds ", value, ", expected positive numbers"));
  return values;
}

std::string type_of(const ConfigReader& reader, const Json& rope) {
  const auto old = json_get_or<std::string>(rope, "type", "default", reader.source());
  return json_get_or<std::string>(rope, "rope_type", old, reader.source());
}

// The settings of `key`, or an empty object.
Json settings(const ConfigReader& reader, const char* key, const std::string& layer_type) {
  Json rope = json_get_or<Json>(reader.json(), key, Json::object(), reader.source());
  if (!rope.is_object()) reader.fail(concat("'", key, "' is not an object: ", json_excerpt(rope)));
  const bool by_type = rope.contains("full_attention") || rope.contains("sliding_attention");
  if (layer_type.empty() && by_type)
    reader.fail(concat("'", key, "' differs between layers, which this architecture does not"));
  if (layer_type.empty() || rope.empty()) return rope;
  if (!by_type) {
    // rope_scaling is of full attention alone. Of rope_parameters transformers would take a part.
    if (key == std::string_view("rope_scaling"))
      return layer_type == "full_attention" ? rope : Json::object();
    reader.fail(concat("'", key, "' must hold settings for each type of layer: full_attention, ",
                       "sliding_attention"));
  }
  Json own = json_get_or<Json>(rope, layer_type, Json::object(), reader.source());
  if (!own.is_object())
    reader.fail(concat("'", layer_type, "' of '", key, "' is not an object: ", json_excerpt(own)));
  return own;
}

bool tells(const Json& rope, const char* key) {
  return rope.contains(key) && !rope.at(key).is_null();
}

// The settings of both spellings together: what both say must be the same.
Json merged(const ConfigReader& reader, const Json& old, const Json& now) {
  const auto check = [&](const std::string& key, const Json& before, const Json& after) {
    if (before != after)
      reader.fail(concat("'", key, "' is ", json_excerpt(before), " in 'rope_scaling' and ",
                         json_excerpt(after),
                         " in 'rope_parameters': only one of them can be true"));
  };
  const auto typed = [](const Json& rope) {
    return tells(rope, "rope_type") || tells(rope, "type");
  };
  if (typed(old) && typed(now)) check("rope_type", type_of(reader, old), type_of(reader, now));
  Json rope = now;
  for (const auto& [key, value] : old.items()) {
    if (value.is_null()) continue;
    if (!tells(now, key.c_str()))
      rope[key] = value;
    else if (key != "rope_type" && key != "type")
      check(key, value, now.at(key));
  }
  return rope;
}

// The context of the training before the stretching.
int64_t trained_context(const ConfigReader& reader, const Json& rope, int64_t context) {
  constexpr const char* kKey = "original_max_position_embeddings";
  const auto value = json_get_or<int64_t>(rope, kKey, context, reader.source());
  if (value < 1 || value > ConfigReader::kMaxContext)
    reader.fail(concat("'", kKey, "' of the rope settings is ", value, ", expected 1 to ",
                       ConfigReader::kMaxContext));
  return value;
}

void read_yarn(const ConfigReader& reader, const Json& rope, RopePlan& plan) {
  plan.beta_fast = positive(reader, rope, "beta_fast", 32.0);
  plan.beta_slow = positive(reader, rope, "beta_slow", 1.0);
  plan.truncate = json_get_or<bool>(rope, "truncate", true, reader.source());
  const auto mscale = json_get_or<double>(rope, "mscale", 0.0, reader.source());
  const auto mscale_all = json_get_or<double>(rope, "mscale_all_dim", 0.0, reader.source());
  const double natural =
      mscale != 0 && mscale_all != 0
          ? yarn_attention(plan.factor, mscale) / yarn_attention(plan.factor, mscale_all)
          : yarn_attention(plan.factor, 1.0);
  plan.attention_factor = positive(reader, rope, "attention_factor", natural);
}

void read_longrope(const ConfigReader& reader, const Json& rope, int64_t context, RopePlan& plan) {
  plan.short_factors = factors(reader, rope, "short_factor", plan.dims / 2);
  plan.long_factors = factors(reader, rope, "long_factor", plan.dims / 2);
  const double trained = static_cast<double>(plan.trained_context);
  plan.factor = positive(reader, rope, "factor", static_cast<double>(context) / trained);
  const double natural =
      plan.factor <= 1 ? 1.0 : std::sqrt(1 + std::log(plan.factor) / std::log(trained));
  plan.attention_factor = positive(reader, rope, "attention_factor", natural);
}

}  // namespace

RopePlan ConfigReader::rope(int64_t dims, int64_t context, double theta_fallback,
                            const std::string& layer_type, std::optional<int64_t> trained) const {
  const Json rope = merged(*this, settings(*this, "rope_scaling", layer_type),
                           settings(*this, "rope_parameters", layer_type));
  const auto before_stretching = [&] {
    return trained ? *trained : trained_context(*this, rope, context);
  };

  RopePlan plan;
  plan.dims = dims;
  const bool beside = has("rope_theta") && layer_type != "sliding_attention";
  plan.theta = beside ? positive("rope_theta") : theta_fallback;
  if (tells(rope, "rope_theta")) {
    const double inner = bitsmith::positive(*this, rope, "rope_theta");
    if (beside && inner != plan.theta)
      fail(concat("'rope_theta' is ", plan.theta, " beside the rope settings and ", inner,
                  " in them: only one of them can be true"));
    plan.theta = inner;
  }

  const std::string type = type_of(*this, rope);
  if (type == "default") {
    const bool told = tells(rope, "rope_type") || tells(rope, "type");
    if (!told && tells(rope, "factor"))
      fail("'rope_type' is missing beside the 'factor' of the rope settings");
    return plan;
  }
  // The first Phi-3 models call longrope "su" or "yarn".
  if (type == "longrope" || type == "su" || (type == "yarn" && rope.contains("short_factor"))) {
    plan.scaling = Scaling::kLongRope;
    plan.trained_context = before_stretching();
    read_longrope(*this, rope, context, plan);
    return plan;
  }
  if (type == "yarn") {
    plan.scaling = Scaling::kYarn;
    plan.trained_context = before_stretching();
    plan.factor = bitsmith::positive(
        *this, rope, "factor",
        static_cast<double>(context) / static_cast<double>(plan.trained_context));
    if (plan.theta <= 1) fail(concat("'rope_theta' is ", plan.theta, "; yarn needs more than 1"));
    read_yarn(*this, rope, plan);
    return plan;
  }
  const auto factor = [&] { return bitsmith::positive(*this, rope, "factor"); };
  if (type == "linear") {
    plan.scaling = Scaling::kLinear;
    plan.factor = factor();
  } else if (type == "dynamic") {
    plan.scaling = Scaling::kDynamic;
    plan.factor = factor();
    plan.trained_context = context;
    if (dims <= 2) fail("dynamic rope scaling needs a head_dim above 2");
  } else if (type == "llama3") {
    plan.scaling = Scaling::kLlama3;
    plan.factor = factor();
    plan.trained_context = before_stretching();
    plan.low_freq_factor = bitsmith::positive(*this, rope, "low_freq_factor");
    plan.high_freq_factor = bitsmith::positive(*this, rope, "high_freq_factor");
    if (plan.high_freq_factor <= plan.low_freq_factor)
      fail("llama3 rope scaling needs high_freq_factor > low_freq_factor");
  } else {
    fail(concat("'rope_type': the rope type '", excerpt(type),
                "' is not supported; Bitsmith knows default, linear, dynamic, llama3, yarn and ",
                "longrope"));
  }
  return plan;
}

}  // namespace bitsmith
