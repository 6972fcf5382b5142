//! The signature of a call: HMAC-SHA256 over the time and the body, so that an agent can tell the server's calls from anybody
//! else's, and old ones from new ones.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt::Write as _;

/// 64 hexadecimal digits: the HMAC-SHA256, keyed with `secret`, of `<timestamp_s>.<body>`.
pub fn signature(secret: &str, timestamp_s: u64, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of every length");
    mac.update(timestamp_s.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    let mut text = String::with_capacity(64);
    for byte in mac.finalize().into_bytes() {
        write!(text, "{byte:02x}").expect("a String takes every character");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `printf '1761216480.{"a":1}' | openssl dgst -sha256 -hmac s3cret`
    #[test]
    fn it_is_what_openssl_computes() {
        assert_eq!(
            signature("s3cret", 1_761_216_480, br#"{"a":1}"#),
            "596f81f3a9a9b1ae757a992400bac3b15b9781dd237f4d12d518d9296b6a10df"
        );
    }

    #[test]
    fn time_body_and_secret_all_count() {
        let one = signature("s", 1, b"x");
        assert_ne!(one, signature("s", 2, b"x"));
        assert_ne!(one, signature("s", 1, b"y"));
        assert_ne!(one, signature("t", 1, b"x"));
    }
}
