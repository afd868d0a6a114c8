//! Squared error of regressions on held-out episodes after each inner step, and the curves that they learn.

use super::evaluation::{MOST_TOGETHER, shared_batches};
use super::{Evaluation, Learner};
use crate::data::{SinusoidEpisode, Sinusoids};
use crate::run::StepError;
use crate::task::{Batch, FewShot};
use bilevel::hypergradient::descend;
use bilevel::ranks::Share;
use bilevel::readback::{read, read_all};
use bilevel::stats::{mean_and_ci95, median};
use bilevel::{Bilevel, Params, Proximal};
use burn::tensor::{Tensor, TensorData};

impl Learner {
    /// The meta-batch of `episodes`, all of one shape.
    pub fn regress(&self, episodes: &[SinusoidEpisode]) -> Proximal<FewShot> {
        let set = |inputs: fn(&SinusoidEpisode) -> &[f64]| {
            let x = episodes.iter().flat_map(|episode| inputs(episode).iter().copied());
            let y = episodes.iter().flat_map(|episode| episode.sinusoid.at_all(inputs(episode)));
            let place = |values: Vec<f32>| {
                let count = values.len() / episodes.len().max(1);
                let data = TensorData::new(values, [episodes.len(), count, 1]);
                Tensor::<3>::from_data(data, &self.opened.device)
            };
            let [x, y] = [x.map(|x| x as f32).collect(), y.map(|y| y as f32).collect()].map(place);
            Batch::of_values(&*self.architecture, x, y)
        };
        self.adapting(set(|episode| &episode.support), set(|episode| &episode.query))
    }

    /// Mean squared error of an ensemble on the query points of an evaluation's episodes, before adaptation and after each inner
    /// step. `members` are the θ of its members, at least one, each a stack of one task; the prediction is the mean of their
    /// outputs.
    ///
    /// # Panics
    /// Panics if there is no member.
    pub fn squared_errors(
        &self,
        members: &[Params],
        sinusoids: &Sinusoids,
        evaluation: &Evaluation,
        mut progress: impl FnMut(usize),
    ) -> Vec<StepError> {
        let Evaluation { part, shape, episodes, steps } = *evaluation;
        let mut seen = vec![Vec::with_capacity(episodes); steps + 1];
        let share = Share::new(self.ranks.clone(), episodes);
        for (batch, done) in shared_batches(&share, MOST_TOGETHER) {
            let episode = |number| sinusoids.episode(part, number, shape.shots, shape.queries);
            let problem = self.regress(&batch.map(episode).collect::<Vec<_>>());
            let parts = self.opened.workers.map(problem.tasks(), |chunk| {
                let problem = problem.select(chunk);
                let outputs = members.iter().map(|theta| outputs(&problem, theta, steps));
                let add = |sums: Vec<Tensor<3>>, more: Vec<Tensor<3>>| {
                    sums.into_iter().zip(more).map(|(sum, more)| sum + more).collect()
                };
                let sums = outputs.reduce(add).expect("an ensemble has at least one member");
                let loss = |sum: Tensor<3>| problem.problem.query_loss(sum / members.len() as f64);
                sums.into_iter().map(loss).collect::<Vec<_>>()
            });
            let losses = read_all(parts.into_iter().flatten().collect());
            for (place, losses) in losses.into_iter().enumerate() {
                seen[place % (steps + 1)].extend(losses);
            }
            progress(done);
        }
        let of_all = |losses| {
            let [all] = share.collect([losses]);
            all
        };
        let seen = seen.into_iter().map(of_all).enumerate();
        seen.map(|(inner_steps, losses)| step_error(inner_steps, &losses)).collect()
    }

    /// The values that θ = `theta`, a stack of one task, predicts at the query points of `episode`, before adaptation and after
    /// each of `steps` inner steps on its support points: `[steps + 1][queries]`.
    pub fn predicted_curves(&self, theta: &Params, episode: &SinusoidEpisode, steps: usize) -> Vec<Vec<f64>> {
        let problem = self.regress(std::slice::from_ref(episode));
        outputs(&problem, theta, steps).into_iter().map(|output| read(output.flatten(0, 2))).collect()
    }
}

/// Outputs for the query points of each task before adaptation from θ = `theta`, a stack of one task, and after each inner step:
/// `steps + 1` of `[tasks, n, 1]`.
fn outputs(problem: &Proximal<FewShot>, theta: &Params, steps: usize) -> Vec<Tensor<3>> {
    let outer = theta.repeat(problem.tasks());
    let mut fast = problem.start(&outer);
    let mut outputs = vec![problem.problem.query_logits(0, &outer, &fast)];
    for step in 1..=steps {
        (fast, _) = descend(problem, &outer, step, fast);
        outputs.push(problem.problem.query_logits(step, &outer, &fast));
    }
    outputs
}

/// Mean, interval and median of `losses`.
fn step_error(inner_steps: usize, losses: &[f64]) -> StepError {
    let (error, ci95) = mean_and_ci95(losses);
    let finite = |value: f64| Some(value).filter(|value| value.is_finite());
    StepError {
        inner_steps,
        error: finite(error),
        ci95: finite(ci95),
        median: finite(median(losses)),
        diverged_episodes: losses.iter().filter(|loss| !loss.is_finite()).count(),
    }
}
