//! The number of threads changes no bit of an estimate, and threads are shared out among tasks.

use super::problems::{FewShotLike, Sizes};
use bilevel::Params;
use bilevel::hypergradient::{Draw, Memory, Workers};
use burn::tensor::Tensor;
use std::sync::Barrier;

/// Episodes as large as those that people train on, so that single products are spread over threads.
fn problem(tasks: usize) -> (FewShotLike, Params) {
    let sizes = Sizes { tasks, ways: 5, shots: 1, queries: 5, pixels: 28 };
    FewShotLike::in_float32(FewShotLike::convolutional(sizes, 4, 64, 0.4))
}

fn bits<const D: usize>(tensor: &Tensor<D>) -> Vec<u32> {
    tensor.clone().into_data().iter::<f32>().map(f32::to_bits).collect()
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    // Fewer tasks than threads, as many, and more.
    for tasks in [1, 2, 3] {
        let (problem, theta) = problem(tasks);
        let draw = Draw::truncated(tasks, 2, 2);
        let on = |threads, chunk| {
            let workers = Workers { threads, chunk };
            let estimate = workers.estimate(&problem, &theta, &draw, Memory::Store);
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
fn spare_threads_are_shared_out_among_tasks() {
    let per_chunk = |threads, tasks| Workers::on_cpu(threads).threads_per_chunk(tasks);
    assert_eq!([1, 2, 8, 9, 100].map(|tasks| per_chunk(8, tasks)), [8, 4, 1, 1, 1]);
    assert_eq!(per_chunk(1, 5), 1);
    // Each task waits for the other, so that both run at once.
    let both = Barrier::new(2);
    let found = Workers::on_cpu(5).map(2, |_| {
        both.wait();
        rayon::current_num_threads()
    });
    assert_eq!(found.iter().sum::<usize>(), 5);
    assert!(found.iter().all(|threads| *threads >= per_chunk(5, 2)));
}
