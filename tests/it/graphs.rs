//! Outer steps by graphs of recorded launches, on wgpu: they must be those of launches one by one, bit for bit.

use crate::common::Silent;
use crate::common::optional::lacks_wgpu;
use bilevel::device;
use bilevel::hypergradient::Evaluations;
use bilevel::launches::{self, Phase};
use bilevel::{OuterLoop, Params, PendingStep, resolve};
use metaburn::config::Config;
use metaburn::data::{Episode, Part};
use metaburn::train::{self, Learner};

const TINY: &str = "data.image_size=9 model.filters=2 model.blocks=2 outer.meta_batch=2 task.ways=2 task.queries=2 \
                    inner.steps=2 outer.steps=40 backend=wgpu";

/// Everything that outer steps leave behind, as bits.
fn bits(params: &Params) -> Vec<u32> {
    let values =
        params.leaves().iter().flat_map(|leaf| leaf.clone().into_data().iter::<f32>().collect::<Vec<_>>());
    values.map(f32::to_bits).collect()
}

/// What an outer step leaves behind.
#[derive(PartialEq)]
struct Left {
    theta: Vec<u32>,
    losses: Vec<f64>,
    estimates: Vec<u32>,
    spent: Evaluations,
    iterate_bytes: u64,
}

struct Taken {
    steps: Vec<Left>,
    /// Graphs replayed.
    replays: u64,
    /// Launches of the last step.
    launches: u64,
}

/// Takes `count` outer steps on fresh episodes; of every two, both are pending before they are read.
fn take(settings: &[&str], count: u64, graphs: bool) -> Taken {
    let overrides: Vec<String> =
        TINY.split_whitespace().chain(settings.iter().copied()).map(String::from).collect();
    let config = Config::load(None, &overrides).unwrap();
    let sampler = train::sampler(&config, &mut Silent).unwrap();
    let learner = Learner::new(&config, device::open(config.backend).unwrap());
    let shape = train::training_shape(&config);
    let mut outer: OuterLoop = learner.outer_loop(&config, learner.initialise(0)).graphs(graphs);
    let mut taken = Taken { steps: Vec::new(), replays: 0, launches: 0 };
    let mut pending = Vec::new();
    for step in 0..count {
        let episodes: Vec<Episode> =
            (2 * step..2 * step + 2).map(|index| sampler.episode(Part::Train, index, &shape)).collect();
        let problem = learner.at_step(learner.problem(&episodes), step);
        let (launched, counts) = launches::count(|| outer.launch(&problem, step));
        taken.replays += counts.launches_of(Phase::Replays);
        taken.launches = counts.launches();
        pending.push((launched, bits(outer.theta())));
        if pending.len() == 2 {
            for (launched, theta) in pending.drain(..) {
                let [mut completed] = resolve([launched]);
                assert_eq!(completed.fault(), None, "{settings:?}");
                outer.learn(&mut completed);
                let PendingStep { ref estimates, spent, iterate_bytes, .. } = completed.pending;
                let (losses, estimates) = (completed.losses, bits(estimates));
                taken.steps.push(Left { theta, losses, estimates, spent, iterate_bytes });
            }
        }
    }
    assert!(!outer.graphs_refused(), "{settings:?}");
    taken
}

#[test]
fn outer_steps_by_graphs_have_the_same_bits() {
    if lacks_wgpu() {
        return;
    }
    let each = [
        &["estimator.name=exact"][..],
        &["estimator.name=first-order", "outer.clip=0.5"],
        // A draw differs from step to step: the inner loop is recorded, and products are launched one by one.
        &["estimator.name=step-coins"],
        &["estimator.name=ufom", "estimator.q=0.5"],
        // With one coin for all tasks, a draw comes again sometimes.
        &["estimator.name=ufom", "estimator.q=0.5", "estimator.coin=step"],
        &["estimator.name=step-coins", "estimator.p=0.5", "estimator.coin=step"],
        &["estimator.name=adaptive", "estimator.costs=counted"],
        &["estimator.name=exact", "inner.adapts=head"],
        &["estimator.name=step-coins", "inner.head=prototype", "model.batch_norm=support"],
        &[
            "estimator.name=exact",
            "inner.rates=per-tensor-and-step",
            "inner.adapts=all-but-norm",
            "outer.losses=all",
        ],
        &["estimator.name=exact", "inner.head_only_until=6"],
        &["estimator.name=exact", "memory.plan=recompute", "inner.proximal=0.1"],
    ];
    for settings in each {
        let [plain, graphs] = [false, true].map(|graphs| take(settings, 12, graphs));
        assert_eq!(plain.replays, 0);
        assert!(graphs.replays >= 8, "{settings:?}: {} replays", graphs.replays);
        assert!(graphs.launches < plain.launches, "{settings:?}");
        for (step, (plain, graphs)) in plain.steps.iter().zip(&graphs.steps).enumerate() {
            assert_eq!(plain.losses, graphs.losses, "{settings:?}, step {step}");
            assert!(plain == graphs, "{settings:?}, step {step}");
        }
        assert!(plain.steps[0].theta != plain.steps[11].theta, "{settings:?} does not train");
        eprintln!("{settings:?}: {} launches, with graphs {}", plain.launches, graphs.launches);
    }
}
