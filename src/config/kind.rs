//! Kinds of values that keys accept: type and range, both for reading and for messages.

use crate::data::Channels;
use bilevel::Choice;
use serde::Serialize;
use std::fmt::Display;
use std::marker::PhantomData;
use std::path::PathBuf;
use toml::Value;

/// A type and a range of values.
pub trait Kind: Sync + 'static {
    /// Type of an accepted value after reading.
    type Value: Serialize + 'static;

    /// The accepted values, as a phrase that follows "must be": `a number > 0`.
    fn describe(&self) -> String;

    /// Reads a value; `None` if it is not accepted.
    fn read(&self, value: &Value) -> Option<Self::Value>;

    /// The accepted values, as a message for the value `refused` puts them.
    fn explain(&self, refused: &Value) -> String {
        let _ = refused;
        self.describe()
    }
}

/// A whole number from `min` to `max`.
pub struct Whole<T> {
    min: T,
    max: T,
    /// Whether messages leave `max` out unless a value exceeds it: it is a limit that no real use reaches.
    hides_max: bool,
}

/// A count, at most a million.
pub type Count = Whole<usize>;

/// A seed or a number of steps; at most 2⁶³ − 1, the largest integer of TOML.
pub type Long = Whole<u64>;

/// A count ≥ `min`.
pub const fn at_least(min: usize) -> Count {
    Whole { min, max: 1_000_000, hides_max: true }
}

/// A count from `min` to `max`.
pub const fn between(min: usize, max: usize) -> Count {
    Whole { min, max, hides_max: false }
}

/// A long number ≥ `min`.
pub const fn long(min: u64) -> Long {
    Whole { min, max: i64::MAX as u64, hides_max: true }
}

impl<T> Whole<T>
where
    T: TryFrom<i64> + PartialOrd + Display + Serialize + Sync + 'static,
{
    fn range(&self) -> String {
        format!("a whole number from {} to {}", self.min, self.max)
    }

    fn below_max(&self, value: &Value) -> bool {
        match value {
            Value::Integer(number) => T::try_from(*number).is_ok_and(|n| n <= self.max) || *number < 0,
            Value::Float(number) => number.fract() != 0.0,
            _ => true,
        }
    }
}

impl<T> Kind for Whole<T>
where
    T: TryFrom<i64> + PartialOrd + Display + Serialize + Sync + 'static,
{
    type Value = T;

    fn describe(&self) -> String {
        if self.hides_max { format!("a whole number ≥ {}", self.min) } else { self.range() }
    }

    fn read(&self, value: &Value) -> Option<T> {
        let number = T::try_from(value.as_integer()?).ok()?;
        (self.min <= number && number <= self.max).then_some(number)
    }

    fn explain(&self, refused: &Value) -> String {
        if self.below_max(refused) { self.describe() } else { self.range() }
    }
}

/// A finite number in a range. It must still be in that range after rounding to single precision, the precision of
/// training. Whole numbers are accepted too.
pub struct Number {
    range: &'static str,
    contains: fn(f64) -> bool,
}

/// A number > 0.
pub const fn positive() -> Number {
    Number { range: "a number > 0", contains: |number| number > 0.0 }
}

/// A number ≥ 0.
pub const fn non_negative() -> Number {
    Number { range: "a number ≥ 0", contains: |number| number >= 0.0 }
}

/// A number from 0 to 1.
pub const fn share() -> Number {
    Number { range: "a number from 0 to 1", contains: |number| (0.0..=1.0).contains(&number) }
}

/// A probability that is not zero.
pub const fn probability() -> Number {
    Number { range: "a number > 0 and ≤ 1", contains: |number| 0.0 < number && number <= 1.0 }
}

/// The decay of a running average.
pub const fn decay() -> Number {
    Number { range: "a number ≥ 0 and < 1", contains: |number| (0.0..1.0).contains(&number) }
}

/// A number of at least 0 and less than ½.
pub const fn less_than_half() -> Number {
    Number { range: "a number ≥ 0 and < 0.5", contains: |number| (0.0..0.5).contains(&number) }
}

impl Number {
    fn accepts(&self, number: f64) -> bool {
        number.is_finite() && (self.contains)(number)
    }
}

impl Kind for Number {
    type Value = f64;

    fn describe(&self) -> String {
        self.range.into()
    }

    fn read(&self, value: &Value) -> Option<f64> {
        let number = as_number(value)?;
        let rounded = f64::from(number as f32);
        (self.accepts(number) && self.accepts(rounded)).then_some(number)
    }

    fn explain(&self, refused: &Value) -> String {
        match as_number(refused) {
            Some(number) if self.accepts(number) => format!("{} in single precision", self.range),
            Some(number) if !number.is_finite() => format!("{}, and finite", self.range),
            _ => self.describe(),
        }
    }
}

fn as_number(value: &Value) -> Option<f64> {
    value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64))
}

/// `true` or `false`.
pub struct Flag;

impl Kind for Flag {
    type Value = bool;

    fn describe(&self) -> String {
        "true or false".into()
    }

    fn read(&self, value: &Value) -> Option<bool> {
        value.as_bool()
    }
}

/// The path of a file or a directory. Whether it exists is not checked.
pub struct Location;

impl Kind for Location {
    type Value = PathBuf;

    fn describe(&self) -> String {
        "a path in quotes".into()
    }

    fn read(&self, value: &Value) -> Option<PathBuf> {
        value.as_str().filter(|path| !path.is_empty()).map(PathBuf::from)
    }
}

/// The path of a file or a directory that may be left out.
pub struct MaybeLocation;

impl Kind for MaybeLocation {
    /// `None` for an empty string.
    type Value = Option<PathBuf>;

    fn describe(&self) -> String {
        format!("{}, or \"\" for none", Location.describe())
    }

    fn read(&self, value: &Value) -> Option<Self::Value> {
        match value.as_str()? {
            "" => Some(None),
            path => Some(Some(path.into())),
        }
    }
}

/// One of an enum's names.
pub struct OneOf<C>(PhantomData<fn() -> C>);

/// One of the names of `C`.
pub const fn one_of<C>() -> OneOf<C> {
    OneOf(PhantomData)
}

impl<C: Choice> Kind for OneOf<C> {
    type Value = C;

    fn describe(&self) -> String {
        let names: Vec<_> = C::ALL.iter().map(|choice| format!("{:?}", choice.name())).collect();
        format!("one of {}", names.join(", "))
    }

    fn read(&self, value: &Value) -> Option<C> {
        let name = value.as_str()?;
        C::ALL.iter().copied().find(|choice| choice.name() == name)
    }
}

/// 1, 3 or "auto".
pub struct ChannelCount;

impl Kind for ChannelCount {
    /// `None` for "auto".
    type Value = Option<Channels>;

    fn describe(&self) -> String {
        "1, 3 or \"auto\"".into()
    }

    fn read(&self, value: &Value) -> Option<Self::Value> {
        match value {
            Value::Integer(number) => Channels::from_count(usize::try_from(*number).ok()?).map(Some),
            Value::String(text) if text == "auto" => Some(None),
            _ => None,
        }
    }
}

/// A number for each channel of an image.
pub struct PerChannel(pub Number);

impl Kind for PerChannel {
    type Value = Vec<f64>;

    fn describe(&self) -> String {
        format!("a list of 1 or 3 numbers, each {}", self.0.describe())
    }

    fn read(&self, value: &Value) -> Option<Vec<f64>> {
        let numbers = value.as_array().filter(|numbers| Channels::from_count(numbers.len()).is_some())?;
        numbers.iter().map(|number| self.0.read(number)).collect()
    }
}

/// The widths of a network's hidden layers.
pub struct Widths {
    layers: usize,
    width: Count,
}

/// One to `layers` widths, each from 1 to `width`.
pub const fn widths(layers: usize, width: usize) -> Widths {
    Widths { layers, width: between(1, width) }
}

impl Kind for Widths {
    type Value = Vec<usize>;

    fn describe(&self) -> String {
        format!("a list of 1 to {} widths, each {}", self.layers, self.width.describe())
    }

    fn read(&self, value: &Value) -> Option<Vec<usize>> {
        let widths = value.as_array()?;
        let fits = (1..=self.layers).contains(&widths.len());
        fits.then(|| widths.iter().map(|width| self.width.read(width)).collect())?
    }
}
