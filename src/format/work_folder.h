// OUT.partial: the work in progress of one command, from its request to the result at OUT. Long
// work begins by taking its work folder and ends by publishing from it; nobody else touches either.
// Where several processes share the work, the first of them has the folder: it alone writes there,
// and tells the others what it finds. They may read there.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "base/communicator.h"
#include "base/json.h"

namespace bitsmith {

// Who works in a folder: a file `lock` that is locked for as long as the object lives. The system
// frees the lock of a process that dies.
class FolderLock {
 public:
  // Makes the folder where it is not there. Error where another process holds it.
  explicit FolderLock(const std::filesystem::path& folder);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int fd_ = -1;
};

// What can be refused at once, without the request: an OUT that exists, a folder in the way.
// Throws as the constructor does.
void check_work_folder(const std::filesystem::path& out, bool force);

// What the folder holds: lock; request.json (the request, and what was settled since); done.json
// while the result is put in place; everything else belongs to the command.
//
// States of a folder that a run finds, and what becomes of it:
//   no request.json, nothing but a lock    taken
//   no request.json, other files           refused: not work of this program
//   request.json of an equal request       gone on with
//   request.json of another request        refused, with the first difference; taken where that
//                                          run had made nothing yet
//   done.json                              an equal request puts the result in place (it may be
//                                          there already: published()); leftovers of a result that
//                                          is in place are removed for any request
class WorkFolder {
 public:
  // `request` holds all that determines the result. `force`: an existing OUT that Bitsmith made is
  // replaced. Throws UsageError for an OUT that exists (without `force`, or not made by Bitsmith)
  // and for a folder that belongs to something else; Error where another process works in it,
  // nothing can be written there, or a rank asks for other work than the first. Collective, as
  // settle() and require() are; `communicator` outlives this.
  WorkFolder(const std::filesystem::path& out, bool force, OrderedJson request,
             Communicator& communicator = Communicator::alone());
  // A folder in which nothing was made is removed.
  ~WorkFolder();
  WorkFolder(const WorkFolder&) = delete;
  WorkFolder& operator=(const WorkFolder&) = delete;

  const std::filesystem::path& out() const { return out_; }  // absolute, without a trailing slash
  const std::filesystem::path& path() const { return path_; }
  const OrderedJson& request() const { return request_; }
  // The request, with what the recipe shall tell besides it: notes determine nothing, and nothing
  // keeps them but their maker.
  OrderedJson recipe() const;
  void note(const std::string& key, const OrderedJson& value) { notes_[key] = value; }
  std::filesystem::path file(const std::string& name) const { return path_ / name; }
  // OUT.NAME.jsonl, the log of a stage: beside the result, and never removed.
  std::filesystem::path log(const std::string& name) const {
    return out_.string() + "." + name + ".jsonl";
  }
  // A folder below path(), empty.
  std::filesystem::path empty_folder(const std::string& name) const;
  uint64_t bytes() const;  // of the files in it

  // An earlier run of this request had finished but for the cleaning up; OUT is its result.
  bool published() const { return published_; }

  // A fact that the request leaves open (a measured speed, a time budget): found once, by the first
  // rank alone, then the same for every rank and every run that goes on.
  OrderedJson settle(const std::string& name, const std::function<OrderedJson()>& find);
  // A fact that every run finds anew and that must be the same (a hash of the data); Error with
  // both where it is not.
  void require(const std::string& name, const OrderedJson& fact);
  // SHA-256 of request and settled facts: the owner of what is made from them.
  std::string hash() const;

  // OUT appears whole: fsync, then one rename (an exchange where OUT is replaced). Then the folder
  // is removed. `result` is a directory in path(). A run that is killed anywhere in here leaves
  // either OUT as it was or the new one, and all that an equal request needs to finish. Throws
  // UsageError where an OUT has appeared since and there is no `force`: the result stays. For the
  // first rank.
  void publish(const std::filesystem::path& result);

 private:
  struct Done;
  void check_same_request() const;
  void take();
  void write_request() const;
  bool holds_work() const;
  void finish(const Done& done);
  void remove();

  std::filesystem::path out_, path_;
  bool force_;
  Communicator& communicator_;
  OrderedJson request_, settled_ = OrderedJson::object(), notes_ = OrderedJson::object();
  std::unique_ptr<FolderLock> lock_;
  bool published_ = false;
};

}  // namespace bitsmith
