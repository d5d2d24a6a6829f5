//! `Sealer`: what only the holders of the authority's key can read.

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Salt};

use crate::error::PkiError;
use crate::random;

/// Encrypts and decrypts under a key that is derived from the authority's: for one purpose, and the same on every master.
pub struct Sealer(LessSafeKey);

/// Something encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Drawn for it alone.
    pub nonce: Vec<u8>,
    /// With the tag that tells whether it was changed.
    pub ciphertext: Vec<u8>,
}

/// The output of the derivation: a key of ChaCha20.
struct KeyBytes;

impl KeyType for KeyBytes {
    fn len(&self) -> usize {
        CHACHA20_POLY1305.key_len()
    }
}

// === impl Sealer ===

impl Sealer {
    /// A key of its own for each purpose.
    pub(crate) fn derive(authority_key: &[u8], purpose: &str) -> Result<Sealer, PkiError> {
        let mut bytes = [0; 32];
        let label = [purpose.as_bytes()];
        // The authority's key is uniform enough for any salt; this one names the house.
        let derived = Salt::new(HKDF_SHA256, b"stoa").extract(authority_key);
        derived
            .expand(&label, KeyBytes)
            .and_then(|okm| okm.fill(&mut bytes))
            .and_then(|()| UnboundKey::new(&CHACHA20_POLY1305, &bytes))
            .map(|key| Sealer(LessSafeKey::new(key)))
            .map_err(|_| PkiError::Seal("derive a key from the authority's"))
    }

    /// Encrypts. It can be opened with the same `about` only, which is not in it.
    pub fn seal(&self, about: &str, plain: &[u8]) -> Result<Sealed, PkiError> {
        let nonce: [u8; NONCE_LEN] = random()?;
        let mut ciphertext = plain.to_vec();
        self.0
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(about.as_bytes()),
                &mut ciphertext,
            )
            .map_err(|_| PkiError::Seal("encrypt"))?;
        Ok(Sealed { nonce: nonce.to_vec(), ciphertext })
    }

    /// Decrypts what [`seal`](Sealer::seal) made of it; an error if it is another's, is about something else, or was changed.
    pub fn open(&self, about: &str, nonce: &[u8], ciphertext: &[u8]) -> Result<Vec<u8>, PkiError> {
        let refused = |_| PkiError::Seal("decrypt what another authority encrypted, or somebody changed");
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(refused)?;
        let mut bytes = ciphertext.to_vec();
        let length =
            self.0.open_in_place(nonce, Aad::from(about.as_bytes()), &mut bytes).map_err(refused)?.len();
        bytes.truncate(length);
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Authority;

    #[test]
    fn it_is_read_with_the_same_authority_purpose_and_subject_only() {
        let authority = Authority::create("pool").unwrap();
        let sealer = authority.sealer("secrets").unwrap();
        let sealed = sealer.seal("eng/db", b"canary").unwrap();
        assert!(!sealed.ciphertext.windows(6).any(|window| window == b"canary"));
        assert_ne!(sealer.seal("eng/db", b"canary").unwrap(), sealed, "a nonce is used once");
        let open = |sealer: &Sealer, about: &str, sealed: &Sealed| {
            sealer.open(about, &sealed.nonce, &sealed.ciphertext).ok()
        };
        let copy = Authority::from_pem(authority.ca_pem(), authority.key_pem()).unwrap();
        let elsewhere = copy.sealer("secrets").unwrap();
        assert_eq!(open(&elsewhere, "eng/db", &sealed).as_deref(), Some(&b"canary"[..]));
        assert_eq!(open(&elsewhere, "eng/web", &sealed), None);
        assert_eq!(open(&authority.sealer("tokens").unwrap(), "eng/db", &sealed), None);
        let other = Authority::create("pool").unwrap().sealer("secrets").unwrap();
        assert_eq!(open(&other, "eng/db", &sealed), None);
        for at in 0..sealed.ciphertext.len() {
            let mut changed = sealed.clone();
            changed.ciphertext[at] ^= 1;
            assert_eq!(open(&sealer, "eng/db", &changed), None, "byte {at}");
        }
        assert_eq!(open(&sealer, "eng/db", &Sealed { nonce: vec![1], ..sealed }), None);
    }
}
