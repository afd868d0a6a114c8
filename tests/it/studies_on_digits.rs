//! The studies of hyper-cleaning and of hyperparameters at small sizes, on artificial patches and on MNIST.

use crate::common::optional::data_set;
use crate::common::problems::labelled_images;
use crate::common::run;
use bilevel::device;
use bilevel::device::Backend;
use metaburn::data::Mnist;
use metaburn::study::hypercleaning::Hypercleaning;
use metaburn::study::hyperparameters::Hyperparameters;
use metaburn::study::{
    Claim, Digits, DigitsStudy, Finished, Observer, Size, Study, Verdict, run as run_study,
};
use serde_json::Value;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

struct Nobody;

impl Observer for Nobody {}

/// Artificial patches instead of MNIST.
fn made_up() -> Digits {
    let all = Mnist { train: labelled_images(400, 12, 4, 1), test: labelled_images(100, 12, 4, 2) };
    Digits::new(all, device::open(Backend::Flex).expect("flex is always there"))
}

/// MNIST, if it is available.
fn mnist() -> Option<Digits> {
    Some(Digits::read(&data_set("mnist")?, Backend::Flex).expect("sound files"))
}

fn finished(study: &impl Study, folder: &Path) -> Finished {
    run_study(study, folder, "metaburn study", &mut Nobody).unwrap_or_else(|error| panic!("{error}"))
}

fn claim<'a>(finished: &'a Finished, words: &str) -> &'a Claim {
    let found = finished.claims.iter().find(|claim| claim.claim.contains(words));
    found.unwrap_or_else(|| panic!("no claim of {words} in {:#?}", finished.claims))
}

/// The record of the piece called `key`.
fn record(folder: &Path, key: &str) -> Value {
    let text = fs::read_to_string(folder.join(format!("records/{key}.json"))).expect("a record");
    serde_json::from_str::<Value>(&text).expect("JSON")["record"].clone()
}

/// A table's rows, by the file's name without extension.
fn rows(folder: &Path, name: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(folder.join(format!("data/{name}.csv"))).expect("a table");
    text.lines().skip(1).map(|row| row.split(',').map(String::from).collect()).collect()
}

fn number(cell: &str) -> f64 {
    cell.parse().expect("a number")
}

/// Asserts what the study of hyper-cleaning at `size` shows on any data: the exact gradient's weights are below ½ for at
/// least a fraction `apart` of the wrong labels, and above ½ for as many of the right ones.
fn cleans(digits: Digits, size: Size, apart: f64) -> Finished {
    let folder = TempDir::new().unwrap();
    let finished = finished(&Hypercleaning { digits, size: size.clone() }, folder.path());
    assert_eq!(claim(&finished, "first-order does not change the weights").verdict, Verdict::Held);
    for seed in 0..size.seeds {
        assert_eq!(record(folder.path(), &format!("{seed}-first-order"))["Cleaned"]["moved"], 0.0);
        let exact = record(folder.path(), &format!("{seed}-exact"))["Cleaned"].clone();
        let [right, wrong] = [0, 1].map(|group| {
            let counts = exact["histogram"][group].as_array().expect("counts");
            counts.iter().map(|count| count.as_f64().expect("a count")).collect::<Vec<_>>()
        });
        assert_eq!([&right, &wrong].map(|counts| counts.iter().sum::<f64>()), [size.train as f64 / 2.0; 2]);
        let half = right.len() / 2;
        let share = |counts: &[f64], all: &[f64]| counts.iter().sum::<f64>() / all.iter().sum::<f64>();
        let found = [share(&right[half..], &right), share(&wrong[..half], &wrong)];
        assert!(found.iter().all(|share| *share > apart), "seed {seed}: {found:?}");
        assert!(exact["moved"].as_f64().is_some_and(|way| way > 1.0));
    }
    // Every estimator spends the budget and takes no further step.
    let most = 2 * size.inner_steps as u64 + 1;
    for row in rows(folder.path(), "descents").chunk_by(|a, b| a[..2] == b[..2]) {
        let last = number(&row[row.len() - 1][3]) as u64;
        assert!((size.evaluations..size.evaluations + most).contains(&last), "{row:?}");
    }
    finished
}

#[test]
fn cleaning_separates_right_labels_from_wrong_ones() {
    let size =
        Size { seeds: 2, train: 120, validation: 120, test: 100, inner_steps: 16, evaluations: 33 * 30 };
    cleans(made_up(), size, 0.8);
}

#[test]
fn cleaning_mnist_beats_training_on_everything() {
    let Some(digits) = mnist() else { return };
    let size =
        Size { seeds: 2, train: 500, validation: 500, test: 1000, inner_steps: 20, evaluations: 41 * 12 };
    let finished = cleans(digits, size, 0.75);
    for words in ["minus the oracle's", "exact: test accuracy minus that of training", "truncated(1) learns"]
    {
        let claim = claim(&finished, words);
        assert_ne!(claim.verdict, Verdict::Failed, "{claim:?}");
    }
    assert!(claim(&finished, "exact: test accuracy minus that of training").measured.value > 2.0);
}

#[test]
fn descents_and_search_spend_the_same_within_the_same_ranges() {
    let folder = TempDir::new().unwrap();
    let size = Size { seeds: 2, train: 60, validation: 60, test: 100, inner_steps: 10, evaluations: 21 * 12 };
    let study = Hyperparameters { digits: made_up(), size };
    let finished = finished(&study, folder.path());
    assert_eq!(claim(&finished, "first-order does not change θ").verdict, Verdict::Held);
    for seed in 0..2 {
        let of = |estimator: &str| record(folder.path(), &format!("{seed}-{estimator}"));
        assert_eq!(of("first-order")["moved"], 0.0);
        let losses = |estimator: &str| -> Vec<[f64; 2]> {
            let trials = of(estimator)["trials"].as_array().expect("trials").clone();
            trials.iter().map(|trial| [0, 1].map(|at| trial[at].as_f64().expect("a number"))).collect()
        };
        let (exact, random) = (losses("exact"), losses("random"));
        // A random draw at which training breaks down has no loss.
        assert!(exact.len() == 12 && (11..=252 / 11).contains(&random.len()));
        assert_eq!((exact[0][0], exact[11][0]), (21.0, 252.0));
        assert!(random.iter().all(|[evaluations, _]| evaluations % 11.0 == 0.0 && *evaluations <= 252.0));
        // All descents start at the same place, where first-order stays, and exact's leads down.
        assert_eq!([losses("first-order")[0][1], losses("ufom")[0][1]], [exact[0][1]; 2]);
        assert!(exact.iter().any(|[_, loss]| *loss < exact[0][1]));
    }
    let best = rows(folder.path(), "best");
    let drawn: Vec<_> = best.iter().filter(|row| row[0] == "random").collect();
    assert_eq!(drawn.len(), 2 * 5);
    for row in &drawn {
        let (rate, penalty) = (number(&row[4]), number(&row[5]));
        assert!((1e-3..10.0).contains(&rate) && (1e-5..0.1).contains(&penalty), "{row:?}");
    }
    let mut rates: Vec<&String> = drawn.iter().map(|row| &row[4]).collect();
    rates.sort();
    rates.dedup();
    assert_eq!(rates.len(), 10, "every layer of every seed has its own: {drawn:?}");
}

#[test]
fn without_mnist_the_error_says_how_to_get_it() {
    let folder = TempDir::new().unwrap();
    for study in ["hypercleaning", "hyperparameters"] {
        run(folder.path(), &format!("study {study}"))
            .refused(&["datasets/mnist", "metaburn data fetch mnist"]);
        run(folder.path(), &format!("study {study} --data here"))
            .refused(&["here", "metaburn data fetch mnist"]);
    }
}

#[test]
fn a_size_beyond_the_data_is_refused() {
    let folder = TempDir::new().unwrap();
    let size = Size { train: 4000, ..Hypercleaning::QUICK };
    let study = Hypercleaning { digits: made_up(), size };
    let error = run_study(&study, folder.path(), "", &mut Nobody).unwrap_err().to_string();
    assert!(error.contains("5000") && error.contains("400"), "{error}");
}
