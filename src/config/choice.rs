//! Enums that stand in a configuration as one of a few names.

use serde::Serialize;

/// A closed set of names that a key may take.
pub trait Choice: Copy + Serialize + 'static {
    /// Every member, in the order in which messages list them.
    const ALL: &'static [Self];

    /// The name that stands in the file.
    fn name(self) -> &'static str;
}

/// Declares an enum and, beside each variant, its name in the file.
macro_rules! choice {
    (
        $(#[$meta:meta])*
        $vis:vis enum $type:ident { $($(#[$doc:meta])* $variant:ident = $name:literal,)+ }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $vis enum $type { $($(#[$doc])* $variant,)+ }

        impl $crate::config::choice::Choice for $type {
            const ALL: &'static [Self] = &[$(Self::$variant),+];

            fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.pad($crate::config::choice::Choice::name(*self))
            }
        }

        impl std::str::FromStr for $type {
            type Err = String;

            fn from_str(name: &str) -> Result<Self, String> {
                let all = <Self as $crate::config::choice::Choice>::ALL;
                all.iter().copied().find(|choice| choice.to_string() == name).ok_or_else(|| {
                    let names: Vec<String> = all.iter().map(ToString::to_string).collect();
                    format!("it is none of {}", names.join(", "))
                })
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
                out.serialize_str($crate::config::choice::Choice::name(*self))
            }
        }
    };
}

pub(super) use choice;
