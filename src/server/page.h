// The page at "/": page.html, made part of the program by the build.
#pragma once
#include <string>

namespace bitsmith {

const std::string& page_html();

}  // namespace bitsmith
