// The Content-Security-Policy of a page that needs nothing from outside.
#pragma once
#include <string>

namespace bitsmith {

// Allows the page's own <script> and <style> elements, each by its hash, and requests to its own
// server; nothing else is loaded or run (CSP level 2, hash-source).
std::string content_security_policy(const std::string& page);

}  // namespace bitsmith
