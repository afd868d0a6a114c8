# Sourced from the repository's root. Sets METABURN to a release build of the program; if unset, builds it with
# FEATURES in addition to the default features.
if [[ -z ${METABURN:-} ]]; then
    cargo build --release --bin metaburn --features "${FEATURES:-}"
    METABURN="${CARGO_TARGET_DIR:-target}/release/metaburn"
fi
if [[ ! -x $METABURN ]]; then
    echo "error: METABURN=$METABURN is no program" >&2
    exit 1
fi
