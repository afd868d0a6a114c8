//! A checkpoint as safetensors: as it is, and sealed anew, so that what is in it is taken up by those whose it is.

#![no_main]

use burn::tensor::Device;
use libfuzzer_sys::fuzz_target;
use metaburn::support::archive::Archive;
use metaburn::config::RawConfig;
use metaburn::model::{Architecture, Conv4, Leaf};
use bilevel::rng::generator;
use metaburn::run::{Saved, TrainingState};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// Those that keep a state.
const ESTIMATORS: [&str; 4] = [
    "name = 'ufom', tracking = 'fitted'",
    "name = 'adaptive', tracking = 'fitted'",
    "name = 'step-coins'",
    "name = 'telescoping', levels = 'every'",
];
const OPTIMIZERS: [&str; 2] = ["adam", "sgd"];
const TASKS: usize = 2;
const STEPS: usize = 3;

fuzz_target!(|data: &[u8]| {
    let memory = Path::new("/dev/shm");
    let place = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
    let dir = tempfile::tempdir_in(place).expect("a folder");
    let path = dir.path().join("step-00000001.safetensors");
    fs::write(&path, data).expect("a file");
    let _ = Saved::read(&path);

    let Ok(mut archive) = Archive::read(&path) else { return };
    if sealed(&mut archive).is_none() {
        return;
    }
    archive.write(&path).expect("a file");
    // Its counts may be absurd.
    let Ok(saved) = Saved::read(&path) else { return };
    let in_files = |leaf: Leaf| Leaf { name: format!("theta.{}", leaf.name), ..leaf };
    let leaves: Vec<Leaf> = Conv4::new(2, 1).build(8, 2).expect("it fits").leaves().into_iter().map(in_files).collect();
    let device = Device::flex();
    if let Ok(theta) = saved.theta(&leaves, &device) {
        for optimizer in OPTIMIZERS {
            let text = format!("outer.steps = 1\nouter.optimizer = '{optimizer}'");
            let config = RawConfig::parse("fuzz", &text).and_then(RawConfig::check).expect("a configuration");
            let mut optimizer = config.outer.optimizer.build(config.outer.weight_decay, leaves.len());
            let Ok(state) = saved.optimizer() else { continue };
            if optimizer.restore(state, &theta, &device).is_ok() {
                optimizer.step(theta.clone(), theta.clone(), &vec![0.1; leaves.len()]);
            }
        }
    }
    let Ok(state) = saved.estimator(&leaves, &device) else { return };
    for estimator in ESTIMATORS {
        let text = format!("outer.steps = 1\ninner.steps = {STEPS}\nestimator = {{ {estimator} }}");
        let config = RawConfig::parse("fuzz", &text).and_then(RawConfig::check).expect("a configuration");
        let mut estimator = config.estimator.last().build();
        if estimator.restore(&state).is_ok() {
            let _ = estimator.draw(&mut generator(0, "fuzz", 0), TASKS, STEPS);
            let _ = estimator.metrics(TASKS, STEPS);
        }
    }
});

/// Puts the seal of what the archive holds in its place, if it is a checkpoint otherwise.
fn sealed(archive: &mut Archive) -> Option<()> {
    let value: Value = serde_json::from_str(archive.text.get("metaburn")?).ok()?;
    let training_state: TrainingState = serde_json::from_value(value).ok()?;
    let mut header = json!({ "format": 1, "seal": "" });
    header.as_object_mut()?.extend(json!(training_state).as_object()?.clone());
    archive.text.insert("metaburn".into(), header.to_string());
    header["seal"] = archive.seal().into();
    archive.text.insert("metaburn".into(), header.to_string());
    Some(())
}
