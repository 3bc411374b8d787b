//! The token that permits changes.

use std::fmt::Write;

use subtle::ConstantTimeEq;

use crate::base::secret::Secret;

/// Number of random bytes of a token that importer makes.
const BYTES: usize = 32;
/// Shortest token that is accepted, in characters: a shorter one could be guessed.
pub const SHORTEST: usize = 16;

/// A token.
#[derive(Debug, Clone)]
pub struct Token(Secret);

impl Token {
    /// Takes a token that an operator has set; `None` if it is too short, or has characters that a header can't have.
    pub fn new(secret: Secret) -> Option<Self> {
        let text = secret.reveal();
        let is_valid = text.len() >= SHORTEST && text.bytes().all(|byte| byte.is_ascii_graphic());
        is_valid.then_some(Token(secret))
    }

    /// Makes a token that nobody can guess.
    ///
    /// # Errors
    ///
    /// The system has no randomness to give.
    pub fn make() -> std::io::Result<Self> {
        let mut random = [0; BYTES];
        getrandom::fill(&mut random).map_err(std::io::Error::other)?;
        let mut text = String::with_capacity(2 * BYTES);
        // Writing to a text does not fail.
        random.iter().for_each(|byte| _ = write!(text, "{byte:02x}"));
        Ok(Token(Secret::new(text)))
    }

    /// Returns the text, for the person who may use it.
    pub fn reveal(&self) -> &str {
        self.0.reveal()
    }

    /// Returns whether a text is the token. The time that this takes depends on the length of the text alone, so that
    /// nobody learns how many characters of a guess are right.
    pub fn is(&self, text: &[u8]) -> bool {
        self.reveal().as_bytes().ct_eq(text).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_token_is_long_and_another_one_each_time() {
        let [one, other] = [Token::make().unwrap(), Token::make().unwrap()];
        assert_eq!(one.reveal().len(), 64);
        assert_ne!(one.reveal(), other.reveal());
        assert_eq!(format!("{one:?}"), "Token(***)");
    }

    #[test]
    fn a_token_is_equal_to_itself_only() {
        let token = Token::new(Secret::new("0123456789abcdef")).unwrap();
        assert!(token.is(b"0123456789abcdef"));
        for other in ["", "0123456789abcde", "0123456789abcdef0", "0123456789abcdeF"] {
            assert!(!token.is(other.as_bytes()), "{other}");
        }
        for unfit in ["", "0123456789abcde", "0123456789 abcdef", "0123456789abcdéf"] {
            assert!(Token::new(Secret::new(unfit)).is_none(), "{unfit}");
        }
    }
}
