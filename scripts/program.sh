# Sourced from the repository's root: METABURN is a release build of our program. Without one it is built, with
# FEATURES beside the default ones.
if [[ -z ${METABURN:-} ]]; then
    cargo build --release --bin metaburn --features "${FEATURES:-}"
    METABURN="${CARGO_TARGET_DIR:-target}/release/metaburn"
fi
if [[ ! -x $METABURN ]]; then
    echo "error: METABURN=$METABURN is no program" >&2
    exit 1
fi
