//! What a sweep comes to: a row a setting, and one figure.

use super::{Run, Stands};
use crate::config::Sweep;
use crate::interval::{mean, mean_and_t95};
use crate::report::{Against, RunCurves, Table, compare, pooled};
use crate::study::Error;
use crate::study::folder::failed;
use crate::whole;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// A setting over its seeds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// What it is called.
    pub setting: String,
    /// Its values of the grid's keys, as TOML.
    pub values: Vec<String>,
    /// Test accuracy of each finished run, percent.
    pub accuracies: Vec<f64>,
    /// Their mean; none where no run is finished.
    pub mean: Option<f64>,
    /// Half of its 95 % interval over seeds, by Student's t; none of fewer than two runs.
    pub ci95: Option<f64>,
    /// Gradient evaluations of a finished run, on average.
    pub gradient_evaluations: Option<f64>,
    /// Seconds of training of a finished run, on average.
    pub seconds: Option<f64>,
    /// Runs that diverged, and at which outer step.
    pub diverged: Vec<(String, u64)>,
}

/// What a sweep came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Swept {
    /// In the order of the sweep file.
    pub settings: Vec<Summary>,
    /// The table as Markdown.
    #[serde(skip)]
    pub markdown: String,
    /// Its file.
    pub table: PathBuf,
    /// The figure; none where no run is finished.
    pub figure: Option<PathBuf>,
}

/// Writes table and figure of `sweep`, whose runs are `runs`, into `folder`.
///
/// # Errors
/// If a run cannot be read, or something cannot be written.
pub fn write(sweep: &Sweep, runs: &[Run], folder: &Path) -> Result<Swept, Error> {
    let stands = runs.iter().map(Run::stands).collect::<Result<Vec<_>, _>>()?;
    let of = |variant: usize| runs.iter().zip(&stands).filter(move |(run, _)| run.variant == variant);
    let settings: Vec<Summary> = (0..sweep.variants.len())
        .map(|variant| summarised(sweep, variant, &of(variant).collect::<Vec<_>>()))
        .collect();
    let table = table(&sweep.varied, &settings);
    let markdown = table.markdown();
    let file = folder.join("table.csv");
    whole::write(&file, &[table.csv().as_bytes()]).map_err(failed("write", &file))?;
    let figure = figure(runs, &stands, folder)?;
    let picture = if figure.is_some() { "\n![comparison](figure.png)\n" } else { "" };
    let file = folder.join("table.md");
    let page = format!("# Sweep\n\n{markdown}\n{}{picture}", remarks(&settings));
    whole::write(&file, &[page.as_bytes()]).map_err(failed("write", &file))?;
    Ok(Swept { settings, markdown, table: file, figure })
}

fn summarised(sweep: &Sweep, variant: usize, runs: &[(&Run, &Stands)]) -> Summary {
    let scores: Vec<_> = runs
        .iter()
        .filter_map(|(_, stands)| match stands {
            Stands::Finished(score) => Some(score),
            _ => None,
        })
        .collect();
    let diverged = runs.iter().filter_map(|(run, stands)| match stands {
        Stands::Diverged(step) => Some((run.name(), *step)),
        _ => None,
    });
    let accuracies: Vec<f64> = scores.iter().map(|score| score.test_accuracy).collect();
    let evaluations: Vec<f64> = scores.iter().map(|score| score.gradient_evaluations as f64).collect();
    let seconds: Vec<f64> = scores.iter().map(|score| score.seconds).collect();
    let average = |values: &[f64]| (!values.is_empty()).then(|| mean(values));
    Summary {
        setting: sweep.variants[variant].name.clone(),
        values: sweep.variants[variant].values.clone(),
        mean: average(&accuracies),
        ci95: (accuracies.len() > 1).then(|| mean_and_t95(&accuracies).1),
        gradient_evaluations: average(&evaluations),
        seconds: average(&seconds),
        diverged: diverged.collect(),
        accuracies,
    }
}

fn table(varied: &[String], settings: &[Summary]) -> Table {
    let results = ["test accuracy (%)", "± 95 %", "runs", "diverged", "gradient evaluations", "seconds"]
        .map(String::from);
    let columns = std::iter::once("setting".to_string()).chain(varied.iter().cloned()).chain(results);
    let mut table = Table::of(columns.collect());
    let number = |value: Option<f64>, places: usize| {
        value.map_or_else(String::new, |value| format!("{value:.places$}"))
    };
    for summary in settings {
        let values = summary.values.iter().map(|value| value.trim_matches('"').to_string());
        let results = [
            number(summary.mean, 2),
            number(summary.ci95, 2),
            summary.accuracies.len().to_string(),
            summary.diverged.len().to_string(),
            number(summary.gradient_evaluations, 0),
            number(summary.seconds, 1),
        ];
        table.row(std::iter::once(summary.setting.clone()).chain(values).chain(results));
    }
    table
}

/// What a reader of the table must know.
fn remarks(settings: &[Summary]) -> String {
    let mut text = String::from(
        "Means over seeds of the accuracy on test episodes; ± is half of the mean's 95 % interval by Student's t, \
         which takes two runs. Gradient evaluations and seconds are those of training.\n",
    );
    for (run, step) in settings.iter().flat_map(|summary| &summary.diverged) {
        text += &format!(
            "\n`{run}` diverged at outer step {step} and is left out; delete its directory to have it tried again.\n"
        );
    }
    text
}

/// Draws the finished runs, those that differ in their seed as one.
fn figure(runs: &[Run], stands: &[Stands], folder: &Path) -> Result<Option<PathBuf>, Error> {
    let finished = runs.iter().zip(stands).filter(|(_, stands)| matches!(stands, Stands::Finished(_)));
    let curves = finished.map(|(run, _)| RunCurves::read(&run.path)).collect::<Result<Vec<_>, _>>()?;
    if curves.is_empty() {
        return Ok(None);
    }
    let figure = compare(&pooled(curves), Against::Evaluations);
    figure.write(&folder.join("figure.svg"))?;
    let file = folder.join("figure.png");
    figure.write(&file)?;
    Ok(Some(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_what_its_runs_came_to_and_nothing_made_up() {
        let summary = |accuracies: &[f64], diverged: &[(String, u64)]| Summary {
            setting: "exact".into(),
            values: vec!["\"exact\"".into(), "0.4".into()],
            accuracies: accuracies.to_vec(),
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
            table(&varied, &settings).csv(),
            "setting,estimator.name,inner.rate,test accuracy (%),± 95 %,runs,diverged,gradient evaluations,seconds\n\
             exact,exact,0.4,50.00,1.23,2,0,600,2.0\n\
             exact,exact,0.4,50.00,,1,0,600,2.0\n\
             exact,exact,0.4,,,0,1,,\n"
        );
        assert!(remarks(&settings).contains("`exact-seed-1` diverged at outer step 7"));
    }
}
