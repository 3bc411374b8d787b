//! Checks of texts that run for every field of a record.

/// Returns whether a text contains a control character.
pub fn has_controls(text: &str) -> bool {
    // Nearly all texts have printable ASCII only, which needs no decoding.
    !all(text, |byte| matches!(byte, b' '..=b'~')) && text.contains(char::is_control)
}

/// Returns whether a text is empty or has only white space.
pub fn is_blank(text: &str) -> bool {
    // Nearly every text begins with a visible ASCII character.
    !text.as_bytes().first().is_some_and(u8::is_ascii_graphic) && text.trim().is_empty()
}

/// Returns whether a text has only characters of ASCII that are neither white space nor controls.
pub fn is_graphic(text: &str) -> bool {
    all(text, |byte| matches!(byte, b'!'..=b'~'))
}

/// Returns whether every byte satisfies `like`. Checks all bytes without stopping early, so that the compiler can
/// vectorize the loop.
fn all(text: &str, like: impl Fn(u8) -> bool) -> bool {
    text.bytes().fold(true, |all, byte| all & like(byte))
}

/// Returns a text in lower case, copied only if it has other letters.
pub fn lowercase(text: &str) -> std::borrow::Cow<'_, str> {
    let lower = all(text, |byte| byte.is_ascii() & !byte.is_ascii_uppercase());
    if lower { text.into() } else { text.to_lowercase().into() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_short_ways_find_what_the_long_ones_do(text in "\\PC*|[a-zA-Z ]*|\\s*|.*\\p{Cc}?.*") {
            prop_assert_eq!(has_controls(&text), text.chars().any(char::is_control));
            prop_assert_eq!(lowercase(&text), text.to_lowercase());
            prop_assert_eq!(is_blank(&text), text.chars().all(char::is_whitespace));
            let graphic = text.chars().all(|c| c.is_ascii_graphic());
            prop_assert_eq!(is_graphic(&text), graphic);
        }
    }
}
