//! Phone numbers as people write them, to E.164. The rules are those of Google's libphonenumber, which
//! `tests/phone/referee.py` asks for the expected results. Pure: the plans are a table in the program, and
//! no pattern is
//! compiled, so the first number costs no more than the others.

mod plan;
mod text;

use std::{borrow::Cow, ops::RangeInclusive};

use self::{plan::Plan, text::Found};
use crate::base::record::Reason;

/// Fewest digits of a personal phone number in any country.
const FEWEST_DIGITS: usize = 5;
/// Most characters of a text that is read as a number, as in libphonenumber.
const LONGEST_TEXT: usize = 250;
/// Digits of a number without its country code.
const NATIONAL_DIGITS: RangeInclusive<usize> = 2..=17;
/// Digits of a number in E.164, country code included. The plans also contain longer numbers.
/// <https://www.itu.int/rec/T-REC-E.164>
const E164_DIGITS: RangeInclusive<usize> = 7..=15;

/// Returns the phone number in a text, in E.164. `country` applies to numbers without a country code.
///
/// # Errors
///
/// * `not_a_number`: the text contains no valid number.
/// * `no_country_code`: the country is needed to read the number.
/// * `has_an_extension`: such a number belongs to a company and not to one person.
pub fn parse(text: &str, country: Option<&str>) -> Result<String, Reason> {
    let (characters, digits) = match text.is_ascii() {
        true => (text.len(), text.bytes().filter(u8::is_ascii_digit).count()),
        false => (text.chars().count(), text.chars().filter(|c| text::digit(*c).is_some()).count()),
    };
    if digits < FEWEST_DIGITS || characters > LONGEST_TEXT {
        return Err("not_a_number");
    }
    let region = country.and_then(Plan::of_region);
    let unread = if region.is_none() && !text.contains('+') { "no_country_code" } else { "not_a_number" };
    let found = text::find(text).ok_or(unread)?;
    let (plan, dialed) = plan_and_number(&found, region).ok_or(unread)?;
    let stripped = plan.without_national_prefix(&dialed);
    let national = if plan.is_long_enough(stripped.len()) { &stripped } else { &dialed };
    if !NATIONAL_DIGITS.contains(&national.len()) {
        return Err(unread);
    }
    if found.has_extension {
        return Err("has_an_extension");
    }
    let mut number = format!("+{}", plan.country_code());
    number.extend(national.iter().map(|digit| char::from(b'0' + digit)));
    let fits = E164_DIGITS.contains(&(number.len() - 1));
    if fits && plan.is_valid(national) { Ok(number) } else { Err("not_a_number") }
}

/// Finds the country code, and returns its plan with the digits that follow. Without a code, the plan is that
/// of `region`.
fn plan_and_number(found: &Found, region: Option<Plan>) -> Option<(Plan, Cow<'_, [u8]>)> {
    let digits = found.digits.as_slice();
    if found.has_plus
        && let Some((plan, rest)) = Plan::of_code(digits)
    {
        return Some((plan, rest.into()));
    }
    let region = region?;
    if let Some(rest) = region.after_international_prefix(digits) {
        return Plan::of_code(rest).map(|(plan, rest)| (plan, rest.into()));
    }
    // People often write the code without the plus. It counts if the number is not possible otherwise.
    if let Some((plan, rest)) = Plan::of_code(digits)
        && plan.country_code() == region.country_code()
    {
        let rest = region.without_national_prefix(rest);
        let is_better = !region.describes(digits) && region.describes(&rest);
        if is_better || region.is_too_long(digits.len()) {
            return Some((plan, rest));
        }
    }
    (!found.has_plus).then_some((region, digits.into()))
}

#[cfg(test)]
#[path = "phone_tests.rs"]
mod tests;
