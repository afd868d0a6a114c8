//! The report of a run: one self-contained HTML page with accuracy, curves, mistakes, sample episodes, configuration
//! and the commands that reproduce it. For a regression, errors and fitted curves take the place of accuracy and mistakes.

mod confusion;
mod episode;
mod images;
mod regression;

pub use episode::{EvaluatedEpisode, Prediction, accuracy};
pub use regression::{FittedCurve, fitted};

use crate::config::{self, Config};
use crate::data::{ImageSet, Part, display_name};
use crate::report::html::{data_uri, document, escaped, table};
use crate::report::{Against, Figure, RunCurves, overview};
use crate::run::{CheckpointSelector, OtherData, RunDir, Score, Session, StepError, TrainingState, quoted};
use crate::train::Evaluation;
use bilevel::device::Opened;
use std::fmt::Write;
use std::time::SystemTime;

/// Largest number of mistakes shown.
const MISTAKES: usize = 12;
/// Largest number of groups of classes, such as alphabets, for which a table is shown.
const GROUPS: usize = 24;

/// The contents of the page.
pub struct Page<'a> {
    /// The run.
    pub run: &'a RunDir,
    /// Its configuration, with what the evaluation replaces.
    pub config: &'a Config,
    /// Its own configuration.
    pub own: &'a Config,
    /// Its state at the checkpoint.
    pub training_state: &'a TrainingState,
    /// The checkpoint.
    pub checkpoint: CheckpointSelector,
    /// Its curves; `None` if it has no outer step yet.
    pub curves: Option<&'a RunCurves>,
    /// How it was evaluated.
    pub evaluation: &'a Evaluation,
    /// The data, if it is not what the run was trained on.
    pub data: Option<&'a OtherData>,
    /// The options of `eval` and `report` for the same evaluation.
    pub options: &'a str,
    /// What the episodes showed.
    pub findings: Findings<'a>,
    /// The device on which they were evaluated.
    pub opened: &'a Opened,
    /// The program's name, for commands.
    pub program: &'a str,
}

/// What evaluated episodes showed.
#[derive(Clone, Copy)]
pub enum Findings<'a> {
    /// Of a classifier.
    Classified {
        /// The images.
        set: &'a ImageSet,
        /// The episodes, evaluated.
        episodes: &'a [EvaluatedEpisode],
        /// The number of episodes shown.
        shown: usize,
    },
    /// Of a regression.
    Fitted {
        /// The error before adaptation and after each inner step.
        errors: &'a [StepError],
        /// The curves shown.
        curves: &'a [FittedCurve],
    },
}

impl Page<'_> {
    /// The HTML file.
    ///
    /// # Errors
    /// Returns an error if the configuration cannot be written as TOML.
    pub fn html(&self) -> Result<String, config::Error> {
        let title = self.curves.map_or_else(|| self.run.path().display().to_string(), |run| run.name.clone());
        let body = format!(
            "<main>\n<h1>{}</h1>\n{}{}{}{}</main>\n",
            escaped(&title),
            self.findings_sections(),
            self.config_section()?,
            self.environment_section(),
            self.commands_section(),
        );
        Ok(document(&title, &body))
    }

    /// What the episodes showed, around the curves of training.
    fn findings_sections(&self) -> String {
        let training = self.curves_section();
        match self.findings {
            Findings::Classified { set, episodes, shown } => [
                self.accuracy_section(episodes),
                training,
                confusion_section(set, episodes),
                episodes_section(set, episodes, shown),
            ]
            .concat(),
            Findings::Fitted { errors, curves } => {
                let Evaluation { part, shape, episodes, .. } = self.evaluation;
                let title = format!("{} error", capitalised(part.name()));
                let said = format!(
                    "Mean squared error on {} query points of each of {episodes} episodes with {} support points, of curves \
                     that were{} trained on; {}",
                    shape.queries,
                    shape.shots,
                    if *part == Part::Train { "" } else { " not" },
                    self.provenance()
                );
                let error = regression::error_section(&title, errors, &said);
                [error, regression::fitted_section(curves), training].concat()
            }
        }
    }

    /// What ± means, and which checkpoint after how much training was measured.
    fn provenance(&self) -> String {
        let training_state = self.training_state;
        let best = training_state.best.map_or_else(String::new, |best| {
            let score = match best.score {
                Score::Accuracy(percent) => format!("{percent:.2} %"),
                Score::Error(error) => format!("{error:.4}"),
            };
            format!(" Best validation: {score} after outer step {}.", best.step)
        });
        format!(
            "± is the half-width of the 95 % confidence interval. {}, after {} outer steps, {} gradient evaluations and {:.0} s \
             of training.{best}",
            match self.checkpoint {
                CheckpointSelector::Latest => "The latest checkpoint",
                CheckpointSelector::Best => "The checkpoint with the best validation",
                CheckpointSelector::After(_) => "An earlier checkpoint",
            },
            training_state.step,
            training_state.evaluations.total(),
            training_state.seconds,
        )
    }

    /// The accuracy and what it depends on.
    fn accuracy_section(&self, episodes: &[EvaluatedEpisode]) -> String {
        let (mean, ci95) = accuracy(episodes);
        let Evaluation { part, shape, steps, .. } = self.evaluation;
        let diverged = episodes.iter().filter(|episode| !episode.has_answers()).count();
        let diverged = match diverged {
            0 => String::new(),
            some => format!(" ({some} of them diverged and count as wrong)"),
        };
        let classes = match (self.data, part) {
            (Some(data), _) => format!(
                "of {} classes of {}, which is not what the run was trained on",
                data.classes,
                data.title()
            ),
            (None, Part::Train) => "of classes that were trained on".into(),
            (None, _) => "of classes that were not trained on".into(),
        };
        let said = format!(
            "{} episodes{diverged}, {}-way {}-shot with {} query images a class, {steps} inner steps, batch norm {}, {classes}; {}",
            episodes.len(),
            shape.ways,
            shape.shots,
            shape.queries,
            self.config.model.batch_norm,
            self.provenance(),
        );
        section(
            "accuracy",
            &format!("{} accuracy", capitalised(part.name())),
            &format!(
                "<p class=\"score\">{mean:.2} % ± {ci95:.2}</p>\n<p class=\"note\">{}</p>\n",
                escaped(&said)
            ),
        )
    }

    /// The curves of the run and of its estimator.
    fn curves_section(&self) -> String {
        let Some(run) = self.curves else {
            return section("curves", "Curves", "<p class=\"note\">The run has no outer step yet.</p>\n");
        };
        // One image for each panel, so that they stack on a narrow screen.
        let curves = overview(run, Against::Steps).panels.into_iter().map(|panel| {
            let what = escaped(panel.y.label());
            let uri = data_uri("image/svg+xml", Figure { panels: vec![panel] }.svg().as_bytes());
            format!("<figure><img class=\"curve\" src=\"{uri}\" alt=\"{what} by outer steps\"/></figure>\n")
        });
        let told = format!(
            "Means over consecutive outer steps, with 95 % confidence bands. The estimator is {}; products are the \
             Hessian-vector products that it computed for each meta-batch.",
            self.config.estimator
        );
        let curves: String = curves.collect();
        section(
            "curves",
            "Curves",
            &format!("<div class=\"curves\">\n{curves}</div>\n<p class=\"note\">{}</p>\n", escaped(&told)),
        )
    }

    fn config_section(&self) -> Result<String, config::Error> {
        Ok(section("config", "Configuration", &format!("<pre>{}</pre>\n", escaped(&self.own.to_toml()?))))
    }

    /// Where the run was trained and where the page was written.
    fn environment_section(&self) -> String {
        let row = |name: &str, value: String| [name.to_string(), value];
        let opened = self.opened;
        let rows = [
            row("page by metaburn", env!("CARGO_PKG_VERSION").into()),
            row("evaluated on", format!("{}: {}", opened.backend, opened.description)),
            row("threads", opened.workers.threads.to_string()),
            row("system", format!("{} {}", std::env::consts::OS, std::env::consts::ARCH)),
            row("trained on", format!("{}, digest {:.12}", self.own.source(), self.training_state.data)),
        ];
        let tested_on =
            self.data.map(|data| row("tested on", format!("{}, digest {:.12}", data.title(), data.digest)));
        let rows = rows
            .into_iter()
            .chain(tested_on)
            .chain([row("page written", humantime::format_rfc3339_seconds(SystemTime::now()).to_string())]);
        let sessions = self.run.sessions().into_iter().map(|session| {
            let Session { began, step, command, version, backend, device, threads, system, .. } = session;
            [
                began,
                step.to_string(),
                format!("{backend}: {device}"),
                threads.to_string(),
                system,
                version,
                command,
            ]
        });
        let head = ["trained from", "after step", "on", "threads", "system", "metaburn", "command"];
        section("environment", "Environment", &(table(head, sessions) + &table(["what", "value"], rows)))
    }

    fn commands_section(&self) -> String {
        let (program, path) = (self.program, self.run.path());
        let (run, config) = (quoted(path), quoted(&self.run.config_file()));
        let options = self.options;
        let commands = format!(
            "# repeat the run in a new directory\n{program} train {config} --run-dir NEW_DIR\n\
             # continue from its latest checkpoint\n{program} resume {run}\n\
             # measure what this page shows\n{program} eval {run}{options}\n\
             # write this page\n{program} report {run}{options}\n"
        );
        section("commands", "Commands", &format!("<pre>{}</pre>\n", escaped(&commands)))
    }
}

/// The most frequent mistakes.
fn confusion_section(set: &ImageSet, episodes: &[EvaluatedEpisode]) -> String {
    let mut body = String::from(
        "<p class=\"note\">The number of times a mistake was made, out of the query images for which it was possible: those of \
         episodes with both classes.</p>\n<div class=\"cards\">\n",
    );
    let mistakes = confusion::mistakes(episodes, MISTAKES);
    for mistake in &mistakes {
        let _ = writeln!(
            body,
            "<div class=\"card\">{}{}<br/>{} classified as {}<br/><span class=\"wrong\">{} of {}</span></div>",
            images::element(set, mistake.image),
            images::element(set, mistake.taken_for),
            escaped(&display_name(set, mistake.image)),
            escaped(&display_name(set, mistake.taken_for)),
            mistake.count,
            mistake.chances,
        );
    }
    body.push_str("</div>\n");
    if mistakes.is_empty() {
        let which = match episodes.iter().all(EvaluatedEpisode::has_answers) {
            true => "",
            false => " of the episodes that did not diverge",
        };
        let _ = writeln!(body, "<p>Every query image{which} was classified correctly.</p>");
    }
    body.push_str(&group_table(set, episodes).unwrap_or_default());
    section("confusion", "Mistakes", &body)
}

/// The confusion of groups, if there are a few.
fn group_table(set: &ImageSet, episodes: &[EvaluatedEpisode]) -> Option<String> {
    let groups = confusion::groups(episodes, set, GROUPS)?;
    let mut text = String::from(
        "<h3>By group</h3>\n<p class=\"note\">Rows are true groups, columns predicted groups, in percent of a row; in \
         brackets, images classified as another class of their own group.</p>\n<div class=\"wide\"><table>\n<tr><th></th>",
    );
    for name in &groups.names {
        let _ = write!(text, "<th>{}</th>", escaped(name));
    }
    text.push_str("</tr>\n");
    for (at, row) in groups.taken.iter().enumerate() {
        let all = row.iter().sum::<usize>().max(1) as f64;
        let percent = |count: usize| 100.0 * count as f64 / all;
        let _ = write!(text, "<tr><th>{}</th>", escaped(&groups.names[at]));
        for (other, count) in row.iter().enumerate() {
            let share = percent(*count);
            let (colour, within) = match other == at {
                true => ("--right", format!(" ({:.1})", percent(groups.within[at]))),
                false => ("--wrong", String::new()),
            };
            let _ = write!(
                text,
                "<td style=\"background: color-mix(in srgb, var({colour}) {:.0}%, transparent)\">{share:.1}{within}</td>",
                (0.4 * share).min(40.0)
            );
        }
        text.push_str("</tr>\n");
    }
    text.push_str("</table></div>\n");
    Some(text)
}

/// The first `shown` episodes with their predictions.
fn episodes_section(set: &ImageSet, episodes: &[EvaluatedEpisode], shown: usize) -> String {
    let mut body = String::new();
    for (number, episode) in episodes.iter().enumerate().take(shown) {
        let predictions: Vec<Prediction> = episode.predictions().collect();
        let right = predictions.iter().filter(|prediction| prediction.predicted == prediction.actual).count();
        let diverged = if episode.has_answers() { "" } else { ", since it diverged: there are no answers" };
        let _ = writeln!(
            body,
            "<h3>Episode {number}: {right} of {} correct{diverged}</h3>",
            episode.selection.query.len()
        );
        let shots = episode.selection.support.chunks(episode.selection.support.len() / episode.ways);
        for (way, support) in shots.enumerate() {
            let name = display_name(set, support[0]);
            let _ = write!(body, "<div class=\"way\"><div class=\"card\">way {way}: {}<br/>", escaped(&name));
            support.iter().for_each(|picture| body.push_str(&images::element(set, *picture)));
            body.push_str("</div>\n");
            for prediction in predictions.iter().filter(|prediction| prediction.actual == way) {
                let (class, mark) = match prediction.predicted == way {
                    true => ("right", "✓".to_string()),
                    false => ("wrong", format!("✗ way {}", prediction.predicted)),
                };
                let _ = writeln!(
                    body,
                    "<div class=\"query {class}\">{}<br/>{mark} {:.0} %</div>",
                    images::element(set, prediction.image_ref),
                    100.0 * prediction.probability,
                );
            }
            body.push_str("</div>\n");
        }
    }
    body.push_str(
        "<p class=\"note\">Each row is a class: its support images, then its query images, each with the predicted class and \
         its probability.</p>\n",
    );
    section("episodes", "Sample episodes", &body)
}

/// `title` is plain text, `body` HTML.
fn section(id: &str, title: &str, body: &str) -> String {
    format!("<section id=\"{id}\">\n<h2>{}</h2>\n{body}</section>\n", escaped(title))
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().collect::<String>() + letters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Glyphs;

    #[test]
    fn an_episode_that_diverged_is_shown_without_answers() {
        let set = Glyphs { alphabets: 1, characters: 9, drawings: 1, seed: 0 }.draw(14).unwrap();
        let episodes = episode::samples();
        let shown = episodes_section(&set, &episodes, 2);
        for words in [
            "<h3>Episode 0: 3 of 4 correct</h3>",
            "<h3>Episode 1: 0 of 4 correct, since it diverged: there are no answers</h3>",
        ] {
            assert!(shown.contains(words), "{shown}");
        }
        // Both episodes show their support images, and only the first its answers.
        assert_eq!(shown.matches("class=\"way\"").count(), 4);
        assert_eq!(shown.matches("class=\"query right\"").count(), 3);
        assert_eq!(shown.matches("class=\"query ").count(), 4);
        // The letters alone may be part of an image.
        assert!(!shown.contains("NaN %"), "{shown}");

        let mistakes = |episodes: &[EvaluatedEpisode]| -> Vec<_> {
            let mistakes = confusion::mistakes(episodes, MISTAKES).into_iter();
            mistakes.map(|mistake| (mistake.count, mistake.chances)).collect()
        };
        assert_eq!(mistakes(&episodes), [(1, 2)]);
        let diverged = &episodes[1..];
        assert!(mistakes(diverged).is_empty());
        let said = "Every query image of the episodes that did not diverge was classified correctly.";
        assert!(confusion_section(&set, diverged).contains(said));
    }
}
