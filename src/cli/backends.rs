//! `metaburn backends`: lists the compute backends and whether each is available.

use super::{Outcome, output};
use bilevel::device::{self, Backend, Opened};
use clap::Args;
use serde_json::json;
use std::process::ExitCode;

/// List the compute backends, and why any of them is unavailable
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
        let auto = device::open(Backend::Auto).map(|opened| opened.backend);
        for backend in device::ALL {
            let found = device::open(backend);
            let chosen = auto.as_ref().is_ok_and(|auto| *auto == backend);
            if self.json {
                output::print(json(backend, &found, chosen))?;
                continue;
            }
            let mark = if chosen { "  (used by auto)" } else { "" };
            match found {
                Ok(opened) => output::print(format!("{backend:<8} yes  {}{mark}", opened.description))?,
                Err(error) => output::print(format!("{backend:<8} no   {}", error.reason))?,
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn json(backend: Backend, found: &Result<Opened, device::Error>, chosen: bool) -> serde_json::Value {
    match found {
        Ok(opened) => json!({
            "backend": backend, "available": true, "device": opened.description,
            "gpu": opened.is_gpu, "auto": chosen,
        }),
        Err(error) => json!({ "backend": backend, "available": false, "reason": error.reason }),
    }
}
