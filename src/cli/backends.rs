//! `metaburn backends`: what this machine can compute with.

use super::{Outcome, output};
use clap::Args;
use metaburn::backend::{self, Opened};
use metaburn::config::Backend;
use serde_json::json;
use std::process::ExitCode;

/// List the backends that this machine has, and why it lacks the others
///
/// Example: metaburn backends
#[derive(Args)]
pub struct Backends {
    /// Print one JSON object per backend on standard output
    #[arg(long)]
    json: bool,
}

impl Backends {
    /// Runs the command.
    pub fn run(self) -> Outcome {
        let auto = backend::open(Backend::Auto).map(|opened| opened.backend);
        for backend in backend::ALL {
            let found = backend::open(backend);
            let chosen = auto.as_ref().is_ok_and(|auto| *auto == backend);
            if self.json {
                output::print(json(backend, &found, chosen))?;
                continue;
            }
            let mark = if chosen { "  (auto takes this one)" } else { "" };
            match found {
                Ok(opened) => output::print(format!("{backend:<8} yes  {}{mark}", opened.description))?,
                Err(error) => output::print(format!("{backend:<8} no   {}", error.reason))?,
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn json(backend: Backend, found: &Result<Opened, backend::Error>, chosen: bool) -> serde_json::Value {
    match found {
        Ok(opened) => json!({
            "backend": backend, "available": true, "device": opened.description,
            "gpu": opened.is_gpu, "auto": chosen,
        }),
        Err(error) => json!({ "backend": backend, "available": false, "reason": error.reason }),
    }
}
