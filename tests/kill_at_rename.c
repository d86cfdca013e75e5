/* Preloaded: ends the process with SIGKILL just before (KILL_AT_RENAME=N) its Nth call that changes
 * a name: rename, renameat2, unlink, rmdir. KILL_AFTER_RENAME=N: just after it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

static int calls;

static void blow(const char *when) {
  const char *at = getenv(when);
  if (at != NULL && calls == atoi(at)) kill(getpid(), SIGKILL);
}

#define NAMED(function) ((__typeof__(&function))dlsym(RTLD_NEXT, #function))
#define AROUND(call)            \
  __sync_fetch_and_add(&calls, 1); \
  blow("KILL_AT_RENAME");       \
  const int result = call;      \
  blow("KILL_AFTER_RENAME");    \
  return result

int rename(const char *from, const char *to) { AROUND(NAMED(rename)(from, to)); }
int renameat2(int a, const char *from, int b, const char *to, unsigned flags) {
  AROUND(NAMED(renameat2)(a, from, b, to, flags));
}
int unlink(const char *path) { AROUND(NAMED(unlink)(path)); }
int unlinkat(int folder, const char *path, int flags) { AROUND(NAMED(unlinkat)(folder, path, flags)); }
int remove(const char *path) { AROUND(NAMED(remove)(path)); }
int rmdir(const char *path) { AROUND(NAMED(rmdir)(path)); }
