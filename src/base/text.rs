//! Checks of texts that run for every field of a record.

/// Returns whether a text contains a control character.
pub fn has_controls(text: &str) -> bool {
    // Nearly all texts have printable ASCII only, which needs no decoding.
    !text.bytes().all(|byte| matches!(byte, b' '..=b'~')) && text.contains(char::is_control)
}

/// Returns a text in lower case, copied only if it has other letters.
pub fn lowercase(text: &str) -> std::borrow::Cow<'_, str> {
    let lower = text.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase());
    if lower { text.into() } else { text.to_lowercase().into() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_short_ways_find_what_the_long_ones_do(text in "\\PC*|[a-zA-Z ]*|.*\\p{Cc}?.*") {
            prop_assert_eq!(has_controls(&text), text.chars().any(char::is_control));
            prop_assert_eq!(lowercase(&text), text.to_lowercase());
        }
    }
}
