//! The report of a study: a Markdown page with its figures, and data files beside it.

use super::folder::Folder;
use super::{About, Claim, Conclusion, Error, Verdict};
use crate::report::Table;
use crate::support::settings::flat;
use serde::Serialize;
use serde_json::Value;
use std::fmt::Write;
use std::path::PathBuf;

/// A finished study and its report.
#[derive(Clone, Debug, Serialize)]
pub struct Finished {
    /// Name of the study.
    pub study: &'static str,
    /// Claims with their verdicts.
    pub claims: Vec<Claim>,
    /// Seconds of computation, over all sessions.
    pub seconds: f64,
    /// Path of the report.
    pub report: PathBuf,
}

impl Finished {
    /// Number of claims with `verdict`.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.claims.iter().filter(|claim| claim.verdict == verdict).count()
    }

    /// Numbers of claims by verdict, in a line.
    pub fn summary(&self) -> String {
        let counts =
            [Verdict::Held, Verdict::Failed, Verdict::Open].map(|verdict| (self.count(verdict), verdict));
        let nonzero = counts.iter().filter(|(count, _)| *count > 0);
        let nonzero: Vec<String> = nonzero.map(|(count, verdict)| format!("{count} {verdict}")).collect();
        format!("{} claims: {}", self.claims.len(), nonzero.join(", "))
    }
}

/// Writes figures, data and report into `folder`.
///
/// # Errors
/// Returns an error if a file cannot be written.
pub fn write(
    folder: &Folder,
    about: About,
    settings: &Value,
    conclusion: Conclusion,
    seconds: f64,
    command: &str,
) -> Result<Finished, Error> {
    for illustration in &conclusion.figures {
        for extension in ["svg", "png"] {
            let name = format!("figures/{}.{extension}", illustration.name);
            illustration.figure.write(&folder.path().join(name))?;
        }
    }
    for (name, table) in &conclusion.tables {
        folder.write(&format!("data/{name}.csv"), table.csv().as_bytes())?;
    }
    let report = folder.path().join("report.md");
    let finished = Finished { study: about.name, claims: conclusion.claims.clone(), seconds, report };
    let text = page(about, settings, &conclusion, &finished, command);
    folder.write("report.md", text.as_bytes())?;
    Ok(finished)
}

fn page(
    about: About,
    settings: &Value,
    conclusion: &Conclusion,
    finished: &Finished,
    command: &str,
) -> String {
    let mut claims = Table::new(["claim", "expected", "measured (95 %)", ""]);
    for claim in &conclusion.claims {
        let verdict = match claim.verdict {
            Verdict::Held => claim.verdict.to_string(),
            _ => format!("**{}**", claim.verdict),
        };
        claims.row([claim.claim.clone(), claim.expected_text().into(), claim.measured.to_string(), verdict]);
    }
    let mut page = format!("# {}\n\n{}\n\n", about.title, about.description);
    // Writing to a string cannot fail.
    let _ = writeln!(page, "{}.\n\n{}", finished.summary(), claims.markdown());
    for remark in &conclusion.remarks {
        let _ = writeln!(page, "{remark}\n");
    }
    for illustration in &conclusion.figures {
        let (name, caption) = (illustration.name, &illustration.caption);
        let _ = writeln!(page, "![{name}](figures/{name}.png)\n\n{caption}\n");
    }
    let data: Vec<String> =
        conclusion.tables.iter().map(|(name, _)| format!("[{name}](data/{name}.csv)")).collect();
    let _ = writeln!(
        page,
        "## How it was made\n\nCommand: `{command}` ({:.0} s of computation). Data: {}. Every figure is also stored as SVG. A claim \
         held if its whole 95 % interval is in the expected range, did not hold if none of it is, and is open \
         otherwise.\n",
        finished.seconds,
        data.join(", ")
    );
    let mut table = Table::new(["setting", "value"]);
    for (key, value) in flat(settings) {
        table.row([key, value.as_str().map_or_else(|| value.to_string(), String::from)]);
    }
    page + &table.markdown()
}
