//! The list of estimators. A new estimator needs a file in this folder and an entry here.

use super::{
    AdaptiveUfomSettings, Estimator, Exact, FirstOrder, Implicit, OuterPart, Reptile, Settings,
    StepCoinsSettings, TelescopingSettings, Truncated, UfomSettings,
};
use crate::choice;
use serde::{Deserialize, Serialize};

/// Declares [`EstimatorName`] and [`EstimatorSettings`] from one list.
macro_rules! estimators {
    ($($(#[doc = $doc:literal])+ $variant:ident($settings:ty) = $name:literal;)+) => {
        choice! {
            /// The names of all estimators.
            pub enum EstimatorName {
                $($(#[doc = $doc])+ $variant = $name,)+
            }
        }

        /// An estimator and its settings: how the hypergradient is estimated from r inner steps.
        ///
        /// Every settings type converts into this one; [`EstimatorName::default_settings`] gives the defaults by name.
        ///
        /// | situation | settings |
        /// |---|---|
        /// | one inner step, or inner rate × curvature of about 1 | [`Exact`] |
        /// | many inner steps at a smaller rate | [`StepCoinsSettings`], adaptive (the default) |
        /// | one task | [`Truncated`] to the last step if its bias is acceptable, otherwise [`Exact`] |
        /// | a cheap biased baseline | [`FirstOrder`] |
        ///
        /// ```
        /// use bilevel::estimator::{EstimatorName, EstimatorSettings, UfomSettings};
        ///
        /// let settings: EstimatorSettings = UfomSettings { q: 0.2, ..UfomSettings::default() }.into();
        /// assert_eq!(settings.name(), EstimatorName::Ufom);
        /// assert!(settings.build().is_unbiased(10));
        ///
        /// let name: EstimatorName = "first-order".parse()?;
        /// assert!(!name.default_settings().build().is_unbiased(10));
        /// # Ok::<(), String>(())
        /// ```
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "name")]
        pub enum EstimatorSettings {
            $($(#[doc = $doc])+ #[serde(rename = $name)] $variant($settings),)+
        }

        impl EstimatorName {
            /// The default settings of the estimator.
            pub fn default_settings(self) -> EstimatorSettings {
                match self { $(Self::$variant => EstimatorSettings::$variant(Default::default()),)+ }
            }

            /// The names of the settings: see [`Settings::KEYS`].
            pub fn keys(self) -> &'static [&'static str] {
                match self { $(Self::$variant => <$settings>::KEYS,)+ }
            }

            /// The names of the settings without a default.
            pub fn required(self) -> &'static [&'static str] {
                match self { $(Self::$variant => <$settings>::REQUIRED,)+ }
            }

            /// The setting that turns adaptation off: see [`Settings::ADAPTS_WITHOUT`].
            pub fn adapts_without(self) -> Option<&'static str> {
                match self { $(Self::$variant => <$settings>::ADAPTS_WITHOUT,)+ }
            }
        }

        impl EstimatorSettings {
            /// The name of the estimator.
            pub fn name(&self) -> EstimatorName {
                match self { $(Self::$variant(_) => EstimatorName::$variant,)+ }
            }

            /// A new estimator with these settings.
            ///
            /// # Panics
            /// Panics if a setting is outside of its range.
            pub fn build(&self) -> Box<dyn Estimator> {
                match self { $(Self::$variant(settings) => settings.build(),)+ }
            }

            /// The reason why the estimator cannot use [outer losses along the inner loop](crate::OuterLosses::All), if
            /// it cannot.
            pub fn ignores_losses(&self) -> Option<&'static str> {
                match self { $(Self::$variant(settings) => settings.ignores_losses(),)+ }
            }

            /// The reason why the estimator gives `part` of θ a gradient of zero, if it does.
            pub fn cannot_learn(&self, part: OuterPart) -> Option<&'static str> {
                match self { $(Self::$variant(settings) => settings.cannot_learn(part),)+ }
            }
        }

        $(
            impl From<$settings> for EstimatorSettings {
                fn from(settings: $settings) -> Self {
                    Self::$variant(settings)
                }
            }
        )+
    };
}

estimators! {
    /// Differentiates no inner step (FOMAML, Finn et al. 2017); cheap, biased.
    FirstOrder(FirstOrder) = "first-order";
    /// Differentiates only the last inner steps; biased unless these are all.
    Truncated(Truncated) = "truncated";
    /// Differentiates every inner step.
    Exact(Exact) = "exact";
    /// Differentiates every inner step with probability q, reweighted by 1/q so that the average is exact
    /// (Likhosherstov et al. 2021).
    Ufom(UfomSettings) = "ufom";
    /// UFOM with q adapted by running estimates (Likhosherstov et al. 2021).
    Adaptive(AdaptiveUfomSettings) = "adaptive";
    /// Takes the product of each inner step with its own probability p, reweighted by 1/p.
    StepCoins(StepCoinsSettings) = "step-coins";
    /// Differentiates back to a random level; the increment of each level is reweighted by 1/P(level reached).
    Telescoping(TelescopingSettings) = "telescoping";
    /// The displacement of the inner loop (Nichol et al. 2018); biased.
    Reptile(Reptile) = "reptile";
    /// The implicit gradient, which assumes that the inner loop ends at a minimum (Rajeswaran et al. 2019); biased.
    Implicit(Implicit) = "implicit";
}

#[cfg(test)]
mod tests {
    use super::super::{Coin, Levels};
    use super::*;
    use crate::Choice;
    use serde_json::Value;

    #[test]
    fn default_settings_round_trip_and_declare_their_keys() {
        for name in EstimatorName::ALL {
            let settings = name.default_settings();
            assert_eq!(settings.name(), *name);
            let written = serde_json::to_value(&settings).unwrap();
            let Value::Object(fields) = &written else { panic!("{written}") };
            assert_eq!(fields["name"], name.name());
            for key in fields.keys().filter(|key| *key != "name") {
                assert!(name.keys().contains(&key.as_str()), "{name} serialises {key}, which is not in KEYS");
            }
            assert_eq!(EstimatorSettings::deserialize(written).unwrap(), settings);
        }
    }

    #[test]
    fn settings_with_fixed_probabilities_round_trip() {
        let fixed = [
            EstimatorSettings::from(StepCoinsSettings::fixed(0.2)),
            EstimatorSettings::from(TelescopingSettings::Fixed {
                survival: 0.5,
                levels: Levels::At(vec![2, 4]),
                truncate: 1,
                coin: Coin::Step,
            }),
        ];
        for settings in fixed {
            let written = serde_json::to_value(&settings).unwrap();
            assert_eq!(EstimatorSettings::deserialize(written).unwrap(), settings);
        }
    }
}
