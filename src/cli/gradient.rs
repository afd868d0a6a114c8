//! `metaburn gradient`: computes a gradient test case, for comparison with other frameworks.

use super::{Outcome, output};
use bilevel::device;
use bilevel::device::Backend;
use burn::tensor::DType;
use clap::{Args, ValueEnum};
use metaburn::gradient_case::{Case, Which};
use metaburn::support::archive::Archive;
use std::path::PathBuf;
use std::process::ExitCode;

/// Compute the adapted weights and the meta-gradient of a test case, for comparison with other frameworks
///
/// Example: metaburn gradient --case golden.safetensors --estimator exact --out ours.safetensors --dtype f64
#[derive(Args)]
pub struct Gradient {
    /// Test case: images, labels, weights and hyperparameters (safetensors)
    #[arg(long)]
    case: PathBuf,
    /// Gradient to compute
    #[arg(long, value_enum)]
    estimator: Estimator,
    /// File for the results, in the layout of the test case (safetensors)
    #[arg(long)]
    out: PathBuf,
    /// Floating-point precision; f64 requires flex or ndarray
    #[arg(long, value_enum, default_value = "f32")]
    dtype: Precision,
    /// Compute backend
    #[arg(long, default_value = "flex")]
    backend: Backend,
}

#[derive(Clone, Copy, ValueEnum)]
enum Estimator {
    Exact,
    FirstOrder,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Precision {
    F32,
    F64,
}

impl Gradient {
    /// Runs the command.
    pub fn run(self) -> Outcome {
        let opened = device::open(self.backend)?;
        let on_cpu = matches!(opened.backend, Backend::Flex | Backend::Ndarray);
        if self.dtype == Precision::F64 && !on_cpu {
            let backend = opened.backend;
            return Err(
                format!("--dtype f64 requires --backend flex or ndarray; {backend} computes in f32").into()
            );
        }
        let dtype = if self.dtype == Precision::F64 { DType::F64 } else { DType::F32 };
        let case = Case::read(&Archive::read(&self.case)?, &opened.device, dtype)?;
        let which = match self.estimator {
            Estimator::Exact => Which::Exact,
            Estimator::FirstOrder => Which::FirstOrder,
        };
        case.run(which).write(&self.out)?;
        output::say(format_args!("wrote {}", self.out.display()));
        Ok(ExitCode::SUCCESS)
    }
}
