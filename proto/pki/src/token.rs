//! `JoinToken`: what lets a stranger check the authority and ask it for a certificate.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use crate::error::PkiError;
use crate::{hex, random, unhex};

const PREFIX: &str = "SJ1";
const ID_BYTES: usize = 8;
const SECRET_BYTES: usize = 32;

/// `SJ1.<hex SHA-256 of the CA's DER>.<id>.<secret>`: the hash lets the joiner check the master before it says the
/// secret; the id lets the master find the token; of the secret the master keeps a hash only.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// SHA-256 of the authority's certificate.
    pub ca_sha256: [u8; 32],
    /// Its public part: 16 hex digits.
    pub id: String,
    secret: String,
}

/// Why a text is not a join token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a join token: {0} is not of the form SJ1.<64 hex digits>.<16 hex digits>.<64 hex digits>; copy it whole, or \
     make a fresh one with `stoa token create`"
)]
pub struct BadToken(&'static str);

// === impl JoinToken ===

impl JoinToken {
    /// Makes a fresh token for the cluster of this authority.
    pub fn generate(ca_sha256: [u8; 32]) -> Result<Self, PkiError> {
        Ok(JoinToken { ca_sha256, id: hex(&random::<ID_BYTES>()?), secret: hex(&random::<SECRET_BYTES>()?) })
    }

    /// What the master keeps of the secret.
    pub fn secret_sha256(&self) -> [u8; 32] {
        Sha256::digest(self.secret.as_bytes()).into()
    }

    /// Whether its secret is the one of which `secret_sha256` was kept; takes the same time whatever differs.
    pub fn verify(&self, secret_sha256: &[u8]) -> bool {
        secret_matches(&self.secret_sha256(), secret_sha256)
    }
}

/// Whether two hashes are the same; takes the same time whatever differs.
pub fn secret_matches(one: &[u8; 32], other: &[u8]) -> bool {
    let difference = one.iter().zip(other).fold(0u8, |sum, (a, b)| sum | (a ^ b));
    // `black_box` keeps the fold from being turned into an early return.
    one.len() == other.len() && std::hint::black_box(difference) == 0
}

impl fmt::Display for JoinToken {
    /// With the secret: for the one place that prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}.{}.{}.{}", hex(&self.ca_sha256), self.id, self.secret)
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinToken({})", self.id)
    }
}

impl FromStr for JoinToken {
    type Err = BadToken;
    fn from_str(text: &str) -> Result<Self, BadToken> {
        let mut parts = text.trim().split('.');
        let (prefix, hash, id, secret, end) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next());
        if prefix != Some(PREFIX) || end.is_some() {
            return Err(BadToken("the whole"));
        }
        let ca_sha256 = hash.and_then(unhex).ok_or(BadToken("the first part, the hash of the CA,"))?;
        let id = id.and_then(unhex::<ID_BYTES>).ok_or(BadToken("the second part, the id,"))?;
        let secret = secret.and_then(unhex::<SECRET_BYTES>).ok_or(BadToken("the last part"))?;
        Ok(JoinToken { ca_sha256, id: hex(&id), secret: hex(&secret) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back_and_only_its_own_secret_opens() {
        let token = JoinToken::generate([7; 32]).unwrap();
        let kept = token.secret_sha256();
        let read: JoinToken = format!(" {token}\n").parse().unwrap();
        assert_eq!(read, token);
        assert!(read.verify(&kept));
        assert!(!JoinToken::generate([7; 32]).unwrap().verify(&kept));
        assert!(!read.verify(&kept[..31]));
        assert!(!read.verify(&[]));
    }

    #[test]
    fn a_tampered_token_is_refused_or_does_not_open() {
        let token = JoinToken::generate([7; 32]).unwrap();
        let kept = token.secret_sha256();
        let text = token.to_string();
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
            let tampered = String::from_utf8(bytes).unwrap();
            match tampered.parse::<JoinToken>() {
                Err(_) => {}
                Ok(read) => {
                    let same_place = read.ca_sha256 == token.ca_sha256 && read.id == token.id;
                    assert!(!(same_place && read.verify(&kept)), "{tampered}");
                }
            }
        }
        for bad in ["", "SJ1", "SJ1...", &text[..text.len() - 1], &format!("{text}.x"), &format!("x{text}")] {
            assert!(bad.parse::<JoinToken>().is_err(), "{bad}");
        }
    }

    #[test]
    fn debug_never_shows_the_secret() {
        let token = JoinToken::generate([7; 32]).unwrap();
        assert!(!format!("{token:?}").contains(&token.secret));
    }
}
