//! Enums whose variants have names in configuration files, on command lines and in messages.

/// An enum with a name for each variant. Declare one with [`choice!`](crate::choice!).
pub trait Choice: Copy + serde::Serialize + 'static {
    /// All variants, in the order in which messages list them.
    const ALL: &'static [Self];

    /// The name of this variant.
    fn name(self) -> &'static str;
}

/// Declares an enum and the name of each variant. The enum implements [`Choice`], `Display`, `FromStr`, `Serialize` and
/// `Deserialize`, all with these names.
///
/// ```
/// bilevel::choice! {
///     /// A colour.
///     pub enum Colour {
///         /// About 650 nm.
///         Red = "red",
///         /// About 450 nm.
///         Blue = "blue",
///     }
/// }
/// assert_eq!(Colour::Red.to_string(), "red");
/// assert_eq!("blue".parse(), Ok(Colour::Blue));
/// ```
#[macro_export]
macro_rules! choice {
    (
        $(#[$meta:meta])*
        $vis:vis enum $type:ident { $($(#[$doc:meta])* $variant:ident = $name:literal,)+ }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $vis enum $type { $($(#[$doc])* $variant,)+ }

        impl $crate::Choice for $type {
            const ALL: &'static [Self] = &[$(Self::$variant),+];

            fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }

        impl ::std::fmt::Display for $type {
            fn fmt(&self, out: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                out.pad($crate::Choice::name(*self))
            }
        }

        impl ::std::str::FromStr for $type {
            type Err = String;

            fn from_str(name: &str) -> ::std::result::Result<Self, String> {
                let all = <Self as $crate::Choice>::ALL;
                all.iter().copied().find(|choice| $crate::Choice::name(*choice) == name).ok_or_else(|| {
                    let names: Vec<&str> = all.iter().map(|choice| $crate::Choice::name(*choice)).collect();
                    format!("it must be one of {}", names.join(", "))
                })
            }
        }

        impl ::serde::Serialize for $type {
            fn serialize<S: ::serde::Serializer>(&self, out: S) -> ::std::result::Result<S::Ok, S::Error> {
                out.serialize_str($crate::Choice::name(*self))
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $type {
            fn deserialize<D: ::serde::Deserializer<'de>>(input: D) -> ::std::result::Result<Self, D::Error> {
                let name = <::std::borrow::Cow<'de, str> as ::serde::Deserialize>::deserialize(input)?;
                name.parse().map_err(::serde::de::Error::custom)
            }
        }
    };
}
