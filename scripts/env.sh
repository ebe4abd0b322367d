# Sourced by the other scripts: where built things and test tools are kept, all outside the clone.
headroom_cache="${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/headroom"
# One target folder for every clone and worktree: a second clone, or `make run` after `make test`, builds Headroom alone.
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$headroom_cache/target}"
export HEADROOM_TEST_TOOLS="${HEADROOM_TEST_TOOLS:-$headroom_cache/tools}"
export PATH="$HEADROOM_TEST_TOOLS/cargo/bin:$PATH"
