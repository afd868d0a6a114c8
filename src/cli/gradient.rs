//! `metaburn gradient`: a gradient case computed, for holding against another framework's.

use super::Outcome;
use burn::tensor::DType;
use clap::{Args, ValueEnum};
use metaburn::archive::Archive;
use metaburn::backend;
use metaburn::case::{Case, Which};
use metaburn::config::Backend;
use std::path::PathBuf;
use std::process::ExitCode;

/// Compute a case's adapted weights and meta-gradient, to compare with another framework
///
/// Example: metaburn gradient --case golden.safetensors --estimator exact --out ours.safetensors --dtype f64
#[derive(Args)]
pub struct Gradient {
    /// The case: images, labels, weights and hyper-parameters (safetensors)
    #[arg(long)]
    case: PathBuf,
    /// Which gradient
    #[arg(long, value_enum)]
    estimator: Estimator,
    /// Where to write the results, in the case's own layout (safetensors)
    #[arg(long)]
    out: PathBuf,
    /// Precision to compute in; f64 on flex and ndarray only
    #[arg(long, value_enum, default_value = "f32")]
    dtype: Precision,
    /// Where to compute
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
        let opened = backend::open(self.backend)?;
        let on_cpu = matches!(opened.backend, Backend::Flex | Backend::Ndarray);
        if self.dtype == Precision::F64 && !on_cpu {
            let backend = opened.backend;
            return Err(
                format!("--dtype f64 needs --backend flex or ndarray; {backend} computes in f32").into()
            );
        }
        let dtype = if self.dtype == Precision::F64 { DType::F64 } else { DType::F32 };
        let case = Case::read(&Archive::read(&self.case)?, &opened.device, dtype)?;
        let which = match self.estimator {
            Estimator::Exact => Which::Exact,
            Estimator::FirstOrder => Which::FirstOrder,
        };
        case.run(which).write(&self.out)?;
        eprintln!("wrote {}", self.out.display());
        Ok(ExitCode::SUCCESS)
    }
}
