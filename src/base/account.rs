//! The name of an account of a service, which is the suffix of its variables.

/// Upper bound of the name of an account, in characters.
const ACCOUNT: usize = 32;

/// Pattern of the name of an account, for the JSON Schema; see [`is_account`].
pub const ACCOUNT_PATTERN: &str = "^(?!.*file$)[a-z][a-z0-9_]{0,31}$";

/// Returns whether a text is the name of an account: a letter, then letters, digits and `_`, all lower case. It does
/// not end in `file`, because its variables would be taken for those that name a file.
pub fn is_account(name: &str) -> bool {
    let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_';
    name.len() <= ACCOUNT
        && name.bytes().all(plain)
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with("file")
}

/// Returns the name of a variable of an account: with the account as suffix, in upper case.
pub fn of_account(variable: &str, account: Option<&str>) -> String {
    match account {
        Some(account) => format!("{variable}_{}", account.to_uppercase()),
        None => variable.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_has_a_plain_name_that_is_a_suffix_of_variables() {
        for (name, valid) in [
            ("acme", true),
            ("a", true),
            ("acme_2", true),
            (&"a".repeat(32)[..], true),
            (&"a".repeat(33), false),
            ("", false),
            ("2acme", false),
            ("_acme", false),
            ("Acme", false),
            ("acme-eu", false),
            ("acmé", false),
            ("file", false),
            ("my_file", false),
            ("file_a", true),
        ] {
            assert_eq!(is_account(name), valid, "{name}");
        }
    }
}
