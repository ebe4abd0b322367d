//! Random strings that open something: session cookies and API tokens. Only their hash is kept.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretString;
use sha2::{Digest as _, Sha256};

/// What every API token begins with, so that scanners and people recognise one.
pub const API_PREFIX: &str = "hr_";

/// 256 random bits, as text.
pub fn random() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

/// A new API token and the hash to keep of it.
pub fn new_api_token() -> (SecretString, String) {
    let token = format!("{API_PREFIX}{}", random());
    let hash = hash(&token);
    (token.into(), hash)
}

/// What is kept of a token. It has 256 random bits, so a plain hash is enough: there is nothing to guess.
pub fn hash(token: &str) -> String {
    hex::encode(Sha256::digest(token.as_bytes()))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn a_token_is_long_random_and_recognisable() {
        let (one, one_hash) = new_api_token();
        let (other, other_hash) = new_api_token();
        assert!(one.expose_secret().starts_with("hr_"));
        assert_eq!(one.expose_secret().len(), 3 + 43);
        assert_ne!(one.expose_secret(), other.expose_secret());
        assert_ne!(one_hash, other_hash);
        assert_eq!(hash(one.expose_secret()), one_hash);
        assert!(!one_hash.contains(one.expose_secret()));
    }
}
