//! Texts of decimal numbers. Pure.

/// Returns whether a text is a number, as SQLite reads one in a column that converts texts.
pub fn is_number(text: &str) -> bool {
    let text = text.trim();
    text.contains(|c: char| c.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte))
        && text.parse::<f64>().is_ok()
}

/// Returns whether SQLite stores a number without rounding it: as a whole number, or as a binary one with the same digits.
pub fn is_exact(text: &str) -> bool {
    if text.parse::<i64>().is_ok() {
        return true;
    }
    let Ok(number) = text.parse::<f64>() else { return false };
    number.is_finite() && significant(text) == significant(&format!("{number:e}"))
}

/// Returns whether a text is the only way to write its number.
pub fn is_plain(text: &str) -> bool {
    let whole = text.parse::<i64>().is_ok_and(|number| number.to_string() == text);
    whole || text.parse::<f64>().is_ok_and(|number| number.fract() != 0.0 && number.to_string() == text)
}

/// Returns the number of digits after the point, trailing zeros aside.
pub fn scale(text: &str) -> i64 {
    significant(text).map_or(0, |(_, exponent)| (-exponent).max(0))
}

/// Returns the digits of a number without zeros at both ends, and the power of ten of the last digit; `None` for zero.
fn significant(text: &str) -> Option<(String, i64)> {
    let text = text.trim_start_matches(['+', '-']).to_lowercase();
    let (number, power) = text.split_once('e').unwrap_or((&text, "0"));
    let (before, after) = number.split_once('.').unwrap_or((number, ""));
    // A power that is too large for its type is one that no number has.
    let power: i64 = power.parse().unwrap_or(i64::from(i32::MAX));
    let digits = format!("{before}{after}");
    let kept = digits.trim_end_matches('0');
    let exponent = power - after.len() as i64 + (digits.len() - kept.len()) as i64;
    let kept = kept.trim_start_matches('0');
    (!kept.is_empty()).then(|| (kept.to_owned(), exponent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_exact_if_sqlite_returns_its_digits() {
        for (text, expected) in [
            ("9223372036854775807", true),
            ("9223372036854775808", false),
            ("12345678901234567890", false),
            ("-0.1", true),
            ("1.10", true),
            ("1E3", true),
            ("0.000", true),
            ("0.30000000000000004", true),
            ("1234567890123456.25", false),
            ("123456789012345678.5", false),
            ("0.12345678901234567890", false),
            ("1e400", false),
            ("1e99999999999999999999", false),
        ] {
            assert_eq!(is_exact(text), expected, "{text}");
        }
    }

    #[test]
    fn a_scale_ignores_zeros_at_the_end() {
        for (text, expected) in [
            ("1", 0),
            ("1.00", 0),
            ("1.005", 3),
            ("-1.50", 1),
            ("1.5e1", 0),
            ("15e-3", 3),
            ("100", 0),
            ("0", 0),
        ] {
            assert_eq!(scale(text), expected, "{text}");
        }
    }

    #[test]
    fn a_text_is_a_number_if_sqlite_would_convert_it() {
        for text in ["007", "1.", ".5", "+7", " 1e3 ", "-0"] {
            assert!(is_number(text), "{text}");
        }
        for text in ["", "-", "e", "1x", "0x10", "inf", "nan", "1-2", "2b1f"] {
            assert!(!is_number(text), "{text}");
        }
    }
}
