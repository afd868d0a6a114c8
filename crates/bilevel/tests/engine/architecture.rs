//! The order of the engine's modules: each uses those before it only.

use super::imports::assert_modules_import_only_earlier_ones;
use std::path::Path;

#[test]
fn modules_import_only_earlier_ones() {
    let order = [
        "choice",
        "panics",
        "quiet_stderr",
        "rng",
        "stats",
        "tree",
        "launches",
        "kernel",
        "readback",
        "dual",
        "params",
        "ranks",
        "problem",
        "hypergradient",
        "device",
        "estimator",
        "losses",
        "optimizer",
        "schedule",
        "outer_loop",
        "variance",
    ];
    assert_modules_import_only_earlier_ones(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &order);
}
