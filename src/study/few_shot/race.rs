//! All runs side by side: what each estimator has reached once all have spent the same.

use super::Record;
use super::curve::{self, Cost};
use super::method::Method;
use crate::study::Measured;

/// The runs of a study, by estimator.
pub struct Race<'a> {
    /// Those none of whose runs diverged.
    pub entries: Vec<Entry<'a>>,
    /// Runs that diverged: estimator, seed, outer step.
    pub diverged: Vec<(&'a Method, u64, u64)>,
    /// What every run has spent: gradient evaluations.
    pub evaluations: f64,
    /// And seconds.
    pub seconds: f64,
    /// The accuracy to be reached, percent.
    pub target: f64,
}

/// An estimator and its runs, one for each seed in the same order.
pub struct Entry<'a> {
    /// Which.
    pub method: &'a Method,
    /// Its runs.
    pub runs: Vec<&'a Record>,
}

impl<'a> Race<'a> {
    /// Of `records`, those of all `methods` for one seed after the other, the first seed `seed`. Without a
    /// `target` it is the best accuracy that every run of an unbiased estimator reaches; without such, every
    /// run.
    pub fn new(methods: &'a [Method], records: &'a [Record], seed: u64, target: Option<f64>) -> Self {
        let (mut entries, mut diverged) = (Vec::new(), Vec::new());
        for (at, method) in methods.iter().enumerate() {
            let runs: Vec<&Record> = records.iter().skip(at).step_by(methods.len()).collect();
            let failed = (seed..).zip(&runs).filter_map(|(seed, run)| Some((method, seed, run.diverged?)));
            let before = diverged.len();
            diverged.extend(failed);
            if diverged.len() == before {
                entries.push(Entry { method, runs });
            }
        }
        let least = |value: &dyn Fn(&Record) -> f64, of: &dyn Fn(&Method) -> bool| {
            let chosen = entries.iter().filter(|entry| of(entry.method));
            chosen.flat_map(|entry| &entry.runs).map(|run| value(run)).reduce(f64::min)
        };
        let all = |cost| least(&|run| run.spent(cost), &|_| true).unwrap_or_default();
        let best = least(&Record::best, &Method::is_unbiased).or_else(|| least(&Record::best, &|_| true));
        Self {
            evaluations: all(Cost::Evaluations),
            seconds: all(Cost::Seconds),
            target: target.or(best).unwrap_or_default(),
            entries,
            diverged,
        }
    }

    /// What every run has spent.
    pub fn spent(&self, cost: Cost) -> f64 {
        match cost {
            Cost::Evaluations => self.evaluations,
            Cost::Seconds => self.seconds,
        }
    }

    /// How many there are.
    pub fn seeds(&self) -> usize {
        self.entries.first().map_or(0, |entry| entry.runs.len())
    }

    /// The estimator that `key` names, if it is here.
    pub fn entry(&self, key: &str) -> Option<&Entry<'a>> {
        self.entries.iter().find(|entry| entry.method.key() == key)
    }

    /// Each seed's first to the target, where any run of it gets there.
    pub fn winners(&self, cost: Cost) -> Vec<Option<&'a Method>> {
        let first = |seed: usize| {
            let reached = |entry: &Entry<'a>| Some((entry.method, entry.reached(cost, self.target)[seed]?));
            let best = self.entries.iter().filter_map(reached).min_by(|(_, a), (_, b)| a.total_cmp(b));
            best.map(|(method, _)| method)
        };
        (0..self.seeds()).map(first).collect()
    }
}

impl Entry<'_> {
    /// Each run's accuracy once `spent` is spent; NaN where it has not spent as much.
    pub fn accuracies(&self, cost: Cost, spent: f64) -> Vec<f64> {
        let at = |run: &&Record| curve::accuracy(&run.looks, cost, spent).unwrap_or(f64::NAN);
        self.runs.iter().map(at).collect()
    }

    /// What each run had spent when its accuracy was first `target`.
    pub fn reached(&self, cost: Cost, target: f64) -> Vec<Option<f64>> {
        self.runs.iter().map(|run| curve::reached(&run.looks, cost, target)).collect()
    }

    /// The mean of what runs had spent when their accuracy was first `target`, if all were.
    pub fn mean_reached(&self, cost: Cost, target: f64) -> Option<Measured> {
        let all: Option<Vec<f64>> = self.reached(cost, target).into_iter().collect();
        all.map(|all| Measured::mean_of_few(&all))
    }

    /// The mean over runs of the accuracy once `spent` is spent.
    pub fn accuracy(&self, cost: Cost, spent: f64) -> Measured {
        Measured::mean_of_few(&self.accuracies(cost, spent))
    }

    /// What every run has spent.
    pub fn least_spent(&self, cost: Cost) -> f64 {
        self.runs.iter().map(|run| run.spent(cost)).reduce(f64::min).unwrap_or_default()
    }
}

impl Record {
    /// All that the run has spent.
    fn spent(&self, cost: Cost) -> f64 {
        self.looks.last().map_or(0.0, |look| look.spent(cost))
    }

    /// Its best accuracy.
    fn best(&self) -> f64 {
        self.looks.iter().map(|look| look.accuracy).fold(0.0, f64::max)
    }
}

#[cfg(test)]
pub mod tests {
    use super::super::curve::tests::looks;
    use super::*;

    pub fn methods(keys: &[&str]) -> Vec<Method> {
        keys.iter().map(|key| key.parse().unwrap()).collect()
    }

    /// A run whose accuracy is `middle` and `end` after 50 and 100 evaluations of `pace` seconds.
    pub fn run(pace: f64, middle: f64, end: f64) -> Record {
        Record { diverged: None, looks: looks(pace, [(0, 20.0), (50, middle), (100, end)]) }
    }

    #[test]
    fn estimators_are_held_equal_in_what_all_have_spent() {
        let methods = methods(&["first-order", "exact"]);
        let records =
            [run(1.0, 30.0, 40.0), run(2.0, 40.0, 60.0), run(1.0, 50.0, 40.0), run(2.0, 40.0, 70.0)];
        let race = Race::new(&methods, &records, 0, None);
        assert_eq!((race.evaluations, race.seconds, race.target), (100.0, 100.0, 60.0));
        let [first_order, exact] = &race.entries[..] else { panic!("two estimators") };
        assert_eq!(exact.accuracies(Cost::Evaluations, race.evaluations), [60.0, 70.0]);
        assert_eq!(exact.accuracies(Cost::Seconds, race.seconds), [40.0, 40.0]);
        let accuracy = exact.accuracy(Cost::Evaluations, 100.0);
        // 12.706 s/√2 with s = √50.
        assert!(accuracy.value == 65.0 && (accuracy.ci95 - 12.706 * 5.0).abs() < 1e-9);
        assert_eq!(exact.reached(Cost::Evaluations, 55.0), [Some(87.5), Some(75.0)]);
        assert!(first_order.mean_reached(Cost::Seconds, 60.0).is_none());
        assert_eq!(first_order.mean_reached(Cost::Seconds, 35.0).unwrap().value, (75.0 + 25.0) / 2.0);
    }

    #[test]
    fn who_is_first_depends_on_what_is_counted() {
        let methods = methods(&["first-order", "exact"]);
        let records =
            [run(1.0, 30.0, 50.0), run(2.0, 40.0, 60.0), run(1.0, 30.0, 30.0), run(1.5, 30.0, 50.0)];
        let race = Race::new(&methods, &records, 0, Some(40.0));
        let winners = |cost| -> Vec<String> {
            race.winners(cost).into_iter().map(|method| method.unwrap().key()).collect()
        };
        assert_eq!(winners(Cost::Evaluations), ["exact", "exact"]);
        assert_eq!(winners(Cost::Seconds), ["first-order", "exact"]);
        assert!(Race::new(&methods, &records, 0, Some(90.0)).winners(Cost::Seconds) == [None, None]);
    }

    #[test]
    fn who_diverged_is_named_and_left_out() {
        let methods = methods(&["first-order", "ufom-0.1"]);
        let mut records =
            [run(1.0, 30.0, 50.0), run(2.0, 40.0, 60.0), run(1.0, 30.0, 45.0), run(2.0, 1.0, 1.0)];
        records[3].diverged = Some(7);
        let race = Race::new(&methods, &records, 4, None);
        assert_eq!(race.diverged, [(&methods[1], 5, 7)]);
        assert!(race.entry("ufom-0.1").is_none());
        // No unbiased one is left, so the best accuracy that all reach.
        assert_eq!(race.target, 45.0);
    }
}
