// Names of this machine that other machines do not reach.
#pragma once
#include <string>

namespace bitsmith {

// "localhost", "::1" (also in brackets) and "127." addresses; no other name, whatever it begins
// with: who owns 127.example.org may let it point here.
bool is_loopback(const std::string& host);

}  // namespace bitsmith
