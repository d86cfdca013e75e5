#include "server/http.h"

#include <gtest/gtest.h>

#include <new>

#include "base/deadline.h"

namespace bitsmith {
namespace {

TEST(HttpErrorTest, OfAnyException) {
  const HttpError refusal = HttpError::of(HttpError::invalid_field("n", "must be 1"));
  EXPECT_EQ(refusal.details().status, 400);
  EXPECT_EQ(refusal.json()["error"]["param"], "n");
  EXPECT_STREQ(refusal.what(), "'n' must be 1");
  const HttpError late = HttpError::of(DeadlineError("too late"));
  EXPECT_EQ(late.details().status, 504);
  EXPECT_EQ(late.json()["error"]["code"], "timeout");
  const HttpError failure = HttpError::of(Error("no such file"));
  EXPECT_EQ(failure.details().status, 500);
  EXPECT_EQ(failure.json()["error"]["type"], "server_error");
  EXPECT_STREQ(failure.what(), "no such file");
  EXPECT_EQ(HttpError::of(std::bad_alloc()).details().status, 500);
}

TEST(HttpErrorTest, HeadersThatBelongToAStatus) {
  const auto header = [](int status, const char* name) {
    const HttpResponse response = HttpError({.status = status}, "no").response();
    EXPECT_EQ(response.status, status);
    return response.headers.contains(name);
  };
  EXPECT_TRUE(header(401, "WWW-Authenticate"));
  EXPECT_FALSE(header(403, "WWW-Authenticate"));
  EXPECT_TRUE(header(503, "Retry-After"));
  EXPECT_FALSE(header(500, "Retry-After"));
}

}  // namespace
}  // namespace bitsmith
