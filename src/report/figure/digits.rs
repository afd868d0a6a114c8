//! Numbers formatted for people.

/// Superscripts of 0 to 9.
const RAISED: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];

/// `value` to `digits` ≥ 1 significant digits: `0.0346`, `12 300`, `4.1·10⁻⁷`.
pub fn significant(value: f64, digits: usize) -> String {
    if value == 0.0 || !value.is_finite() {
        return if value == 0.0 { "0".into() } else { value.to_string() };
    }
    // Rounded first: 9.96 to two digits is 10, not 10.0.
    let rounded = format!("{value:.*e}", digits.saturating_sub(1));
    let Some((mantissa, exponent)) = rounded.split_once('e') else { return rounded };
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if !(-3..6).contains(&exponent) {
        return format!("{mantissa}·{}", power_of_ten(exponent));
    }
    let places = (digits as i32 - 1 - exponent).max(0) as usize;
    let rounded = rounded.parse().unwrap_or(value);
    grouped(&format!("{rounded:.places$}"))
}

/// The same without trailing zeros, for numbers that were chosen rather than measured.
pub fn short(value: f64, digits: usize) -> String {
    let text = significant(value, digits);
    let (number, power) =
        text.split_once('·').map_or((&*text, None), |(number, power)| (number, Some(power)));
    let number = match number.contains('.') {
        true => number.trim_end_matches('0').trim_end_matches('.'),
        false => number,
    };
    power.map_or_else(|| number.into(), |power| format!("{number}·{power}"))
}

/// `10ⁿ`.
pub fn power_of_ten(exponent: i32) -> String {
    let digits = exponent.unsigned_abs().to_string();
    let raised = digits.chars().filter_map(|digit| RAISED.get(digit.to_digit(10)? as usize));
    format!("10{}{}", if exponent < 0 { "⁻" } else { "" }, raised.collect::<String>())
}

/// A decimal number with thin spaces between thousands, from five digits on, and a true minus.
pub fn grouped(number: &str) -> String {
    let (sign, number) = number.strip_prefix('-').map_or(("", number), |rest| ("−", rest));
    let (whole, fraction) =
        number.split_once('.').map_or((number, ""), |(whole, fraction)| (whole, fraction));
    let mut text = String::from(sign);
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && whole.len() > 4 && (whole.len() - at).is_multiple_of(3) {
            text.push('\u{2009}');
        }
        text.push(digit);
    }
    if !fraction.is_empty() {
        text.push('.');
        text.push_str(fraction);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{short, significant};

    #[test]
    fn numbers_are_rounded_to_significant_digits() {
        assert_eq!(significant(0.034_641, 3), "0.0346");
        assert_eq!(significant(-1.5, 2), "−1.5");
        assert_eq!(significant(9.96, 2), "10");
        assert_eq!(significant(12_345.0, 3), "12\u{2009}300");
        assert_eq!(significant(4.1e-7, 2), "4.1·10⁻⁷");
        assert_eq!(significant(3.0e12, 1), "3·10¹²");
        assert_eq!(significant(0.0, 3), "0");
        assert_eq!([short(0.05, 3), short(100.0, 3), short(2.5e-7, 3)], ["0.05", "100", "2.5·10⁻⁷"]);
    }
}
