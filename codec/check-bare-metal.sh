#!/bin/sh
# Builds the codec for a Cortex-M4F, where there is neither std nor an allocator.
# usage: codec/check-bare-metal.sh [TARGET]
#
# Uses the target's own libraries if the toolchain has them (`rustup target add TARGET`), else
# builds `core` from the toolchain's sources: from RUST_SRC (the directory that holds `library/`)
# or from the component `rust-src`. Where there is neither, says so and leaves it at that.
set -eu
cd "$(dirname "$0")"
target=${1:-thumbv7em-none-eabihf}
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/../target/bare-metal}"

dependencies=$(cargo tree --quiet --edges normal --prefix none --package martlet-codec | wc -l)
if [ "$dependencies" -ne 1 ]; then
    echo "bare metal: the codec must depend on nothing; see: cargo tree --edges normal" >&2
    exit 1
fi

build() {
    cargo build --quiet --release --package martlet-codec --target "$target" "$@"
    echo "bare metal: the codec builds for $target ($how)"
}

libdir=$(rustc --print target-libdir --target "$target")
sources=${RUST_SRC:-$(rustc --print sysroot)/lib/rustlib/src/rust}/library
if ls "$libdir"/libcore-*.rlib >/dev/null 2>&1; then
    how="the toolchain's core"
    build
elif [ -f "$sources/core/Cargo.toml" ]; then
    how="core built from source"
    export RUSTC_BOOTSTRAP=1 __CARGO_TESTS_ONLY_SRC_ROOT="$sources"
    build -Zbuild-std=core
else
    echo "bare metal: skipped: no $target in this toolchain (rustup target add $target)" >&2
fi
