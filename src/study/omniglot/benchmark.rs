//! The four settings of few-shot Omniglot, the methods that are compared on them, and the accuracies that were published.

use crate::config::{Error, RawConfig};
use bilevel::{Choice, choice};
use std::fmt::{Display, Formatter};

choice! {
    /// Number of classes and of support images for each.
    pub enum Setting {
        /// 5-way 1-shot.
        FiveWayOneShot = "5w1s",
        /// 5-way 5-shot.
        FiveWayFiveShot = "5w5s",
        /// 20-way 1-shot.
        TwentyWayOneShot = "20w1s",
        /// 20-way 5-shot.
        TwentyWayFiveShot = "20w5s",
    }
}

impl Setting {
    /// Its name in tables and sentences.
    pub fn title(self) -> String {
        let (ways, shots) = self.ways_and_shots();
        format!("{ways}-way {shots}-shot")
    }

    /// Number of classes and of support images for each.
    pub fn ways_and_shots(self) -> (usize, usize) {
        [(5, 1), (5, 5), (20, 1), (20, 5)][self as usize]
    }

    /// The accuracy, in percent, that a reproduction should reach: a little below the best that was published for a network of
    /// four convolutions.
    pub fn goal(self) -> f64 {
        [99.4, 99.8, 97.0, 99.0][self as usize]
    }

    /// The configurations in `configs/`: MAML++'s recipe, and plain MAML.
    fn configs(self) -> [&'static str; 2] {
        [
            [
                include_str!("../../../configs/omniglot-5way-1shot-mamlpp.toml"),
                include_str!("../../../configs/omniglot-5way-1shot.toml"),
            ],
            [
                include_str!("../../../configs/omniglot-5way-5shot-mamlpp.toml"),
                include_str!("../../../configs/omniglot-5way-5shot.toml"),
            ],
            [
                include_str!("../../../configs/omniglot-20way-1shot-mamlpp.toml"),
                include_str!("../../../configs/omniglot-20way-1shot.toml"),
            ],
            [
                include_str!("../../../configs/omniglot-20way-5shot-mamlpp.toml"),
                include_str!("../../../configs/omniglot-20way-5shot.toml"),
            ],
        ][self as usize]
    }
}

choice! {
    /// A way of training.
    pub enum Method {
        /// `configs/omniglot-…-mamlpp.toml`.
        Recipe = "recipe",
        /// `configs/omniglot-prototypes.toml`: one run for all settings.
        Prototypes = "prototypes",
        /// `configs/omniglot-….toml` with exact gradients.
        Maml = "maml",
        /// The same with first-order gradients.
        FirstOrder = "first-order",
    }
}

impl Method {
    /// Its name in tables and sentences.
    pub fn title(self) -> &'static str {
        ["MAML++'s recipe", "prototypes", "MAML", "first-order MAML"][self as usize]
    }
}

/// What is trained together: a run for each seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Training {
    /// How.
    pub method: Method,
    /// The settings in which a run is tested.
    pub settings: &'static [Setting],
}

impl Training {
    /// All of them: prototypes are trained once for all settings, by the other methods once for each.
    pub fn all() -> impl Iterator<Item = Self> {
        Method::ALL.iter().flat_map(|&method| {
            let together = if method == Method::Prototypes { Setting::ALL.len() } else { 1 };
            Setting::ALL.chunks(together).map(move |settings| Self { method, settings })
        })
    }

    /// Its configuration, before the user's overrides.
    ///
    /// # Errors
    /// Returns an error if the built-in configuration is not TOML, which a test rules out.
    pub fn config(self) -> Result<RawConfig, Error> {
        let [recipe, plain] = self.settings[0].configs();
        let (text, estimator) = match self.method {
            Method::Recipe => (recipe, None),
            Method::Prototypes => (include_str!("../../../configs/omniglot-prototypes.toml"), None),
            Method::Maml => (plain, Some("estimator.name=exact")),
            Method::FirstOrder => (plain, Some("estimator.name=first-order")),
        };
        let mut config = RawConfig::parse(self.to_string(), text)?;
        estimator.map_or(Ok(()), |estimator| config.set(estimator))?;
        Ok(config)
    }
}

/// The name in keys of records: the method, after the setting if it is only one.
impl Display for Training {
    fn fmt(&self, out: &mut Formatter<'_>) -> std::fmt::Result {
        match self.settings {
            [setting] => write!(out, "{setting}-{}", self.method),
            _ => write!(out, "{}", self.method),
        }
    }
}

/// Published test accuracies, in percent, in the order of [`Setting::ALL`]. Networks of four convolutions; other splits, other numbers
/// of episodes, and for MAML++ an ensemble of five checkpoints.
pub const PUBLISHED: [(&str, [f64; 4]); 7] = [
    ("MAML (Finn, Abbeel & Levine 2017)", [98.7, 99.9, 95.8, 98.9]),
    ("first-order MAML (as in Nichol, Achiam & Schulman 2018)", [98.3, 99.2, 89.4, 97.9]),
    ("Reptile (Nichol, Achiam & Schulman 2018)", [97.7, 99.5, 89.4, 97.1]),
    ("prototypical networks (Snell, Swersky & Zemel 2017)", [98.8, 99.7, 96.0, 98.9]),
    ("iMAML, Hessian-free (Rajeswaran et al. 2019)", [99.5, 99.7, 96.2, 99.1]),
    ("MAML++ (Antoniou, Edwards & Storkey 2019)", [99.47, 99.93, 97.65, 99.33]),
    ("MAML++, replicated (bamos/HowToTrainYourMAMLPytorch)", [99.62, 99.86, 97.21, 99.13]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_training_has_a_valid_configuration_of_its_setting() {
        let names: Vec<String> = Training::all().map(|training| training.to_string()).collect();
        assert_eq!(names.len(), 3 * 4 + 1);
        for name in ["20w5s-recipe", "prototypes", "5w1s-first-order"] {
            assert!(names.iter().any(|other| other == name), "{name} in {names:?}");
        }
        for training in Training::all() {
            let config = training.config().unwrap().without_data().check().unwrap();
            let shape = match training.settings {
                [setting] => setting.ways_and_shots(),
                _ => (80, 1),
            };
            assert_eq!((config.task.ways, config.task.shots), shape, "{training}");
            let estimator = config.estimator.last().name();
            assert_eq!(estimator.to_string() == "first-order", training.method == Method::FirstOrder);
            assert_eq!(config.source(), "omniglot");
        }
    }
}
