//! Processes that a launcher such as `mpirun` or `srun` starts together.
//!
//! `train` and `resume` share one run among them, by MPI. Every other command that trains would be run once by each process,
//! in the same folder; it is refused.

use super::exit::{self, Outcome};
use bilevel::ranks::{Alone, Ranks};
use std::process::ExitCode;
use std::sync::Arc;

/// The variables in which launchers tell a process how many there are, and which of them it is.
const VARIABLES: [[&str; 2]; 3] = [
    ["OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"],
    ["PMI_SIZE", "PMI_RANK"],
    // Of a step, which `srun` starts. A batch script has SLURM_NTASKS too, but is one process.
    ["SLURM_STEP_NUM_TASKS", "SLURM_PROCID"],
];

/// A start together with other processes.
struct Launch {
    processes: usize,
    /// The variable that says so.
    variable: &'static str,
    is_first: bool,
}

impl Launch {
    /// The launch of this process; `None` if it was started alone.
    fn found(variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        VARIABLES.into_iter().find_map(|[size, rank]| {
            let processes = variable(size)?.trim().parse().ok().filter(|size| *size > 1)?;
            let is_first = variable(rank).is_none_or(|rank| rank.trim() == "0");
            Some(Self { processes, variable: size, is_first })
        })
    }

    fn here() -> Option<Self> {
        Self::found(|name| std::env::var(name).ok())
    }

    /// Refuses to go on, for the `reason`; one process says so for all.
    fn refuse(&self, reason: &str) -> Outcome {
        if self.is_first {
            return Err(format!(
                "a launcher started {} processes of this command ({}): {reason}",
                self.processes, self.variable
            )
            .into());
        }
        Ok(ExitCode::from(exit::USER_ERROR))
    }
}

/// Runs `work` unless a launcher started several processes; `instead` says what to do then.
pub fn alone(instead: &str, work: impl FnOnce() -> Outcome) -> Outcome {
    match Launch::here() {
        None => work(),
        Some(launch) => {
            launch.refuse(&format!("each would do all of the work in the same folder; {instead}"))
        }
    }
}

/// Runs `work` as one of the ranks that a launcher started, or alone. An error of one rank ends all.
#[cfg(feature = "mpi")]
pub fn together(work: impl FnOnce(Arc<dyn Ranks>) -> Outcome) -> Outcome {
    use super::output;
    use bilevel::panics::catch;
    use bilevel::ranks::MpiSession;
    use std::time::Duration;

    /// How long the others leave an error to rank 0, which usually has the same one, and then ends them.
    const PATIENCE: Duration = Duration::from_secs(2);

    let Some(launch) = Launch::here() else { return work(Arc::new(Alone)) };
    let session = MpiSession::begin()?;
    let ranks = session.ranks();
    if ranks.count() != launch.processes {
        return launch.refuse(&format!(
            "MPI sees {} of them, because the launcher does not belong to the MPI library of this program; use the mpirun of \
             that library, or with Slurm try `srun --mpi=pmix` (docs/clusters.md)",
            ranks.count()
        ));
    }
    let rank = ranks.rank();
    if rank > 0 {
        output::silence();
    }
    let (message, code) = match catch(|| work(ranks)) {
        Ok(Ok(code)) => return Ok(code),
        Ok(Err(error)) => (error.to_string(), error.number()),
        Err(reason) => (format!("computing failed: {reason}"), exit::FAILED),
    };
    if rank > 0 {
        std::thread::sleep(PATIENCE);
    }
    output::say_anyway(format_args!("error: rank {rank}: {message}"));
    metaburn::support::lock::release_all();
    session.abort(code.into())
}

/// Runs `work` alone. This program was built without MPI.
#[cfg(not(feature = "mpi"))]
pub fn together(work: impl FnOnce(Arc<dyn Ranks>) -> Outcome) -> Outcome {
    match Launch::here() {
        None => work(Arc::new(Alone)),
        Some(launch) => launch.refuse(
            "this program was built without MPI, so each process would train the whole run in the same folder. Build it with \
             `cargo build --release --features mpi`, or start one process (docs/clusters.md)",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_launch_is_found_by_the_variables_of_its_launcher() {
        let found = |variables: &[(&str, &str)]| {
            let variables: Vec<(String, String)> =
                variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
            let value = |name: &str| {
                variables.iter().find(|variable| variable.0 == name).map(|variable| variable.1.clone())
            };
            Launch::found(value).map(|launch| (launch.processes, launch.variable, launch.is_first))
        };
        assert_eq!(found(&[]), None);
        assert_eq!(found(&[("OMPI_COMM_WORLD_SIZE", "1"), ("PMI_SIZE", "many")]), None);
        let four = [("OMPI_COMM_WORLD_SIZE", "4"), ("OMPI_COMM_WORLD_RANK", "2")];
        assert_eq!(found(&four), Some((4, "OMPI_COMM_WORLD_SIZE", false)));
        assert_eq!(found(&[("PMI_SIZE", "2"), ("PMI_RANK", "0")]), Some((2, "PMI_SIZE", true)));
        // A batch script of four tasks is one process.
        assert_eq!(found(&[("SLURM_NTASKS", "4"), ("SLURM_PROCID", "0")]), None);
        let step = [("SLURM_STEP_NUM_TASKS", "4"), ("SLURM_PROCID", "3")];
        assert_eq!(found(&step), Some((4, "SLURM_STEP_NUM_TASKS", false)));
    }
}
