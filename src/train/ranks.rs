//! What the ranks of a run tell each other besides gradients: that they are alike, whether one of them stops, what rank 0 read
//! and whether it could write.

use super::{Episodes, Error, Learner, Trainer, Watcher};
use crate::config::Config;
use crate::data::KeptSplit;
use crate::run::{self, Best, Ranking, RunDir, Saved};
use crate::support::hex::hex;
use crate::support::settings::{Difference, differences};
use bilevel::device;
use bilevel::ranks::Ranks;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs;

/// Checks that all ranks compute the same, and with the same bits.
///
/// # Errors
/// Returns an error that names what differs, or that there are more ranks than tasks.
pub fn check_alike(
    config: &Config,
    split: Option<&KeptSplit>,
    learner: &Learner,
    episodes: &Episodes,
) -> Result<(), Error> {
    let (ranks, tasks) = (&learner.ranks, config.outer.meta_batch);
    if ranks.count() == 1 {
        return Ok(());
    }
    let own = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "backend": learner.opened.backend.to_string(),
        "processor": device::processor(),
        "data": episodes.digest(),
        "split": hex(&Sha256::digest(json!(split).to_string())),
        "configuration": config.described(),
    });
    let all = ranks.gather(own.to_string().as_bytes());
    let all: Vec<Value> = all.iter().map(|bytes| serde_json::from_slice(bytes).unwrap_or_default()).collect();
    for (rank, other) in all.iter().enumerate() {
        let found = differences(&all[0], other);
        if !found.is_empty() {
            let said = |Difference { key, first, second }| {
                format!("{key} is {first} on rank 0 and {second} on rank {rank}")
            };
            return Err(Error::Unlike { differences: found.into_iter().map(said).collect() });
        }
    }
    if ranks.count() > tasks {
        return Err(Error::FewTasks { ranks: ranks.count(), tasks });
    }
    Ok(())
}

/// The split of `run` as rank 0 finds it, on all ranks; see [`RunDir::split`].
///
/// # Errors
/// Returns an error if it is damaged.
pub fn split_of_first(run: &RunDir, ranks: &dyn Ranks) -> Result<Option<KeptSplit>, Error> {
    if ranks.count() == 1 {
        return Ok(run.split()?);
    }
    let own = if ranks.rank() == 0 { run.split()? } else { None };
    Ok(value_of_first(ranks, &own))
}

/// `own` of rank 0, on all ranks, sent as JSON.
fn value_of_first<T: Serialize + DeserializeOwned + Default>(ranks: &dyn Ranks, own: &T) -> T {
    let sent = ranks.of_first(json!(own).to_string().into_bytes());
    serde_json::from_slice(&sent).unwrap_or_default()
}

/// A checkpoint as rank 0 sends it.
#[derive(Serialize, Deserialize)]
struct Sent {
    step: u64,
    faults: Vec<String>,
}

/// The latest intact checkpoint of `run` as rank 0 finds it, on all ranks; see [`RunDir::latest`].
///
/// # Errors
/// Returns an error if all checkpoints are damaged.
pub fn latest(run: &RunDir, ranks: &dyn Ranks) -> Result<Option<(Saved, Vec<String>)>, Error> {
    if ranks.count() == 1 {
        return Ok(run.latest()?);
    }
    let mut found = if ranks.rank() == 0 { run.latest()? } else { None };
    let sent = found.as_mut().map(|(saved, faults)| -> Result<_, Error> {
        let path = run.checkpoint_file(saved.training_state.step);
        let bytes = fs::read(&path).map_err(run::failed("read", &path))?;
        Ok((Sent { step: saved.training_state.step, faults: std::mem::take(faults) }, bytes))
    });
    let (header, bytes) = sent.transpose()?.unzip();
    let header = value_of_first(ranks, &header);
    let bytes = ranks.of_first(bytes.unwrap_or_default());
    let Some(Sent { step, faults }) = header else { return Ok(None) };
    let saved = Saved::parse(&run.checkpoint_file(step), &bytes)?;
    // Rank 0 warns.
    Ok(Some((saved, if ranks.rank() == 0 { faults } else { Vec::new() })))
}

impl Trainer {
    /// Whether one of the ranks is asked to stop. Also asks rank 0 whether to try a failed save again.
    pub(super) fn any_stops(&mut self, watcher: &dyn Watcher) -> bool {
        let own = [watcher.stops(), self.is_first() && self.retry_is_due()];
        let all = self.learner.ranks.gather(&own.map(u8::from));
        let [stops, retries] = [0, 1].map(|flag| all.iter().any(|flags| flags.get(flag) == Some(&1)));
        self.retries = retries;
        stops
    }

    /// Rank 0's outcome of writing, on all ranks: what went wrong, if something did.
    pub(super) fn outcome_of_first(&self, own: Result<(), Error>) -> Result<(), String> {
        let reason = own.err().map(|error| error.to_string()).unwrap_or_default();
        let reason = self.learner.ranks.of_first(reason.into_bytes());
        if reason.is_empty() { Ok(()) } else { Err(String::from_utf8_lossy(&reason).into_owned()) }
    }

    /// Checks that all ranks have the same weights.
    ///
    /// # Errors
    /// Returns an error that names the ranks that have others than rank 0.
    pub(super) fn check_weights(&self) -> Result<(), Error> {
        let ranks = &self.learner.ranks;
        if ranks.count() == 1 {
            return Ok(());
        }
        let mut digest = Sha256::new();
        for leaf in self.outer.theta().leaves() {
            digest.update(leaf.clone().into_data().as_bytes());
        }
        let all = ranks.gather(hex(&digest.finalize()).as_bytes());
        let others: Vec<String> =
            (0..all.len()).filter(|rank| all[*rank] != all[0]).map(|rank| rank.to_string()).collect();
        if others.is_empty() {
            return Ok(());
        }
        let (step, path) = (self.outer.steps(), self.run.path().to_path_buf());
        Err(Error::Parted { step, ranks: others.join(", "), path })
    }

    /// Brings rank 0's best checkpoints into line with `ranking`, and returns what is left of it on all ranks; see
    /// [`RunDir::return_to`].
    pub(super) fn return_to(&self, ranking: &Ranking) -> Result<Ranking, Error> {
        if self.learner.ranks.count() == 1 {
            return Ok(self.run.return_to(ranking, self.config.checkpoint.keep_best)?);
        }
        let left = match self.is_first() {
            true => self.run.return_to(ranking, self.config.checkpoint.keep_best)?,
            false => Ranking::default(),
        };
        let left: Vec<Best> = value_of_first(&*self.learner.ranks, &left.validations().to_vec());
        Ok(Ranking::new(left))
    }
}
