//! A run on one page: what it was, what it reached, how it errs, and how to make it again. The page is one HTML file
//! that needs nothing but itself.

mod confusion;
mod judged;
mod pictures;

pub use judged::{Answer, Judged, accuracy};

use crate::backend::Opened;
use crate::config::{self, Config};
use crate::data::{ImageSet, Part, called};
use crate::report::html::{data_uri, document, escaped, table};
use crate::report::{Against, Figure, RunCurves, portrait};
use crate::trainer::{RunDir, Session, Standing, Which, quoted};
use std::fmt::Write;
use std::time::SystemTime;

/// Mistakes that are shown.
const MISTAKES: usize = 12;
/// Groups of classes, such as alphabets, that still make a table that can be read.
const GROUPS: usize = 24;

/// What the page tells of.
pub struct Page<'a> {
    /// The run.
    pub run: &'a RunDir,
    /// Its configuration.
    pub config: &'a Config,
    /// Where it stood at the checkpoint that was taken.
    pub standing: &'a Standing,
    /// Which checkpoint that is.
    pub checkpoint: Which,
    /// Its curves; `None` if it has not taken a step.
    pub curves: Option<&'a RunCurves>,
    /// Its images.
    pub set: &'a ImageSet,
    /// The part that the episodes are of.
    pub part: Part,
    /// Episodes, judged.
    pub episodes: &'a [Judged],
    /// How many of them are shown.
    pub shown: usize,
    /// Where they were judged.
    pub opened: &'a Opened,
    /// How the program is called.
    pub program: &'a str,
}

impl Page<'_> {
    /// The whole file.
    ///
    /// # Errors
    /// Only where the configuration was changed by hand to what TOML cannot hold.
    pub fn html(&self) -> Result<String, config::Error> {
        let title = self.curves.map_or_else(|| self.run.path().display().to_string(), |run| run.name.clone());
        let body = format!(
            "<main>\n<h1>{}</h1>\n{}{}{}{}{}{}{}</main>\n",
            escaped(&title),
            self.reached(),
            self.drawn(),
            self.confused(),
            self.sampled(),
            self.configured()?,
            self.surrounded(),
            self.commanded(),
        );
        Ok(document(&title, &body))
    }

    /// The accuracy, and what it depends on.
    fn reached(&self) -> String {
        let (config, standing) = (self.config, self.standing);
        let (mean, ci95) = accuracy(self.episodes);
        let best = standing.best.map_or_else(String::new, |best| {
            format!(" Best validation: {:.2} % after outer step {}.", best.accuracy, best.step)
        });
        let said = format!(
            "{} episodes, {}-way {}-shot, batch norm {}, of classes that were not trained on; the interval is of 95 %. \
             {}, after {} outer steps, {} gradient evaluations and {:.0} s of training.{best}",
            self.episodes.len(),
            config.task.ways,
            config.task.shots,
            config.model.batch_norm,
            match self.checkpoint {
                Which::Latest => "The latest checkpoint",
                Which::Best => "The checkpoint with the best validation",
                Which::After(_) => "An earlier checkpoint",
            },
            standing.step,
            standing.evaluations.total(),
            standing.seconds,
        );
        section(
            "accuracy",
            &format!("{} accuracy", capitalised(self.part.name())),
            &format!(
                "<p class=\"score\">{mean:.2} % ± {ci95:.2}</p>\n<p class=\"note\">{}</p>\n",
                escaped(&said)
            ),
        )
    }

    /// Curves, with the estimator's among them.
    fn drawn(&self) -> String {
        let Some(run) = self.curves else {
            return section("curves", "Curves", "<p class=\"note\">The run has not taken a step yet.</p>\n");
        };
        // An image for each panel: on a narrow screen they stand below each other.
        let curves = portrait(run, Against::Steps).panels.into_iter().map(|panel| {
            let what = escaped(panel.y.label());
            let uri = data_uri("image/svg+xml", Figure { panels: vec![panel] }.svg().as_bytes());
            format!("<figure><img class=\"curve\" src=\"{uri}\" alt=\"{what} by outer steps\"/></figure>\n")
        });
        let told = format!(
            "Means over consecutive outer steps, with bands of 95 %. The estimator is {}; products are the \
             Hessian-vector products that it took of each meta-batch.",
            self.config.estimator.name()
        );
        let curves: String = curves.collect();
        section(
            "curves",
            "Curves, and the estimator's behaviour",
            &format!("<div class=\"curves\">\n{curves}</div>\n<p class=\"note\">{}</p>\n", escaped(&told)),
        )
    }

    fn confused(&self) -> String {
        let mut body = String::from(
            "<p class=\"note\">Every episode has classes of its own; so a mistake is counted against how often it was \
             possible, which is when both classes were in the episode.</p>\n<div class=\"cards\">\n",
        );
        let mistakes = confusion::mistakes(self.episodes, MISTAKES);
        for mistake in &mistakes {
            let _ = writeln!(
                body,
                "<div class=\"card\">{}{}<br/>{} taken for {}<br/><span class=\"wrong\">{} of {}</span></div>",
                pictures::element(self.set, mistake.image),
                pictures::element(self.set, mistake.taken_for),
                escaped(&called(self.set, mistake.image)),
                escaped(&called(self.set, mistake.taken_for)),
                mistake.count,
                mistake.chances,
            );
        }
        body.push_str("</div>\n");
        if mistakes.is_empty() {
            body.push_str("<p>No query image was mistaken.</p>\n");
        }
        body.push_str(&self.grouped().unwrap_or_default());
        section("confusion", "What is taken for what", &body)
    }

    /// The confusion of groups, where there are a few.
    fn grouped(&self) -> Option<String> {
        let groups = confusion::groups(self.episodes, self.set, GROUPS)?;
        let mut text = String::from(
            "<h3>By group</h3>\n<p class=\"note\">Rows are what images are, columns what they were taken for, in percent of a \
             row; in brackets, those taken for another class of their own group.</p>\n<div class=\"wide\"><table>\n<tr><th></th>",
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
                let (colour, astray) = match other == at {
                    true => ("--right", format!(" ({:.1})", percent(groups.astray[at]))),
                    false => ("--wrong", String::new()),
                };
                let _ = write!(
                    text,
                    "<td style=\"background: color-mix(in srgb, var({colour}) {:.0}%, transparent)\">{share:.1}{astray}</td>",
                    (0.4 * share).min(40.0)
                );
            }
            text.push_str("</tr>\n");
        }
        text.push_str("</table></div>\n");
        Some(text)
    }

    fn sampled(&self) -> String {
        let mut body = String::new();
        for (number, judged) in self.episodes.iter().enumerate().take(self.shown) {
            let answers: Vec<Answer> = judged.answers().collect();
            let right = answers.iter().filter(|answer| answer.predicted == answer.actual).count();
            let _ = writeln!(body, "<h3>Episode {number}: {right} of {} right</h3>", answers.len());
            let shots = judged.selection.support.chunks(judged.selection.support.len() / judged.ways);
            for (way, support) in shots.enumerate() {
                let name = called(self.set, support[0]);
                let _ =
                    write!(body, "<div class=\"way\"><div class=\"card\">way {way}: {}<br/>", escaped(&name));
                support.iter().for_each(|picture| body.push_str(&pictures::element(self.set, *picture)));
                body.push_str("</div>\n");
                for answer in answers.iter().filter(|answer| answer.actual == way) {
                    let (class, mark) = match answer.predicted == way {
                        true => ("right", "✓".to_string()),
                        false => ("wrong", format!("✗ way {}", answer.predicted)),
                    };
                    let _ = writeln!(
                        body,
                        "<div class=\"query {class}\">{}<br/>{mark} {:.0} %</div>",
                        pictures::element(self.set, answer.picture),
                        100.0 * answer.probability,
                    );
                }
                body.push_str("</div>\n");
            }
        }
        body.push_str(
            "<p class=\"note\">Each row is a class: its support images, then its query images, each with what it was taken \
             for and the probability that the learner gave that.</p>\n",
        );
        section("episodes", "Sample episodes", &body)
    }

    fn configured(&self) -> Result<String, config::Error> {
        Ok(section("config", "Configuration", &format!("<pre>{}</pre>\n", escaped(&self.config.to_toml()?))))
    }

    /// Where the run was trained, and this page made.
    fn surrounded(&self) -> String {
        let row = |name: &str, value: String| [name.to_string(), value];
        let opened = self.opened;
        let rows = [
            row("page by metaburn", env!("CARGO_PKG_VERSION").into()),
            row("judged on", format!("{}: {}", opened.backend, opened.description)),
            row("threads at work", opened.workers.threads.to_string()),
            row("system", format!("{} {}", std::env::consts::OS, std::env::consts::ARCH)),
            row("data", format!("{}, digest {:.12}", self.config.data.source, self.standing.data)),
            row("page written", humantime::format_rfc3339_seconds(SystemTime::now()).to_string()),
        ];
        let sessions = self.run.sessions().into_iter().map(|session| {
            let Session { began, step, command, version, backend, device, threads, system } = session;
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

    fn commanded(&self) -> String {
        let (program, path) = (self.program, self.run.path());
        let (run, config) = (quoted(path), quoted(&path.join("config.toml")));
        let which = match self.checkpoint {
            Which::Latest => String::new(),
            other => format!(" --checkpoint {other}"),
        };
        let (part, episodes) = (self.part.name(), self.episodes.len());
        let commands = format!(
            "# the same run once more, in a new directory\n{program} train {config} --run-dir NEW_DIR\n\
             # on from its latest checkpoint\n{program} resume {run}\n\
             # the accuracy on this page\n{program} eval {run} --split {part} --episodes {episodes}{which}\n\
             # this page\n{program} report {run} --split {part} --episodes {episodes}{which}\n"
        );
        section("commands", "Again", &format!("<pre>{}</pre>\n", escaped(&commands)))
    }
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
