//! The four settings of few-shot Omniglot, the methods that are compared on them, and the accuracies that were published.

use crate::config::{Error, RawConfig};
use std::fmt::{Display, Formatter};
use std::str::FromStr;

/// Number of classes and of support images for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// 5-way 1-shot.
    FiveWayOneShot,
    /// 5-way 5-shot.
    FiveWayFiveShot,
    /// 20-way 1-shot.
    TwentyWayOneShot,
    /// 20-way 5-shot.
    TwentyWayFiveShot,
}

impl Setting {
    /// All of them, in the order of tables.
    pub const ALL: [Self; 4] =
        [Self::FiveWayOneShot, Self::FiveWayFiveShot, Self::TwentyWayOneShot, Self::TwentyWayFiveShot];

    /// Its name on the command line and in keys of records.
    pub fn key(self) -> &'static str {
        ["5w1s", "5w5s", "20w1s", "20w5s"][self as usize]
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

impl Display for Setting {
    fn fmt(&self, out: &mut Formatter<'_>) -> std::fmt::Result {
        out.write_str(["5-way 1-shot", "5-way 5-shot", "20-way 1-shot", "20-way 5-shot"][*self as usize])
    }
}

impl FromStr for Setting {
    type Err = String;

    fn from_str(key: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|setting| setting.key() == key);
        found.ok_or_else(|| "it must be 5w1s, 5w5s, 20w1s or 20w5s".into())
    }
}

/// A way of training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `configs/omniglot-…-mamlpp.toml`.
    Recipe,
    /// `configs/omniglot-prototypes.toml`: one run for all settings.
    Prototypes,
    /// `configs/omniglot-….toml` with exact gradients.
    Maml,
    /// The same with first-order gradients.
    FirstOrder,
}

impl Method {
    /// All of them, in the order of tables.
    pub const ALL: [Self; 4] = [Self::Recipe, Self::Prototypes, Self::Maml, Self::FirstOrder];

    /// Its name on the command line and in keys of records.
    pub fn key(self) -> &'static str {
        ["recipe", "prototypes", "maml", "first-order"][self as usize]
    }

    /// Whether one run is tested in all settings, instead of one for each.
    pub fn is_for_all_settings(self) -> bool {
        self == Self::Prototypes
    }

    /// Its configuration on `setting`, before the user's overrides.
    ///
    /// # Errors
    /// Returns an error if the built-in configuration is not TOML, which a test rules out.
    pub fn config(self, setting: Setting) -> Result<RawConfig, Error> {
        let [recipe, plain] = setting.configs();
        let (text, estimator) = match self {
            Self::Recipe => (recipe, None),
            Self::Prototypes => (include_str!("../../../configs/omniglot-prototypes.toml"), None),
            Self::Maml => (plain, Some("estimator.name=exact")),
            Self::FirstOrder => (plain, Some("estimator.name=first-order")),
        };
        let mut config = RawConfig::parse(format!("{} on {setting}", self.key()), text)?;
        estimator.map_or(Ok(()), |estimator| config.set(estimator))?;
        Ok(config)
    }
}

impl Display for Method {
    fn fmt(&self, out: &mut Formatter<'_>) -> std::fmt::Result {
        out.write_str(["MAML++'s recipe", "prototypes", "MAML", "first-order MAML"][*self as usize])
    }
}

impl FromStr for Method {
    type Err = String;

    fn from_str(key: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|method| method.key() == key);
        found.ok_or_else(|| "it must be recipe, prototypes, maml or first-order".into())
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
    fn every_method_has_a_valid_configuration_of_its_setting() {
        for setting in Setting::ALL {
            assert_eq!(setting.key().parse(), Ok(setting));
            for method in Method::ALL {
                assert_eq!(method.key().parse(), Ok(method));
                let config = method.config(setting).unwrap().without_data().check().unwrap();
                let shape = if method == Method::Prototypes { (80, 1) } else { setting.ways_and_shots() };
                assert_eq!((config.task.ways, config.task.shots), shape, "{method} on {setting}");
                let estimator = config.estimator.last().name();
                assert_eq!(estimator.to_string() == "first-order", method == Method::FirstOrder);
                assert_eq!(config.source(), "omniglot");
            }
        }
        assert!("5-way".parse::<Setting>().is_err() && "exact".parse::<Method>().is_err());
    }
}
