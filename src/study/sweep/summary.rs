//! Results of a sweep: a table with one row per setting, and a figure.

use super::{Measure, Run, RunState, Score, by_key};
use crate::config::Sweep;
use crate::report::{Against, Figure, RunCurves, Table, compare, incomparable};
use crate::study::Error;
use crate::study::folder::failed;
use crate::support::atomic_file;
use bilevel::stats::{mean, mean_and_t95};
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};

/// Results of a setting over its seeds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Its name.
    pub setting: String,
    /// The name of its `[[run]]`; empty if the sweep has none.
    #[serde(skip)]
    pub run: String,
    /// Its values of the grid's keys, as TOML.
    pub values: Vec<String>,
    /// Test accuracy of each finished run that has one, in percent; left out for regressions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracies: Option<Vec<f64>>,
    /// Mean squared error of each finished run that has one; left out for classifiers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errors: Option<Vec<f64>>,
    /// Number of episodes of each run's test; `None` if no run is finished.
    pub episodes: Option<usize>,
    /// Episodes of these tests that diverged, of all runs together.
    pub diverged_episodes: usize,
    /// Mean test accuracy or error; `None` if no run has one.
    pub mean: Option<f64>,
    /// Half of its 95 % interval over seeds, by Student's t; `None` with fewer than two runs.
    pub ci95: Option<f64>,
    /// Mean gradient evaluations of the finished runs.
    pub gradient_evaluations: Option<f64>,
    /// Mean seconds of training of the finished runs.
    pub seconds: Option<f64>,
    /// Diverged runs with their outer steps.
    pub diverged: Vec<(String, u64)>,
    /// Runs without an accuracy or error, since all episodes of their tests diverged, or any of a regression.
    pub unanswered: Vec<String>,
}

/// Results of a sweep.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SweepResult {
    /// What its tests measure.
    #[serde(skip)]
    pub measure: Measure,
    /// One entry per setting, in the order of the sweep file.
    pub settings: Vec<Summary>,
    /// The table as Markdown.
    #[serde(skip)]
    pub markdown: String,
    /// Path of the table.
    pub table: PathBuf,
    /// Path of the figure; `None` if no run has an accuracy or error.
    pub figure: Option<PathBuf>,
    /// Paths of the figures of results against a key.
    pub by_key: Vec<PathBuf>,
    /// In what the runs differ that makes their results incomparable, if in anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apart: Option<String>,
}

/// Writes the table and the figure of `sweep`, whose runs are `runs`, into `folder`.
///
/// # Errors
/// Returns an error if a run cannot be read, or a file cannot be written.
pub fn write(sweep: &Sweep, runs: &[Run], folder: &Path) -> Result<SweepResult, Error> {
    let states = runs.iter().map(Run::state).collect::<Result<Vec<_>, _>>()?;
    let of_variant = |variant: usize| runs.iter().zip(&states).filter(move |(run, _)| run.variant == variant);
    let settings: Vec<Summary> = (0..sweep.variants.len())
        .map(|variant| summarise(sweep, variant, &of_variant(variant).collect::<Vec<_>>()))
        .collect();
    let measure = runs.first().map_or(Measure::Accuracy, Run::measure);
    let table = table(measure, &sweep.varied, &settings);
    let markdown = table.markdown();
    let file = folder.join("table.csv");
    atomic_file::write(&file, &[table.csv().as_bytes()]).map_err(failed("write", &file))?;
    let (figure, apart) = figure(sweep, runs, &states, folder)?;
    let mut pictures =
        if figure.is_some() { "\n![comparison](figure.png)\n".to_string() } else { String::new() };
    let mut by_key = Vec::new();
    remove_earlier(folder)?;
    for (key, figure) in by_key::figures(measure, &sweep.varied, &settings) {
        let name = format!("by-{key}");
        pictures += &format!("\n![{} against {key}]({name}.png)\n", measure.heading());
        by_key.push(draw(&figure, folder, &name)?);
    }
    let file = folder.join("table.md");
    let page = format!("# Sweep\n\n{markdown}\n{}{pictures}", remarks(measure, &settings, apart.as_deref()));
    atomic_file::write(&file, &[page.as_bytes()]).map_err(failed("write", &file))?;
    Ok(SweepResult { measure, settings, markdown, table: file, figure, by_key, apart })
}

/// The results of one variant from its `runs`.
fn summarise(sweep: &Sweep, variant: usize, runs: &[(&Run, &RunState)]) -> Summary {
    let scores: Vec<_> = runs
        .iter()
        .filter_map(|(_, state)| match state {
            RunState::Finished(score) => Some(score),
            _ => None,
        })
        .collect();
    let diverged = runs.iter().filter_map(|(run, state)| match state {
        RunState::Diverged { step } => Some((run.name(), *step)),
        _ => None,
    });
    let unanswered = runs.iter().filter_map(|(run, state)| match state {
        RunState::Finished(Score { value: None, .. }) => Some(run.name()),
        _ => None,
    });
    let values: Vec<f64> = scores.iter().filter_map(|score| score.value).collect();
    let measure = Measure::of(sweep.variants[variant].config.task.kind);
    let measured_by = |own: Measure| (own == measure).then(|| values.clone());
    let evaluations: Vec<f64> = scores.iter().map(|score| score.gradient_evaluations as f64).collect();
    let seconds: Vec<f64> = scores.iter().map(|score| score.seconds).collect();
    let average = |values: &[f64]| (!values.is_empty()).then(|| mean(values));
    Summary {
        setting: sweep.variants[variant].name.clone(),
        run: sweep.variants[variant].run.clone(),
        values: sweep.variants[variant].values.clone(),
        mean: average(&values),
        ci95: (values.len() > 1).then(|| mean_and_t95(&values).1),
        gradient_evaluations: average(&evaluations),
        seconds: average(&seconds),
        episodes: scores.first().map(|score| score.episodes),
        diverged_episodes: scores.iter().map(|score| score.diverged_episodes).sum(),
        diverged: diverged.collect(),
        unanswered: unanswered.collect(),
        accuracies: measured_by(Measure::Accuracy),
        errors: measured_by(Measure::Error),
    }
}

impl Summary {
    /// The accuracies or errors.
    fn values(&self) -> &[f64] {
        self.accuracies.as_deref().or(self.errors.as_deref()).unwrap_or_default()
    }
}

fn table(measure: Measure, varied: &[String], settings: &[Summary]) -> Table {
    let heading = measure.heading();
    let results = [heading, "± 95 %", "runs", "episodes", "diverged", "gradient evaluations", "seconds"]
        .map(String::from);
    let columns = std::iter::once("setting".to_string()).chain(varied.iter().cloned()).chain(results);
    let mut table = Table::of(columns.collect());
    let number = |value: Option<f64>, places: usize| {
        value.map_or_else(String::new, |value| format!("{value:.places$}"))
    };
    for summary in settings {
        let values = summary.values.iter().map(|value| value.trim_matches('"').to_string());
        let results = [
            number(summary.mean, measure.places()),
            number(summary.ci95, measure.places()),
            summary.values().len().to_string(),
            summary.episodes.map_or_else(String::new, |episodes| episodes.to_string()),
            (summary.diverged.len() + summary.unanswered.len()).to_string(),
            number(summary.gradient_evaluations, 0),
            number(summary.seconds, 1),
        ];
        table.row(std::iter::once(summary.setting.clone()).chain(values).chain(results));
    }
    table
}

/// Explanation of the table, and the runs left out of it.
fn remarks(measure: Measure, settings: &[Summary], apart: Option<&str>) -> String {
    let name = measure.name();
    let mut text = format!(
        "Mean {name} over seeds, each on the given number of test episodes; ± is half of its 95 % interval by Student's t, \
         which needs at least two runs. Gradient evaluations and seconds are those of training.\n",
    );
    if let Some(warning) = apart {
        text += &format!("\nNot all {} can be compared: {warning}.\n", measure.plural());
    }
    for summary in settings.iter().filter(|summary| summary.diverged_episodes > 0) {
        text += &format!(
            "\n{} test episodes of `{}` diverged; {}.\n",
            summary.diverged_episodes,
            summary.setting,
            measure.of_diverged(),
        );
    }
    for run in settings.iter().flat_map(|summary| &summary.unanswered) {
        let which = match measure {
            Measure::Accuracy => "All test",
            Measure::Error => "Test",
        };
        text += &format!("\n{which} episodes of `{run}` diverged: it has no {name} and is left out.\n");
    }
    for (run, step) in settings.iter().flat_map(|summary| &summary.diverged) {
        text += &format!(
            "\n`{run}` diverged at outer step {step} and is left out; delete its directory to run it again.\n"
        );
    }
    text
}

/// Draws the runs with an accuracy or error, one curve for each setting. Also says in what they differ that makes them
/// incomparable.
fn figure(
    sweep: &Sweep,
    runs: &[Run],
    states: &[RunState],
    folder: &Path,
) -> Result<(Option<PathBuf>, Option<String>), Error> {
    let mut groups: Vec<Vec<RunCurves>> = sweep.variants.iter().map(|_| Vec::new()).collect();
    for (run, state) in runs.iter().zip(states) {
        if matches!(state, RunState::Finished(Score { value: Some(_), .. })) {
            let mut curves = RunCurves::read(&run.path)?;
            curves.name = format!("{}-seed-{}", sweep.variants[run.variant].name, run.config.seed);
            groups[run.variant].push(curves);
        }
    }
    groups.retain(|group| !group.is_empty());
    if groups.is_empty() {
        return Ok((None, None));
    }
    let (figure, apart) = (compare(&groups, Against::Evaluations), incomparable(&groups));
    Ok((Some(draw(&figure, folder, "figure")?), apart))
}

/// Removes the figures by key of an earlier version of the sweep.
fn remove_earlier(folder: &Path) -> Result<(), Error> {
    for entry in fs::read_dir(folder).map_err(failed("list", folder))? {
        let path = entry.map_err(failed("list", folder))?.path();
        let is_figure = path.extension().is_some_and(|extension| extension == "svg" || extension == "png");
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        if is_figure && name.strip_prefix("by-").is_some_and(|key| key.contains('.')) {
            fs::remove_file(&path).map_err(failed("remove", &path))?;
        }
    }
    Ok(())
}

/// Writes `figure` as NAME.svg and NAME.png, and returns the path of the latter.
fn draw(figure: &Figure, folder: &Path, name: &str) -> Result<PathBuf, Error> {
    figure.write(&folder.join(format!("{name}.svg")))?;
    let file = folder.join(format!("{name}.png"));
    figure.write(&file)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_leave_missing_values_empty() {
        let summary = |accuracies: &[f64], diverged: &[(String, u64)]| Summary {
            setting: "exact".into(),
            run: String::new(),
            values: vec!["\"exact\"".into(), "0.4".into()],
            accuracies: Some(accuracies.to_vec()),
            errors: None,
            episodes: accuracies.first().map(|_| 600),
            diverged_episodes: 0,
            unanswered: Vec::new(),
            mean: accuracies.first().copied(),
            ci95: (accuracies.len() > 1).then_some(1.234),
            gradient_evaluations: accuracies.first().map(|_| 600.0),
            seconds: accuracies.first().map(|_| 2.0),
            diverged: diverged.to_vec(),
        };
        let gone = [("exact-seed-1".to_string(), 7)];
        let settings = [summary(&[50.0, 52.0], &[]), summary(&[50.0], &[]), summary(&[], &gone)];
        let varied = ["estimator.name".to_string(), "inner.rate".to_string()];
        assert_eq!(
            table(Measure::Accuracy, &varied, &settings).csv(),
            "setting,estimator.name,inner.rate,test accuracy (%),± 95 %,runs,episodes,diverged,gradient evaluations,seconds\n\
             exact,exact,0.4,50.00,1.23,2,600,0,600,2.0\n\
             exact,exact,0.4,50.00,,1,600,0,600,2.0\n\
             exact,exact,0.4,,,0,,1,,\n"
        );
        let some = Summary {
            diverged_episodes: 3,
            unanswered: vec!["exact-seed-2".into()],
            ..summary(&[50.0], &gone)
        };
        let text = remarks(Measure::Accuracy, &[some], Some("task.ways is 2 and 5"));
        for words in [
            "`exact-seed-1` diverged at outer step 7",
            "3 test episodes of `exact` diverged",
            "`exact-seed-2` diverged: it has no accuracy",
            "Not all accuracies can be compared: task.ways is 2 and 5",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
        assert!(!remarks(Measure::Accuracy, &settings, None).contains("compared"));

        let regression = Summary { mean: Some(0.12345), errors: Some(vec![0.12345]), ..summary(&[], &[]) };
        let regression = Summary { accuracies: None, unanswered: vec!["exact-seed-2".into()], ..regression };
        let csv = table(Measure::Error, &varied, std::slice::from_ref(&regression)).csv();
        assert!(csv.contains(",test error,") && csv.contains(",0.1235,,1,"), "{csv}");
        assert!(
            remarks(Measure::Error, &[regression], None).contains("`exact-seed-2` diverged: it has no error")
        );
    }
}
