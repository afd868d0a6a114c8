//! All runs side by side: accuracies of the estimators at equal cost, and their costs to a target accuracy.

use super::accuracy_curve::{self, Cost};
use super::estimator::EstimatorChoice;
use super::{Record, Run};
use crate::study::{Completed, Measured};

/// The runs of the study, by estimator.
pub struct Comparison<'a> {
    /// The estimators without diverged runs.
    pub entries: Vec<Entry<'a>>,
    /// The diverged runs: estimator, seed, outer step.
    pub diverged: Vec<(&'a EstimatorChoice, u64, u64)>,
    /// Gradient evaluations that every run has spent.
    pub evaluations: f64,
    /// Seconds that every run has spent.
    pub seconds: f64,
    /// Target accuracy, in percent.
    pub target: f64,
}

/// An estimator and its runs.
pub struct Entry<'a> {
    /// The estimator.
    pub estimator: &'a EstimatorChoice,
    /// Its runs, in ascending order of seeds; all entries have the same seeds.
    pub runs: Vec<&'a Record>,
}

impl<'a> Comparison<'a> {
    /// Groups `results` by estimator, in the order of their first runs. The default `target` is the best accuracy that
    /// every run of an unbiased estimator reaches; if there is none, the best that every run reaches.
    pub fn new(results: &'a [Completed<Run, Record>], target: Option<f64>) -> Self {
        let mut estimators: Vec<&EstimatorChoice> = Vec::new();
        for Completed { piece, .. } in results {
            if !estimators.contains(&&piece.estimator) {
                estimators.push(&piece.estimator);
            }
        }
        let (mut entries, mut diverged) = (Vec::new(), Vec::new());
        for estimator in estimators {
            let of_estimator = || results.iter().filter(|result| result.piece.estimator == *estimator);
            let failed = of_estimator().filter_map(|Completed { piece, record }| {
                Some((estimator, piece.config.seed, record.diverged?))
            });
            let before = diverged.len();
            diverged.extend(failed);
            if diverged.len() == before {
                let mut runs: Vec<_> = of_estimator().collect();
                runs.sort_by_key(|result| result.piece.config.seed);
                entries.push(Entry { estimator, runs: runs.iter().map(|result| &result.record).collect() });
            }
        }
        let lowest = |value: &dyn Fn(&Record) -> f64, included: &dyn Fn(&EstimatorChoice) -> bool| {
            let chosen = entries.iter().filter(|entry| included(entry.estimator));
            chosen.flat_map(|entry| &entry.runs).map(|run| value(run)).reduce(f64::min)
        };
        let spent = |cost| lowest(&|run| run.spent(cost), &|_| true).unwrap_or_default();
        let best = lowest(&Record::best_accuracy, &EstimatorChoice::is_unbiased)
            .or_else(|| lowest(&Record::best_accuracy, &|_| true));
        Self {
            evaluations: spent(Cost::Evaluations),
            seconds: spent(Cost::Seconds),
            target: target.or(best).unwrap_or_default(),
            entries,
            diverged,
        }
    }

    /// The cost that every run has spent.
    pub fn spent(&self, cost: Cost) -> f64 {
        match cost {
            Cost::Evaluations => self.evaluations,
            Cost::Seconds => self.seconds,
        }
    }

    /// Number of seeds.
    pub fn seeds(&self) -> usize {
        self.entries.first().map_or(0, |entry| entry.runs.len())
    }

    /// The entry of the estimator called `key`, if there is one.
    pub fn entry(&self, key: &str) -> Option<&Entry<'a>> {
        self.entries.iter().find(|entry| entry.estimator.key() == key)
    }

    /// For each seed, the estimator that reaches the target at the lowest cost; `None` if no run reaches it.
    pub fn winners(&self, cost: Cost) -> Vec<Option<&'a EstimatorChoice>> {
        let first = |seed: usize| {
            let reached =
                |entry: &Entry<'a>| Some((entry.estimator, entry.reached(cost, self.target)[seed]?));
            let best = self.entries.iter().filter_map(reached).min_by(|(_, a), (_, b)| a.total_cmp(b));
            best.map(|(estimator, _)| estimator)
        };
        (0..self.seeds()).map(first).collect()
    }
}

impl Entry<'_> {
    /// Accuracy of each run after a cost of `spent`; NaN if the run has not spent as much.
    pub fn accuracies(&self, cost: Cost, spent: f64) -> Vec<f64> {
        let at = |run: &&Record| accuracy_curve::accuracy(&run.validations, cost, spent).unwrap_or(f64::NAN);
        self.runs.iter().map(at).collect()
    }

    /// Cost at which each run first reached the accuracy `target`.
    pub fn reached(&self, cost: Cost, target: f64) -> Vec<Option<f64>> {
        self.runs.iter().map(|run| accuracy_curve::reached(&run.validations, cost, target)).collect()
    }

    /// Mean of [`Self::reached`]; `None` unless every run reached the target.
    pub fn mean_reached(&self, cost: Cost, target: f64) -> Option<Measured> {
        let all: Option<Vec<f64>> = self.reached(cost, target).into_iter().collect();
        all.map(|all| Measured::mean_of_few(&all))
    }

    /// Mean over runs of the accuracy after a cost of `spent`.
    pub fn accuracy(&self, cost: Cost, spent: f64) -> Measured {
        Measured::mean_of_few(&self.accuracies(cost, spent))
    }

    /// The cost that each of its runs has spent.
    pub fn lowest_spent(&self, cost: Cost) -> f64 {
        self.runs.iter().map(|run| run.spent(cost)).reduce(f64::min).unwrap_or_default()
    }
}

impl Record {
    /// Total cost of the run.
    pub fn spent(&self, cost: Cost) -> f64 {
        self.validations.last().map_or(0.0, |validation| validation.spent(cost))
    }

    /// Its best accuracy.
    fn best_accuracy(&self) -> f64 {
        self.validations.iter().map(|validation| validation.accuracy).fold(0.0, f64::max)
    }
}

#[cfg(test)]
pub mod tests {
    use super::super::accuracy_curve::tests::validations;
    use super::*;
    use crate::config::Config;

    /// Runs of `keys` with one seed after the other, starting at `seed`, with these records.
    pub fn results(keys: &[&str], seed: u64, records: &[Record]) -> Vec<Completed<Run, Record>> {
        let config = Config::load(None, &[]).unwrap();
        let run = |(index, record): (usize, &Record)| {
            let config = Config { seed: seed + (index / keys.len()) as u64, ..config.clone() };
            let estimator = keys[index % keys.len()].parse().unwrap();
            Completed { piece: Run { estimator, config }, record: record.clone() }
        };
        records.iter().enumerate().map(run).collect()
    }

    /// A run with accuracies `middle` and `end` after 50 and 100 evaluations of `pace` seconds.
    pub fn run(pace: f64, middle: f64, end: f64) -> Record {
        let validations = validations(pace, [(0, 20.0), (50, middle), (100, end)]);
        Record { diverged: None, validations, intervals: Vec::new() }
    }

    #[test]
    fn estimators_are_compared_at_the_lowest_cost_of_all_runs() {
        let records =
            [run(1.0, 30.0, 40.0), run(2.0, 40.0, 60.0), run(1.0, 50.0, 40.0), run(2.0, 40.0, 70.0)];
        let results = results(&["first-order", "exact"], 0, &records);
        let comparison = Comparison::new(&results, None);
        assert_eq!((comparison.evaluations, comparison.seconds, comparison.target), (100.0, 100.0, 60.0));
        let [first_order, exact] = &comparison.entries[..] else { panic!("two estimators") };
        assert_eq!(exact.accuracies(Cost::Evaluations, comparison.evaluations), [60.0, 70.0]);
        assert_eq!(exact.accuracies(Cost::Seconds, comparison.seconds), [40.0, 40.0]);
        let accuracy = exact.accuracy(Cost::Evaluations, 100.0);
        // 12.706 s/√2 with s = √50.
        assert!(accuracy.value == 65.0 && (accuracy.ci95 - 12.706 * 5.0).abs() < 1e-9);
        assert_eq!(exact.reached(Cost::Evaluations, 55.0), [Some(87.5), Some(75.0)]);
        assert!(first_order.mean_reached(Cost::Seconds, 60.0).is_none());
        assert_eq!(first_order.mean_reached(Cost::Seconds, 35.0).unwrap().value, (75.0 + 25.0) / 2.0);
    }

    #[test]
    fn winners_depend_on_the_cost() {
        let records =
            [run(1.0, 30.0, 50.0), run(2.0, 40.0, 60.0), run(1.0, 30.0, 30.0), run(1.5, 30.0, 50.0)];
        let results = results(&["first-order", "exact"], 0, &records);
        let comparison = Comparison::new(&results, Some(40.0));
        let winners = |cost| -> Vec<String> {
            comparison.winners(cost).into_iter().map(|estimator| estimator.unwrap().key()).collect()
        };
        assert_eq!(winners(Cost::Evaluations), ["exact", "exact"]);
        assert_eq!(winners(Cost::Seconds), ["first-order", "exact"]);
        assert!(Comparison::new(&results, Some(90.0)).winners(Cost::Seconds) == [None, None]);
    }

    #[test]
    fn diverged_runs_are_listed_and_their_estimators_left_out() {
        let mut records =
            [run(1.0, 30.0, 50.0), run(2.0, 40.0, 60.0), run(1.0, 30.0, 45.0), run(2.0, 1.0, 1.0)];
        records[3].diverged = Some(7);
        let results = results(&["first-order", "ufom-0.1"], 4, &records);
        let comparison = Comparison::new(&results, None);
        assert_eq!(comparison.diverged, [(&results[1].piece.estimator, 5, 7)]);
        assert!(comparison.entry("ufom-0.1").is_none());
        // No unbiased estimator is left, so the target is the best accuracy that every run reaches.
        assert_eq!(comparison.target, 45.0);
    }
}
