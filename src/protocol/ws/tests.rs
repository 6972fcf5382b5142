//! The codec as a whole: each case is decoded whole, byte by byte, and with bytes behind it.

use super::*;

const LIMITS: Limits = Limits { message_bytes_max: 1 << 20, fragments_max: 1 << 17 };

/// Everything a decoder says about `parts`.
fn decoded<'a>(mut decoder: Decoder, parts: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Event>, Option<Failure>) {
    let mut events = Vec::new();
    for part in parts {
        decoder.push(part);
        loop {
            match decoder.next() {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(failure) => return (events, Some(failure)),
            }
        }
    }
    (events, None)
}

/// What a server says about `bytes`, the same whether they arrive whole or one by one.
fn served(bytes: &[u8], deflate: Option<Deflate>) -> (Vec<Event>, Option<Failure>) {
    let whole = decoded(Decoder::new(Role::Server, LIMITS, deflate), [bytes]);
    let single = decoded(Decoder::new(Role::Server, LIMITS, deflate), bytes.chunks(1));
    assert_eq!(whole, single, "{bytes:x?}");
    whole
}

/// A masked frame of a client.
fn client_frame(fin: bool, rsv1: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut out = Vec::new();
    Header { fin, rsv1, opcode, mask: Some(mask), length: payload.len() as u64 }.encode(&mut out);
    let start = out.len();
    out.extend_from_slice(payload);
    apply_mask(&mut out[start..], mask, 0);
    out
}

#[test]
fn the_examples_of_the_standard_decode() {
    let hello = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(served(&hello, None), (vec![Event::Text("Hello".into())], None));
    // RFC 7692 section 7.2.3.1.
    let compressed = client_frame(true, true, Opcode::Text, &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]);
    assert_eq!(served(&compressed, Some(Deflate::default())), (vec![Event::Text("Hello".into())], None));
}
