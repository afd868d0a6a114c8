//! The order of the library's modules: each uses those before it only. That the engine uses none of them is kept by
//! its being a crate of its own.

#[path = "../../crates/bilevel/tests/engine/imports.rs"]
mod imports;

use std::path::Path;

#[test]
fn modules_import_only_earlier_ones() {
    let order = [
        "support",
        "data",
        "model",
        "task",
        "config",
        "run",
        "train",
        "report",
        "inference",
        "bench",
        "gradient_case",
        "study",
    ];
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    imports::assert_modules_import_only_earlier_ones(&src, &order);
}
