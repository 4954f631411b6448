//! The three parts of a token: `header.claims.signature`, each in base64 for URLs.

use base64ct::{Base64UrlUnpadded, Encoding};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::access::jwt::TokenFault;
use crate::access::jwt::claims::Claims;
use crate::access::jwt::keys::{Algorithm, Keys};

/// A token as it came, taken apart, and not believed yet.
#[derive(Debug)]
pub(super) struct Token<'a> {
    header: Header,
    claims: Vec<u8>,
    /// What the signature is about.
    signed: &'a str,
    signature: Vec<u8>,
}

/// What the header of a token may say; all else in it means nothing here.
#[derive(Debug, Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// Extensions that must be understood: none is.
    crit: Option<Value>,
}

/// The longest token, in bytes. Beyond it: malformed.
const TOKEN_BYTES_MAX: usize = 16 * 1024;

impl<'a> Token<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Self, TokenFault> {
        if text.len() > TOKEN_BYTES_MAX {
            return Err(TokenFault::Malformed);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(TokenFault::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(TokenFault::Malformed)?;
        let header = serde_json::from_slice(&decode(header)?);
        let header: Header = header.map_err(|_| TokenFault::Malformed)?;
        Ok(Self { header, claims: decode(claims)?, signed, signature: decode(signature)? })
    }

    /// The claims, once a key has said that they are what was signed.
    pub(super) fn verified(self, keys: &Keys) -> Result<Claims, TokenFault> {
        if self.header.crit.is_some() {
            return Err(TokenFault::Malformed);
        }
        let algorithm: Algorithm = self.header.alg.parse().map_err(|()| TokenFault::Algorithm)?;
        let candidates = keys.candidates(algorithm, self.header.kid.as_deref())?;
        let signed = self.signed.as_bytes();
        if !candidates.iter().any(|key| key.verify(algorithm, signed, &self.signature)) {
            return Err(TokenFault::Signature);
        }
        let claims: Map<String, Value> =
            serde_json::from_slice(&self.claims).map_err(|_| TokenFault::Malformed)?;
        Ok(Claims::new(claims))
    }
}

fn decode(part: &str) -> Result<Vec<u8>, TokenFault> {
    Base64UrlUnpadded::decode_vec(part).map_err(|_| TokenFault::Malformed)
}
