#include <algorithm>
#include <cmath>
#include <deque>
#include <set>
#include <unordered_map>
#include <utility>

#include "runtime/grammar/json_form.h"

namespace bitsmith {
namespace {

// Of someone who may want to keep us busy.
constexpr size_t kMostSchemas = 10'000, kMostAlternatives = 256, kMostTextBytes = 1 << 20;
constexpr int32_t kNever = JsonForm::kMostDepth + 1;  // height of what no text fits
constexpr const char* kTypes[] = {"null",   "boolean", "integer", "number",
                                  "string", "array",   "object"};
constexpr const char* kSupported =
    "type, enum, const, properties, required, additionalProperties, items, minItems, maxItems, "
    "minLength, maxLength, anyOf and $ref";

bool is_annotation(const std::string& key) {
  for (const char* name : {"title", "description", "default", "examples", "deprecated", "readOnly",
                           "writeOnly", "$schema", "$id", "$comment", "$defs", "definitions"})
    if (key == name) return true;
  return false;
}

bool has_type(const OrderedJson& value, const std::string& type) {
  if (type == "integer")
    return value.is_number_integer() ||
           (value.is_number() && value.get<double>() == std::floor(value.get<double>()));
  return type == "null"      ? value.is_null()
         : type == "boolean" ? value.is_boolean()
         : type == "number"  ? value.is_number()
         : type == "string"  ? value.is_string()
         : type == "array"   ? value.is_array()
                             : value.is_object();
}

class SchemaCompiler {
 public:
  explicit SchemaCompiler(const OrderedJson& root) : root_(root) {}
  JsonForm compile();

 private:
  using Kind = JsonForm::Kind;
  struct Task {
    const OrderedJson* schema;
    int32_t choice;
    std::string place;
  };

  [[noreturn]] static void refuse(const std::string& place, const std::string& what) {
    throw JsonSchemaError(concat("the schema at ", excerpt(place, 200), ": ", what));
  }
  // The choice of a schema, which is compiled later unless it was.
  int32_t choice_of(const OrderedJson& schema, const std::string& place);
  int32_t new_choice(const std::string& place);
  int32_t any_choice();
  JsonForm::Value& add_value(int32_t choice, Kind kind);
  void add_literals(int32_t choice, std::vector<std::string> literals, const std::string& place);
  void compile(const Task& task);
  void compile_reference(const Task& task);
  void compile_any_of(const Task& task);
  void compile_values(const Task& task);
  void compile_type(const Task& task, const std::string& type);
  void compile_object(const Task& task);
  std::vector<std::string> types(const OrderedJson& schema, const std::string& place) const;
  // Refuses what stands beside `key` without being an annotation or `allowed`.
  static void alone(const Task& task, const std::string& key, const std::string& allowed = "");
  static int32_t count(const Task& task, const char* key, int32_t fallback);
  void flatten();
  void measure();
  void finish_objects();

  const OrderedJson& root_;
  JsonForm form_;
  std::deque<Task> tasks_;
  std::unordered_map<const OrderedJson*, int32_t> choices_;
  std::vector<std::vector<int32_t>> alternatives_;  // of each choice: the choices that it takes in
  int32_t any_ = -1;
  size_t text_bytes_ = 0;
};

JsonForm SchemaCompiler::compile() {
  form_.any_string = 0;
  form_.values.push_back({.kind = Kind::kString});
  form_.root = choice_of(root_, "#");
  while (!tasks_.empty()) {
    const Task task = std::move(tasks_.front());
    tasks_.pop_front();
    compile(task);
  }
  flatten();
  measure();
  finish_objects();
  if (form_.choices[static_cast<size_t>(form_.root)].height > JsonForm::kMostDepth)
    refuse("#", concat("no text fits it that is nested at most ", JsonForm::kMostDepth, " deep"));
  return std::move(form_);
}

int32_t SchemaCompiler::new_choice(const std::string& place) {
  if (form_.choices.size() >= kMostSchemas)
    refuse(place, concat("it has more than ", kMostSchemas, " parts"));
  form_.choices.emplace_back();
  alternatives_.emplace_back();
  return static_cast<int32_t>(form_.choices.size() - 1);
}

int32_t SchemaCompiler::choice_of(const OrderedJson& schema, const std::string& place) {
  if (const auto found = choices_.find(&schema); found != choices_.end()) return found->second;
  const int32_t choice = new_choice(place);
  choices_.emplace(&schema, choice);
  // An excerpt, since every part within it has the place before its own.
  tasks_.push_back({&schema, choice, excerpt(place, 200)});
  return choice;
}

int32_t SchemaCompiler::any_choice() {
  if (any_ >= 0) return any_;
  any_ = new_choice("#");
  add_literals(any_, {"false", "null", "true"}, "#");
  add_value(any_, Kind::kNumber);
  form_.choices[static_cast<size_t>(any_)].values.push_back(form_.any_string);
  add_value(any_, Kind::kArray).item = any_;
  add_value(any_, Kind::kMap).item = any_;
  return any_;
}

JsonForm::Value& SchemaCompiler::add_value(int32_t choice, Kind kind) {
  form_.choices[static_cast<size_t>(choice)].values.push_back(
      static_cast<int32_t>(form_.values.size()));
  return form_.values.emplace_back(JsonForm::Value{.kind = kind});
}

void SchemaCompiler::add_literals(int32_t choice, std::vector<std::string> literals,
                                  const std::string& place) {
  for (const std::string& text : literals) text_bytes_ += text.size();
  if (text_bytes_ > kMostTextBytes)
    refuse(place, concat("the schema has more than ", kMostTextBytes, " bytes of keys and values"));
  std::ranges::sort(literals);
  literals.erase(std::unique(literals.begin(), literals.end()), literals.end());
  add_value(choice, Kind::kLiterals).literals = std::move(literals);
}

void SchemaCompiler::alone(const Task& task, const std::string& key, const std::string& allowed) {
  for (const auto& [other, value] : task.schema->items())
    if (other != key && other != allowed && !is_annotation(other))
      refuse(task.place, concat("'", excerpt(other), "' beside '", key, "' is not supported"));
}

int32_t SchemaCompiler::count(const Task& task, const char* key, int32_t fallback) {
  const auto found = task.schema->find(key);
  if (found == task.schema->end()) return fallback;
  const double number = found->is_number() ? found->get<double>() : -1;
  if (number < 0 || number != std::floor(number))
    refuse(task.place, concat("'", key, "' must be an integer from 0"));
  return static_cast<int32_t>(std::min<double>(number, JsonForm::kUnbounded));
}

void SchemaCompiler::compile(const Task& task) {
  const OrderedJson& schema = *task.schema;
  const auto take_anything = [&] {
    const int32_t any = any_choice();
    alternatives_[static_cast<size_t>(task.choice)].push_back(any);
  };
  if (schema.is_boolean()) {
    if (schema.get<bool>()) take_anything();
    return;
  }
  if (!schema.is_object()) refuse(task.place, "it must be an object, true or false");
  for (const auto& [key, value] : schema.items()) {
    constexpr const char* kKnown[] = {"type",
                                      "enum",
                                      "const",
                                      "properties",
                                      "required",
                                      "items",
                                      "minItems",
                                      "maxItems",
                                      "minLength",
                                      "maxLength",
                                      "anyOf",
                                      "$ref",
                                      "additionalProperties"};
    if (is_annotation(key) || std::ranges::find(kKnown, key) != std::end(kKnown)) continue;
    refuse(task.place,
           concat("the keyword '", excerpt(key), "' is not supported; there are ", kSupported));
  }
  if (schema.contains("$ref")) return compile_reference(task);
  if (schema.contains("anyOf")) return compile_any_of(task);
  if (schema.contains("enum") || schema.contains("const")) return compile_values(task);
  const std::vector<std::string> all = types(schema, task.place);
  if (all.empty()) take_anything();
  for (const std::string& type : all) compile_type(task, type);
}

// A JSON pointer (RFC 6901) within the schema.
void SchemaCompiler::compile_reference(const Task& task) {
  alone(task, "$ref");
  const OrderedJson& reference = task.schema->at("$ref");
  const std::string text = reference.is_string() ? reference.get<std::string>() : "";
  if (!text.starts_with("#") || (text.size() > 1 && text[1] != '/'))
    refuse(task.place, "'$ref' must point into the schema itself, as #/$defs/NAME");
  const OrderedJson* target = nullptr;
  try {
    const OrderedJson::json_pointer pointer(text.substr(1));
    if (root_.contains(pointer)) target = &root_.at(pointer);
  } catch (const nlohmann::json::exception&) {  // no pointer
  }
  if (!target)
    refuse(task.place, concat("'$ref' points to ", excerpt(text), ", which is not there"));
  const int32_t choice = choice_of(*target, text);
  alternatives_[static_cast<size_t>(task.choice)].push_back(choice);
}

void SchemaCompiler::compile_any_of(const Task& task) {
  alone(task, "anyOf");
  const OrderedJson& all = task.schema->at("anyOf");
  if (!all.is_array() || all.empty()) refuse(task.place, "'anyOf' must be an array of schemas");
  for (size_t i = 0; i < all.size(); ++i) {
    const int32_t choice = choice_of(all[i], concat(task.place, "/anyOf/", i));
    alternatives_[static_cast<size_t>(task.choice)].push_back(choice);
  }
}

void SchemaCompiler::compile_values(const Task& task) {
  const char* key = task.schema->contains("enum") ? "enum" : "const";
  alone(task, key, "type");
  const OrderedJson& given = task.schema->at(key);
  if (std::string(key) == "enum" && !given.is_array())
    refuse(task.place, "'enum' must be an array");
  std::vector<std::string> allowed;
  if (task.schema->contains("type")) allowed = types(*task.schema, task.place);
  std::vector<std::string> literals;
  const auto add = [&](const OrderedJson& value) {
    const auto fits = [&](const std::string& type) { return has_type(value, type); };
    if (allowed.empty() || std::ranges::any_of(allowed, fits)) literals.push_back(value.dump());
  };
  if (std::string(key) == "enum")
    for (const OrderedJson& value : given) add(value);
  else
    add(given);
  add_literals(task.choice, std::move(literals), task.place);
}

// Those of `type`; without it those that the keywords speak of; none: all.
std::vector<std::string> SchemaCompiler::types(const OrderedJson& schema,
                                               const std::string& place) const {
  std::vector<std::string> all;
  const auto found = schema.find("type");
  if (found == schema.end()) {
    for (const auto& [keyword, type] : {std::pair{"properties", "object"},
                                        {"required", "object"},
                                        {"additionalProperties", "object"},
                                        {"items", "array"},
                                        {"minItems", "array"},
                                        {"maxItems", "array"},
                                        {"minLength", "string"},
                                        {"maxLength", "string"}})
      if (schema.contains(keyword) && std::ranges::find(all, type) == all.end())
        all.emplace_back(type);
    return all;
  }
  const OrderedJson list = found->is_array() ? *found : OrderedJson::array({*found});
  for (const OrderedJson& type : list) {
    if (!type.is_string() || std::ranges::find(kTypes, type.get<std::string>()) == std::end(kTypes))
      refuse(place,
             "'type' must be null, boolean, integer, number, string, array or object, or an "
             "array of those");
    if (std::ranges::find(all, type.get<std::string>()) != all.end())
      refuse(place, concat("'type' names ", type.get<std::string>(), " twice"));
    all.push_back(type.get<std::string>());
  }
  if (all.empty()) refuse(place, "'type' names no type");
  return all;
}

void SchemaCompiler::compile_type(const Task& task, const std::string& type) {
  if (type == "null") {
    add_literals(task.choice, {"null"}, task.place);
  } else if (type == "boolean") {
    add_literals(task.choice, {"false", "true"}, task.place);
  } else if (type == "integer" || type == "number") {
    add_value(task.choice, type == "integer" ? Kind::kInteger : Kind::kNumber);
  } else if (type == "string") {
    const int32_t least = count(task, "minLength", 0);
    const int32_t most = count(task, "maxLength", JsonForm::kUnbounded);
    JsonForm::Value& value = add_value(task.choice, Kind::kString);
    value.least = least;
    value.most = most;
  } else if (type == "array") {
    const auto items = task.schema->find("items");
    if (items != task.schema->end() && items->is_array())
      refuse(task.place, "'items' as an array is not supported: give one schema of all items");
    const int32_t item =
        items == task.schema->end() ? any_choice() : choice_of(*items, task.place + "/items");
    const int32_t least = count(task, "minItems", 0);
    const int32_t most = count(task, "maxItems", JsonForm::kUnbounded);
    JsonForm::Value& value = add_value(task.choice, Kind::kArray);
    value.item = item;
    value.least = least;
    value.most = most;
  } else {
    compile_object(task);
  }
}

void SchemaCompiler::compile_object(const Task& task) {
  const OrderedJson none = OrderedJson::object();
  const auto given = [&](const char* key, const OrderedJson& fallback) -> const OrderedJson& {
    const auto found = task.schema->find(key);
    return found == task.schema->end() ? fallback : *found;
  };
  const OrderedJson& properties = given("properties", none);
  if (!properties.is_object()) refuse(task.place, "'properties' must be an object");
  const OrderedJson no_names = OrderedJson::array();
  std::set<std::string> required;
  const OrderedJson& names = given("required", no_names);
  if (!names.is_array()) refuse(task.place, "'required' must be an array of keys");
  for (const OrderedJson& name : names) {
    if (!name.is_string()) refuse(task.place, "'required' must be an array of keys");
    required.insert(name.get<std::string>());
  }
  const auto additional = task.schema->find("additionalProperties");
  if (additional != task.schema->end() && !additional->is_boolean() && !additional->is_object())
    refuse(task.place, "'additionalProperties' must be true, false or a schema");
  const bool closed = additional != task.schema->end() && *additional == false;
  const bool others =
      additional != task.schema->end() && additional->is_object() && !additional->empty();
  const auto other = [&] {
    return others ? choice_of(*additional, task.place + "/additionalProperties") : any_choice();
  };
  if (properties.empty() && required.empty() && !closed) {
    const int32_t item = other();
    add_value(task.choice, Kind::kMap).item = item;
    return;
  }
  if (!properties.empty() && others)
    refuse(task.place,
           "'additionalProperties' beside 'properties' must be true or false: an "
           "answer has the listed ones alone");
  std::vector<JsonForm::Property> all;
  for (const auto& [key, schema] : properties.items()) {
    const int32_t value = choice_of(schema, concat(task.place, "/properties/", excerpt(key)));
    all.push_back({OrderedJson(key).dump(), value, required.erase(key) > 0});
  }
  for (const std::string& key : required) {
    if (closed)
      refuse(task.place, concat("'required' names ", excerpt(key), ", which is no property"));
    const int32_t value = other();
    all.push_back({OrderedJson(key).dump(), value, true});
  }
  for (const JsonForm::Property& property : all) text_bytes_ += property.key.size();
  if (text_bytes_ > kMostTextBytes)
    refuse(task.place,
           concat("the schema has more than ", kMostTextBytes, " bytes of keys and values"));
  add_value(task.choice, Kind::kObject).properties = std::move(all);
}

// Choices that take in others get all their values; they may take in each other in circles.
void SchemaCompiler::flatten() {
  std::vector<std::vector<int32_t>> all(form_.choices.size());
  std::vector<size_t> seen(form_.choices.size(), SIZE_MAX);
  for (size_t root = 0; root < all.size(); ++root) {
    std::vector<int32_t> stack = {static_cast<int32_t>(root)};
    size_t visited = 0;
    while (!stack.empty()) {
      const auto choice = static_cast<size_t>(stack.back());
      stack.pop_back();
      if (std::exchange(seen[choice], root) == root) continue;
      const auto& values = form_.choices[choice].values;
      all[root].insert(all[root].end(), values.begin(), values.end());
      stack.insert(stack.end(), alternatives_[choice].rbegin(), alternatives_[choice].rend());
      if (all[root].size() > kMostAlternatives || ++visited > 4 * kMostAlternatives)
        refuse("#", concat("a value has more than ", kMostAlternatives, " alternatives"));
    }
  }
  for (size_t i = 0; i < all.size(); ++i) form_.choices[i].values = std::move(all[i]);
}

// Heights from below: what they rest on is known once they do not grow any more.
void SchemaCompiler::measure() {
  const auto height_of = [&](int32_t choice) {
    return form_.choices[static_cast<size_t>(choice)].height;
  };
  const auto value_height = [&](const JsonForm::Value& value) {
    if (value.least > value.most) return kNever;
    int32_t height = 0;
    switch (value.kind) {
      case Kind::kLiterals:
        return value.literals.empty() ? kNever : 0;
      case Kind::kString:
      case Kind::kNumber:
      case Kind::kInteger:
        return 0;
      case Kind::kMap:
        return 1;
      case Kind::kArray:
        height = value.least > 0 ? height_of(value.item) : 0;
        break;
      case Kind::kObject:
        for (const JsonForm::Property& property : value.properties)
          if (property.required) height = std::max(height, height_of(property.value));
    }
    return std::min(height + 1, kNever);
  };
  for (JsonForm::Choice& choice : form_.choices) choice.height = kNever;
  for (bool changed = true; std::exchange(changed, false);) {
    for (JsonForm::Value& value : form_.values) value.height = value_height(value);
    for (JsonForm::Choice& choice : form_.choices) {
      int32_t height = kNever;
      for (const int32_t index : choice.values)
        height = std::min(height, form_.values[static_cast<size_t>(index)].height);
      changed |= height != std::exchange(choice.height, height);
    }
  }
}

void SchemaCompiler::finish_objects() {
  for (JsonForm::Value& value : form_.values) {
    if (value.kind != Kind::kObject) continue;
    const auto count = static_cast<int32_t>(value.properties.size());
    for (int32_t i = 0; i < count; ++i) value.by_key.push_back(i);
    std::ranges::sort(value.by_key, std::less(), [&](int32_t i) -> const std::string& {
      return value.properties[static_cast<size_t>(i)].key;
    });
    value.next_required.assign(static_cast<size_t>(count) + 1, count);
    for (int32_t i = count; i-- > 0;)
      value.next_required[static_cast<size_t>(i)] =
          value.properties[static_cast<size_t>(i)].required
              ? i
              : value.next_required[static_cast<size_t>(i) + 1];
  }
}

}  // namespace

std::shared_ptr<const JsonForm> compile_json_schema(const OrderedJson& schema) {
  return std::make_shared<const JsonForm>(SchemaCompiler(schema).compile());
}

std::shared_ptr<const JsonForm> any_json_object() {
  return compile_json_schema({{"type", "object"}});
}

}  // namespace bitsmith
