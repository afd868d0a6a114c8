# Sourced by the scripts that run the program. They stay in the folder in which they are called, so that the paths that the user
# gives are relative to it. Sets `root`, the repository's folder, and METABURN, the absolute path of a release build of the
# program; if METABURN is unset, builds it with FEATURES in addition to the default features.
root=$(realpath "$(dirname "${BASH_SOURCE[0]}")/..")
if [[ -z ${METABURN:-} ]]; then
    (cd "$root" && cargo build --release --bin metaburn --features "${FEATURES:-}")
    # Cargo takes a relative CARGO_TARGET_DIR from the folder in which it runs.
    METABURN=$(cd "$root" && realpath "${CARGO_TARGET_DIR:-target}")/release/metaburn
fi
if [[ ! -f $METABURN || ! -x $METABURN ]]; then
    echo "error: METABURN=$METABURN is not an executable file" >&2
    exit 1
fi
METABURN=$(realpath "$METABURN")
