//! Advice that the command line adds to the library's error messages: what to type next.

use metaburn::data::{self, registry};
use metaburn::run::{self, RunDir, quoted};
use metaburn::support::classified::Classified;
use std::any::Any;
use std::path::Path;

/// The advice for `error`, or for the error it wraps, if there is any.
pub fn advice(error: &dyn Classified) -> Option<String> {
    let any: &dyn Any = error;
    if let Some(error) = any.downcast_ref::<run::Error>() {
        return after_run_error(error);
    }
    match any.downcast_ref::<data::Error>() {
        Some(error) => after_data_error(error),
        None => advice(error.wrapped()?),
    }
}

/// For a dataset that has not been fetched: the command that fetches it, and what needs no files. For a list that does not suit
/// the images: that images need none.
fn after_data_error(error: &data::Error) -> Option<String> {
    let path = match error {
        data::Error::NoFolder { path } => path,
        data::Error::List { .. } | data::Error::NoLists { .. } => {
            return Some("with --set data.list= no list is read, and each class is a folder".into());
        }
        _ => return None,
    };
    let dataset = registry::datasets().find(|dataset| path.ends_with(dataset.folder))?;
    Some(format!(
        "`metaburn data fetch {}` downloads {} there; the built-in glyphs (data.source=glyphs) need no files",
        dataset.name, dataset.title
    ))
}

fn after_run_error(error: &run::Error) -> Option<String> {
    Some(match error {
        run::Error::NoRun { path } => format!(
            "`metaburn train` creates run directories, by default under checkpoints/; start a run here \
             with `metaburn train --run-dir {}`",
            quoted(path)
        ),
        run::Error::Occupied { path } => format!(
            "continue it with `metaburn resume {0}`, or longer than planned with `metaburn resume {0} --steps N`; or choose \
             another directory with --run-dir",
            quoted(path)
        ),
        run::Error::InUse { holder, .. } => holder.advice(),
        run::Error::NoSteps { path } | run::Error::NoCheckpoint { path } => {
            format!("train it first with `metaburn resume {}`", quoted(path))
        }
        run::Error::NoBest { path } => without_best(path),
        run::Error::NoSoundCheckpoint { path, .. } => format!(
            "restore a checkpoint from a backup, or start again with `metaburn train {} --run-dir DIR`",
            quoted(&RunDir::at(path).config_file())
        ),
        run::Error::Config(_)
        | run::Error::Archive(_)
        | run::Error::Io { .. }
        | run::Error::Leftovers { .. }
        | run::Error::Changed { .. }
        | run::Error::Settings { .. }
        | run::Error::Split { .. }
        | run::Error::FewBest { .. }
        | run::Error::NoStep { .. }
        | run::Error::Checkpoint { .. } => return None,
    })
}

/// For a run without a best checkpoint, which would be at `best`: more training, if the run validates at all.
fn without_best(best: &Path) -> String {
    let run = best.ancestors().nth(2).unwrap_or(best);
    let validates = RunDir::open(run).is_ok_and(|(_, config)| config.eval.every > 0);
    match validates {
        true => format!(
            "train it further with `metaburn resume {} --steps N`, or use --checkpoint latest",
            quoted(run)
        ),
        false => "set eval.every in a new run, or use --checkpoint latest".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::exit::CommandError;
    use super::*;
    use metaburn::{inference, study, train};

    #[test]
    fn advice_follows_the_message_of_a_wrapped_error() {
        let occupied = || run::Error::Occupied { path: "my runs/one".into() };
        let expected = "my runs/one already holds a run; continue it with `metaburn resume 'my runs/one'`, or \
                        longer than planned with `metaburn resume 'my runs/one' --steps N`; or choose another directory \
                        with --run-dir";
        assert_eq!(CommandError::from(occupied()).to_string(), expected);
        let training = || train::Error::from(occupied());
        assert_eq!(CommandError::from(study::Error::Trainer(training())).to_string(), expected);
        assert_eq!(CommandError::from(inference::Error::Trainer(training())).to_string(), expected);
        assert_eq!(CommandError::from(std::io::Error::other("broken")).to_string(), "broken");
    }
}
