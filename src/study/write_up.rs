//! The report: one page of Markdown with the figures in it, and the data beside it.

use super::folder::{Folder, flat};
use super::{About, Claim, Conclusion, Error, Verdict};
use crate::report::Table;
use serde::Serialize;
use serde_json::Value;
use std::fmt::Write;
use std::path::PathBuf;

/// A study that is done and written up.
#[derive(Clone, Debug, Serialize)]
pub struct Finished {
    /// Which.
    pub study: &'static str,
    /// What was expected, and whether it held.
    pub claims: Vec<Claim>,
    /// Seconds of work, over all sessions.
    pub seconds: f64,
    /// The report's file.
    pub report: PathBuf,
}

impl Finished {
    /// How many claims came to `verdict`.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.claims.iter().filter(|claim| claim.verdict == verdict).count()
    }

    /// What became of the claims, in a line.
    pub fn summary(&self) -> String {
        let counts =
            [Verdict::Held, Verdict::Failed, Verdict::Open].map(|verdict| (self.count(verdict), verdict));
        let said = counts.iter().filter(|(count, _)| *count > 0);
        let said: Vec<String> = said.map(|(count, verdict)| format!("{count} {verdict}")).collect();
        format!("of {} claims, {}", self.claims.len(), said.join(", "))
    }
}

/// Writes figures, data and report into `folder`.
///
/// # Errors
/// If something cannot be written.
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
    let mut page = format!("# {}\n\n{}\n\n", about.title, about.shows);
    // Writing to a string cannot fail.
    let _ = writeln!(page, "Of what was expected: {}.\n\n{}", finished.summary(), claims.markdown());
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
        "## How\n\n`{command}`, {:.0} s of work. The data: {}. Figures are there as SVG too. A claim held \
         if its whole 95 % interval is where it was expected, did not hold if none of it is, and is open \
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
