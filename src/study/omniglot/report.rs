//! The report: the table of accuracies, what was published, learning curves, and whether the goals were reached.

use super::{Method, PUBLISHED, Record, Run, Setting, Test, Training, Validation};
use crate::report::{Axis, Figure, Panel, Series, Table, significant};
use crate::study::mean_curve::min_max;
use crate::study::{Claim, Completed, Conclusion, Expected, Illustration, Measured, Scale};
use crate::train::evaluation_shape;
use bilevel::Choice;
use bilevel::stats::mean;
use std::collections::{BTreeMap, BTreeSet};

/// The runs of a method on a setting, one for each seed.
struct Runs<'a> {
    setting: Setting,
    method: Method,
    results: Vec<&'a Completed<Run, Record>>,
}

/// Claims, tables and the figure of all runs.
pub fn conclude(results: &[Completed<Run, Record>], scale: Scale) -> Conclusion {
    let mut all: Vec<Runs> = Vec::new();
    for result in results {
        let Training { method, settings } = result.piece.training;
        for &setting in settings {
            match all.iter_mut().find(|runs| (runs.setting, runs.method) == (setting, method)) {
                Some(runs) => runs.results.push(result),
                None => all.push(Runs { setting, method, results: vec![result] }),
            }
        }
    }
    let untested = results.iter().filter_map(|Completed { piece, record }| match record.diverged {
        Some(step) => Some(format!("{} diverged at outer step {step}.", piece.key())),
        None if record.tests.is_empty() => {
            Some(format!("{} was not tested: no checkpoint has a validation accuracy.", piece.key()))
        }
        None => None,
    });
    let sources: BTreeSet<&str> = results
        .iter()
        .map(|Completed { piece, .. }| piece.config.source())
        .filter(|source| *source != "omniglot")
        .collect();
    let elsewhere = sources.into_iter().map(|source| {
        format!("**These runs are on {source}, not on Omniglot: they cannot be compared with the published accuracies.**")
    });
    let size = (scale == Scale::Quick).then(|| QUICK.into());
    let remarks = [accuracies(&all).markdown(), EXPLANATION.into(), published().markdown()];
    Conclusion {
        claims: all.iter().flat_map(|runs| claims(runs, &all, scale)).collect(),
        remarks: size.into_iter().chain(elsewhere).chain(remarks).chain(untested).collect(),
        figures: vec![curves(results)],
        tables: vec![
            ("accuracies", accuracies(&all)),
            ("published", published()),
            ("validations", validations(results)),
        ],
    }
}

const QUICK: &str = "**This is the quick size: small networks, trained briefly. It shows that everything works; which accuracies the \
     methods reach, and which is best, only the full size shows. Its claims are that a network learned: that its accuracy is more than \
     twice that of guessing.**";

const EXPLANATION: &str = "Test accuracy in percent, mean over seeds with its 95 % interval by Student's t (of one seed, the interval over episodes). \
     *Transductive*: batch norm uses the statistics of the query set, as in published accuracies; *support*: those of the support \
     set, so that no query image influences another's prediction. *Ensemble*: mean logits of up to five best checkpoints by \
     validation, on a fifth as many episodes (– if only one was kept); other columns: the best checkpoint. Published accuracies:";

impl Runs<'_> {
    /// The tests of one checkpoint, or of an ensemble of several, of every run that has them, by seed.
    fn tests(&self, ensemble: bool) -> BTreeMap<u64, &Test> {
        let tests = self.results.iter().filter_map(|Completed { piece, record }| {
            let tests = record.tests.iter().filter(|test| test.setting == self.setting);
            let has_several = |test: &&Test| test.checkpoints.len() > 1;
            let test = match ensemble {
                true => tests.filter(has_several).max_by_key(|test| test.checkpoints.len()),
                false => tests.min_by_key(|test| test.checkpoints.len()),
            };
            Some((piece.config.seed, test?))
        });
        tests.collect()
    }

    /// The mean over seeds; NaN if no run has such a test, as when all diverged.
    fn accuracy(&self, ensemble: bool, of: fn(&Test) -> Measured) -> Measured {
        match self.tests(ensemble).values().map(|test| of(test)).collect::<Vec<_>>()[..] {
            [] => Measured::exactly(f64::NAN),
            [alone] => alone,
            ref tests => Measured::mean_of_few(&tests.iter().map(|test| test.value).collect::<Vec<_>>()),
        }
    }

    /// The mean over the runs that did not diverge, as that of accuracies; NaN if all did.
    fn mean(&self, of: fn(&Record) -> f64) -> f64 {
        let finished = self.results.iter().filter(|result| result.record.diverged.is_none());
        mean(&finished.map(|result| of(&result.record)).collect::<Vec<_>>())
    }

    /// Which seeds count, if some diverged.
    fn survivors(&self) -> String {
        let diverged = self.results.iter().filter(|result| result.record.diverged.is_some()).count();
        let all = self.results.len();
        if diverged == 0 {
            String::new()
        } else {
            format!(", {} of {all} seeds, the others diverged", all - diverged)
        }
    }
}

fn transductive(test: &Test) -> Measured {
    test.transductive
}

fn support(test: &Test) -> Measured {
    test.support
}

fn claims(runs: &Runs, all: &[Runs], scale: Scale) -> Vec<Claim> {
    let Runs { setting, method: Method::Recipe | Method::Prototypes, .. } = runs else { return Vec::new() };
    let (method, setting_title, survivors) = (runs.method.title(), setting.title(), runs.survivors());
    let claim = format!("{method}, {setting_title}: test accuracy of one checkpoint (%){survivors}");
    let least = match scale {
        Scale::Full => setting.goal(),
        Scale::Quick => 2.0 * 100.0 / setting.ways_and_shots().0 as f64,
    };
    let mut claims = vec![Claim::new(claim, Expected::above(least), runs.accuracy(false, transductive))];
    let plain = all.iter().find(|other| (other.setting, other.method) == (*setting, Method::Maml));
    if let Some(plain) = plain
        && scale == Scale::Full
    {
        let (ours, others) = (runs.tests(false), plain.tests(false));
        let leads = ours
            .iter()
            .filter_map(|(seed, test)| Some(test.transductive.value - others.get(seed)?.transductive.value));
        let leads: Vec<f64> = leads.collect();
        if leads.len() > 1 {
            let claim =
                format!("{}, {}: test accuracy minus MAML's (points)", runs.method.title(), setting.title());
            claims.push(Claim::new(claim, Expected::above(0.0), Measured::mean_of_few(&leads)));
        }
    }
    claims
}

fn accuracies(all: &[Runs]) -> Table {
    let mut table = Table::new([
        "setting",
        "method",
        "seeds",
        "transductive",
        "ensemble",
        "support",
        "ensemble, support",
        "outer steps × tasks",
        "minutes of training",
    ]);
    for &setting in Setting::ALL {
        for runs in all.iter().filter(|runs| runs.setting == setting) {
            let known = |value: f64, text: String| if value.is_finite() { text } else { "–".into() };
            let shown = |ensemble, of| {
                let Measured { value, ci95 } = runs.accuracy(ensemble, of);
                known(value, format!("{value:.2} ± {ci95:.2}"))
            };
            let (steps, minutes) = (runs.mean(|run| run.steps as f64), runs.mean(|run| run.seconds) / 60.0);
            table.row([
                setting.title(),
                runs.method.title().into(),
                runs.tests(false).len().to_string(),
                shown(false, transductive),
                shown(true, transductive),
                shown(false, support),
                shown(true, support),
                known(steps, format!("{steps:.0} × {}", runs.results[0].record.meta_batch)),
                known(minutes, significant(minutes, 3)),
            ]);
        }
    }
    table
}

fn published() -> Table {
    let settings = Setting::ALL.iter().map(|setting| setting.title());
    let mut table = Table::of(["published".to_string()].into_iter().chain(settings).collect());
    for (source, accuracies) in PUBLISHED {
        table.row([source.to_string()].into_iter().chain(accuracies.map(|accuracy| format!("{accuracy:?}"))));
    }
    table
}

fn validations(results: &[Completed<Run, Record>]) -> Table {
    let mut table = Table::new(["run", "step", "seconds", "accuracy"]);
    for Completed { piece, record } in results {
        for validation in &record.validations {
            table.row([
                piece.key(),
                validation.step.to_string(),
                validation.seconds.to_string(),
                validation.accuracy.to_string(),
            ]);
        }
    }
    table
}

/// A panel for each setting in which runs are validated, with the mean curve of each method over the runs that did not diverge. Those for several settings are
/// validated where their configuration says, the others in their own.
fn curves(results: &[Completed<Run, Record>]) -> Illustration {
    let panels = Setting::ALL.iter().filter_map(|setting| {
        let is_validated = |run: &Run| match run.training.settings {
            [own] => own == setting,
            _ => {
                let shape = evaluation_shape(&run.config);
                (shape.ways, shape.shots) == setting.ways_and_shots()
            }
        };
        let here = results.iter().filter(|it| is_validated(&it.piece) && it.record.diverged.is_none());
        let here: Vec<_> = here.collect();
        let ends = here.iter().filter_map(|it| it.record.validations.last());
        let lowest = ends.map(|validation| validation.accuracy).reduce(f64::min)?;
        let accuracy = Axis::linear("validation accuracy (%)").range((lowest - 5.0).max(0.0), 100.0);
        let panel = Panel::new(Axis::linear("hours of training"), accuracy).titled(setting.title());
        let series = Method::ALL.iter().filter_map(|&method| {
            let records = here.iter().filter(|it| it.piece.training.method == method);
            curve(method, &records.map(|it| &it.record).collect::<Vec<_>>())
        });
        Some(series.fold(panel, Panel::with))
    });
    Illustration {
        name: "curves",
        caption: "Validation accuracy against hours of training: means over seeds, with bands from the lowest to the highest. \
                  Runs for all settings are validated in one of them."
            .into(),
        figure: Figure { panels: panels.collect() },
    }
}

/// The mean over the runs at each validation that all of them have.
fn curve(method: Method, runs: &[&Record]) -> Option<Series> {
    let count = runs.iter().map(|run| run.validations.len()).min()?;
    let point = |at: usize| {
        let of = |value: fn(&Validation) -> f64| {
            runs.iter().map(|run| value(&run.validations[at])).collect::<Vec<_>>()
        };
        let (hours, accuracies) = (of(|it| it.seconds / 3600.0), of(|it| it.accuracy));
        ([mean(&hours), mean(&accuracies)], min_max(&accuracies))
    };
    let (points, band) = (0..count).map(point).unzip();
    Some(Series::line(method.title().to_string(), points).band(band))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::Verdict;

    const SETTING: Setting = Setting::FiveWayOneShot;

    /// A run with these `tests`, each the steps of its checkpoints and the accuracy.
    fn tested(tests: &[(&[u64], f64)]) -> Completed<Run, Record> {
        let training = Training { method: Method::Recipe, settings: &[SETTING] };
        let config = training.config().unwrap().without_data().check().unwrap();
        let test = |&(checkpoints, value): &(&[u64], f64)| {
            let measured = Measured { value, ci95: 0.5 };
            let checkpoints = checkpoints.to_vec();
            Test { setting: SETTING, checkpoints, episodes: 9, transductive: measured, support: measured }
        };
        let record = Record {
            diverged: None,
            validations: Vec::new(),
            steps: 4,
            meta_batch: 2,
            evaluations: 9,
            seconds: 60.0,
            tests: tests.iter().map(test).collect(),
        };
        Completed { piece: Run { training, config }, record }
    }

    fn table(tests: &[(&[u64], f64)]) -> String {
        conclude(&[tested(tests)], Scale::Full).tables[0].1.csv()
    }

    #[test]
    fn one_checkpoint_is_no_ensemble() {
        let alone = table(&[(&[4], 90.0)]);
        assert!(alone.contains("90.00 ± 0.50,–,90.00 ± 0.50,–,"), "{alone}");
        let both = table(&[(&[4], 90.0), (&[4, 2], 91.0)]);
        assert!(both.contains("90.00 ± 0.50,91.00 ± 0.50,90.00 ± 0.50,91.00 ± 0.50,"), "{both}");
    }

    #[test]
    fn the_quick_size_is_named_and_judged_by_chance_alone() {
        let at = |scale| {
            let conclusion = conclude(&[tested(&[(&[4], 90.0)])], scale);
            let is_named = conclusion.remarks.iter().any(|remark| remark.contains("quick size"));
            (conclusion.claims[0].verdict, is_named)
        };
        assert_eq!(at(Scale::Quick), (Verdict::Held, true));
        assert_eq!(at(Scale::Full), (Verdict::Failed, false));
    }

    #[test]
    fn a_seed_that_diverged_leaves_the_others_their_row_and_their_curve() {
        let of_seed = |seed, diverged: Option<u64>| {
            let mut run = tested(if diverged.is_none() { &[(&[4], 90.0)] } else { &[] });
            run.piece.config.seed = seed;
            run.record.diverged = diverged;
            if diverged.is_some() {
                (run.record.steps, run.record.seconds) = (1, 6.0);
            } else {
                run.record.validations = vec![Validation { step: 4, seconds: 60.0, accuracy: 91.0 }];
            }
            run
        };
        let conclusion = conclude(&[of_seed(0, None), of_seed(1, Some(1)), of_seed(2, None)], Scale::Full);
        let table = conclusion.tables[0].1.csv();
        assert!(table.contains(",2,90.00 ± 0.00,") && table.contains(",4 × 2,1.00"), "{table}");
        let claim = &conclusion.claims[0].claim;
        assert!(claim.ends_with("(%), 2 of 3 seeds, the others diverged"), "{claim}");
        let (title, points) = (Method::Recipe.title().to_string(), vec![[60.0 / 3600.0, 91.0]]);
        let curve = Series::line(title, points).band(vec![[91.0, 91.0]]);
        assert_eq!(conclusion.figures[0].figure.panels[0].series, [curve]);
        let none = conclude(&[of_seed(0, Some(1))], Scale::Full).tables[0].1.csv();
        assert!(none.contains("0,–,–,–,–,–,–"), "{none}");
    }
}
