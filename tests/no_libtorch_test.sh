#!/usr/bin/env bash
# The program must link no LibTorch, which takes long to load. usage: no_libtorch_test.sh PROGRAM
set -euo pipefail
libraries=$(ldd "$1")
if awk '{print $1}' <<<"$libraries" | grep -E 'torch|c10|mkl|python'; then
  echo "$1 links the libraries above" >&2
  exit 1
fi
echo "$1 links no LibTorch: $(wc -l <<<"$libraries") libraries, $(stat -Lc %s "$1") bytes"
