//! The opening handshake, server side (RFC 6455 section 4.2), and the negotiation of permessage-deflate (RFC 7692 section 7.1).
//!
//! It judges only what the protocol says; who may connect is the caller's question.

use super::deflate::Deflate;
use crate::protocol::http::{Method, Request, Response, Version};
use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// What the server offers.
#[derive(Debug, Clone, Copy, Default)]
pub struct HandshakeOptions<'a> {
    /// Compress when the client can.
    pub deflate: bool,
    /// Subprotocols the server speaks.
    pub subprotocols: &'a [&'a str],
}

/// What was agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upgrade {
    /// The client's most preferred subprotocol that the server speaks.
    pub subprotocol: Option<String>,
    /// Compression, if both want it.
    pub deflate: Option<Deflate>,
}

/// Judges an upgrade request. `Ok`: send the 101 and go on with a [`super::Decoder`]; `Err`: send the refusal.
///
/// Refusals are 400 with a plain text reason (empty for another method than GET, as the contract 3.6 has it), or 426 for another version
/// of the protocol (RFC 6455 section 4.4).
pub fn accept(request: &Request, options: &HandshakeOptions<'_>) -> Result<(Upgrade, Response), Response> {
    let key = check(request)?;
    let deflate = match options.deflate {
        true => negotiate_deflate(request)?,
        false => None,
    };
    let subprotocol = request.headers.list("sec-websocket-protocol").find(|name| options.subprotocols.contains(name));
    let mut response = Response::new(101)
        .with_header("upgrade", "websocket")
        .with_header("connection", "Upgrade")
        .with_header("sec-websocket-accept", tungstenite::handshake::derive_accept_key(key.as_bytes()));
    if let Some(name) = subprotocol {
        response = response.with_header("sec-websocket-protocol", name.to_owned());
    }
    if let Some(deflate) = deflate {
        response = response.with_header("sec-websocket-extensions", deflate.response());
    }
    Ok((Upgrade { subprotocol: subprotocol.map(str::to_owned), deflate }, response))
}

/// The rules of RFC 6455 section 4.2.1 in its order. Returns the key.
fn check(request: &Request) -> Result<&str, Response> {
    let headers = &request.headers;
    if request.method != Method::Get {
        return Err(Response::new(400));
    }
    if request.version != Version::Http11 {
        return Err(refusal(400, "WebSocket needs HTTP/1.1"));
    }
    if !headers.lists("upgrade", "websocket") {
        return Err(refusal(400, "'upgrade' header must contain 'websocket'"));
    }
    if !headers.lists("connection", "upgrade") {
        return Err(refusal(400, "'connection' header must contain 'upgrade'"));
    }
    if only(request, "sec-websocket-version")? != "13" {
        return Err(refusal(426, "only WebSocket version 13 is spoken here")
            .with_header("sec-websocket-version", "13")
            .with_header("upgrade", "websocket"));
    }
    let key = only(request, "sec-websocket-key")?;
    if !is_key(key) {
        return Err(refusal(400, "'sec-websocket-key' header must be 16 bytes in base64"));
    }
    Ok(key)
}

/// The value of a field that must be there exactly once (RFC 6455 section 11.3.1, 11.3.5).
fn only<'a>(request: &'a Request, name: &'static str) -> Result<&'a str, Response> {
    let mut values = request.headers.all(name);
    match (values.next(), values.next()) {
        (Some(value), None) => Ok(value),
        _ => Err(refusal(400, &format!("'{name}' header must be present exactly once"))),
    }
}

/// Sixteen bytes in base64. Stray bits behind the last byte do no harm, and hand-written clients have them.
fn is_key(key: &str) -> bool {
    const CONFIG: GeneralPurposeConfig = GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical);
    const ENGINE: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::STANDARD, CONFIG);
    ENGINE.decode(key).is_ok_and(|bytes| bytes.len() == 16)
}

fn refusal(status: u16, reason: &str) -> Response {
    Response::new(status).with_body("text/plain; charset=utf-8", reason)
}

/// The first offer of permessage-deflate that can be honoured. A list that is not well formed fails the handshake (RFC 6455 section 9.1).
fn negotiate_deflate(request: &Request) -> Result<Option<Deflate>, Response> {
    let malformed = || refusal(400, "malformed 'sec-websocket-extensions' header");
    let mut agreed = None;
    for offer in request.headers.list("sec-websocket-extensions") {
        let (name, parameters) = extension(offer).ok_or_else(malformed)?;
        if agreed.is_none() && name == "permessage-deflate" {
            agreed = Deflate::from_offer(&parameters);
        }
    }
    Ok(agreed)
}

type Parameter<'a> = (&'a str, Option<&'a str>);

/// `token *( ";" token [ "=" ( token | quoted-string ) ] )`. RFC 6455 section 9.1 wants a quoted value to be a token once unquoted, so neither
/// comma nor semicolon can stand in it and splitting at them is exact.
fn extension(text: &str) -> Option<(&str, Vec<Parameter<'_>>)> {
    let mut parts = text.split(';').map(|part| part.trim_matches([' ', '\t']));
    let name = parts.next().filter(|name| is_token(name))?;
    let parameters = parts.map(|part| match part.split_once('=') {
        None => is_token(part).then_some((part, None)),
        Some((name, value)) => {
            let (name, value) = (name.trim_matches([' ', '\t']), value.trim_matches([' ', '\t']));
            let unquoted = value.strip_prefix('"').map_or(Some(value), |value| value.strip_suffix('"'))?;
            (is_token(name) && is_token(unquoted)).then_some((name, Some(unquoted)))
        }
    });
    Some((name, parameters.collect::<Option<_>>()?))
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(crate::protocol::http::is_token_byte)
}
