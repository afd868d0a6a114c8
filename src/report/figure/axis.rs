//! Axis scales and ticks.

use super::digits::{grouped, power_of_ten, significant};

/// Margin at either end, as a share of the range.
const MARGIN: f64 = 0.04;
/// A logarithmic axis reaches at most this far below its largest value.
const DECADES: f64 = 14.0;
/// Larger absolute values are not shown, and smaller differences count as 0, so that margins and ticks stay
/// finite.
const FARTHEST: f64 = 1e300;
const NEAREST: f64 = 1e-300;
/// Positions are bounded to this many lengths of the axis before and behind it, so that coordinates stay drawable. A line that leaves
/// the axis for less has the right slope.
const FAR: f64 = 40.0;

/// An axis' range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    /// Ends of the range; logarithms to base 10 on a logarithmic axis.
    low: f64,
    high: f64,
    logarithmic: bool,
}

/// An axis' ticks.
#[derive(Clone, Debug, PartialEq)]
pub struct Ticks {
    /// Value and label.
    pub major: Vec<(f64, String)>,
    /// Values without a label.
    pub minor: Vec<f64>,
    /// The factor by which labels are to be multiplied, if not 1.
    pub factor: Option<String>,
}

impl Scale {
    /// The range of `values`, without those that the axis cannot show.
    pub fn of(values: impl Iterator<Item = f64>, logarithmic: bool) -> Self {
        let shown = values.filter(|value| value.abs() <= FARTHEST && (!logarithmic || *value > 0.0));
        let shown = shown.map(|value| if logarithmic { value.log10() } else { value });
        let (low, high) =
            shown.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
        let (low, high) = if low <= high { (low, high) } else { (0.0, 1.0) };
        let low = if logarithmic { low.max(high - DECADES) } else { low };
        // A single value is centred.
        let half = if high - low > NEAREST {
            0.0
        } else if logarithmic || low.abs() < NEAREST {
            0.5
        } else {
            0.05 * low.abs()
        };
        let room = MARGIN * (high - low) + half;
        Self { low: low - room, high: high + room, logarithmic }
    }

    /// The scale with these ends. It is unchanged if they are not in order, or not positive on a logarithmic axis.
    pub fn within(self, [low, high]: [f64; 2]) -> Self {
        let [low, high] = if self.logarithmic { [low.log10(), high.log10()] } else { [low, high] };
        let fits = high - low > NEAREST && low.abs() <= FARTHEST && high.abs() <= FARTHEST;
        if fits { Self { low, high, ..self } } else { self }
    }

    /// The position of `value`: 0 at the low end, 1 at the high end. A value that a logarithmic axis cannot show is
    /// below 0.
    pub fn place(&self, value: f64) -> f64 {
        let value = match self.logarithmic {
            true if value > 0.0 => value.log10(),
            true => self.low - 1.0,
            false => value,
        };
        ((value - self.low) / (self.high - self.low)).clamp(-FAR, 1.0 + FAR)
    }

    /// About `count` ticks; only at whole numbers if `whole`.
    pub fn ticks(&self, count: usize, whole: bool) -> Ticks {
        if self.logarithmic { self.powers(count) } else { self.steps(count, whole) }
    }

    fn steps(&self, count: usize, whole: bool) -> Ticks {
        let raw = (self.high - self.low) / count.max(1) as f64;
        let power = 10.0_f64.powf(raw.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|times| times * power);
        let step = step.into_iter().find(|step| *step >= raw * 0.999).unwrap_or(raw);
        let step = if whole { step.max(1.0) } else { step };
        let (first, last) = ((self.low / step).ceil() as i64, (self.high / step).floor() as i64);
        let largest = self.low.abs().max(self.high.abs());
        let exponent = match largest {
            _ if (1e-3..1e5).contains(&largest) => 0,
            _ => (largest.log10() / 3.0).floor() as i32 * 3,
        };
        let unit = 10.0_f64.powi(exponent);
        let places = (-(step / unit).log10().floor()).max(0.0) as usize;
        // A division by a power of ten would round twice.
        let value = |at: i64| at as f64 * step;
        let label = |at: i64| grouped(&format!("{:.places$}", value(at) / unit + 0.0));
        let factor = (exponent != 0).then(|| power_of_ten(exponent));
        Ticks { major: (first..=last).map(|at| (value(at), label(at))).collect(), minor: Vec::new(), factor }
    }

    fn powers(&self, count: usize) -> Ticks {
        let (first, last) = (self.low.ceil() as i32, self.high.floor() as i32);
        let shown = |value: &f64| (self.low..=self.high).contains(&value.log10());
        let multiples = |times: &[i32]| -> Vec<f64> {
            let of =
                |exponent: i32| times.iter().map(move |times| f64::from(*times) * 10.0_f64.powi(exponent));
            (first - 1..=last).flat_map(of).filter(shown).collect()
        };
        let plain = first >= -3 && last <= 3;
        let label = |value: f64| match plain {
            true => significant(value, 1),
            false => power_of_ten(value.log10().round() as i32),
        };
        // On a short axis, powers of ten alone are too few.
        let dense: [&[i32]; 3] = [&[1, 2, 3, 4, 5, 6, 8], &[1, 2, 5], &[1, 3]];
        let brief = self.high - self.low < 2.0;
        let fits = |values: &Vec<f64>| brief && (2..=count.max(2)).contains(&values.len());
        if let Some(values) = dense.into_iter().map(multiples).find(fits) {
            let major = values.into_iter().map(|value| (value, significant(value, 1))).collect();
            return Ticks { major, minor: multiples(&[1, 2, 3, 4, 5, 6, 7, 8, 9]), factor: None };
        }
        let stride = ((last - first).max(0) as usize / count.max(1) + 1) as i32;
        let powers = (first..=last).filter(|exponent| exponent.rem_euclid(stride) == 0);
        let major =
            powers.map(|exponent| 10.0_f64.powi(exponent)).map(|value| (value, label(value))).collect();
        let minor = if stride == 1 { multiples(&[2, 3, 4, 5, 6, 7, 8, 9]) } else { multiples(&[1]) };
        Ticks { major, minor, factor: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(scale: Scale, count: usize) -> Vec<String> {
        scale.ticks(count, false).major.into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn ticks_are_round_numbers() {
        let scale = |values: &[f64], logarithmic| Scale::of(values.iter().copied(), logarithmic);
        assert_eq!(labels(scale(&[0.0, 1.0], false), 4), ["0.0", "0.5", "1.0"]);
        assert_eq!(labels(scale(&[0.0, 20_000.0], false), 4), ["0", "10\u{2009}000", "20\u{2009}000"]);
        assert_eq!(labels(scale(&[1.0, 1000.0], true), 5), ["1", "10", "100", "1000"]);
        assert_eq!(labels(scale(&[1e-6, 1e-4], true), 5), ["10⁻⁶", "10⁻⁵", "10⁻⁴"]);
        assert_eq!(labels(scale(&[0.02, 0.06], true), 5), ["0.02", "0.03", "0.04", "0.05", "0.06"]);
        let ticks = scale(&[0.0, 3e6], false).ticks(4, false);
        assert_eq!((ticks.factor.as_deref(), &*ticks.major[1].1), (Some("10⁶"), "1"));
    }

    #[test]
    fn values_of_any_size_have_few_ticks() {
        let sizes = [0.0, 5e-324, 1e-310, 1e-300, 1e-9, 1.0, 1e15, 1e300, f64::MAX, f64::INFINITY, f64::NAN];
        let sizes = sizes.map(|size| [size, -size, f64::next_up(size)]).concat();
        for (one, other) in sizes.iter().flat_map(|one| sizes.iter().map(move |other| (*one, *other))) {
            for logarithmic in [false, true] {
                let scale = Scale::of([one, other].into_iter(), logarithmic);
                for scale in [scale, scale.within([one, other])] {
                    let ticks = scale.ticks(5, false);
                    assert!(ticks.major.len() <= 20, "{one} to {other}: {ticks:?}");
                    assert!(
                        !one.is_finite() || (-FAR..=1.0 + FAR).contains(&scale.place(one)),
                        "{one} to {other}"
                    );
                }
            }
        }
    }

    #[test]
    fn places_run_from_end_to_end() {
        let scale = Scale::of([1.0, 100.0].into_iter(), true);
        assert!((scale.place(10.0) - 0.5).abs() < 1e-12);
        assert!(scale.place(0.0) < 0.0 && scale.place(f64::MIN_POSITIVE) == -FAR);
        let fixed = Scale::of([].into_iter(), false).within([0.0, 4.0]);
        assert_eq!([0.0, 1.0, 4.0].map(|value| fixed.place(value)), [0.0, 0.25, 1.0]);
        assert_eq!(fixed.within([2.0, 1.0]), fixed);
    }
}
