#include "server/http.h"

#include "base/deadline.h"

namespace bitsmith {
namespace {

OrderedJson text_or_null(const std::string& text) {
  return text.empty() ? OrderedJson() : OrderedJson(text);
}

}  // namespace

std::string json_text(const OrderedJson& json) {
  return json.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
}

HttpResponse json_response(const OrderedJson& json) {
  HttpResponse response;
  response.body = json_text(json);
  return response;
}

OrderedJson HttpError::json() const {
  return {{"error",
           {{"message", what()},
            {"type", details_.type},
            {"param", text_or_null(details_.param)},
            {"code", text_or_null(details_.code)}}}};
}

HttpResponse HttpError::response() const {
  HttpResponse response = json_response(json());
  response.status = details_.status;
  if (details_.status == 401) response.headers.emplace("WWW-Authenticate", "Bearer");
  if (details_.status == 503) response.headers.emplace("Retry-After", "5");
  return response;
}

HttpError HttpError::of(const std::exception& error) {
  if (const auto* own = dynamic_cast<const HttpError*>(&error)) return *own;
  if (dynamic_cast<const DeadlineError*>(&error)) return server_error(504, "timeout", error.what());
  return server_error(500, "", error_message(error));
}

}  // namespace bitsmith
