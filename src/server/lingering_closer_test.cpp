#include "server/lingering_closer.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <utility>

namespace bitsmith {
namespace {

using namespace std::chrono_literals;

std::pair<int, int> connected() {
  int sockets[2];
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
  return {sockets[0], sockets[1]};
}

bool writes(int socket) { return ::send(socket, "x", 1, MSG_NOSIGNAL) == 1; }

// The words, then the end.
void expect_words(int socket, const std::string& words) {
  std::string text(100, '\0');
  EXPECT_EQ(::recv(socket, text.data(), text.size(), 0), static_cast<ssize_t>(words.size()));
  EXPECT_EQ(text.substr(0, words.size()), words);
  EXPECT_EQ(::recv(socket, text.data(), text.size(), 0), 0);
}

TEST(LingeringCloser, ThePeerMayGoOnSendingAndReadsTheLastWords) {
  LingeringCloser closer(4, 60s);
  const auto [server, client] = connected();
  ASSERT_EQ(::send(server, "bye", 3, 0), 3);
  closer.close(server);
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(writes(client));
    std::this_thread::sleep_for(20ms);
  }
  expect_words(client, "bye");
  ::close(client);
}

TEST(LingeringCloser, EndsWithTheTime) {
  LingeringCloser closer(4, 50ms);
  const auto [server, client] = connected();
  closer.close(server);
  const auto start = std::chrono::steady_clock::now();
  while (writes(client) && std::chrono::steady_clock::now() < start + 20s)
    std::this_thread::sleep_for(5ms);
  EXPECT_LT(std::chrono::steady_clock::now() - start, 20s);
  ::close(client);
}

TEST(LingeringCloser, NoMoreThanTheMostAndNoneAfterTheEnd) {
  const auto [first, first_client] = connected();
  const auto [second, second_client] = connected();
  {
    LingeringCloser closer(1, 60s);
    closer.close(first);
    closer.close(second);
    EXPECT_FALSE(writes(second_client));  // closed at once
    EXPECT_TRUE(writes(first_client));
  }
  EXPECT_FALSE(writes(first_client));
  ::close(first_client);
  ::close(second_client);
}

}  // namespace
}  // namespace bitsmith
