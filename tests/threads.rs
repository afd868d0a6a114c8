//! How many threads compute changes no bit of any result.

mod common;

use burn::tensor::{Device, Tensor};
use common::problems::normal;
use common::{IMAGES, TINY, checkpoint, folder_with_images, run};
use metaburn::archive::Archive;
use metaburn::config::BatchNorm;
use metaburn::hypergradient::{Draw, Memory, Workers};
use metaburn::model::{Architecture, Conv4Config, initialise};
use metaburn::problem::{Batch, FewShot};
use metaburn::stack::Stack;
use std::fs;
use std::sync::{Arc, Barrier};

/// Episodes of the sizes that people train on: their products are spread over threads.
fn problem(tasks: usize) -> (FewShot, Stack) {
    let (ways, side) = (5, 28);
    let network: Arc<dyn Architecture> = Arc::new(Conv4Config::new(side, 4, 64, ways));
    let batch = |count: usize, seed| {
        let labels: Vec<usize> = (0..tasks * ways * count).map(|at| at % (ways * count) / count).collect();
        let images = normal([tasks, ways * count, side * side], seed).cast(burn::tensor::DType::F32);
        Batch::new(&*network, images, &labels, ways)
    };
    let theta = initialise(&*network, 3, &Device::flex());
    (FewShot::new(network.clone(), batch(1, 1), batch(5, 2), 0.4, BatchNorm::Transductive), theta)
}

fn bits<const D: usize>(tensor: &Tensor<D>) -> Vec<u32> {
    tensor.clone().into_data().iter::<f32>().map(f32::to_bits).collect()
}

#[test]
fn an_estimate_has_the_same_bits_on_any_number_of_threads() {
    // Fewer tasks than threads, as many, more: alone in a lane, or with some of its threads.
    for tasks in [1, 2, 3] {
        let (problem, theta) = problem(tasks);
        let draw = Draw::truncated(tasks, 2, 2);
        let on = |threads, chunk| {
            let workers = Workers { threads, chunk, memory: Memory::Store };
            let estimate = workers.estimate(&problem, &theta, &draw);
            let gradient: Vec<_> = estimate.gradient.leaves().iter().map(bits).collect();
            (gradient, bits(&estimate.outer_loss))
        };
        let alone = on(1, 1);
        assert!(alone.0.iter().flatten().any(|bits| *bits != 0));
        for threads in [2, 3, 7] {
            assert!(on(threads, 1) == alone, "{tasks} tasks on {threads} threads");
        }
        assert!(on(2, 2) == on(1, 2), "{tasks} tasks, two together");
    }
}

#[test]
fn threads_left_over_go_to_the_tasks() {
    let inside = |threads, tasks| Workers::on_cpu(threads).inside(tasks);
    assert_eq!([1, 2, 8, 9, 100].map(|tasks| inside(8, tasks)), [8, 4, 1, 1, 1]);
    assert_eq!(inside(1, 5), 1);
    // Each waits for the other, so that none has both.
    let both = Barrier::new(2);
    let found = Workers::on_cpu(5).map(2, |_| {
        both.wait();
        rayon::current_num_threads()
    });
    assert_eq!(found.iter().sum::<usize>(), 5);
    assert!(found.iter().all(|threads| *threads >= inside(5, 2)));
}

#[test]
fn runs_on_any_number_of_threads_leave_the_same_record() {
    let folder = folder_with_images();
    let more = "--steps 6 --set inner.steps=2 --set eval.every=3 --set eval.episodes=5";
    let left = |name: &str, threads: &str| {
        let line = format!("train {IMAGES} {TINY} {more} {threads} --run-dir {name} --json");
        let ran = run(folder.path(), &line).ok();
        let path = folder.path().join(name);
        let digest = Archive::read(&checkpoint(&path, 6)).unwrap().digest();
        (ran.stderr, fs::read_to_string(path.join("metrics.jsonl")).unwrap(), digest)
    };
    let (said, record, digest) = left("one", "--threads 1");
    assert!(said.contains("CPU, 1 thread)"), "{said}");
    for (name, threads) in [("three", "--threads 3"), ("all", ""), ("key", "--set threads=2")] {
        let other = left(name, threads);
        assert!(other.1 == record && other.2 == digest, "{name}");
    }

    // A run keeps the number that it began with; resume and eval may have another.
    let kept = |name: &str| fs::read_to_string(folder.path().join(name).join("config.toml")).unwrap();
    assert!(kept("one").contains("threads = 1") && !kept("all").contains("threads"));
    let first = run(folder.path(), "resume one --json").json();
    assert_eq!(run(folder.path(), "resume one --threads 4 --json").json(), first);
    assert_eq!(run(folder.path(), "eval one --threads 4 --json").json(), first);
}

#[test]
fn deterministic_runs_leave_the_same_record_whatever_the_time_takes() {
    let folder = folder_with_images();
    let more = "--steps 40 --set inner.steps=3 --set eval.every=0 --set estimator.name=adaptive";
    let record = |name: &str, threads: usize| {
        let options = format!("--deterministic --threads {threads}");
        run(folder.path(), &format!("train {IMAGES} {TINY} {more} {options} --run-dir {name}")).ok();
        fs::read_to_string(folder.path().join(name).join("metrics.jsonl")).unwrap()
    };
    let first = record("first", 1);
    assert!(first == record("second", 1) && first == record("third", 2));
    let ran = run(folder.path(), "train --deterministic --backend wgpu");
    ran.refused(&["`deterministic` = true does not go with backend = \"wgpu\"", "flex"]);
}

#[test]
fn a_number_of_threads_that_nobody_has_is_refused() {
    let folder = folder_with_images();
    for threads in ["0", "5000", "many"] {
        let ran = run(folder.path(), &format!("train {IMAGES} {TINY} --steps 1 --threads {threads}"));
        ran.refused(&["--threads", threads]);
        let ran = run(folder.path(), &format!("train {IMAGES} {TINY} --steps 1 --set threads={threads}"));
        ran.refused(&["threads", "1 to 1024"]);
    }
}
