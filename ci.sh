#!/usr/bin/env bash
# Everything that checks the project, one word each. `test` also does the set-up that it needs.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")"

usage() {
  cat <<'END'
usage: ./ci.sh test             release and runtime-only builds, all fast tests (15 to 30 minutes from nothing)
       ./ci.sh slow             the long tests: 20 kills a stage, 1,000 damaged files; then arm64
       ./ci.sh arm64            the runtime cross-built for 64-bit ARM, its tests in an emulator
       ./ci.sh isa              all fast tests at each level of instructions that this processor has
       ./ci.sh asan             runtime and readers under AddressSanitizer and UBSan
       ./ci.sh tsan             the same under ThreadSanitizer
       ./ci.sh fuzz [SECONDS]   each libFuzzer target for SECONDS (default 60), one a core at a time
       ./ci.sh bench            all benchmarks, release build
       ./ci.sh lint             clang-format and the include layers
END
}

say() { echo; echo "ci: $*"; }

jobs() {
  # A file that includes LibTorch takes about 2 GB to compile.
  awk -v cores="$(nproc)" '/MemAvailable/ {n = int($2 / 2000000); if (n > cores) n = cores; print (n > 0 ? n : 1)}' /proc/meminfo
}

build() {  # PRESET [TARGET]
  say "build $1"
  cmake --preset "$1"
  cmake --build --preset "$1" -j "$(jobs)" --target "${2:-all}"
}

run_ctest() {  # PRESET ARGUMENT...
  local preset=$1
  shift
  say "tests of $preset"
  ctest --test-dir "build/$preset" -j2 --output-on-failure --no-tests=error "$@"
}

run_tests() {
  local status=0 fetching
  # The runtime needs no LibTorch: it is built while LibTorch is fetched.
  ./setup --runtime-only --no-model --no-build </dev/null
  ./setup --no-model --no-build </dev/null &
  fetching=$!
  # Of the runtime alone the program and what looks at it from outside: its parts are tested in the release build.
  build runtime-only bitsmith
  wait "$fetching"
  build release
  build release benchmarks
  # Both are run even if the first fails; the last lines are the release build's summary.
  run_ctest runtime-only -R '^tests\.' -LE slow || status=$?
  run_ctest release -LE slow || status=$?
  return $status
}

run_isa() {
  local isa status=0
  ./setup --no-model --no-build </dev/null
  build release
  for isa in scalar avx2 avxvnni avx512 avx512vbmi neon; do
    if ! BITSMITH_ISA=$isa build/release/bitsmith --version; then
      say "this processor has no $isa"
      continue
    fi
    BITSMITH_ISA=$isa run_ctest release -LE slow || status=$?
  done
  return $status
}

run_arm64() {
  ./setup --runtime-only --arm64 --no-model --no-build </dev/null
  build arm64
  # qemu-user cannot start the emulated program a second time, as death tests do.
  run_ctest arm64 -LE slow -E DeathTest
}

run_slow() {
  local status=0
  ./setup --no-model --no-build </dev/null
  build release
  run_ctest release -L slow || status=$?
  run_arm64
  return $status
}

# A few small files to start from, real ones or made; libFuzzer adds to the corpus what it finds.
fuzz_seeds() {  # NAME
  case $1 in
    safetensors_fuzz) ls testdata/*/*.safetensors ;;
    gguf_fuzz) ls testdata/*/*.gguf testdata/families/*/*.gguf ;;
    tokenizer_json_fuzz) ls testdata/*/tokenizer.json ;;
    model_plan_fuzz) ls testdata/*/config.json testdata/families/*/config*.json ;;
    quantized_checkpoint_fuzz) ls testdata/*/config.json && python3 fuzz/make_seeds.py "$1" build/fuzz/seeds ;;
    *) python3 fuzz/make_seeds.py "$1" build/fuzz/seeds ;;
  esac
}

fuzz_target() {  # TARGET SECONDS
  local name corpus seed
  name=$(basename "$1")
  corpus=build/fuzz/corpus/$name
  mkdir -p "$corpus"
  for seed in $(fuzz_seeds "$name"); do
    cp "$seed" "$corpus/$(sha256sum <"$seed" | cut -c1-16)"
  done
  say "$name for $2 seconds"
  "$1" -max_total_time="$2" -timeout=20 -rss_limit_mb=3000 -max_len=200000 -print_final_stats=1 \
    -artifact_prefix="build/fuzz/$name-" "$corpus" 2>&1 | tail -n 20 | sed "s/^/$name: /"
}

run_fuzz() {  # SECONDS
  ./setup --runtime-only --no-model --no-build </dev/null
  build fuzz fuzzers
  export -f say fuzz_seeds fuzz_target
  printf '%s\n' build/fuzz/*_fuzz |
    xargs -P "$(nproc)" -I{} bash -euo pipefail -c 'fuzz_target "$@"' _ {} "$1"
  say "fuzz: no finding"
}

run_bench() {
  ./setup --no-model --no-build </dev/null
  build release benchmarks
  local target
  for target in build/release/*_bench; do
    say "$(basename "$target")"
    "$target"
  done
}

run_lint() {
  ./setup --runtime-only --no-model --no-build </dev/null
  say "clang-format"
  git ls-files -z '*.h' '*.cpp' | xargs -0 clang-format --dry-run -Werror
  say "include layers"
  python3 tests/layering_test.py
}

case ${1:-} in
  test) run_tests ;;
  slow) run_slow ;;
  arm64) run_arm64 ;;
  isa) run_isa ;;
  asan) ./setup --runtime-only --no-model --no-build </dev/null && build asan-ubsan && run_ctest asan-ubsan -LE slow ;;
  tsan) ./setup --runtime-only --no-model --no-build </dev/null && build tsan && run_ctest tsan -LE slow ;;
  fuzz) run_fuzz "${2:-60}" ;;
  bench) run_bench ;;
  lint) run_lint ;;
  -h | --help) usage ;;
  *) usage >&2; exit 2 ;;
esac
